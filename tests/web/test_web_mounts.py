"""Mounts: other applications below a prefix, and how they live."""

from __future__ import annotations

import asyncio

import pytest
from server_support import request, serving, virtual

from tremolo import HandlerError, Tremolo, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.errors import HookFailed, LifespanFailed


def tell(request, name=None):
    return f'{request.path} {request.root_path}'


def inner_application(path='/'):
    app = Tremolo()
    app.route(path)(tell)
    return app


def asked(host, *targets, method='GET'):
    found = host.ask(b''.join(request(target, method) for target in targets), *[method] * len(
        targets))
    return [(each.status, each.body.decode()) for each in found]


def test_the_path_stays_whole_and_root_path_is_the_prefix():
    app, inner = Tremolo(), inner_application()
    inner.route('/page/<int:number>')(lambda request, number: f'{request.root_path} {number}')
    app.route('/')(tell)
    app.mount('/sub', inner)
    with virtual(app) as host:
        assert asked(host, '/', '/sub/', '/sub/page/7') == [
            (200, '/ '), (200, '/sub/ /sub'), (200, '/sub 7')]
        found = asked(host, '/sub/x', '/page/7', '/subx', '/su')
        assert [status for status, _ in found] == [404] * 4


def test_a_route_of_the_inner_one_is_not_compared_with_the_whole_path():
    app, inner = Tremolo(), inner_application('/sub/x')
    app.mount('/sub', inner)
    with virtual(app) as host:
        assert asked(host, '/sub/x')[0][0] == 404
        assert asked(host, '/sub/sub/x') == [(200, '/sub/sub/x /sub')]


@pytest.mark.parametrize('method', ['GET', 'HEAD', 'POST', 'OPTIONS', 'BREW'])
def test_the_prefix_itself_is_redirected_by_308_whatever_the_method(method):
    """A fault of 0.5: `/sub` was a 404."""
    app = Tremolo()
    app.mount('/a/sub/', inner_application())
    with virtual(app) as host:
        for target, location in (('/a/sub', '/a/sub/'), ('/a/sub?x=1&y=/', '/a/sub/?x=1&y=/'),
                                 ('/a/s%75b', '/a/s%75b/')):
            answer, = host.ask(request(target, method), method)
            assert (answer.status, answer.headers['location']) == (308, location)


def test_the_redirect_never_names_another_host():
    app, inner = Tremolo(), Tremolo()
    inner.mount('/evil.example', Tremolo())
    app.mount('/', inner)
    with virtual(app) as host:
        for target in '//evil.example', '/%2Fevil.example', '//evil.example?x':
            assert host.ask(request(target))[0].status == 404
        answer, = host.ask(request('http://evil.example/evil.example'))
        assert answer.headers['location'] == '/evil.example/'


def test_segments_are_compared_decoded_and_a_coded_slash_parts_nothing():
    app = Tremolo()
    app.mount('/a b/ü', inner_application('/<name>'))
    with virtual(app) as host:
        assert asked(host, '/a%20b/%C3%BC/x%2Fy') == [(200, '/a b/ü/x/y /a b/ü')]
        assert asked(host, '/a%20b%2F%C3%BC/x')[0][0] == 404


def test_routes_then_the_longest_prefix_among_mounts_and_folders(tmp_path):
    (tmp_path / 'x').write_text('a file')
    app = Tremolo()
    for prefix in '/', '/sub', '/sub/deep':
        inner = Tremolo()
        inner.route('/<path:rest>')(lambda rest, prefix=prefix: prefix)
        app.mount(prefix, inner)
    app.static('/sub/files', tmp_path)
    app.route('/sub/deep/route')(lambda: 'a route')
    with virtual(app) as host:
        assert [body for _, body in asked(
            host, '/x', '/sub/x', '/sub/deep/x', '/sub/deep/route', '/sub/files/x')] == [
                '/', '/sub', '/sub/deep', 'a route', 'a file']
        # A route has come first, and has not the method: the mount may have it.
        assert asked(host, '/sub/deep/route', method='POST')[0][0] == 405


def test_mounts_in_mounts_with_middleware_and_error_handlers_of_each():
    """Faults of 0.5: error handlers were dropped; the longest prefix's middleware alone ran."""
    app, middle, deep = Tremolo(), Tremolo(), inner_application('/page')
    order = []
    for name, each in (('app', app), ('middle', middle), ('deep', deep)):
        def note(request, response, name=name):
            order.append(f'{name} {request.root_path}')
            yield
            order.append(f'{name} {request.root_path}')
            response.headers.add('X-Name', name)
        each.middleware(note)
    deep.error(404)(lambda request: f'lost in {request.root_path}')
    middle.mount('/deep', deep)
    app.mount('/middle', middle)
    with virtual(app) as host:
        page, lost = host.ask(request('/middle/deep/page') + request('/middle/deep/x'))
    assert page.body == b'/middle/deep/page /middle/deep'
    assert page.headers['x-name'] == 'deep, middle, app'
    assert order[:6] == ['app ', 'middle /middle', 'deep /middle/deep', 'deep /middle/deep',
                         'middle /middle', 'app ']
    assert (lost.status, lost.body) == (404, b'lost in /middle/deep')
    assert lost.headers['x-name'] == 'middle, app'


