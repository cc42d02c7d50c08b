"""The end of a process: what the application has begun is finished first, and nothing hangs.

Each test starts a program. Its work waits for a file, and notes what happens in another file.
"""

from __future__ import annotations

import os
import re
import signal
import time

import pytest
from worker_group import PATIENCE, at_once, runs, wait_until

# Seconds by which a busy machine may be late; what hangs would take 30 s, a minute, or for ever.
LATE = 20

COMMON = '''
import asyncio, os, sys, threading, time
import tremolo

def note(text):
    with open('events', 'a') as file:
        file.write(f'{os.getpid()} {text}\\n')

def gone():
    return os.path.exists('go')

def work():
    while not gone():
        time.sleep(0.01)
    note('finished')
'''

ASGI = COMMON + '''
kept = []

async def wait():
    try:
        while not gone():
            await asyncio.sleep(0.01)
        note('finished')
    except asyncio.CancelledError:
        note('cancelled')
        raise

async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        await receive()
        note('startup')
        await send({'type': 'lifespan.startup.complete'})
        await receive()
        note('shutdown')
        await send({'type': 'lifespan.shutdown.complete'})
        return
    path = scope['path']
    await send({'type': 'http.response.start', 'status': 200,
                'headers': [(b'content-length', b'%d' % len(str(os.getpid())))]})
    await send({'type': 'http.response.body', 'body': str(os.getpid()).encode()})
    if path == '/background':
        await wait()
    elif path == '/task':
        kept.append(asyncio.create_task(wait()))
    elif path == '/thread':
        await asyncio.to_thread(work) if hasattr(asyncio, 'to_thread') else None
    elif path == '/executor':
        asyncio.get_running_loop().run_in_executor(None, work)
    elif path == '/own_thread':
        threading.Thread(target=work).start()
'''

NATIVE = COMMON + '''
app = tremolo.Tremolo()

@app.on_worker_start
def begin():
    note('startup')

@app.on_worker_stop
def end():
    note('shutdown')

@app.route('/')
def index():
    return str(os.getpid())

def wait():
    try:
        while not gone():
            yield tremolo.sleep(0.01)
        note('finished')
    except tremolo.Cancelled:
        note('cancelled')
        raise

@app.route('/spawn')
def spawn():
    tremolo.spawn(wait())
    return str(os.getpid())

@app.route('/job')
def job():
    tremolo.run_in_thread(work)
    return str(os.getpid())

@app.route('/after')
def after(response):
    yield tremolo.sleep(0)
    response.send(str(os.getpid()).encode())
    yield from wait()

@app.route('/task')
async def task():
    asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(None, work))
    return str(os.getpid())
'''

ASGI_WORK = ['/background', '/task', '/thread', '/executor', '/own_thread']
NATIVE_WORK = ['/spawn', '/job', '/after', '/task']
ALL = [(ASGI, path) for path in ASGI_WORK] + [(NATIVE, path) for path in NATIVE_WORK]
NAMES = [f'asgi{path}' for path in ASGI_WORK] + [f'native{path}' for path in NATIVE_WORK]
ONE = ('--port', '0')
WORKER = ('--port', '0', '--workers', '1')


@pytest.fixture
def program(group, tmp_path):
    """Start a program of a text, with options."""
    def start(text, *arguments, folder=tmp_path, **more):
        (folder / 'example.py').write_text(text)
        return group(*arguments, folder=folder, **more)
    return start


def events(group):
    """Return what was noted: pairs of a process id and a text."""
    try:
        lines = (group.folder / 'events').read_text().splitlines()
    except FileNotFoundError:
        return []
    return [(int(pid), text) for pid, _, text in (line.partition(' ') for line in lines)]


def texts(group, pid=None):
    return [text for each, text in events(group) if pid in (None, each)]


def go(group):
    (group.folder / 'go').touch()


@pytest.mark.parametrize(('text', 'path'), ALL, ids=NAMES)
def test_sigterm_waits_for_what_the_answers_left_running(program, tmp_path, text, path):
    def waits(name, arguments):
        folder = tmp_path / name
        folder.mkdir()
        group = program(text, *arguments, folder=folder)
        group.get(path)
        group.signal('SIGTERM')
        wait_until(lambda: 'stopping' in group.log)
        wait_until(group.refuses)
        assert texts(group) == ['startup'], name
        go(group)
        assert group.end() == 0, name
        assert texts(group) == ['startup', 'finished', 'shutdown'], name
        assert 'WARNING' not in group.log and 'ERROR' not in group.log, name

    at_once(waits, ('one', ONE), ('worker', WORKER))


