"""Routes of an application: beside `route`, OPTIONS, converters, timeouts, URLs, mistakes."""

from __future__ import annotations

import datetime
import uuid

import pytest
from server_support import request, serving, virtual

from tremolo import HandlerError, Tremolo, sleep
from tremolo.asgi_app import AsgiApplication


def ask(app, target='/', method='GET', **options):
    with virtual(app, **options) as host:
        return host.connect(request(target, method)).take(method)


# -- what the earlier tremolo got wrong -----------------------------------------------------------


def test_fault_9_a_request_changes_no_route():
    app = Tremolo()
    app.route(r'^/user\w*$')(lambda: 'user')
    app.route(r'^/users/\d+$')(lambda: 'one')
    with virtual(app) as host:
        client = host.connect()
        for _ in range(3):
            for target in '/user', '/users', '/users/7', '/user', '/users/8':
                client.send(request(target))
                assert client.take().body == (b'one' if target[-1].isdigit() else b'user')


def test_fault_20_paths_are_decoded_and_what_is_written_is_meant():
    app = Tremolo()
    for path in '/a b', '/x/re.gex', '/dollar$', '/(a|b)', '/caf\u00e9/<name>':
        app.route(path)(lambda **server: server['request'].path)
    for target in '/a%20b', '/x/re.gex', '/dollar$', '/(a|b)', '/caf%C3%A9/x', '/caf%c3%a9/%78':
        assert ask(app, target).status == 200, target
    for target in ('/x/reXgex', '/x/dollar$', '/dollar', '/a', '/b', '/a+b', '/A%20b', '//a%20b',
                   '/a%20b/', '/caf%E9'):
        assert ask(app, target).status == 404, target


def test_fault_a_query_is_no_part_of_what_is_compared():
    app = Tremolo()
    app.route('^/a$')(lambda: 'a')
    app.route('/b/<name>')(lambda name: name)
    assert ask(app, '/a?x=/b/c').body == b'a'
    assert ask(app, '/b/c?x=/a').body == b'c'
    assert ask(app, '/?/a').status == 404


def test_fault_a_handler_that_was_written_twice_is_told_and_none_wins_by_its_place():
    app = Tremolo()
    app.route('/<a>/x')(lambda a: 'first')
    with pytest.raises(ValueError, match='GET /<b>/x is served already, by /<a>/x'):
        app.route('/<b>/x')(lambda b: 'last')
    assert ask(app, '/1/x').body == b'first'


@pytest.mark.parametrize(('path', 'target'), [
    (r'^/page$', '/page%0A'), (r'^/page', '/pages'), (r'^/page$', '/page%0Ax'),
    (r'^/(?P<id>\d+)$', '/7%0A'), (r'(?m)^/page$'[4:], '/page%0A/page'), ('/page', '/page%0A'),
    ('/<int:id>', '/7%0A'), ('^(?m:/page$)', '/page%0A')])
def test_a_pattern_is_anchored_at_both_ends(path, target):
    app = Tremolo()
    app.route(path)(lambda **server: 'found')
    assert ask(app, target).status == 404


def test_an_int_of_5000_digits_is_no_match():
    app = Tremolo()
    app.route('/<int:id>')(lambda id: 'never')
    assert ask(app, '/' + '7' * 5000).status == 404
    app.route('/<name>')(lambda name: str(len(name)))
    assert ask(app, '/' + '7' * 5000).body == b'5000'


# -- beside `route` -------------------------------------------------------------------------------


def handlers():
    def plain(request):
        return request.method

    def generator(request):
        yield sleep(0.001)
        yield request.method

    def thread(request, thread=True):
        return request.method

    async def coroutine(request):
        return request.method

    return [plain, generator, thread, coroutine]


@pytest.mark.parametrize('kind', range(4))
def test_each_method_has_a_decorator_of_its_own(kind):
    app = Tremolo()
    handler = handlers()[kind]
    for name in 'get', 'post', 'put', 'patch', 'delete':
        assert getattr(app, name)('/page')(handler) is handler
    with serving(app, port=0) as host:
        for method in 'GET', 'POST', 'PUT', 'PATCH', 'DELETE':
            answer, = host.ask(request('/page', method, 'Connection: close'))
            assert answer.body == method.encode()
        refused, = host.ask(request('/page', 'BREW', 'Connection: close'))
        assert refused.headers['allow'] == 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT'
        asked, = host.ask(request('/page', 'OPTIONS', 'Connection: close'), 'OPTIONS')
        assert (asked.status, asked.headers['allow']) == (204, refused.headers['allow'])


