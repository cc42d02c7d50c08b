"""What an error keeps: cookies and fields that the handler set, but not what describes a body."""

from __future__ import annotations

import functools
import math

import pytest
from server_support import request, serving, virtual

from tremolo import HTTPError, NotFound, Tremolo, sleep

# Fields that describe a body, or tell how it is framed.
OF_A_BODY = {
    'Content-Length': '5', 'Content-Type': 'image/png', 'Content-Encoding': 'gzip',
    'Content-Language': 'de', 'Content-Disposition': 'attachment', 'Content-Range': 'bytes 0-4/9',
    'ETag': '"a"', 'Last-Modified': 'Sun, 06 Nov 1994 08:49:37 GMT', 'Trailer': 'Sum',
    'Repr-Digest': 'sha-256=:AA==:', 'Transfer-Encoding': 'chunked'}
KEPT = {
    'Access-Control-Allow-Origin': 'https://a.example', 'Access-Control-Allow-Credentials': 'true',
    'Vary': 'Origin', 'Content-Security-Policy': "default-src 'self'", 'X-Request-Id': '7'}


def prepare(response):
    response.status = 201
    response.content_type = 'image/png'
    response.set_cookie('seen', '1')
    for name, value in {**OF_A_BODY, **KEPT}.items():
        response.headers[name] = value


def end_in(error, how):
    """Raise or return an error; the answer of a handler."""
    if how == 'raise':
        raise error
    return error


def handlers(error, how):
    """Return a handler of each kind that sets fields and then ends in an error."""
    def plain(response):
        prepare(response)
        return end_in(error, how)

    def thread(response, thread=True):
        prepare(response)
        return end_in(error, how)

    def generator(response):
        prepare(response)
        if how == 'raise':
            yield b'collected'
        return end_in(error, how)

    def waited(response):
        prepare(response)
        yield sleep(0.001)
        return end_in(error, how)

    def signed(response, status=202, content_type='text/csv; charset=latin-1'):
        prepare(response)
        yield None
        return end_in(error, how)

    async def coroutine(response):
        prepare(response)
        await sleep(0.001)
        return end_in(error, how)

    async def asynchronous(response):
        prepare(response)
        yield b'collected'
        raise error

    @functools.wraps(plain)
    def decorated(**server):
        return plain(server['response'])

    found = [plain, thread, generator, waited, signed, coroutine, decorated]
    return [*found, asynchronous] if how == 'raise' else found


def check(answer, status):
    assert answer.status == status
    for name, value in KEPT.items():
        assert answer.headers[name.lower()] == value
    assert answer.headers['set-cookie'] == 'seen=1; Path=/'
    assert answer.headers['content-length'] == str(len(answer.body))
    assert answer.headers['content-type'] in ('text/plain; charset=utf-8',
                                              'text/html; charset=utf-8')
    for name in OF_A_BODY:
        assert name in ('Content-Length', 'Content-Type') or name.lower() not in answer.headers


@pytest.mark.parametrize('how', ['raise', 'return'])
@pytest.mark.parametrize('error', [NotFound(), HTTPError(302, headers={'Location': '/login'}),
                                   HTTPError(409, 'there is one')], ids=repr)
def test_an_http_error_keeps_cookies_and_fields(error, how):
    app = Tremolo()
    kinds = handlers(error, how)
    for number, function in enumerate(kinds):
        app.route(f'/{number}')(function)
    with serving(app, port=0) as host:
        # (Where the first calls take long, turns are rationed: then what was yielded is sent soon.)
        host.reactor.long_turn = math.inf
        client = host.connect()
        for number in range(len(kinds)):
            client.send(request(f'/{number}'))
            answer = client.take()
            check(answer, error.status)
            assert answer.headers.get('location') == dict(error.headers).get('Location')


def test_an_unexpected_error_keeps_them_too_so_that_a_browser_shows_the_500(logged):
    app = Tremolo()
    kinds = handlers(ValueError('a mistake'), 'raise')
    for number, function in enumerate(kinds):
        app.route(f'/{number}')(function)
    with serving(app, port=0) as host:
        host.reactor.long_turn = math.inf    # (As above.)
        client = host.connect()
        for number in range(len(kinds)):
            client.send(request(f'/{number}'))
            check(client.take(), 500)
    assert logged.count('failed on GET') == len(kinds)