def test_secret_keys_context_and_groups_are_its_own():
    app, inner = Tremolo(), Tremolo()
    app.secret_keys, inner.secret_keys = ['a' * 32], ['b' * 32]
    app.context.name, inner.context.name = 'outer', 'inner'

    @app.middleware
    def seen(request, response):
        response.headers['X-Before'] = str(request.signed_cookie('outer'))
        yield
        response.set_cookie('outer', 'o', signed=True)    # With the outer keys again.

    def hello(request, response, globals, app):
        response.set_cookie('inner', 'i', signed=True)
        return f'{globals.name} {request.signed_cookie("inner")} {request.signed_cookie("outer")}'

    inner.route('/')(hello)
    app.mount('/sub', inner)
    with virtual(app) as host:
        first, = host.ask(request('/sub/'))
        cookies = [each.partition(';')[0] for each in first.headers['set-cookie'].split(', ')]
        second, = host.ask(request('/sub/', 'GET', f'Cookie: {"; ".join(cookies)}'))
    assert first.body == b'inner None None'
    assert second.body == b'inner i None'
    assert second.headers['x-before'] == 'o'
    assert app.group('a') is not inner.group('a')


@pytest.mark.parametrize('kind', ['plain', 'thread', 'generator', 'coroutine'])
def test_handlers_of_each_kind_and_what_they_get(kind):
    inner = Tremolo()

    def plain(app, lock, loop, logger):
        return f'{app is inner}'

    def thread(app, thread=True):
        return f'{app is inner}'

    def generator(app):
        yield sleep(0.001)
        yield f'{app is inner}'

    async def coroutine(app):
        await sleep(0.001)
        return f'{app is inner}'

    inner.route('/')({each.__name__: each for each in (plain, thread, generator, coroutine)}[kind])
    app = Tremolo()
    app.mount('/sub', inner)
    with serving(app) as host:
        assert host.ask(request('/sub/', 'GET', 'Connection: close'))[0].body == b'True'


# -- how they live ---------------------------------------------------------------------------------

def with_hooks(app, name, order):
    @app.on_worker_start
    def begin():
        order.append(f'{name} starts')

    @app.on_worker_stop
    def end():
        order.append(f'{name} stops')

    return app


def asgi(name, order, fail=False):
    async def application(scope, receive, send):
        if scope['type'] == 'lifespan':
            await receive()
            if fail:
                await send({'type': 'lifespan.startup.failed', 'message': 'no database'})
                return
            order.append(f'{name} starts')
            scope['state']['name'] = name
            await send({'type': 'lifespan.startup.complete'})
            await receive()
            order.append(f'{name} stops')
            await send({'type': 'lifespan.shutdown.complete'})
            return
        body = f"{scope['path']} {scope['root_path']} {scope['state']['name']}".encode()
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': body})

    return application


def wsgi(environ, start_response):
    start_response('200 OK', [])
    return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()]


def family(order):
    app = with_hooks(Tremolo(), 'outer', order)
    middle = with_hooks(Tremolo(), 'middle', order)
    middle.mount('/asgi', asgi('asgi', order))
    app.mount('/middle', middle)
    app.mount('/other', asgi('other', order))
    app.mount('/wsgi', wsgi)
    return app


LIFE = ['outer starts', 'middle starts', 'asgi starts', 'other starts',
        'other stops', 'asgi stops', 'middle stops', 'outer stops']


def test_asgi_and_wsgi_applications_and_their_lifespans():
    order = []
    with serving(family(order)) as host:
        client = host.connect()
        for target, body in (('/middle/asgi/x', b'/middle/asgi/x /middle/asgi asgi'),
                             ('/other/', b'/other/ /other other'), ('/wsgi/x', b'/wsgi /x')):
            client.send(request(target))
            assert client.take().body == body
        assert order == LIFE[:4]
    assert order == LIFE


def test_they_live_inside_an_asyncio_program():
    order = []

    async def main():
        async with family(order).serve() as server:
            reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
            writer.write(request('/other/', 'GET', 'Connection: close'))
            assert (await reader.read()).endswith(b'/other/ /other other')
            writer.close()

    asyncio.run(main())
    assert order == LIFE


@pytest.mark.parametrize(('inner', 'error'), [
    (asgi('x', [], fail=True), LifespanFailed), (None, HookFailed)])
def test_one_that_does_not_start_is_named(inner, error, logged):
    app = Tremolo()
    if inner is None:
        inner = Tremolo()

        @inner.on_worker_start
        def begin():
            raise OSError('no database')

    middle = Tremolo()
    middle.mount('/deep', inner)
    app.mount('/sub', middle)
    with pytest.raises(error, match=r'mounted at /sub: mounted at /deep: .*no database'):
        app.start()


