"""Routing: which paths and methods go where, and what is refused at registration."""

from __future__ import annotations

import pytest
from server_support import answers, request, virtual

from tremolo import Tremolo
from tremolo.routing import Router


def ask(app, target, method='GET'):
    with virtual(app) as host:
        client = host.connect(request(target, method))
        return client.take(method)


def show(**server):
    names = {'app', 'context', 'globals', 'lock', 'logger', 'loop', 'reactor', 'request',
             'response'}
    return repr({name: server[name] for name in sorted(server) if name not in names})


def test_the_same_handler_may_serve_several_paths_and_methods():
    app = Tremolo()
    app.route('/a')(app.route('/b', methods=['POST', 'put'])(lambda: 'same'))
    for target, method in (('/a', 'GET'), ('/b', 'POST'), ('/b', 'PUT')):
        assert ask(app, target, method).body == b'same'


@pytest.mark.parametrize('target', [
    '/page', '/page?', '/page?a=1', '/pa%67e', '/%70age', 'http://test/page',
    'http://elsewhere:80/page?a=/x', 'HTTP://test/page'])
def test_an_exact_path_is_found_however_it_is_written(target):
    app = Tremolo()
    app.route('/page')(lambda: 'found')
    assert ask(app, target).body == b'found'


@pytest.mark.parametrize('target', ['/', '/pag', '/pages', '/page/', '/Page', '//page', '/x/page'])
def test_another_path_is_404(target):
    app = Tremolo()
    app.route('/page')(lambda: 'found')
    assert ask(app, target).status == 404


@pytest.mark.parametrize(('path', 'target'), [
    ('/é', '/%C3%A9'), ('/é', '/%c3%a9'), ('/a b', '/a%20b'), ('/a+b', '/a+b'), ('/a%b', '/a%25b'),
    ('/a?b', '/a%3Fb'), ("/!$&'()*+,;=:@-._~", "/!$&'()*+,;=:@-._~"),
    ('/\ufffd', '/%ff'), ('/a"b', '/a%22b')])
def test_paths_are_compared_percent_decoded(path, target):
    app = Tremolo()
    app.route(path)(lambda: 'found')
    assert ask(app, target).body == b'found'


@pytest.mark.parametrize(('path', 'target', 'expected'), [
    ('/<name>', '/x', "{'name': 'x'}"),
    ('/<name>', '/%C3%A9', "{'name': 'é'}"),
    ('/<name>', '/a%20b', "{'name': 'a b'}"),
    ('/<name>', '/a%0Ab', "{'name': 'a\\nb'}"),
    ('/<str:name>', '/x', "{'name': 'x'}"),
    ('/<name>', '/', None), ('/<name>', '/a/b', None),
    ('/<name>', '/a%2Fb', "{'name': 'a/b'}"), ('/<name>', '/a%2fb%2F', "{'name': 'a/b/'}"),
    ('/<name>', '/x/', None),
    ('/<int:id>', '/7', "{'id': 7}"), ('/<int:id>', '/007', "{'id': 7}"),
    ('/<int:id>', '/' + '9' * 18, f"{{'id': {'9' * 18}}}"), ('/<int:id>', '/' + '9' * 19, None),
    ('/<int:id>', '/-7', None), ('/<int:id>', '/+7', None), ('/<int:id>', '/1_0', None),
    ('/<int:id>', '/%D9%A1', None), ('/<int:id>', '/7x', None), ('/<int:id>', '/', None),
    ('/<path:rest>', '/a/b/c', "{'rest': 'a/b/c'}"), ('/<path:rest>', '/', None),
    ('/<path:rest>/end', '/a/b/end', "{'rest': 'a/b'}"),
    ('/a/<x>-<int:y>/z', '/a/p-q-3/z', "{'x': 'p-q', 'y': 3}"),
    ('/a.b/<x>', '/aXb/1', None), ('/a.b/<x>', '/a.b/1', "{'x': '1'}"),
    (r'^/page/(?P<id>\d{2})$', '/page/12', "{'id': '12'}"),
    (r'^/page/(?P<id>\d{2})$', '/page/123', None),
    (r'^/page/(?P<id>\d{2})', '/page/123', None),
    (r'^/page(?:/(?P<id>\d+))?', '/page', "{'id': None}"),
    (r'^/(?:a|b)', '/b', '{}'),
])
def test_patterns_give_their_groups(path, target, expected):
    app = Tremolo()
    app.route(path)(show)
    answer = ask(app, target)
    if expected is None:
        assert answer.status == 404
    else:
        assert answer.body.decode() == expected


def test_exact_paths_come_first_and_then_the_pattern_that_was_first():
    app = Tremolo()
    app.route('/<name>')(lambda name: 'first')
    app.route('/<path:rest>')(lambda rest: 'second')
    app.route('/exact')(lambda: 'exact')
    assert ask(app, '/exact').body == b'exact'
    assert ask(app, '/other').body == b'first'
    assert ask(app, '/other/more').body == b'second'


