"""Classes as handlers: an instance for each request, methods of every kind."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
from server_support import request, serving, virtual
from web_sockets import Socket

from tremolo import Forbidden, HandlerError, NotFound, Tremolo, sleep


def ask(app, target='/', method='GET', body=b''):
    with serving(app, port=0) as host:
        answer, = host.ask(request(target, method, 'Connection: close', body=body), method)
        return answer


def site(view, path='/', **more):
    app = Tremolo()
    assert app.route(path, **more)(view) is view
    return app


class Kinds:
    made: list[object] = []    # noqa: RUF012 (of the class: the instances are counted)

    def __init__(self):
        self.made.append(self)
        self.thread = threading.current_thread()

    def get(self, id):
        return f'get {id} {len(self.made)}'

    def post(self, id, request):
        yield sleep(0.001)
        data = yield request.body()
        yield f'post {id} {data.decode()} {len(self.made)}'

    def put(self, id, thread=True):
        assert threading.current_thread() is self.thread is not threading.main_thread()
        return f'put {id} {len(self.made)}'

    async def patch(self, id):
        await sleep(0.001)
        return f'patch {id} {len(self.made)}'

    async def delete(self, **server):
        yield f'delete {server["id"]} {len(self.made)}'


def test_each_kind_of_method_and_an_instance_for_each_request():
    Kinds.made = []
    app = site(Kinds, '/page/<int:id>')
    for at, method in enumerate(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'], 1):
        body = b'data' if method == 'POST' else b''
        answer = ask(app, '/page/7', method, body)
        said = 'post 7 data' if method == 'POST' else f'{method.lower()} 7'
        assert (answer.status, answer.body.decode()) == (200, f'{said} {at}')
    assert len(set(map(id, Kinds.made))) == 5
    answer = ask(app, '/page/7', 'OPTIONS')
    assert answer.headers['allow'] == 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT'
    assert len(Kinds.made) == 5


def test_fault_16_methods_without_server_inherited_methods_and_head_are_called():
    class Base:
        def get(self):
            return 'inherited'

        def options(self, response):
            response.headers['X-Own'] = 'options'

    class Page(Base):
        def head(self, response):
            response.headers['X-Own'] = 'head'

        def fetch(self):
            return 'no method of HTTP'

    app = site(Page)
    assert ask(app).body == b'inherited'
    assert ask(app, method='HEAD').headers['x-own'] == 'head'
    assert ask(app, method='OPTIONS').headers['x-own'] == 'options'
    refused = ask(app, method='FETCH')
    assert (refused.status, refused.headers['allow']) == (405, 'GET, HEAD, OPTIONS')


def test_the_options_are_those_of_each_method():
    class Page:
        def get(self, status=202, content_type='text/plain'):
            return 'get'

        def post(self, status=201):
            yield 'post'

    app = site(Page)
    got, posted = ask(app), ask(app, method='POST')
    assert (got.status, got.headers['content-type']) == (202, 'text/plain')
    assert (posted.status, posted.headers['content-type']) == (201, 'text/html; charset=utf-8')


def test_what_is_made_first_may_ask_for_what_handlers_get():
    class Page:
        def __init__(self, request, id, app, size=5):
            self.said = f'{request.path} {id} {type(app).__name__} {size}'

        def get(self):
            return self.said

        def post(self, id):
            return f'{self.said} {id}'

        def put(self, **server):
            return f'{self.said} {server["id"]} {"request" in server}'

    class All:
        def __init__(self, **server):
            self.server = server

        def get(self, id):
            return f'{self.server["id"]} {id}'

    @dataclass
    class Data:
        id: int

        def get(self, request):
            return f'{self.id} {request.method}'

    app = site(Page, '/a/<int:id>')
    app.route('/b/<int:id>')(All)
    app.route('/c/<int:id>')(Data)
    for target, method, body in (
            ('/a/7', 'GET', b'/a/7 7 Application 5'), ('/a/7', 'POST', b'/a/7 7 Application 5 7'),
            ('/a/7', 'PUT', b'/a/7 7 Application 5 7 True'), ('/b/7', 'GET', b'7 7'),
            ('/c/7', 'GET', b'7 GET')):
        assert ask(app, target, method).body == body


def test_static_and_class_methods_and_decorated_ones():
    def shouting(method):
        def shout(self, **server):
            return method(self).upper()
        return shout

    class Page:
        @staticmethod
        def get(request):
            return f'static {request.method}'

        @classmethod
        def post(cls, request):
            return f'{cls.__name__} {request.method}'

        @shouting
        def put(self):
            return 'put'

    app = site(Page)
    assert [ask(app, method=method).body for method in ('GET', 'POST', 'PUT')] == [
        b'static GET', b'Page POST', b'PUT']


def test_what_is_raised_while_it_is_made_is_answered(logged):
    class Page:
        def __init__(self, request):
            if request.method == 'GET':
                raise Forbidden('not you')
            raise RuntimeError('no')

        def get(self):
            yield 'never'

        async def post(self):
            return 'never'

        def put(self, thread=True):
            return 'never'

    app = site(Page)
    assert (ask(app).status, ask(app).body) == (403, b'not you')
    assert ask(app, method='POST').status == ask(app, method='PUT').status == 500
    assert logged.count('Page.post() at') == logged.count('Page.put() at') == 1


def test_a_method_may_raise_what_is_an_answer():
    class Page:
        def get(self, id):
            raise NotFound(f'no {id}')

    assert ask(site(Page, '/<id>'), '/x').body == b'no x'


def test_a_class_may_serve_a_websocket_and_requests():
    class Chat:
        def __init__(self, room):
            self.room = room

        async def get(self, websocket=None):
            if websocket is None:
                return f'the page of {self.room}'
            await websocket.accept()
            async for message in websocket:
                await websocket.send(f'{self.room}: {message}')
            return None

        def post(self):
            return 'posted'

    app = site(Chat, '/chat/<room>', origins=['https://example.org'])
    assert ask(app, '/chat/tea').body == b'the page of tea'
    assert ask(app, '/chat/tea', 'POST').body == b'posted'
    with serving(app, port=0) as host:
        peer = Socket(host.connect(), '/chat/tea', 'Origin: https://example.org')
        peer.send('hello')
        assert peer.take() == 'tea: hello'


class Waits:
    def get(self, handler_timeout=2):
        yield sleep(3)
        yield 'got'

    def post(self, handler_timeout='5s'):
        yield sleep(3)
        yield 'posted'


def test_the_handler_timeout_is_that_of_the_method(logged):
    with virtual(site(Waits), handler_timeout=1) as host:
        begun = host.now
        answer, = host.ask(request())
        assert (answer.status, host.now - begun) == (503, pytest.approx(2, abs=0.1))
        client = host.connect(request('/', 'POST'))
        assert client.take().body == b'posted'
    assert logged.count('handler_timeout') == 1


# -- mistakes -------------------------------------------------------------------------------------


def told(view, said, path='/<int:id>', **more):
    app = Tremolo()
    with pytest.raises(HandlerError, match=said):
        app.route(path, **more)(view)
    app.route(path)(lambda id: 'free')


def test_a_class_without_methods_of_http_is_told():
    class Page:
        def fetch(self, id):
            return 'x'

    told(Page, r'Page is a class that has none of the methods get, head, post, put, patch, delete')


def test_an_instance_and_a_method_without_self_are_told():
    class Page:
        def get(self):
            return b'x'

    class Selfless:
        def get():
            return b'x'

    with pytest.raises(HandlerError, match='is an instance: register its class Page'):
        Tremolo().route('/')(Page())
    with pytest.raises(HandlerError, match=r'Selfless\.get\(\) has no place .* `def get\(self\)`'):
        Tremolo().route('/')(Selfless)
    with pytest.raises(HandlerError, match='is no function'):
        Tremolo().route('/')({})


def test_methods_beside_a_class_are_told():
    class Page:
        def get(self, id):
            return 'x'

    told(Page, r'its methods are those that it has: write @app.route\(path\) without',
         methods=['GET'])
    with pytest.raises(HandlerError, match='without methods'):
        Tremolo().get('/<id>')(Page)


def test_what_a_method_cannot_get_is_told_with_its_name():
    class Asks:
        def get(self, id):
            return 'x'

        def post(self, id, colour):
            return 'x'

    class Ignores:
        def get(self):
            return 'x'

    class AsksFirst:
        def __init__(self, colour):
            pass

        def get(self, id):
            return 'x'

    class Sockets:
        def __init__(self, websocket):
            pass

        def get(self, id):
            return 'x'

    class Origins:
        def get(self, id):
            return 'x'

    class PostsSockets:
        def post(self, id, websocket):
            yield websocket.accept()

    told(Asks, r"Asks\.post\(\) at .* asks for 'colour', which no handler gets")
    told(Ignores, r"Ignores\.get\(\) at .* does not take 'id', a group of its path: write")
    told(AsksFirst, r"AsksFirst\.__init__\(\) at .* asks for 'colour'")
    told(Sockets, r'Sockets\.__init__\(\) asks for websocket: let the method `get` ask')
    told(Origins, '`origins` is for a handler of WebSockets', origins=['https://example.org'])
    told(PostsSockets, 'a WebSocket begins with GET')


def test_a_class_whose_path_is_served_already_changes_nothing():
    class Page:
        def get(self):
            return 'class'

        def post(self):
            return 'class'

    app = Tremolo()
    app.post('/')(lambda: 'function')
    with pytest.raises(ValueError, match='POST / is served already'):
        app.route('/')(Page)
    assert (ask(app).status, ask(app, method='POST').body) == (405, b'function')