def test_several_decorators_on_one_function_and_the_keywords_of_route():
    app = Tremolo()

    @app.get('/')
    @app.get('/page/<int:id>', name='page')
    @app.post('/page/<int:id>', name='page')
    def page(request, id=1):
        return f'{request.method} {id}'

    assert [ask(app, *asked).body for asked in (
        ('/',), ('/page/7',), ('/page/7', 'POST'))] == [b'GET 1', b'GET 7', b'POST 7']
    assert (app.url_for('page', id=7), app.url_for('page')) == ('/page/7', '/')
    with pytest.raises(TypeError):
        app.get('/x', methods=['POST'])
    with pytest.raises(HandlerError, match='`origins` is for a handler of WebSockets'):
        app.get('/x', origins=None)(lambda: 'x')


# -- other methods --------------------------------------------------------------------------------


def test_a_path_that_another_pattern_has_with_the_method_is_no_405():
    app = Tremolo()
    app.get('/item/new')(lambda: 'form')
    app.put('/item/<int:id>')(lambda id: f'put {id}')
    app.delete('/item/<name>')(lambda name: f'delete {name}')
    app.post('/<path:rest>')(lambda rest: f'post {rest}')
    app.route('^/item/.*', methods=['PATCH'])(lambda: 'patch')
    for target, method, body in (
            ('/item/new', 'GET', b'form'), ('/item/new', 'DELETE', b'delete new'),
            ('/item/7', 'DELETE', b'delete 7'), ('/item/7', 'PUT', b'put 7'),
            ('/item/new', 'POST', b'post item/new'), ('/item/7', 'PATCH', b'patch')):
        assert ask(app, target, method).body == body
    for target, allow in (('/item/new', 'DELETE, GET, HEAD, OPTIONS, PATCH, POST'),
                          ('/item/7', 'DELETE, OPTIONS, PATCH, POST, PUT'),
                          ('/item/x', 'DELETE, OPTIONS, PATCH, POST'), ('/x', 'OPTIONS, POST')):
        asked, refused = ask(app, target, 'OPTIONS'), ask(app, target, 'BREW')
        assert (asked.status, asked.headers['allow'], asked.body) == (204, allow, b'')
        assert (refused.status, refused.headers['allow']) == (405, allow)
        assert 'content-length' not in asked.headers and 'content-type' not in asked.headers
    assert ask(app, '/', 'OPTIONS').status == 404


def test_options_and_allow_tell_the_folder_too(tmp_path):
    (tmp_path / 'a').write_text('file')
    app = Tremolo()
    app.static('/files', tmp_path)
    app.post('/files/<name>')(lambda name: f'posted {name}')
    assert ask(app, '/files/a').body == b'file'
    assert ask(app, '/files/a', 'POST').body == b'posted a'
    assert ask(app, '/files/a', 'OPTIONS').headers['allow'] == 'GET, HEAD, OPTIONS, POST'
    assert ask(app, '/files', 'OPTIONS').headers['allow'] == 'GET, HEAD, OPTIONS'


@pytest.mark.parametrize('path', ['/page', '/<name>'])
def test_a_handler_of_options_wins_over_the_answer_by_itself(path):
    app = Tremolo()
    app.get(path)(lambda **server: 'page')

    @app.route(path, methods=['OPTIONS'])
    def options(response, **server):
        response.headers['X-Own'] = 'yes'
        yield sleep(0)
        yield 'own'

    answer = ask(app, '/page', 'OPTIONS')
    assert (answer.status, answer.headers['x-own'], answer.body) == (200, 'yes', b'own')
    assert ask(app, '/page', 'PUT').headers['allow'] == 'GET, HEAD, OPTIONS'