@pytest.mark.parametrize(('text', 'paths'), [(ASGI, ASGI_WORK), (NATIVE, NATIVE_WORK)],
                         ids=['asgi', 'native'])
@pytest.mark.parametrize('how', ['SIGHUP', 'max_requests', 'SIGTERM'])
def test_the_old_worker_of_a_renewal_waits_too(program, text, paths, how):
    group = program(text, *WORKER, *(['--max-requests', '1'] if how == 'max_requests' else []))
    for path in paths:
        # A worker that has answered nobody yet does each of the works.
        old = int(group.get(path))
        if how == 'SIGHUP':
            group.signal('SIGHUP')
        elif how == 'SIGTERM':
            os.kill(old, signal.SIGTERM)
        # A new worker serves, while the old one is busy.
        new = wait_until(lambda: {group.get()} - {'', str(old)})            # noqa: B023
        assert runs(old), path
        assert texts(group, old) == ['startup'], path
        go(group)
        wait_until(lambda: not runs(old))                                   # noqa: B023
        assert texts(group, old) == ['startup', 'finished', 'shutdown'], path
        assert 'WARNING' not in group.log and 'ERROR' not in group.log, path
        (group.folder / 'go').unlink()
        if how == 'max_requests':
            wait_until(lambda: not runs(int(*new)))                         # noqa: B023


@pytest.mark.parametrize('path', ['/background', '/thread'])
def test_one_process_serves_on_while_it_waits_for_its_renewal(program, path):
    group = program(ASGI, *ONE)
    pid = int(group.get(path))
    group.signal('SIGHUP')
    wait_until(lambda: 'renewing: serving goes on' in group.log)
    assert int(group.get()) == pid
    assert texts(group) == ['startup']
    go(group)
    wait_until(lambda: texts(group) == ['startup', 'finished', 'shutdown', 'startup'])
    assert int(group.get()) == pid


@pytest.mark.parametrize('path', ASGI_WORK)
def test_it_does_so_as_the_guest_of_another_loop(program, path):
    group = program(ASGI, *ONE, '--loop', 'asyncio')
    group.get(path)
    group.signal('SIGTERM')
    wait_until(group.refuses)
    assert texts(group) == ['startup']
    go(group)
    assert group.end() == 0
    assert texts(group) == ['startup', 'finished', 'shutdown']


# -- the first signal ---------------------------------------------------------------------------


@pytest.mark.parametrize(('name', 'more'), [
    ('SIGINT', '; a second Ctrl-C ends it at once'), ('SIGTERM', '')])
def test_the_first_signal_says_for_what_it_waits(program, name, more):
    held = NATIVE + '''
@app.route('/held')
def held():
    yield b'begun'
    yield from wait()
'''
    group = program(held, *ONE, '--shutdown-timeout', '20')
    group.get('/spawn')
    group.get('/job')
    with group.connect() as sock:
        sock.sendall(b'GET /held HTTP/1.1\r\nHost: x\r\n\r\n')
        assert b'begun' in sock.recv(1000)
        # (The other two connections have ended.)
        group.signal(name)
        wait_until(lambda: 'stopping' in group.log)
        go(group)
    assert group.end() == 0
    line, = (line for line in group.log.splitlines() if 'stopping' in line)
    assert line.endswith('stopping: waiting for 1 request, 1 connection, 2 background jobs, for at '
                         f'most 20 s{more}')


def test_nothing_to_wait_for_is_said_too(program):
    group = program(NATIVE, *ONE)
    group.signal('SIGTERM')
    assert group.end() == 0
    assert group.log.endswith('stopping: nothing is in flight\n')


def test_a_second_interrupt_does_not_wait(program):
    group = program(ASGI, *ONE)
    group.get('/background')
    group.get('/executor')
    group.signal('SIGINT')
    wait_until(lambda: 'stopping' in group.log)
    begun = time.monotonic()
    group.signal('SIGINT')
    assert group.process.wait(PATIENCE) == 130
    assert time.monotonic() - begun < LATE
    assert texts(group) == ['startup', 'cancelled']


# -- at `shutdown_timeout` ----------------------------------------------------------------------

STUBBORN = ASGI.replace('''    except asyncio.CancelledError:
''', '''    except asyncio.CancelledError:
        await asyncio.sleep(0.1)
''')


