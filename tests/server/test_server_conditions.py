"""An answer with an ETag or a Last-Modified of its own heeds the conditions of the request."""

from __future__ import annotations

import pytest
from server_support import answers, request, serving

from tremolo import HTTPError, Tremolo, sleep
from tremolo.asgi_app import AsgiApplication

END = 'Connection: close'
DATE = 'Sun, 06 Nov 1994 08:49:37 GMT'
EARLIER = 'Sun, 06 Nov 1994 08:49:36 GMT'
KINDS = ('plain', 'dictionary', 'large', 'generator', 'waiting', 'long', 'sent', 'written', 'sized',
         'thread', 'threaded', 'coroutine', 'asynchronous')


def application() -> Tremolo:
    app = Tremolo()
    methods = ['GET', 'POST']

    def mark(response):
        response.headers.update({'ETag': '"x"', 'Last-Modified': DATE, 'Cache-Control': 'private'})

    @app.route('/plain', methods=methods)
    def plain(response):
        mark(response)
        return 'hello'

    @app.route('/dictionary', methods=methods)
    def dictionary(response):
        mark(response)
        return {'a': 1}

    @app.route('/large', methods=methods)
    def large(response):
        mark(response)
        return bytes(200_000)

    @app.route('/generator', methods=methods)
    def generator(response):
        mark(response)
        yield b'hello '
        yield b'world'

    @app.route('/waiting', methods=methods)
    def waiting(response):
        mark(response)
        yield b'hello '
        yield sleep(0.001)
        yield b'world'

    @app.route('/long', methods=methods)
    def long(response):
        mark(response)
        for _ in range(10):
            yield bytes(50_000)

    @app.route('/sent', methods=methods)
    def sent(response):
        mark(response)
        response.send(b'hello')

    @app.route('/written', methods=methods)
    def written(response):
        mark(response)
        yield response.write(b'hello')
        yield response.write(b'world')
        yield response.end(b'!')

    @app.route('/sized', methods=methods)
    def sized(response):
        mark(response)
        response.headers['Content-Length'] = 10
        yield b'hello'
        yield sleep(0.001)
        yield b'world'

    @app.route('/thread', methods=methods)
    def thread(response, thread=True):
        mark(response)
        return 'hello'

    @app.route('/threaded', methods=methods)
    def threaded(response, thread=True):
        mark(response)
        for _ in range(3):
            response.write(b'hello').result()

    @app.route('/coroutine', methods=methods)
    async def coroutine(response):
        mark(response)
        return 'hello'

    @app.route('/asynchronous', methods=methods)
    async def asynchronous(response):
        mark(response)
        for _ in range(3):
            yield b'hello'
            await sleep(0.001)

    @app.route('/page')
    def page():
        return 'page'

    return app


@pytest.fixture
def host():
    with serving(application()) as running:
        yield running


def ask(host, path, *lines, method='GET', version='1.1'):
    """Ask, and ask for something else on the same connection; return the first answer."""
    first, page = host.ask(
        request(path, method, *lines, version=version) + request('/page', 'GET', END), method)
    assert page.body == b'page'
    return first


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
@pytest.mark.parametrize('kind', KINDS)
def test_each_kind_of_answer_heeds_them(host, kind, method):
    path = f'/{kind}'
    for line in ('If-None-Match: W/"x"', f'If-Modified-Since: {DATE}'):
        answer = ask(host, path, line, method=method)
        assert answer.status == 304
        assert answer.body == b''
        assert {'etag', 'last-modified', 'date'} <= {*answer.headers}
        assert answer.headers['cache-control'] == 'private'
        assert not {'content-type', 'content-length', 'transfer-encoding'} & {*answer.headers}
    for line in ('If-Match: "y"', f'If-Unmodified-Since: {EARLIER}'):
        answer = ask(host, path, line, method=method)
        assert (answer.status, answer.headers['content-length'], answer.body) == (412, '0', b'')
        assert not {'transfer-encoding', 'cache-control', 'expires'} & {*answer.headers}
    for line in ('If-None-Match: "y"', 'If-Match: "x"', 'If-Modified-Since: x'):
        assert ask(host, path, line, method=method).status == 200


@pytest.mark.parametrize('kind', KINDS)
def test_another_method_is_done_already(host, kind):
    for line in ('If-None-Match: "x"', 'If-Match: "y"'):
        assert ask(host, f'/{kind}', line, method='POST').status == 200


@pytest.mark.parametrize('kind', ['plain', 'waiting', 'written'])
def test_a_client_of_http_1_0_is_told_too(host, kind):
    answer, = host.ask(request(f'/{kind}', 'GET', 'If-None-Match: *', version='1.0'))
    assert (answer.status, answer.body) == (304, b'')


@pytest.mark.parametrize('line', ['If-None-Match: "x"', 'If-Match: "y"'])
def test_it_names_no_coding_of_a_body_that_it_has_not(line):
    app = Tremolo()

    @app.route('/')
    def packed(response):
        response.headers['ETag'] = '"x"'
        response.headers['Content-Encoding'] = 'gzip'
        return b'packed'

    with serving(app) as host:
        answer, whole = (host.ask(request('/', 'GET', *lines, END))[0] for lines in ([line], []))
    assert answer.status in (304, 412) and 'content-encoding' not in answer.headers
    assert whole.headers['content-encoding'] == 'gzip'


def test_only_an_answer_of_200_is_another():
    app = Tremolo()

    @app.route('/<int:status>')
    def index(status, response):
        response.headers['ETag'] = '"x"'
        response.status = status
        return 'body'

    @app.route('/error')
    def error(response):
        response.headers['ETag'] = '"x"'
        raise HTTPError(409, 'there')

    @app.route('/none')
    def none(response):
        response.headers['ETag'] = '"x"'

    with serving(app) as other:
        found = other.ask(b''.join(
            request(f'/{path}', 'GET', 'If-None-Match: *', *(END for _ in path if path == 'none'))
            for path in ('201', '206', '404', '500', 'error', 'none')))
    assert [answer.status for answer in found] == [201, 206, 404, 500, 409, 204]
    assert found[0].body == b'body'


def test_the_handler_of_a_long_answer_is_ended():
    app, ended = Tremolo(), []

    @app.route('/')
    def index(response):
        response.headers['ETag'] = '"x"'
        try:
            while True:
                yield bytes(10_000)
        finally:
            ended.append(True)

    with serving(app) as other:
        assert other.ask(request('/', 'GET', 'If-None-Match: "x"', END))[0].status == 304
        other.wait_for(lambda: ended)


def test_observers_see_the_status_that_was_sent():
    seen = []
    with serving(application()) as host:
        host.server.request_observers.append(
            lambda response, reason: seen.append((response.status, reason)))
        host.ask(request('/plain', 'GET', 'If-None-Match: *')
                 + request('/waiting', 'GET', 'If-Match: "y"', END))
        host.wait_for(lambda: len(seen) == 2)
    assert seen == [(304, ''), (412, '')]


def test_an_asgi_application_answers_by_itself():
    async def app(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200, 'headers': [
            (b'etag', b'"x"'), (b'content-length', b'5')]})
        await send({'type': 'http.response.body', 'body': b'hello'})

    with serving(AsgiApplication(app), lifespan='off') as host:
        client = host.connect(request('/', 'GET', 'If-None-Match: "x"', END))
        answer, = answers(client.read_all())
        assert (answer.status, answer.body) == (200, b'hello')
