"""One server with --reload, and what is done to the files of its application."""

import os
import signal
import time

import pytest
from worker_group import runs, wait_until
from written import Written

# Of each kind. (tests/benchmarks/reload.py does 100, and measures.)
SAVES = int(os.environ.get('RELOAD_SAVES', '1'))

MAIN = '''
import tremolo
from . import part

app = tremolo.Tremolo()

@app.route('/')
def index():
    return f'<{part.NAME}>'

@app.route('/pid')
def pid():
    return str(__import__('os').getpid())

@app.route('/late')
def late():
    from . import later
    return f'<{later.NAME}>'

@app.route('/held')
def held(response):
    yield b'begun '
    while not __import__('os').path.exists(GO):
        yield tremolo.sleep(0.01)
    yield part.NAME.encode()

@app.route('/thread')
def thread(thread=True):
    return f'<{part.NAME}>'

@app.route('/async')
async def coroutine():
    return f'<{part.NAME}>'

@app.route('/events')
def events(sse):
    yield sse.send('first')
    while True:
        yield tremolo.sleep(60)

@app.route('/ws')
def chat(websocket):
    yield websocket.accept()
    while True:
        yield websocket.receive()
'''


LOOP = ('while True:\n    try:\n        while True:\n            pass\n'
        '    except BaseException:\n        pass')


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp('written')
    (folder / 'pack').mkdir()
    (folder / 'more').mkdir()
    (folder / 'pack' / '__init__.py').touch()
    (folder / 'pack' / 'part.py').write_text("NAME = 'first'\n")
    (folder / 'pack' / 'later.py').write_text("NAME = 'later 1'\n")
    (folder / 'pack' / 'main.py').write_text(MAIN + f'\nGO = {str(folder / "go")!r}\n')
    server = Written(folder, '--port', '0', '--reload-dir', 'more', 'pack.main')
    yield server
    print(server.log)
    assert server.end() == 0


@pytest.fixture
def written(shared):
    """The server, which serves good code before and after each test."""
    if shared.get() != '<good>':
        shared.save('pack/part.py', "NAME = 'good'\n")
        shared.waits_for('<good>')
    wait_until(lambda: len(shared.pids) == 1)    # (Until then the one before accepts as well.)
    yield shared
    print(shared.log)


@pytest.mark.parametrize('way', ['in place', 'renamed', 'same second', 'older'])
def test_each_save_is_served_and_none_is_stale(written, way):
    """Also quick saves of equal size, of which CPython by itself imports stale `.pyc` files."""
    for number in range(SAVES):
        written.save('pack/part.py', f"NAME = '{way} {number:03}'\n", way)
        written.waits_for(f'<{way} {number:03}>')
        # (For a moment both processes accept: until the old one has read that it is to end.)
        written.waits_for(f'<{way} {number:03}>', '/thread')
        written.waits_for(f'<{way} {number:03}>', '/async')
    assert not list(written.folder.rglob('__pycache__/*.pyc'))


def test_what_is_imported_late_is_watched(written):
    assert written.get('/late').startswith('<later')
    written.save('pack/later.py', "NAME = 'later 2'\n")
    written.waits_for('<later 2>', '/late')


def test_a_syntax_error_waits_for_the_next_save_and_is_on_the_page(written):
    written.save('pack/part.py', "NAME = 'bad'\nNAME = = '<script>'\n")
    written.waits_for('500: ')
    # (For a moment the old process, too, accepts.)
    text = written.answer_with('SyntaxError', '/any/path?x=1')
    assert 'part.py", line 2' in text and 'main.py", line 3' in text
    page = written.answer_with('SyntaxError', accept='text/html,*/*')
    assert page.startswith('<!doctype html>') and 'main.py' in page
    assert '<script>' not in page
    assert 'part.py", line 2' in written.log
    written.save('pack/part.py', "NAME = 'mended'\n")
    written.waits_for('<mended>')


@pytest.mark.parametrize(('text', 'told'), [
    ("raise ValueError('<b>bad</b>')", 'ValueError: <b>bad</b>'),
    ("import sys\nsys.exit('no database')", 'SystemExit: no database'),
])
def test_an_exception_waits_for_the_next_save(written, text, told):
    written.save('pack/part.py', text)
    written.waits_for(told)
    assert '<b>bad' not in written.get(accept='text/html')
    written.save('pack/part.py', "NAME = 'mended'\n")
    written.waits_for('<mended>')


def test_the_page_shows_no_values_of_variables_without_debug(written):
    written.save('pack/part.py', "KEY = 'hush' + '-hush'\n1 / 0\n")
    written.waits_for('ZeroDivisionError')
    assert 'hush-hush' not in written.get(accept='text/html')


def test_a_module_that_was_missing_is_noticed_when_it_appears(written):
    (written.folder / 'pack' / 'fresh.py').unlink(missing_ok=True)
    written.save('pack/part.py', 'from .fresh import NAME')
    written.waits_for('No module named')
    written.save('pack/fresh.py', "NAME = 'fresh'\n")
    written.waits_for('<fresh>')


def test_a_file_that_is_deleted_is_noticed_and_its_return_too(written):
    (written.folder / 'pack' / 'part.py').unlink()
    written.waits_for('ImportError')
    written.save('pack/part.py', "NAME = 'back'\n")
    written.waits_for('<back>')


@pytest.mark.parametrize('loop', [
    'import time\ntime.sleep(1000)',
    LOOP])