@pytest.mark.parametrize('options', [ONE, WORKER], ids=['one', 'worker'])
def test_what_is_left_is_named_and_cancelled_and_the_shutdown_comes_after_it(program, options):
    group = program(STUBBORN, *options, '--shutdown-timeout', '0.1')
    for path in ('/background', '/task', '/executor', '/own_thread'):
        group.get(path)
    begun = time.monotonic()
    assert group.end() == 0
    assert time.monotonic() - begun < 0.1 + LATE
    # Each `finally` has had its time.
    assert texts(group) == ['startup', 'cancelled', 'cancelled', 'shutdown']
    over = 'shutdown_timeout is over: '
    named = [line.partition(over)[2] for line in group.log.splitlines() if over in line]
    lines = STUBBORN.splitlines()
    waits, sleeps = (next(number for number, line in enumerate(lines, 1) if what in line)
                     for what in ('await asyncio.sleep(0.01)', 'time.sleep(0.01)'))
    example = group.folder / 'example.py'
    job = rf'is left alone: {re.escape(str(example))}:({sleeps}|{sleeps - 1}|\d+)'
    for pattern in (rf'the task app is cancelled: {re.escape(str(example))}:{waits}',
                    rf'the task wait is cancelled: {re.escape(str(example))}:{waits}',
                    rf'the job work in a thread {job}', rf'the thread \S+( \(work\))? {job}'):
        assert len([text for text in named if re.fullmatch(pattern, text)]) == 1, (pattern, named)
    assert len(named) == 4


def test_what_does_not_end_after_it_was_cancelled_is_named_and_left(program):
    text = ASGI.replace("        note('cancelled')\n", '        await asyncio.sleep(60)\n')
    group = program(text, *ONE, '--shutdown-timeout', '0')
    group.get('/background')
    begun = time.monotonic()
    assert group.end() == 0
    assert 1 <= time.monotonic() - begun < LATE
    assert 'the task app was cancelled, and did not end within 1 s: ' in group.log
    assert texts(group) == ['startup', 'shutdown']


def test_native_tasks_are_named_too(program):
    group = program(NATIVE, *ONE, '--shutdown-timeout', '0')
    for path in NATIVE_WORK:
        group.get(path)
    assert group.end() == 0
    assert texts(group) == ['startup', 'cancelled', 'cancelled', 'shutdown']
    assert len(re.findall(r'shutdown_timeout is over: a task is cancelled: \S+example.py:\d+',
                          group.log)) == 2
    assert len(re.findall(r'over: the job work in a thread is left alone: \S+example.py:\d+',
                          group.log)) == 2


# -- what the start has begun -------------------------------------------------------------------

EARLY = COMMON + '''
async def tick():
    try:
        while True:
            try:
                # (Before Python 3.12 this makes another task each time.)
                await asyncio.wait_for(asyncio.Event().wait(), 0.01)
            except asyncio.TimeoutError:
                pass
            await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.01)
    except asyncio.CancelledError:
        note('ended by the application')
        raise

async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        await receive()
        ticking = asyncio.create_task(tick())
        stopped = threading.Event()
        thread = threading.Thread(target=stopped.wait)
        thread.start()
        await send({'type': 'lifespan.startup.complete'})
        await receive()
        note(f'shutdown {ticking.done()}')
        stopped.set()
        ticking.cancel()
        try:
            await ticking
        except asyncio.CancelledError:
            pass
        await send({'type': 'lifespan.shutdown.complete'})
        return
    await send({'type': 'http.response.start', 'status': 200})
    await send({'type': 'http.response.body', 'body': str(os.getpid()).encode()})
'''

EARLY_NATIVE = NATIVE + '''
def part():
    yield tremolo.sleep(0.01)

def tick():
    try:
        while True:
            yield tremolo.gather(tremolo.spawn(part()), tremolo.run_in_thread(time.sleep, 0.01))
    except GeneratorExit:
        note('closed at the end')
        raise

@app.on_worker_start
def begin_tick():
    tremolo.spawn(tick())
    yield
'''


@pytest.mark.parametrize('options', [ONE, WORKER], ids=['one', 'worker'])
def test_what_the_start_has_begun_is_the_application_s_to_end(program, options):
    group = program(EARLY, *options)
    group.get()
    begun = time.monotonic()
    assert group.end() == 0
    assert time.monotonic() - begun < 10
    assert texts(group) == ['shutdown False', 'ended by the application']
    assert 'WARNING' not in group.log and 'ERROR' not in group.log