def test_the_answers_by_themselves_keep_the_connection():
    app = Tremolo()
    app.get('/page')(lambda: 'page')
    with virtual(app) as host:
        client = host.connect()
        for target, method, status in (('/page', 'OPTIONS', 204), ('*', 'OPTIONS', 204),
                                       ('/page', 'PUT', 405), ('/none', 'OPTIONS', 404),
                                       ('/page', 'GET', 200)):
            client.send(request(target, method))
            assert client.take(method).status == status


def test_with_websockets_off_their_routes_are_not_in_allow():
    app = Tremolo()

    @app.route('/<room>')
    def chat(room, websocket):
        yield websocket.accept()

    assert ask(app, '/tea', 'OPTIONS').headers['allow'] == 'GET, OPTIONS'
    assert ask(app, '/tea', 'OPTIONS', websocket=False).status == 404
    app.post('/<path:room>')(lambda room: 'posted')
    assert ask(app, '/tea', 'OPTIONS', websocket=False).headers['allow'] == 'OPTIONS, POST'
    assert ask(app, '/tea', 'HEAD').headers['allow'] == 'GET, OPTIONS, POST'


# -- converters -----------------------------------------------------------------------------------


def test_a_converter_of_your_own():
    app = Tremolo()
    app.converters['date'] = (
        r'\d{4}-\d\d-\d\d', datetime.date.fromisoformat, datetime.date.isoformat)

    @app.route('/on/<date:day>')
    def on(day):
        return f'{day:%d.%m.%Y}'

    assert ask(app, '/on/2026-11-30').body == b'30.11.2026'
    assert ask(app, '/on/2026-13-30').status == ask(app, '/on/x').status == 404
    assert app.url_for('on', day=datetime.date(2026, 11, 30)) == '/on/2026-11-30'
    with pytest.raises(AttributeError):
        app.converters = {}


def test_a_converter_that_is_not_set_yet_is_told_and_how():
    app = Tremolo()
    with pytest.raises(ValueError, match=r"unknown converter 'date': .* app\.converters\['date'\]"):
        app.route('/on/<date:day>')
    app.converters['date'] = ('x', str, str)
    app.route('/on/<date:day>')(lambda day: day)
    # (As another framework writes it; but here `day` is a converter.)
    with pytest.raises(ValueError, match=r"write '/on/<date:day>/<int:id>'"):
        app.route('/on/<date:day>/<id:int>')
    app.converters['id'] = ('x', str, str)
    app.route('/on/<id:int>/x')(lambda int: int)
    assert ask(app, '/on/x/x').body == b'x'


@pytest.mark.parametrize('method', ['GET', 'POST', 'OPTIONS'])
def test_a_converter_that_fails_is_a_500_with_its_traceback(method, logged):
    def broken(text):
        raise KeyError(text)

    app = Tremolo()
    app.converters['broken'] = ('x+', broken, str)
    app.get('/<broken:x>')(lambda x: 'never')
    with virtual(app) as host:
        client = host.connect(request('/xx', method) + request('/y'))
        assert client.take(method).status == 500
        assert client.take().status == 404
    assert logged.count('a converter of a path failed on') == 1


# -- the time of a handler ------------------------------------------------------------------------


def timed():
    def generator(handler_timeout=0.05):
        yield sleep(60)

    def thread(request, handler_timeout='50ms', thread=True):
        return request.disconnected.result()

    async def coroutine(handler_timeout='0.05'):
        await sleep(60)

    async def asynchronous_generator(handler_timeout=0.05):
        await sleep(60)
        yield 'never'

    return [generator, thread, coroutine, asynchronous_generator]


@pytest.mark.parametrize('kind', range(4))
def test_a_route_has_a_handler_timeout_of_its_own(kind, logged):
    app = Tremolo()
    app.route('/')(timed()[kind])
    with serving(app, port=0) as host:
        answer, = host.ask(request())
        assert answer.status == 503
    assert logged.count('handler_timeout') == 1


@pytest.mark.parametrize(('own', 'server', 'waits', 'status'), [
    (2, 0, 1, 200), (2, 0, 3, 503), (5, 2, 4, 200), (5, 2, 6, 503), (1, 2, 1.5, 503),
    ('off', 2, 50_000, 200), (None, 2, 50_000, 200), (0, 2, 50_000, 200)])
