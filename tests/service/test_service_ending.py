"""The end of a server in another program, and how long each of its parts may take."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from server_support import Client, request

from tremolo import Reactor, Tremolo, gather, run_in_thread, sleep, spawn
from tremolo.asgi import LifespanFailed, application
from tremolo.asgi_app import AsgiApplication
from tremolo.bridge import bridge_to
from tremolo.loop import Task
from tremolo.service import ending


@pytest.fixture
def short(monkeypatch):
    """Let the parts of the end be short."""
    monkeypatch.setattr(ending, 'CLEANUP', 0.2)
    monkeypatch.setattr(ending, 'SHUTDOWN', 0.4)
    monkeypatch.setattr(application, '_FOR_HOOKS', 0.2)


@pytest.fixture
def app() -> Tremolo:
    return Tremolo()


def ask(server, target='/'):
    client = Client(server.address)
    client.send(request(target))
    body = client.take().body
    client.close()
    return body


def test_a_stop_waits_for_what_the_end_of_a_job_begins(app):
    """(Nothing else is left when it is looked at, and the outcome of the job is on its way.)"""
    log, begun, goes_on = [], threading.Event(), threading.Event()

    def work():
        yield sleep(0.2)
        log.append('ended')

    def begin():
        job = run_in_thread(lambda: (begun.set(), goes_on.wait(30)))
        job.add_done_callback(lambda _: spawn(work()))

    server = app.start()
    server.reactor.call_soon_threadsafe(begin)
    assert begun.wait(30)

    def hold_up():
        pool = server.reactor.pool
        goes_on.set()
        while pool.busy:
            time.sleep(0.001)
        server._drain_and_stop()

    server.reactor.call_soon_threadsafe(hold_up)
    server._thread.join(30)
    server.stop()
    assert log == ['ended']


async def answer(send):
    await send({'type': 'http.response.start', 'status': 200,
                'headers': [(b'content-length', b'2')]})
    await send({'type': 'http.response.body', 'body': b'ok'})


def living(background, shutdown=None):
    """Make an ASGI application: what it does after its answer, and in its shutdown."""
    async def app(scope, receive, send):
        if scope['type'] == 'http':
            await answer(send)
            await background()
            return
        await receive()
        await send({'type': 'lifespan.startup.complete'})
        await receive()
        if shutdown is not None:
            await shutdown()
        await send({'type': 'lifespan.shutdown.complete'})

    return AsgiApplication(app)


# -- on a reactor of its own --------------------------------------------------------------------


@pytest.mark.parametrize('thread', [True, False])
def test_stop_finishes_what_the_answers_left_running(app, thread):
    log = []
    app.on_worker_stop(lambda: log.append('hook'))

    def later():
        yield sleep(0.05)
        log.append('task')
        yield run_in_thread(time.sleep, 0.05)
        log.append('job')

    @app.route('/')
    def index():
        spawn(later())
        return b'ok'

    with app.start(thread=thread) as server:
        if thread:
            assert ask(server) == b'ok'
        else:
            client = Client(server.address)
            client.send(request())
            while not server.reactor.tasks:
                server.step(0.1)
            client.close()
    assert log == ['task', 'job', 'hook']


@pytest.mark.parametrize('loop', ['reactor', 'asyncio'])
def test_an_asgi_application_that_goes_on_after_its_answer_is_finished(loop):
    log = []

    async def background():
        await asyncio.sleep(0.05)
        asyncio.get_running_loop().run_in_executor(None, thread)
        log.append('background')

    def thread():
        time.sleep(0.05)
        log.append('thread')

    async def shutdown():
        log.append('shutdown')

    with living(background, shutdown).start(loop=loop) as server:
        assert ask(server) == b'ok'
    assert log == ['background', 'thread', 'shutdown']


def test_what_the_start_has_begun_is_not_waited_for(app):
    log = []

    def part():
        yield sleep(0.01)

    def tick():
        try:
            while True:
                yield gather(spawn(part()), run_in_thread(time.sleep, 0.01))
        finally:
            log.append('end')

    @app.on_worker_start
    def begin():
        spawn(tick())
        yield

    @app.on_worker_stop
    def end():
        log.append('hook')

    app.route('/')(lambda: b'ok')
    begun = time.monotonic()
    with app.start() as server:
        assert ask(server) == b'ok'
    assert time.monotonic() - begun < 10
    assert log == ['hook', 'end']


# -- the times ----------------------------------------------------------------------------------


def test_a_shutdown_that_hangs_leaves_the_hooks_their_time(short, logged):
    async def hang():
        await asyncio.sleep(3600)

    async def nothing():
        pass

    app = living(nothing, hang)
    log = []

    @app.on_worker_stop
    async def hook():
        await asyncio.sleep(0.05)
        log.append('hook')

    begun = time.monotonic()
    with app.start(shutdown_timeout=0) as server:
        assert ask(server) == b'ok'
    assert time.monotonic() - begun < 20
    assert log == ['hook']
    message, = logged.messages
    assert message.startswith('the shutdown of the application failed: the shutdown took longer '
                              'than 0.')


def test_a_hook_that_hangs_is_named_and_cancelled(app, short, logged):
    log = []

    @app.on_worker_stop
    async def hook():
        try:
            await asyncio.sleep(3600)
        finally:
            log.append('cancelled')

    begun = time.monotonic()
    app.start(shutdown_timeout=0).stop()
    assert time.monotonic() - begun < 20
    assert log == ['cancelled']
    message, = logged.messages
    assert 'took longer than 0.' in message
    assert f'{__file__}:' in message


def test_the_thread_of_a_request_that_was_cut_is_named(app, short, logged):
    begun, ended = threading.Event(), threading.Event()

    @app.route('/')
    def index(thread=True):
        begun.set()
        ended.wait(30)
        return b'ok'

    server = app.start(shutdown_timeout=0)
    client = Client(server.address)
    client.send(request())
    assert begun.wait(30)
    server.stop()
    ended.set()
    client.close()
    assert logged.count("shutdown_timeout is over: cut GET '/'") == 1
    assert logged.count('in a thread is left alone: ') == 1
    assert logged.count('in a thread is still busy, and nothing waits for it') == 1


def test_a_job_that_waits_for_a_thread_is_never_begun(short, logged):
    ended = threading.Event()
    log = []

    async def background():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        loop.run_in_executor(None, ended.wait, 30)
        loop.run_in_executor(None, log.append, 'begun')

    with living(background).start(shutdown_timeout=0) as server:
        assert ask(server) == b'ok'
        server.stop()
        ended.set()
    assert logged.count('is left alone: ') == 1
    assert logged.count('the job list.append in a thread is cancelled: waiting for a thread') == 1
    assert logged.count('is still busy') == 1
    for thread in threading.enumerate():
        if thread.name.startswith('ThreadPoolExecutor'):
            thread.join(10)
    assert log == []


def test_closing_a_reactor_waits_for_busy_threads_and_not_for_ever(logged):
    ended = threading.Event()

    async def main():
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.05)
        asyncio.get_running_loop().run_in_executor(None, ended.wait, 30)

    with Reactor() as reactor:
        bridge_to(reactor).complete(main())
        bridge_to(reactor).patience = 0.2
    ended.set()
    assert len(logged.messages) == 1
    assert 'the job Event.wait in a thread is still busy' in logged.text


# -- on the loop of somebody else ---------------------------------------------------------------


def test_a_host_s_own_tasks_are_not_waited_for(app):
    app.route('/')(lambda: b'ok')

    def forever():
        while True:
            yield sleep(0.01)

    with Reactor() as reactor:
        task = Task(forever(), reactor=reactor, later=True)
        begun = time.monotonic()
        app.start(reactor=reactor, thread=False).stop()
        assert time.monotonic() - begun < 10
        assert not task.done()


def test_a_guest_finishes_its_application_and_leaves_the_host_s_tasks_alone():
    log = []

    async def background():
        await asyncio.sleep(0.05)
        log.append('background')

    async def shutdown():
        log.append('shutdown')

    async def main():
        own = asyncio.create_task(asyncio.sleep(3600))
        async with living(background, shutdown).serve() as server:
            assert await asyncio.get_running_loop().run_in_executor(None, ask, server) == b'ok'
        assert not own.done()
        own.cancel()

    begun = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - begun < 10
    assert log == ['background', 'shutdown']


def test_a_guest_s_application_that_ends_itself_is_raised(logged):
    async def app(scope, receive, send):
        await receive()
        await send({'type': 'lifespan.startup.complete'})
        await asyncio.sleep(0.01)
        raise SystemExit(5)

    with pytest.raises(LifespanFailed, match=r'has ended itself: SystemExit\(5\)'):
        asyncio.run(asyncio.wait_for(AsgiApplication(app).serve(), 30))
    assert logged.count('the lifespan of the application failed: ') == 1