def test_an_endless_import_tells_where_it_stands_and_the_next_save_begins_anew(written, loop):
    before = written.log.count('still starts')
    written.save('pack/part.py', loop)
    text = written.answer_with('503: The program still starts')
    assert 'part.py", line ' in text and 'StillStarting' in text
    assert written.log.count('still starts') > before
    written.save('pack/part.py', "NAME = 'through'\n")
    written.waits_for('<through>')


@pytest.mark.parametrize('loop', [LOOP, 'sum(iter(int, 1))'])
def test_no_worker_is_left_when_the_supervisor_is_killed(tmp_path, loop):
    """Not one in an endless loop in C, either, which no handler of Python can end."""
    (tmp_path / 'shop.py').write_text(f"open('begun', 'w').close()\n{loop}\n")
    killed = Written(tmp_path, '--port', '0', 'shop:app')
    wait_until((tmp_path / 'begun').exists)
    assert killed.pids
    killed.process.kill()
    wait_until(lambda: not any(map(runs, killed.seen)))
    killed.end()


def test_a_long_import_is_served_when_it_has_ended(written):
    written.save('pack/part.py', "import time\ntime.sleep(0.9)\nNAME = 'slow'\n")
    written.waits_for('503: The program still starts')
    written.waits_for('<slow>')


def test_a_child_that_is_killed_is_told_and_started_again(written):
    pid, = wait_until(lambda: len(written.pids) == 1 and written.pids)
    os.kill(pid, signal.SIGKILL)
    written.tells(f'worker {pid} was ended by signal 9')
    wait_until(lambda: written.get('/pid') not in ('', str(pid)))
    written.waits_for('<good>')


def test_a_child_that_ends_itself_at_its_import_is_started_again_in_growing_pauses(written):
    once = written.folder / 'once'
    once.unlink(missing_ok=True)
    written.save('pack/part.py', f'import os\nif not os.path.exists({str(once)!r}):\n'
                                 f'    open({str(once)!r}, "w").close()\n    os._exit(3)\n'
                                 "NAME = 'again'\n")
    written.tells('The program ended with status 3 before it served. It is started again.')
    written.waits_for('<again>')


def test_an_open_request_is_finished_and_does_not_delay_the_new_code(written):
    (written.folder / 'go').unlink(missing_ok=True)
    held = written.connection()
    held.request('GET', '/held')
    answer = held.getresponse()
    assert answer.read(6) == b'begun '
    written.save('pack/part.py', "NAME = 'newer'\n")
    written.waits_for('<newer>')
    (written.folder / 'go').touch()
    assert answer.read() == b'good'
    held.close()


def test_the_next_request_of_a_kept_connection_has_the_new_code(written):
    kept = written.connection()
    kept.request('GET', '/')
    assert kept.getresponse().read() == b'<good>'
    written.save('pack/part.py', "NAME = 'newer'\n")
    written.waits_for('<newer>')
    wait_until(lambda: kept.request('GET', '/') or kept.getresponse().read() == b'<newer>')
    kept.close()


def test_a_kept_connection_gets_the_page_of_a_failure_and_then_the_new_code(written):
    kept = written.connection()
    for text, told in [('1 / 0', b'ZeroDivisionError'), ("NAME = 'newer'", b'<newer>')]:
        written.save('pack/part.py', text)
        written.waits_for(told.decode())
        kept.request('POST', '/', b'a body')
        assert told in kept.getresponse().read() or told == b'<newer>'
    kept.close()


@pytest.mark.parametrize('head', [
    'GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n',
    'GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n'])
def test_a_websocket_or_an_event_stream_ends_soon_and_does_not_delay(written, head):
    with written.connect() as sock:
        sock.sendall(head.encode())
        assert sock.recv(12) in (b'HTTP/1.1 200', b'HTTP/1.1 101')
        written.save('pack/part.py', "NAME = 'newer'\n")
        written.waits_for('<newer>')
        began = time.monotonic()
        received = b''
        while data := sock.recv(65536):
            received += data
            # (The close frame, or the last chunk, after which the connection may be handed over.)
            if head.startswith('GET /ws') or received.endswith(b'\r\n0\r\n\r\n'):
                break
        assert received and time.monotonic() - began < 5


def test_further_folders_are_watched_with_all_that_people_write(written):
    """Not only modules are watched: fault 42 of the earlier tremolo."""
    changed = written.log.count(' changed')
    for name in ('.hidden', 'x.pyc', 'draft~', '#draft#', 'server.log', 'server.log.1', 'a.swp',
                 '__pycache__/a.py', '.git/HEAD', '4913'):
        written.save(f'more/{name}', name)
    written.save('more/deep/page.html', 'one')
    written.tells(' changed', changed + 1)
    assert 'page.html changed' in written.log
    written.save('more/deep/page.html', 'two', 'renamed')
    written.tells(' changed', changed + 2)
    (written.folder / 'more' / 'deep' / 'page.html').unlink()
    written.tells(' changed', changed + 3)
    assert not any(name in written.log for name in ('hidden', 'draft', 'server.log', '4913'))


def test_a_folder_that_becomes_a_link_is_noticed(written):
    other = written.folder / 'other'
    other.mkdir(exist_ok=True)
    (other / 'linked.txt').write_text('x')
    written.save('more/sub/a.txt', 'a')
    written.tells('sub/a.txt changed')
    changed = written.log.count(' changed')
    (written.folder / 'more' / 'sub' / 'a.txt').unlink()
    (written.folder / 'more' / 'sub').rmdir()
    (written.folder / 'more' / 'sub').symlink_to(other)
    written.tells(' changed', changed + 1)
    wait_until(lambda: written.get() == '<good>')
    changed = written.log.count(' changed')
    (other / 'linked.txt').write_text('another')
    written.tells('linked.txt changed')
