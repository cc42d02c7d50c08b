"""How the server of a test client begins and ends, and where a client may be used."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading

import pytest
from client_support import KINDS, alive, asgi_app, coroutines, generators

from tremolo import Tremolo, run_in_thread, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.exceptions import HookFailed, InvalidState, LifespanFailed, SettingError


@pytest.fixture
def app():
    app = Tremolo()
    app.context.seen = []

    @app.on_worker_start
    def begin(context):
        context.seen.append('start')

    @app.on_worker_start
    async def begin_later(context):
        await asyncio.sleep(0)
        context.seen.append('start, too')

    @app.on_worker_stop
    async def end(context):
        context.seen.append('stop')

    @app.route('/')
    def index(context, app):
        app.context.seen.append('request')
        return {}

    return app


def test_hooks_run_in_a_block_and_only_there(app):
    app.client().get('/')
    assert app.context.seen == ['request']
    app.context.seen.clear()
    with app.client() as client:
        assert app.context.seen == ['start', 'start, too']
        client.get('/')
        # Another client is another user of the same server.
        with app.client() as other:
            other.cookies['a'] = 'b'
            other.get('/')
            assert not client.cookies
        client.get('/')
    assert app.context.seen == ['start', 'start, too', 'request', 'request', 'request', 'stop']
    app.context.seen.clear()
    with app.client() as client:
        client.get('/')
    assert app.context.seen == ['start', 'start, too', 'request', 'stop']


def test_hooks_run_in_a_block_of_asyncio(app):
    async def main():
        async with app.client() as client, app.client() as other:
            await client.get('/')
            await other.get('/')

    asyncio.run(main())
    assert app.context.seen == ['start', 'start, too', 'request', 'request', 'stop']


def test_a_lifespan_runs_and_its_state_is_there():
    seen = []

    async def app(scope, receive, send):
        if scope['type'] == 'lifespan':
            assert (await receive())['type'] == 'lifespan.startup'
            scope['state']['pool'] = 'mine'
            await send({'type': 'lifespan.startup.complete'})
            assert (await receive())['type'] == 'lifespan.shutdown'
            seen.append('shutdown')
            await send({'type': 'lifespan.shutdown.complete'})
            return
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': str(scope['state']).encode()})

    service = AsgiApplication(app)
    with service.client() as client:
        assert client.get('/').text == "{'pool': 'mine'}"
        assert not seen
    assert seen == ['shutdown']
    assert service.client().get('/').text == '{}'


@pytest.mark.parametrize('looped', [False, True])
def test_what_fails_at_the_start_or_the_end_is_raised(looped, logged):
    app = Tremolo()
    fails = {'start'}

    @app.on_worker_start
    def begin():
        if 'start' in fails:
            raise KeyError('begin')

    @app.on_worker_stop
    async def end():
        raise KeyError('end')

    @app.route('/')
    def index():
        return 'here'

    async def inside():
        async with app.client() as client:
            assert (await client.get('/')).text == 'here'

    def use():
        if looped:
            return asyncio.run(inside())
        with app.client() as client:
            assert client.get('/').text == 'here'
        return None

    with pytest.raises(HookFailed, match="begin failed: KeyError") as raised:
        use()
    assert isinstance(raised.value.__cause__, KeyError)
    fails.clear()
    with pytest.raises(HookFailed, match='end failed: KeyError'):
        use()
    # What failed in the block is what is raised.
    with pytest.raises(ZeroDivisionError), app.client():
        raise ZeroDivisionError
    with app.client(raise_errors=False):
        pass
    assert logged.count('the hook') == 4


@pytest.mark.parametrize('when', ['startup', 'shutdown'])
def test_a_lifespan_that_fails_is_raised(when, logged):
    async def app(scope, receive, send):
        while True:
            kind = (await receive())['type']
            ending = 'failed' if kind.endswith(when) else 'complete'
            await send({'type': f'{kind}.{ending}', 'message': 'no database'})

    with pytest.raises(LifespanFailed, match='no database'), AsgiApplication(app).client():
        assert when == 'shutdown'


def test_options_are_keywords(app):
    with app.client(body_size='1KiB', debug=True, shutdown_timeout=1):
        assert app.context.options['body_size'] == 1024
        assert app.context.options['debug'] is True
    with pytest.raises(SettingError, match='nothing'):
        app.client(nothing=1)
    with pytest.raises(SettingError, match='workers'):
        app.client(workers=2)


def test_it_listens_nowhere(app):
    app.listen(1)    # (It may not.)
    with app.client() as client:
        assert client.get('/').status == 200
        assert app.tested.server.urls == []


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_is_left_behind(kind):
    before = alive()
    with kind().client() as client:
        client.post('/echo', data=b'x')
        with client.stream('GET', '/hello') as answer:
            assert answer.status == 200
    client.get('/hello')
    del client, answer
    gc.collect()
    assert alive() == before


def test_a_loop_of_another_kind_works():
    for kind in generators, coroutines:
        with kind().client(loop='asyncio') as client:
            assert client.get('/hello').text == 'Hello world!'
    with pytest.raises(SettingError, match='no_loop'):
        coroutines().client(loop='no_loop')


def test_background_work_is_waited_for():
    app, ended = Tremolo(), []

    def job():
        yield sleep(0.02)
        ended.append(1)

    @app.route('/')
    def index(app):
        from tremolo import spawn
        spawn(job())
        run_in_thread(ended.append, 2)
        return ''

    app.client().get('/')
    assert sorted(ended) == [1, 2]
    with app.client() as client:
        client.get('/')
    assert sorted(ended) == [1, 1, 2, 2]


def test_what_the_test_has_set_in_its_context_is_there():
    user = contextvars.ContextVar('user', default='nobody')
    app = Tremolo()

    @app.route('/')
    def index():
        return user.get()

    token = user.set('Ada')
    assert app.client().get('/').text == 'Ada'
    with app.client() as client:
        assert client.get('/').text == 'Ada'
    user.reset(token)


def test_it_can_be_used_again_after_an_error(app):
    client = app.client()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), client:
            client.get('/')
            raise ZeroDivisionError
    assert client.get('/').status == 200


# Where it may not be used

def test_in_a_running_loop_the_plain_form_is_refused(app):
    async def main():
        client = app.client()
        for use in (lambda: client.get('/'), client.__enter__,
                    client.stream('GET', '/').__enter__, client.websocket('/').__enter__):
            with pytest.raises(InvalidState, match=r'write `async with app.client'):
                use()

    asyncio.run(main())
    with app.client() as client:
        async def inside():
            with pytest.raises(InvalidState, match=r'write `async with app.client'):
                client.get('/')
            with pytest.raises(InvalidState, match='open outside this loop'):
                async with app.client():
                    pass
        asyncio.run(inside())
        assert client.get('/').status == 200


def test_the_form_of_asyncio_has_no_plain_block(app):
    async def main():
        async with app.client() as client:
            with pytest.raises((AttributeError, TypeError)), client:
                pass
            with pytest.raises(InvalidState, match=r'write `async with client\.stream'), \
                    client.stream('GET', '/'):
                pass
        with pytest.raises(InvalidState, match=r'write `with client\.stream'):
            async with app.client().stream('GET', '/'):
                pass

    asyncio.run(main())


@pytest.mark.parametrize('in_thread', [False, True])
def test_a_handler_cannot_ask_its_own_application(in_thread):
    app, told = Tremolo(), []

    @app.route('/')
    def index(app, thread=in_thread):
        try:
            app.client().get('/')
        except InvalidState as error:
            told.append(str(error))
        return 'done'

    assert app.client().get('/').text == 'done'
    with app.start() as server:
        import urllib.request
        with urllib.request.urlopen(server.url, timeout=30) as answer:
            assert answer.read() == b'done'
    assert 'in another thread' in told[0] if in_thread else 'a handler of this' in told[0]
    assert 'is served already' in told[1]


def test_a_handler_can_ask_another_application(app):
    front = Tremolo()

    @front.route('/')
    def index():
        return app.client().get('/').json()

    assert front.client().get('/').json() == {}


def test_other_threads_may_have_clients_but_not_at_once(app):
    told = []

    def use(client):
        try:
            told.append(client.get('/').status)
        except InvalidState as error:
            told.append(str(error))

    def in_thread(client):
        thread = threading.Thread(target=use, args=(client,))
        thread.start()
        thread.join()

    client = app.client()
    in_thread(client)
    with client:
        in_thread(client)
        in_thread(app.client())
        assert client.get('/').status == 200
    in_thread(client)
    assert [told[0], told[3]] == [200, 200]
    assert all('open in another thread' in each for each in told[1:3])


def test_clients_that_do_not_fit_together_are_told(app):
    with app.client() as client:
        with pytest.raises(InvalidState, match='other options'):
            app.client(body_size=5).get('/')
        with pytest.raises(InvalidState, match='served already \\(for a test client\\)'):
            app.start()
        with pytest.raises(InvalidState, match='in use already'), client:
            pass
        with client.stream('GET', '/'), pytest.raises(InvalidState, match='in use already'):
            client.__enter__()
    with app.client().stream('GET', '/'):
        with pytest.raises(InvalidState, match='without its hooks'), app.client():
            pass
        assert app.client().get('/').status == 200
    with app.start(), pytest.raises(InvalidState, match='served already'):
        app.client().get('/')


def test_an_application_that_stops_itself_is_told(app):
    @app.route('/stop')
    def stop(app):
        app.stop()
        return 'bye'

    with app.client() as client:
        assert client.get('/stop').text == 'bye'
        with pytest.raises(InvalidState, match='has stopped'):
            client.get('/')
    with app.client() as client:
        assert client.get('/').status == 200


def test_what_is_open_only_in_a_block_says_so(app):
    client = app.client()
    with pytest.raises(AttributeError, match=r'write `with client\.stream'):
        _ = client.stream('GET', '/').status
    with pytest.raises(AttributeError, match=r'write `with client\.websocket'):
        client.websocket('/').send('a')
    with client.stream('GET', '/') as answer:
        pass
    with pytest.raises(RuntimeError, match='has ended'):
        answer.read()


def test_asgi_state_and_many_blocks_leave_no_descriptor():
    for _ in range(20):
        with AsgiApplication(asgi_app).client() as client:
            assert client.get('/hello').status == 200