def test_an_application_is_free_again_when_the_server_has_stopped():
    app, inner = Tremolo(), inner_application()
    app.mount('/sub', inner)
    for _ in range(2):
        with virtual(app) as host:
            assert asked(host, '/sub/')[0][0] == 200
            with pytest.raises(Exception, match='served already'):
                inner.start()


def test_one_that_is_mounted_can_be_served_by_itself_too():
    inner, app = Tremolo(), Tremolo()
    inner.secret_keys = ['a' * 32]

    @inner.route('/', name='home')
    def home(response):
        response.set_cookie('a', '1', signed=True)
        return inner.url_for('home')

    app.mount('/sub', inner)
    for served, target, body in ((app, '/sub/', b'/sub/'), (inner, '/', b'/')):
        with virtual(served) as host:
            answer, = host.ask(request(target))
            assert (answer.status, answer.body) == (200, body)


def test_a_lifespan_that_ends_itself_stops_the_outer_application(logged):
    async def broken(scope, receive, send):
        await receive()
        await send({'type': 'lifespan.startup.complete'})
        await asyncio.sleep(0.01)
        raise SystemExit(3)

    app = Tremolo()
    app.mount('/sub', broken)
    with serving(app) as host:
        host.wait_for(host.server.stopped.done)
    assert isinstance(app.failure, LifespanFailed)


def test_the_websocket_of_a_mounted_application():
    app, inner = Tremolo(), Tremolo()

    @inner.route('/chat')
    def chat(websocket, request):
        yield websocket.accept(headers={'X-Root': request.root_path})

    app.mount('/sub', inner)
    with virtual(app) as host:
        client = host.connect(request(
            '/sub/chat', 'GET', 'Connection: Upgrade', 'Upgrade: websocket',
            'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='))
        client.until(b'\r\n\r\n')
        assert client.received.startswith(b'HTTP/1.1 101 ')
        assert b'X-Root: /sub\r\n' in client.received


# -- mistakes --------------------------------------------------------------------------------------

def test_a_mount_inside_itself_is_told():
    app, inner = Tremolo(), Tremolo()
    with pytest.raises(ValueError, match='inside itself'):
        app.mount('/sub', app)
    app.mount('/sub', inner)
    with pytest.raises(ValueError, match='inside itself, also not through another one'):
        inner.mount('/sub', app)
    with pytest.raises(ValueError, match='mounted already: make one for each place'):
        app.mount('/other', inner)


@pytest.mark.parametrize('prefix', ['sub', '^/sub', '/<name>', '/a//b', '/a%20b', None, ''])
def test_what_is_no_prefix_is_told(prefix):
    with pytest.raises(ValueError, match=r'prefix|path'):
        Tremolo().mount(prefix, Tremolo())


def test_a_prefix_that_is_served_is_told(tmp_path):
    app = Tremolo()
    app.mount('/sub', Tremolo())
    with pytest.raises(ValueError, match='all below /sub/ is served already'):
        app.mount('/sub/', Tremolo())
    app.static('/files', tmp_path)
    inner = Tremolo()
    with pytest.raises(ValueError, match='served already'):
        app.mount('/files', inner)
    app.mount('/other', inner)    # It is not taken for mounted.


@pytest.mark.parametrize('other', [None, 5, 'module:app', Tremolo, lambda: 'x'])
def test_what_cannot_be_mounted_is_told(other):
    with pytest.raises(HandlerError, match='cannot be mounted'):
        Tremolo().mount('/sub', other)


def test_an_application_that_says_what_it_is_can_be_mounted():
    def call(scope, receive, send):
        return asgi('x', [])(scope, receive, send)

    app = Tremolo()
    app.mount('/sub', AsgiApplication(call))
    with serving(app) as host:
        answer, = host.ask(request('/sub/', 'GET', 'Connection: close'))
        assert answer.body == b'/sub/ /sub x'


@pytest.mark.parametrize('path', ['/', '/assets', '/a%20b'])
@pytest.mark.parametrize('prefix', ['/sub', '/sub/two', '/'])
def test_a_folder_of_a_mounted_application(prefix, path, tmp_path):
    """Its files were not found: the prefix of the mount was taken for a part of their path."""
    (tmp_path / 'deep').mkdir()
    (tmp_path / 'deep' / 'a.txt').write_text('hello')
    outer, middle, inner = Tremolo(), Tremolo(), Tremolo()
    inner.static(path.replace('%20', ' '), tmp_path)
    middle.mount('/inner', inner)
    outer.mount(prefix, middle)
    base = prefix.rstrip('/') + '/inner' + path.rstrip('/')
    with virtual(outer) as host:
        found, lost, folder = host.ask(b''.join(
            request(base + each) for each in ('/deep/a.txt', '/a.txt', '/deep')))
    assert (found.status, found.body, lost.status) == (200, b'hello', 404)
    assert (folder.status, folder.headers['location']) == (308, f'{base}/deep/')