def test_tasks_of_a_start_hook_do_not_hold_up_the_end(program):
    group = program(EARLY_NATIVE, *ONE)
    group.get()
    begun = time.monotonic()
    assert group.end() == 0
    assert time.monotonic() - begun < 10
    assert texts(group) == ['startup', 'shutdown', 'closed at the end']


# -- busy threads -------------------------------------------------------------------------------

BUSY = ASGI.replace("        note('shutdown')\n",
                    "        note('shutdown')\n        print('not flushed', end='')\n")


@pytest.mark.parametrize('options', [ONE, WORKER], ids=['one', 'worker'])
@pytest.mark.parametrize('path', ['/thread', '/executor', '/own_thread'])
def test_a_busy_thread_does_not_hold_up_the_end(program, options, path):
    group = program(BUSY, *options, '--shutdown-timeout', '0.1')
    group.get(path)
    begun = time.monotonic()
    group.signal('SIGTERM')
    assert group.process.wait(PATIENCE) == 0
    assert time.monotonic() - begun < 0.1 + LATE
    assert texts(group)[-1] == 'shutdown'
    assert 'finished' not in texts(group)
    assert group.process.stdout.read() == 'not flushed'


def test_a_busy_thread_does_not_hold_up_a_renewal_in_place(program):
    group = program(ASGI, *ONE, '--shutdown-timeout', '0.3')
    group.get('/thread')
    group.signal('SIGHUP')
    longest = 0.0
    while texts(group).count('startup') < 2:
        begun = time.monotonic()
        assert group.get()
        longest = max(longest, time.monotonic() - begun)
    assert longest < LATE
    assert 'finished' not in texts(group)


def test_run_returns_to_a_program_and_says_that_a_thread_is_busy(program):
    text = NATIVE + '''
if __name__ == '__main__':
    app.run(port=0, shutdown_timeout=0.1)
    note('returned')
    os._exit(7)
'''
    group = program(text, command=('example.py',))
    group.get('/job')
    group.get('/task')
    begun = time.monotonic()
    assert group.end('SIGTERM') == 7
    assert time.monotonic() - begun < 0.1 + LATE
    assert texts(group) == ['startup', 'shutdown', 'returned']
    assert group.log.count('the job work in a thread is still busy, and nothing waits for it') == 2


# -- the lifespan -------------------------------------------------------------------------------

ENDS = COMMON + '''
async def app(scope, receive, send):
    if scope['type'] != 'lifespan':
        await send({'type': 'http.response.start', 'status': 200})
        await send({'type': 'http.response.body', 'body': b'hello'})
        return
    await receive()
    if WHEN == 'startup':
        await asyncio.sleep(0)
        raise ERROR
    await send({'type': 'lifespan.startup.complete'})
    if WHEN == 'serving':
        while not gone():
            await asyncio.sleep(0.01)
        raise ERROR
    await receive()
    raise ERROR
'''
ERRORS = pytest.mark.parametrize('error', ['SystemExit(5)', 'asyncio.CancelledError()'])


@ERRORS
@pytest.mark.parametrize('options', [ONE, WORKER], ids=['one', 'worker'])
def test_an_application_that_ends_itself_at_its_start_is_a_message(program, options, error):
    begun = time.monotonic()
    group = program(f'WHEN = "startup"\n{ENDS}'.replace('raise ERROR', f'raise {error}'), *options)
    assert group.process.wait(PATIENCE) == 3
    assert time.monotonic() - begun < 20
    assert group.log.startswith('tremolo: error: the application has ended itself: ')
    assert group.log.count('\n') == len(options) / 2


@ERRORS
def test_one_that_ends_itself_while_it_is_served_ends_the_server(program, error):
    group = program(f'WHEN = "serving"\n{ENDS}'.replace('raise ERROR', f'raise {error}'), *ONE)
    assert group.get() == 'hello'
    go(group)
    assert group.process.wait(PATIENCE) == 3
    assert 'Traceback' not in group.log
    assert 'ERROR tremolo.error: the lifespan of the application failed: ' in group.log
    assert group.log.splitlines()[-1].startswith(
        'tremolo: error: the application has ended itself: ')


@ERRORS
def test_one_that_ends_itself_in_its_shutdown_is_told(program, error):
    group = program(f'WHEN = "shutdown"\n{ENDS}'.replace('raise ERROR', f'raise {error}'), *ONE)
    assert group.get() == 'hello'
    begun = time.monotonic()
    assert group.end() == 0
    assert time.monotonic() - begun < 10
    assert 'Traceback' not in group.log
    assert 'the shutdown of the application failed: the application has ended itself' in group.log