def test_the_timeout_of_a_route_counts_and_not_the_servers(own, server, waits, status, logged):
    app = Tremolo()

    @app.route('/')
    def handler(handler_timeout=own):
        yield sleep(waits)
        yield 'done'

    @app.route('/other')
    def other():
        yield sleep(3)
        yield 'done'

    with virtual(app, handler_timeout=server) as host:
        client = host.connect(request())
        assert client.take().status == status
        # The next request of the connection has the server's again.
        client = client if status == 200 else host.connect()
        client.send(request('/other'))
        assert client.take().status == (503 if server else 200)
    assert logged.count('handler_timeout') == (status == 503) + bool(server)


def test_after_the_head_a_route_that_takes_too_long_is_cut(logged):
    app = Tremolo()

    @app.route('/')
    def handler(handler_timeout=2):
        yield 'begun'
        yield sleep(60)

    with virtual(app) as host:
        begun = host.now
        client = host.connect(request())
        client.until_ended()
        assert client.ended_at - begun == pytest.approx(2, abs=0.1)
        assert client.received.endswith(b'begun\r\n')
        assert host.closed == {'handler_timeout': 1}
    assert logged.count('handler_timeout') == 1


@pytest.mark.parametrize('value', ['soon', -1, [], '5 parsecs'])
def test_a_timeout_that_is_none_is_told(value):
    def handler(handler_timeout=value):
        return 'x'

    with pytest.raises(HandlerError, match=r'handler\(\) at .*: handler_timeout: .*'):
        Tremolo().route('/')(handler)


# -- URLs -----------------------------------------------------------------------------------------


def test_url_for_in_a_handler_leads_to_the_route():
    app = Tremolo()

    @app.get('/notes/<uuid:key>/<name>')
    def note(key, name):
        return f'{key.hex} {name}'

    @app.get('/')
    def index(app):
        return app.url_for('note', key=uuid.UUID(int=7), name='a/b ä')

    url = ask(app).body.decode()
    assert url == '/notes/00000000-0000-0000-0000-000000000007/a%2Fb%20%C3%A4'
    assert ask(app, url).body.decode() == f'{uuid.UUID(int=7).hex} a/b ä'


def test_url_for_has_the_prefix_of_a_mount_and_of_a_proxy():
    app = Tremolo()
    app.get('/page')(lambda app: app.url_for('page'))
    app.get('/named/<name>/<self>', name='page')(lambda **server: '')
    app.route('/page/<int:id>', name='page')(lambda app, id: app.url_for('page', id=id + 1))
    outer = Tremolo()
    outer.mount('/sub', app)
    assert ask(outer, '/sub/page/7').body == b'/sub/page/8'
    assert app.url_for('page', id=7) == '/sub/page/7'
    assert app.url_for('page', name='x', self='y') == '/sub/named/x/y'
    assert ask(outer, '/sub/page/7', root_path='/api').body == b'/api/sub/page/8'


def test_url_for_tells_what_there_is():
    app = Tremolo()
    app.get('/page/<int:id>', name='page')(lambda id: '')
    app.get('/other')(handlers)
    with pytest.raises(ValueError, match="no route has the name 'pages': there are page, handlers"):
        app.url_for('pages')
    with pytest.raises(ValueError, match=r"'page' has no route with these groups \(none\)"):
        app.url_for('page')
    with pytest.raises(ValueError, match="id of '/page/<int:id>': 'x' does not match <int:"):
        app.url_for('page', id='x')
    for name in '', 7, b'page':
        with pytest.raises(ValueError, match=r"is str, not .*: write name='page'"):
            app.get('/x', name=name)


def test_an_asgi_application_has_no_routes():
    assert not hasattr(AsgiApplication(lambda: None), 'url_for')


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', ['/<id>/<name>', r'^/(?P<id>a)/(?P<name>b)', '/<id>-<name>'])
def test_a_group_that_the_handler_does_not_take_is_told(path):
    app = Tremolo()
    for handler in (lambda name: '', lambda: '', lambda name, colour=1: ''):
        with pytest.raises(HandlerError, match="does not take 'id', a group of its path: write it"):
            app.route(path)(handler)
    app.route(path)(lambda id, name='x': f'{id} {name}')
    app.route(path, methods=['PUT'])(lambda **server: '')
    app.route(path, methods=['POST'])(lambda id, **server: '')
