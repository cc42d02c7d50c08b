"""`app.spawn`: what an application runs beside its requests, and how that ends."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import warnings

import pytest
from server_support import Client, request, serving, virtual

from tremolo import Future, Reactor, Tremolo, run_in_thread, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.exceptions import Cancelled, InvalidState
from tremolo.loop import Task
from tremolo.service import ending

variable: contextvars.ContextVar[str] = contextvars.ContextVar('variable', default='none')


@pytest.fixture
def app() -> Tremolo:
    return Tremolo()


@pytest.fixture
def short(monkeypatch):
    """Let the parts of the end be short."""
    monkeypatch.setattr(ending, 'CLEANUP', 0.2)


def ask(server, target='/'):
    client = Client(server.address)
    client.send(request(target))
    body = client.take().body
    client.close()
    return body


def by_yield(done, stopping):
    variable.set('of the job')
    yield sleep(0.001)
    done.append(threading.get_ident())
    yield stopping()
    done.append('stopping')


async def by_await(done, stopping):
    variable.set('of the job')
    await asyncio.sleep(0.001)
    done.append(threading.get_ident())
    await stopping()
    done.append('stopping')


JOBS = pytest.mark.parametrize('job', [by_yield, by_await])


# -- where it may be called -----------------------------------------------------------------------


def plain(app):
    app.spawn(app.job())
    return variable.get()


def generator(app):
    app.spawn(app.job())
    yield variable.get()


async def coroutine(app):
    app.spawn(app.job())
    await asyncio.sleep(0)
    return variable.get()


def in_thread(app, thread=True):
    app.spawn(app.job())
    return variable.get()


@JOBS
@pytest.mark.parametrize('handler', [plain, generator, coroutine, in_thread])
def test_every_kind_of_handler_spawns_a_job_that_outlives_its_answer(app, job, handler):
    done = []
    app.job = lambda: job(done, lambda: app.stopping)
    app.route('/')(handler)
    with serving(app) as host:
        # (It has a context of its own.)
        assert ask(host.running) == b'none'
        host.wait_for(lambda: len(done) == 1)
        assert done == [host.reactor.thread]
    # The end has told it, and waited for it.
    assert done[1:] == ['stopping']


@JOBS
def test_a_hook_a_job_and_a_thread_of_the_program_s_own_may_spawn(app, job):
    done = []

    def parent():
        yield app.spawn(child())

    def child():
        yield sleep(0.001)
        app.spawn(job(done, lambda: app.stopping))

    @app.on_worker_start
    def start():
        app.spawn(parent())
        app.spawn(job(done, lambda: app.stopping))

    with serving(app) as host:
        thread = threading.Thread(
            target=lambda: app.spawn(job(done, lambda: app.stopping)))
        thread.start()
        thread.join()
        host.wait_for(lambda: len(done) == 3)
    assert done[3:] == ['stopping'] * 3


def test_a_job_begins_at_once_and_gets_a_copy_of_the_context(app):
    seen = []

    def job():
        seen.append(variable.get())
        yield sleep(1)
        seen.append(variable.get())

    @app.route('/')
    def index():
        variable.set('of the request')
        app.spawn(job())
        assert seen == ['of the request']
        variable.set('later')
        return ''

    with virtual(app) as host:
        host.connect(request()).take()
        host.advance(2)
    assert seen == ['of the request'] * 2


@pytest.mark.parametrize('handler', ['yield', 'await', 'thread'])
def test_what_it_returns_gives_the_value_and_may_be_cancelled(app, handler):
    log = []

    def quick():
        yield sleep(0.001)
        return 7

    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            log.append('cancelled')

    if handler == 'yield':
        @app.route('/')
        def index():
            value = yield app.spawn(quick())
            job = app.spawn(slow())
            yield sleep(0.001)
            job.cancel()
            try:
                yield job
            except Cancelled:
                yield f'{value} {log}'
    elif handler == 'await':
        @app.route('/')
        async def index():
            value = await app.spawn(quick())
            job = app.spawn(slow())
            await asyncio.sleep(0.001)
            job.cancel()
            while not job.done():
                await asyncio.sleep(0.001)
            return f'{value} {log}'
    else:
        @app.route('/')
        def index(reactor, thread=True):
            value = app.spawn(quick()).result()
            job = app.spawn(slow())
            sleep(0.001).result()
            reactor.call_soon_threadsafe(job.cancel)
            with pytest.raises(Cancelled):
                job.result()
            return f'{value} {log}'

    with serving(app) as host:
        assert ask(host.running) == b"7 ['cancelled']"
        assert host.on_loop(lambda: dict(host.server.jobs)) == {}


# -- failures -------------------------------------------------------------------------------------


@JOBS
def test_a_failure_is_logged_at_once_with_the_job_and_its_place(app, job, logged):
    def broken():
        raise ValueError('on purpose')

    @app.route('/')
    def index():
        app.kept = app.spawn(job([], broken))    # (Its Future is kept.)
        return ''

    with serving(app) as host:
        ask(host.running)
        host.wait_for(lambda: logged.records)
        message, = logged.messages
        assert message.startswith(f'the job {job.__qualname__}, spawned at {__file__}:')
        assert message.endswith(', failed')
        assert 'ValueError: on purpose' in logged.text and ', in broken' in logged.text
        assert host.on_loop(lambda: dict(host.server.jobs)) == {}
    assert len(logged.messages) == 1


def test_a_job_that_fails_before_it_waits_does_not_hurt_who_spawned_it(app, logged):
    def job():
        raise SystemExit(3)
        yield

    @app.route('/')
    def index():
        app.spawn(job())
        return 'well'

    with virtual(app) as host:
        assert host.connect(request()).take().body == b'well'
        host.settle()
        assert host.connect(request()).take().body == b'well'
    assert logged.text.count('SystemExit: 3') == 2


def test_who_waits_for_a_job_gets_its_error_too(app, logged):
    def job():
        yield sleep(1)
        raise ValueError('on purpose')

    @app.route('/')
    def index():
        try:
            yield app.spawn(job())
        except ValueError as error:
            yield str(error)

    with virtual(app) as host:
        assert host.connect(request()).take().body == b'on purpose'
    assert len(logged.messages) == 1


# -- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize('thread', [True, False])
@JOBS
def test_it_is_waited_for_then_named_and_cancelled_before_the_stop_hooks(
        app, job, thread, short, logged):
    log = []

    @app.on_worker_start
    def start():
        app.spawn(job([], lambda: sleep(60)))    # It does not hear of the end.

        def last():
            try:
                yield sleep(60)
            finally:
                log.append('cancelled')
        app.spawn(last())

    @app.on_worker_stop
    def stop():
        log.append('hook')

    with app.start(shutdown_timeout=0.05, thread=thread):
        pass
    assert log == ['cancelled', 'hook']
    for name in (job.__qualname__, '.last'):
        line, = (each for each in logged.messages if f'{name}, spawned at {__file__}:' in each)
        assert line.startswith('shutdown_timeout is over: the job ')
        assert f', is cancelled: {__file__}:' in line
    assert len(logged.messages) == 2


@pytest.mark.parametrize('way', ['own', 'host', 'guest'])
def test_a_job_of_the_start_is_waited_for_and_other_work_of_the_start_is_not(app, way, reactor):
    log = []

    def saving():
        yield app.stopping
        yield sleep(0.05)
        log.append('saved')

    def other():
        yield sleep(0.02)
        log.append('other')
        yield sleep(60)

    @app.on_worker_start
    def start():
        app.spawn(saving())
        log.append(Task(other()))

    @app.on_worker_stop
    def stop():
        log.pop(0).cancel()
        log.append('hook')

    if way == 'own':
        with app.start():
            pass
    elif way == 'host':
        with app.start(reactor=reactor, thread=False):
            pass
        reactor.step(0)
    else:
        async def program():
            async with app.serve():
                await asyncio.sleep(0)
        asyncio.run(program())
    assert log == ['other', 'saved', 'hook']


def test_an_asgi_application_s_jobs_end_before_its_lifespan(short):
    log = []

    async def application(scope, receive, send):
        assert scope['type'] == 'lifespan'
        await receive()
        app.spawn(job())
        await send({'type': 'lifespan.startup.complete'})
        await receive()
        log.append('shutdown')
        await send({'type': 'lifespan.shutdown.complete'})

    async def job():
        await app.stopping
        await asyncio.sleep(0.01)
        log.append('job')

    app = AsgiApplication(application)
    app.on_worker_stop(lambda: log.append('hook'))
    with app.start():
        pass
    assert log == ['job', 'shutdown', 'hook']


def test_a_job_may_spawn_another_one_at_the_end(app):
    log = []

    def first():
        yield app.stopping
        app.spawn(second())

    def second():
        yield sleep(0.02)
        yield run_in_thread(log.append, 'second')

    app.on_worker_start(lambda: app.spawn(first()) and None)
    app.on_worker_stop(lambda: log.append('hook'))
    with app.start():
        pass
    assert log == ['second', 'hook']


def test_a_renewal_does_not_wait_for_a_job_of_the_start_and_gives_it_its_time(app):
    """`finish_first` is what SIGHUP calls in a process without workers."""
    log = []

    def endless():
        yield app.stopping
        yield sleep(1)
        log.append('ended')

    def of_request():
        yield sleep(5)
        log.append('of a request')

    @app.on_worker_start
    def start():
        app.spawn(endless())

    @app.route('/')
    def index():
        app.spawn(of_request())
        return ''

    with virtual(app) as host:
        with ending.starting(host.reactor):
            host.reactor.call_soon(lambda: None)
            app.startup(host.server.settings)
        end = ending.Ending(host.server)
        host.connect(request()).take()
        begun, drained = host.now, []
        assert end.finish_first(lambda: drained.append(host.now - begun))
        host.until(lambda: drained)
        assert 5 <= drained[0] < 5.1 and log == ['of a request']
        end.then(lambda: log.append('all'))
        host.server.drain()
        host.until(lambda: 'all' in log)
        assert log == ['of a request', 'ended', 'all']
        assert host.now - begun < 7


# -- mistakes -------------------------------------------------------------------------------------


async def with_yield():
    yield 1


@pytest.mark.parametrize(('what', 'said'), [
    (by_yield, r'by_yield is a function: call it, by_yield\(\), to get a generator or a coroutine'),
    (by_await, r'by_await is a function: call it, by_await\(\), to get a generator or a coroutine'),
    (ask, r'the plain function ask: .* `yield` .*`yield run_in_thread\(function\)`'),
    (None, r'got None: .* `yield` .*`yield run_in_thread\(function\)`'),
    (3, '3 is no Future, generator or coroutine'),
    (with_yield(), 'with_yield is an asynchronous generator: leave out its `yield`'),
])
def test_what_is_no_job_is_told_what_to_write(app, what, said):
    with virtual(app), pytest.raises(TypeError, match=said):
        app.spawn(what)


def test_a_future_runs_already(app):
    with virtual(app) as host, pytest.raises(
            TypeError, match='runs already: yield it, or await it'):
        app.spawn(Future(host.reactor))


@JOBS
def test_before_the_server_runs_it_says_where_to_write_it(app, job):
    with warnings.catch_warnings(), pytest.raises(
            InvalidState, match=r'in a function below `@app\.on_worker_start`'):
        warnings.simplefilter('error')
        app.spawn(job([], lambda: sleep(0)))
    with app.start(thread=False):
        pass
    with pytest.raises(InvalidState, match='on_worker_start'):
        app.spawn(job([], lambda: sleep(0)))


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_process_that_was_forked_has_no_server(app):
    with app.start(thread=False):
        app._process += 1    # What a child sees.
        with pytest.raises(InvalidState, match='on_worker_start'):
            app.spawn(by_yield([], lambda: sleep(0)))
        app._process -= 1


# -- tremolo 0.5 ----------------------------------------------------------------------------------


def test_two_applications_share_no_jobs(app):
    """Fault 39: `WorkerContext._tasks` was an attribute of the class, shared by all."""
    other = Tremolo()
    log = []

    def job(application, name):
        yield application.stopping
        log.append(name)

    with virtual(app) as host, virtual(other) as other_host:
        app.spawn(job(app, 'one'))
        other.spawn(job(other, 'two'))
        assert len(host.server.jobs) == len(other_host.server.jobs) == 1
        host.server.drain()
        host.settle()
        assert log == ['one']
        assert len(other_host.server.jobs) == 1
    with virtual(app) as host:
        assert host.server.jobs == {}


@pytest.mark.parametrize('name', ['add_task', 'create_task', 'add_background_task'])
def test_the_old_names_are_told_what_to_write(app, name, logged):
    @app.route('/')
    def index():
        getattr(app, name)(None)

    with virtual(app) as host:
        assert host.connect(request()).take().status == 500
    assert 'write app.spawn(job())' in logged.text


def test_a_job_survives_the_client_that_began_it(app):
    log = []

    def job():
        yield sleep(10)
        log.append('done')

    @app.route('/')
    def index():
        app.spawn(job())
        yield sleep(60)

    with virtual(app) as host:
        client = host.connect(request())
        host.settle()
        client.reset()
        host.advance(11)
        assert log == ['done']
        assert not host.reactor.tasks


def test_ten_thousand_jobs_leave_nothing(app):
    def job(seconds):
        yield sleep(seconds)

    with virtual(app) as host:
        for number in range(10_000):
            app.spawn(job(number / 1000))
        assert len(host.server.jobs) == 10_000
        host.advance(11)
        assert host.server.jobs == {} and not host.reactor.tasks


def test_a_reactor_of_the_program_s_own(app):
    reactor = Reactor()
    log = []

    def job():
        yield sleep(0.001)
        log.append('done')

    with app.start(reactor=reactor, thread=False) as server:
        app.spawn(job())
        while not log:
            server.step(0.1)
    reactor.close()