def ask(function, data=None):
    app = Tremolo()
    app.route('/', methods=['GET', 'POST'])(function)
    with virtual(app) as host:
        return host.connect(data or request()).take()


def test_an_unexpected_error_is_never_kept_by_a_cache(logged):
    def failing(response):
        response.headers['Cache-Control'] = 'public, max-age=86400'
        response.headers['Expires'] = 'Sun, 06 Nov 2094 08:49:37 GMT'
        raise ValueError

    answer = ask(failing)
    assert answer.status == 500
    assert not {'cache-control', 'expires'} & set(answer.headers)


def test_an_http_error_keeps_what_the_handler_said_to_caches():
    def gone(response):
        response.headers['Cache-Control'] = 'no-store'
        raise HTTPError(410)

    assert ask(gone).headers['cache-control'] == 'no-store'


def test_a_body_that_is_too_large_keeps_the_fields_of_cors():
    def upload(request, response):
        response.headers['Access-Control-Allow-Origin'] = '*'
        yield request.body()

    answer = ask(upload, request('/', 'POST', 'Content-Length: 99999999'))
    assert answer.status == 413
    assert answer.headers['access-control-allow-origin'] == '*'


@pytest.mark.parametrize('how', ['raise', 'return'])
def test_the_fields_of_an_error_take_the_place_of_the_handlers(how):
    def moved(response):
        response.headers['Location'] = '/old'
        response.headers['X-Request-Id'] = '7'
        response.headers['Vary'] = 'Origin'
        response.set_cookie('a', '1')
        return end_in(HTTPError(302, headers=[
            ('location', '/new'), ('Set-Cookie', 'b=2'), ('Set-Cookie', 'c=3'),
            ('Vary', 'Accept')]), how)

    answer = ask(moved)
    assert answer.headers['location'] == '/new'
    assert answer.headers['x-request-id'] == '7'
    assert answer.headers['vary'] == 'Origin, Accept'
    assert answer.headers['set-cookie'] == 'a=1; Path=/, b=2, c=3'


def test_a_field_of_an_error_that_may_not_be_sent_leaves_no_other_behind(logged):
    def wrong(response):
        response.headers['X-Request-Id'] = '7'
        raise HTTPError(302, headers=[('Location', '/new'), ('X-Bad', 'a\nb')])

    answer = ask(wrong)
    assert answer.status == 500
    assert answer.headers['x-request-id'] == '7'
    assert 'location' not in answer.headers


@pytest.mark.parametrize('name', ['Connection', 'Transfer-Encoding', 'Content-Length'])
@pytest.mark.parametrize('way', ['returns', 'fails', 'raises'])
def test_a_field_that_is_found_bad_when_it_is_sent_is_answered_all_the_same(name, way, logged):
    def wrong(response):
        response.headers['X-Request-Id'] = '7'
        response.headers[name] = 'no token,'
        if way == 'fails':
            raise ValueError
        if way == 'raises':
            raise NotFound
        return 'x'

    answer = ask(wrong)
    assert answer.status == (404 if way == 'raises' and name != 'Connection' else 500)
    assert answer.headers.get(name.lower()) in (None, str(len(answer.body)))


def test_a_text_is_sent_in_the_charset_that_the_error_names():
    def wrong():
        raise HTTPError(400, 'é', {'Content-Type': 'text/plain; charset=latin-1'})

    assert ask(wrong).body == b'\xe9'


def test_the_answers_of_the_router_have_their_own_fields_alone():
    app = Tremolo()
    app.route('/page')(lambda response: response.headers.add('X-A', '1'))
    with virtual(app) as host:
        client = host.connect(request('/page') + request('/none') + request('/page', 'PUT'))
        assert 'x-a' in client.take().headers
        missing, refused = client.take(), client.take()
        assert missing.status == 404 and 'x-a' not in missing.headers
        assert refused.status == 405 and refused.headers['allow'] == 'GET, HEAD, OPTIONS'
