"""Error handlers: `@app.error(404)` and `@app.error(MyError)`."""

from __future__ import annotations

import traceback

import pytest
from around_support import NAMES, application, kinds
from server_support import request, serving, virtual

from tremolo import BadRequest, HandlerError, HTTPError, NotFound, Tremolo, sleep
from tremolo.http import ProtocolError


class Missing(LookupError):
    pass


def raising(error):
    def fail():
        raise error
    return fail


@pytest.mark.parametrize('name', NAMES)
def test_an_error_of_each_kind_of_handler_is_answered(name):
    app = application(raising(Missing('x')))

    @app.error(Missing)
    def missing(request, response, error):
        response.status = 404
        return f'{error!r} {request.path} {response.status}'

    with serving(app) as host:
        client = host.connect()
        for _ in range(2):
            client.send(request(f'/{name}'))
            answer = client.take()
            assert (answer.status, answer.body) == (404, f"Missing('x') /{name} 404".encode())


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('how', ['routing', 'handler', 'waiting'])
def test_an_error_handler_may_be_of_each_kind(name, how):
    app = Tremolo()
    app.error(404)(kinds(lambda: 'lost')[name])
    app.route('/handler')(raising(NotFound()))

    @app.route('/waiting')
    def waiting():
        yield sleep(0.001)
        raise NotFound

    with serving(app) as host:
        client = host.connect()
        for _ in range(2):
            client.send(request(f'/{how}'))
            answer = client.take()
            assert (answer.status, answer.body) == (404, b'lost')


def test_the_nearest_class_comes_first_then_the_status(logged):
    app = Tremolo()
    for kind in LookupError, Missing, 404, 500, HTTPError:
        app.error(kind)(lambda kind=kind: f'{getattr(kind, "__name__", kind)}')
    for path, error in (('/a', Missing()), ('/b', KeyError()), ('/c', ValueError('c'))):
        app.route(path)(raising(error))
    with virtual(app) as host:
        found = [(each.status, each.body) for each in host.ask(
            b''.join(map(request, ('/a', '/b', '/c', '/d'))))]
    assert found == [(500, b'Missing'), (500, b'LookupError'), (500, b'500'), (404, b'HTTPError')]
    assert logged.count('failed on') == 1    # What is handled as 500, with its traceback.
    assert 'ValueError: c' in logged.text


def test_exception_is_logged_and_a_class_of_ones_own_is_not(logged):
    app = Tremolo()
    app.error(Exception)(lambda: 'sorry')
    app.error(Missing)(lambda: 'gone')
    app.route('/a')(raising(Missing()))
    app.route('/b')(raising(KeyError('b')))
    with virtual(app) as host:
        assert [each.body for each in host.ask(request('/a') + request('/b') + request('/c'))] == [
            b'gone', b'sorry', b'sorry']
    assert logged.count('failed on') == 1


def test_404_and_405_of_routing_keep_their_fields():
    """A fault of 0.5: an error handler of a status ran, and its fields did not come."""
    app = Tremolo()
    app.route('/')(lambda: 'hello')
    app.error(405)(lambda error: f'not so: {error}')
    with virtual(app) as host:
        answer, = host.ask(request('/', 'POST'))
    assert answer.status == 405
    assert answer.headers['allow'] == 'GET, HEAD, OPTIONS'
    assert answer.body == b'not so: 405 Method Not Allowed'


def test_a_class_of_ones_own_with_a_status_of_its_own():
    """A fault of 0.5: a status without a handler went to that of 500."""
    class Teapot(HTTPError):
        def __init__(self):
            super().__init__(418, 'short', {'X-Spout': 'yes'})

    app = Tremolo()
    app.error(418)(lambda error: f'{error.body} and stout')
    app.error(500)(lambda: 'wrong')
    app.route('/')(raising(Teapot()))
    app.route('/bad')(raising(BadRequest('no')))
    with virtual(app) as host:
        answer, plain = host.ask(request('/') + request('/bad'))
    assert (answer.status, answer.body) == (418, b'short and stout')
    assert answer.headers['x-spout'] == 'yes'
    assert (plain.status, plain.body) == (400, b'no')