@pytest.mark.parametrize('name', ['request', 'app', 'websocket', 'response', 'loop'])
def test_a_group_that_would_hide_what_a_handler_counts_on_is_told(name):
    for path in f'/<{name}>', f'^/(?P<{name}>x)':
        with pytest.raises(ValueError, match=f'group .{name}., .*, as <{name}_name>'):
            Tremolo().route(path)


def test_another_method_is_405_and_told_which_there_are():
    app = Tremolo()
    app.route('/get')(lambda: '')
    app.route('/post', methods=['POST'])(lambda: '')
    app.route('/item/<name>', methods=['PUT', 'GET'])(lambda name: '')
    for target, method, allow in (
            ('/get', 'POST', 'GET, HEAD, OPTIONS'), ('/post', 'GET', 'OPTIONS, POST'),
            ('/post', 'HEAD', 'OPTIONS, POST'), ('/item/x', 'DELETE', 'GET, HEAD, OPTIONS, PUT'),
            ('/get', 'get', 'GET, HEAD, OPTIONS')):
        answer = ask(app, target, method)
        assert (answer.status, answer.headers['allow']) == (405, allow)


def test_head_is_answered_wherever_get_is_or_by_its_own_handler():
    app = Tremolo()
    app.route('/get')(lambda: 'body')
    app.route('/own')(lambda: 'body')

    @app.route('/own', methods=['HEAD'])
    def own(response):
        response.headers['X-Own'] = 'yes'
        return 'body'

    assert ask(app, '/get', 'HEAD').headers['content-length'] == '4'
    assert ask(app, '/own', 'HEAD').headers['x-own'] == 'yes'
    assert 'x-own' not in ask(app, '/own').headers


def test_options_for_the_whole_server_tells_all_methods():
    app = Tremolo()
    app.route('/a')(lambda: '')
    app.route('/b/<x>', methods=['POST'])(lambda x: '')
    answer = ask(app, '*', 'OPTIONS')
    assert (answer.status, answer.headers['allow']) == (204, 'GET, HEAD, OPTIONS, POST')


def test_what_is_served_already_is_refused_and_changes_nothing():
    app = Tremolo()
    app.route('/a')(lambda: 'first')
    app.route('/<x>')(lambda x: 'pattern')
    with pytest.raises(ValueError, match='GET /a is served already'):
        app.route('/a', methods=['POST', 'GET'])(lambda: 'second')
    with pytest.raises(ValueError, match='GET /<x> is served already'):
        app.route('/<x>')(lambda x: 'second')
    with pytest.raises(ValueError, match='GET /<y> is served already, by /<x>'):
        app.route('/<y>')(lambda y: 'second')
    assert ask(app, '/a').body == b'first'
    assert ask(app, '/a', 'POST').status == 405


@pytest.mark.parametrize('path', [
    '', 'page', '*', '/<', '/<>', '/<name', '/<int:>', '/<real:x>', '/<1x>', '/<a>/<a>', '<a>',
    'x/<a>', '/<a', '/a<b', '^/(', '^/(?P<a>x)(?P<a>y)'])
def test_a_malformed_path_is_refused(path):
    with pytest.raises(ValueError, match='path'):
        Tremolo().route(path)


@pytest.mark.parametrize('methods', ['GET', [], ['B AD'], [''], ['GET\r\n'], ['é'], [7]])
def test_methods_that_are_none_are_refused(methods):
    with pytest.raises(ValueError, match='method'):
        Tremolo().route('/', methods=methods)


def test_an_absolute_target_has_a_path_of_its_own():
    app = Tremolo()

    @app.route('/')
    def root(request):
        return f'{request.path} {request.raw_path!r} {request.query_string!r} {request.host}'

    assert ask(app, 'http://other:81').body == b"/ b'/' b'' other:81"
    assert ask(app, 'http://other?x=1').body == b"/ b'/' b'x=1' other"
    assert ask(app, '/?http://x/').body == b"/ b'/' b'http://x/' test"


def test_a_router_stands_alone():
    router: Router[str] = Router()
    router.add('/page/<int:id>', {'GET': 'page'})
    search = router.find('GET', b'/page/7')
    assert (search.target, search.groups) == ('page', {'id': 7})
    search = router.find('PUT', b'/page/7')
    assert (search.target, search.methods) == (None, [{'GET': 'page', 'HEAD': 'page'}])
    assert router.find('GET', b'/page').target is None
    assert router.groups_of('/page/<int:id>') == ('id',)


def test_routes_may_be_added_while_the_server_runs():
    app = Tremolo()
    with virtual(app) as host:
        client = host.connect(request('/late'))
        assert client.take().status == 404
        app.route('/late')(lambda buffer_size=5: 'late')
        client.send(request('/late'))
        assert client.take().body == b'late'
        assert answers(client.received) == []
