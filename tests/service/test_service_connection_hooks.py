"""`on_connect` and `on_close`: what is called when a connection begins, and when it has ended."""

from __future__ import annotations

import asyncio

import pytest
from server_support import request, serving, virtual

from tremolo import HandlerError, Tremolo, sleep
from tremolo.asgi_app import AsgiApplication


def test_they_get_the_connection_and_the_reason():
    app = Tremolo()
    seen = []

    @app.on_connect
    def begin(connection, app):
        connection.context.number = len(seen)
        seen.append(connection.addresses[0] is not None)

    app.on_close(lambda connection, reason: seen.append((connection.context.number, reason)))
    app.on_close(lambda reason, **more: seen.append(f'first, {sorted(more)}'))
    app.route('/')(lambda request: str(request.connection.context.number))
    with virtual(app) as host:
        client = host.connect(request('/') + request('/'))
        assert (client.take().body, client.take().body) == (b'0', b'0')
        client.reset()
        host.advance(1)
        assert seen == [True, "first, ['app', 'connection']", (0, 'reset')]


def test_one_that_aborts_refuses_the_client():
    app = Tremolo()
    reasons = []
    app.on_connect(lambda connection: connection.abort('refused'))
    app.on_close(lambda connection, reason: reasons.append(reason))
    app.route('/')(lambda: pytest.fail('it is refused'))
    with virtual(app) as host:
        client = host.connect(request('/'))
        client.until_ended()
        host.settle()
        assert client.received == b''
        assert not host.server.connections
    assert reasons == ['refused']


def test_generators_and_coroutines_go_on_as_jobs_and_a_failure_is_logged_at_once(logged):
    app = Tremolo()
    done = []

    @app.on_connect
    def generator(connection):
        yield sleep(0.001)
        done.append('generator')
        raise KeyError('generator')

    @app.on_connect
    async def coroutine(connection):
        await sleep(0.001)
        done.append('coroutine')
        raise KeyError('coroutine')

    @app.on_connect
    def plain(connection):
        raise KeyError('plain')

    app.route('/')(lambda: 'hello')
    with serving(app) as host:
        assert host.ask(request('/', 'GET', 'Connection: close'))[0].body == b'hello'
        host.wait_for(lambda: len(done) == 2 and logged.count('failed') == 3)
    for kind in 'generator', 'coroutine', 'plain':
        assert f"KeyError: '{kind}'" in logged.text
    assert logged.count('.plain failed') == 1


def test_those_of_an_asgi_application_and_of_a_mount_are_called():
    async def asgi(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 204, 'headers': []})
        await send({'type': 'http.response.body'})

    outer, inner, seen = Tremolo(), AsgiApplication(asgi), []
    outer.mount('/sub', inner)
    for name, app in (('outer', outer), ('inner', inner)):
        app.on_connect(lambda connection, name=name: seen.append(f'{name} connects'))
        app.on_close(lambda connection, name=name: seen.append(f'{name} closes'))
    with serving(outer, lifespan='off') as host:
        assert host.ask(request('/sub/', 'GET', 'Connection: close'))[0].status == 204
        host.wait_for(lambda: len(seen) == 4)
    assert sorted(seen) == ['inner closes', 'inner connects', 'outer closes', 'outer connects']


def test_each_address_of_listen_has_them():
    app = Tremolo()
    seen = []
    app.on_connect(lambda connection: seen.append(connection.addresses[1][1]))
    app.listen(0, idle_timeout=5)
    with virtual(app) as host:
        for number in range(2):
            host.connect(request('/'))
            host.connect(request('/'), number).take()
    assert len(set(seen)) == 2


@pytest.mark.parametrize(('register', 'hook', 'told'), [
    ('on_connect', lambda connection, reason: None, "asks for 'reason'"),
    ('on_close', lambda sock: None, "asks for 'sock'"), ('on_close', 5, 'no function')])
def test_what_is_no_hook_is_told(register, hook, told):
    with pytest.raises(HandlerError, match=told):
        getattr(Tremolo(), register)(hook)


@pytest.mark.parametrize('error', [SystemExit, GeneratorExit, asyncio.CancelledError])
def test_an_exit_is_logged_and_no_end_of_the_server(error, logged):
    app = Tremolo()

    def leave(connection):
        raise error('on purpose')

    app.on_connect(leave)
    app.on_close(leave)
    app.route('/')(lambda: 'hello')
    with serving(app) as host:
        for _ in range(2):
            client = host.connect(request('/'))
            assert client.take().body == b'hello'
            client.reset()
        host.wait_for(lambda: logged.count('the hook') == 4)
    assert logged.text.count(f'{error.__name__}: on purpose') >= 4


def test_what_would_never_run_is_told():
    async def asynchronous(connection):
        yield

    def by_place(connection, /):
        pass

    for function, said in ((asynchronous, 'is an asynchronous generator, which nothing runs'),
                           (by_place, 'connection cannot be given by name'),
                           (Tremolo, 'is no function: write the decorator above one')):
        for register in Tremolo().on_connect, Tremolo().on_close:
            with pytest.raises(HandlerError, match=said):
                register(function)