def test_what_the_handler_had_set_is_reset_and_cookies_stay():
    app = Tremolo()

    @app.route('/')
    def hello(response):
        response.status = 201
        response.headers['ETag'] = '"a"'
        response.set_cookie('seen', '1')
        yield 'hello'
        raise Missing

    app.error(Missing)(lambda response: f'{response.status} {"ETag" in response.headers}')
    with virtual(app) as host:
        answer, = host.ask(request('/'))
    assert (answer.status, answer.body) == (500, b'500 False')
    assert 'seen=1' in answer.headers['set-cookie']


def test_none_is_the_status_without_a_body():
    app = Tremolo()
    app.error(404)(lambda: None)
    with virtual(app) as host:
        answer, = host.ask(request('/x'))
    assert (answer.status, answer.body) == (404, b'')


@pytest.mark.parametrize('inside', [False, True])
def test_an_error_handler_that_fails_is_a_500_without_another_one(inside, logged):
    app, outer = Tremolo(), Tremolo()
    app.error(404)(raising(KeyError('first')))
    for each in app, outer:
        each.error(KeyError)(lambda: 'another')
        each.error(500)(lambda: 'a third')
    if inside:
        outer.mount('/sub', app)
    with virtual(outer if inside else app) as host:
        answer, = host.ask(request('/sub/x'))
    assert answer.status == 500
    assert b'Internal Server Error' in answer.body
    assert logged.count('fail() at') == 1


def test_middleware_catches_first_and_then_sees_the_answer_of_a_mount():
    app, inner = Tremolo(), Tremolo()
    seen = []

    @app.middleware
    def note():
        try:
            yield
            seen.append('answer')
        except Exception as error:
            seen.append(type(error).__name__)
            raise

    app.mount('/sub', inner)
    app.error(404)(lambda: 'outer lost')
    app.error(Missing)(lambda: 'outer missing')
    inner.error(404)(lambda: 'inner lost')
    inner.route('/missing')(raising(Missing()))
    with virtual(app) as host:
        found = [each.body for each in host.ask(
            request('/sub/x') + request('/sub/missing') + request('/x'))]
    assert found == [b'inner lost', b'outer missing', b'outer lost']
    assert seen == ['answer', 'Missing', 'NotFound']


def test_after_the_head_nothing_arrives(logged):
    app = Tremolo()
    app.error(Exception)(lambda: pytest.fail('it is too late'))

    @app.route('/')
    def hello():
        yield 'a'
        yield sleep(1)
        raise Missing('late')

    with virtual(app) as host:
        host.connect(request('/')).until_ended()
    assert host.closed == {'failed': 1}
    assert "Missing: late" in logged.text


def test_a_broken_body_is_an_error_as_others_are():
    app = Tremolo()
    app.error(ProtocolError)(lambda error: f'told: {error.status}')

    @app.route('/', methods=['POST'])
    def body(request):
        yield request.body()

    with virtual(app) as host:
        answer, = host.ask(request('/', 'POST', 'Transfer-Encoding: chunked', body=b'zz\r\n'))
    assert (answer.status, answer.body) == (400, b'told: 400')


def test_one_that_waits_while_the_handler_that_failed_in_it_goes_on(logged):
    """The handler is cancelled, and cannot write into the answer of the error handler."""
    app = Tremolo()
    ended = []

    @app.middleware
    def broken():
        yield
        raise Missing

    @app.error(Missing)
    def missing():
        yield sleep(5)
        yield 'missing'

    @app.route('/')
    def hello():
        try:
            for _ in range(50):
                yield bytes(100_000)
                yield sleep(0.1)
        finally:
            ended.append('handler')

    @app.route('/by-hand')
    def by_hand(response):
        try:
            yield response.write('a')
            yield response.write('b')
        finally:
            ended.append('by hand')

    with virtual(app) as host:
        for target in '/', '/by-hand':
            client = host.connect(request(target) + request('/x'))
            answer = client.take()
            assert (answer.status, answer.body) == (500, b'missing')
            client.take()
    assert ended == ['handler', 'by hand']


def test_the_client_leaves_while_an_error_handler_waits():
    app = Tremolo()
    ended = []

    @app.error(404)
    def lost():
        try:
            yield sleep(100)
        finally:
            ended.append('lost')

    with virtual(app) as host:
        client = host.connect(request('/x'))
        host.advance(1)
        client.reset()
        host.advance(1)
    assert ended == ['lost']


@pytest.mark.parametrize('kind', [200, '404', None, BaseException, KeyboardInterrupt, True,
                                  lambda: None, 600])
def test_what_is_no_kind_of_error_is_told(kind):
    with pytest.raises(ValueError, match=r'write @app\.error\(404\) or @app\.error\(ValueError\)'):
        Tremolo().error(kind)


def test_a_second_one_for_the_same_is_told():
    app = Tremolo()
    app.error(404)(lambda: 'first')
    with pytest.raises(ValueError, match=r'@app\.error\(404\) is there already: .*lambda'):
        app.error(404)(lambda: 'second')


def test_what_it_cannot_ask_for_is_told():
    with pytest.raises(HandlerError, match="asks for 'exc'"):
        Tremolo().error(404)(lambda exc: 'lost')
    with pytest.raises(HandlerError, match='asks for websocket'):
        @Tremolo().error(404)
        def lost(websocket):
            yield websocket.accept()
    with pytest.raises(HandlerError, match='asks for sse, and answers errors: leave it out'):
        @Tremolo().error(404)
        def stream(sse):
            yield sse.send('lost')
    with pytest.raises(HandlerError, match=r'it may ask for .*, error'):
        Tremolo().error(404)(lambda e: 'lost')
    with pytest.raises(HandlerError, match=r'is a class, .* write `def answer\(request, response'):
        @Tremolo().error(404)
        class Lost:
            def get(self):
                return 'lost'


@pytest.mark.parametrize('kind', ['asgi', 'wsgi'])
@pytest.mark.parametrize('who', ['middleware', 'its class', '500'])
def test_a_mounted_error_that_is_caught_is_not_logged(kind, who, logged):
    """It was always logged by the room of its interface, too."""
    app = Tremolo()

    async def asgi(scope, receive, send):
        raise Missing('inside')

    def wsgi(environ, start_response):
        raise Missing('inside')

    if who == 'middleware':
        @app.middleware
        def swallow():
            try:
                yield
            except Missing:
                return 'caught'
    app.error(500 if who == '500' else Missing)(lambda: 'caught')
    app.mount('/sub', asgi if kind == 'asgi' else wsgi)
    with serving(app, lifespan='off') as host:
        client = host.connect()
        client.send(request('/sub/'))
        assert client.take().body == b'caught'
    assert logged.count('failed on') == (who == '500')


@pytest.mark.parametrize('name', [each for each in NAMES if 'thread' not in each])
def test_one_that_waits_finds_the_traceback(name):
    app = application(raising(Missing('x')))

    @app.error(Missing)
    def missing(error):
        yield sleep(0.01)
        return traceback.format_tb(error.__traceback__)[-1]

    with serving(app) as host:
        client = host.connect()
        client.send(request(f'/{name}'))
        assert b'raise error' in client.take().body


@pytest.mark.parametrize('waits', [False, True])
@pytest.mark.parametrize('by', [Missing, 500])
def test_an_iterator_that_fails_before_the_head_of_an_answer_that_goes_on(by, waits, logged):
    app = Tremolo()
    ended = []

    @app.middleware
    def outside():
        yield
        ended.append('outside')

    @app.middleware
    def broken():
        def replaced(chunks):
            for _ in chunks:
                raise Missing('in the iterator')
            yield b''
        return replaced((yield))

    @app.error(by)
    def missing(error):
        yield 'told: '
        if waits:
            yield sleep(1)
        yield str(error)

    @app.route('/')
    def hello():
        try:
            yield b'a'
            yield sleep(1)
            yield b'b'
        finally:
            ended.append('handler')

    with virtual(app) as host:
        client = host.connect(request('/') + request('/'))
        for _ in range(2):
            answer = client.take()
            assert (answer.status, answer.body) == (500, b'told: in the iterator')
    assert ended == ['outside', 'handler'] * 2
    assert logged.count('failed on') == (2 if by == 500 else 0)


@pytest.mark.parametrize('name', [each for each in NAMES if 'hand' in each])
def test_an_error_while_a_handler_sends_by_itself_hides_nothing_behind_it(name, logged):
    app = application()

    @app.middleware
    def broken():
        yield
        raise Missing('alone')

    with serving(app) as host:
        client = host.connect(request(f'/{name}'))
        assert client.take().status == 500
    assert 'Missing: alone' in logged.text
    assert 'During handling' not in logged.text
