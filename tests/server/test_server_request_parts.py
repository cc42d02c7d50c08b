"""What a handler reads twice: the body, its JSON, the query and the cookies."""

from __future__ import annotations

import json
import sys

import pytest
from server_support import chunked, request, serving, virtual

from tremolo import Cancelled, PayloadTooLarge, Tremolo, sleep, timeout
from tremolo.server import Request

BODY = b'{"a": 1}'


def posted(function, data, **options):
    app = Tremolo()
    app.route('/', methods=['POST'])(function)
    with serving(app, port=0, **options) as host:
        client = host.connect(data)
        return client.take()


@pytest.mark.parametrize('kind', ['generator', 'thread', 'coroutine', 'asynchronous'])
@pytest.mark.parametrize('framing', ['sized', 'chunked', 'empty'])
def test_the_body_may_be_asked_for_twice(kind, framing):
    def generator(request):
        first, second = (yield request.body()), (yield request.body())
        return seen(first, second, (yield request.read()))

    def thread(request, thread=True):
        first, second = request.body().result(), request.body().result()
        return seen(first, second, request.read().result())

    async def coroutine(request):
        first, second = await request.body(), await request.body()
        return seen(first, second, await request.read())

    async def asynchronous(request):
        first, second = await request.body(), await request.body()
        yield seen(first, second, await request.read())

    def seen(first, second, rest):
        assert first is second and rest == b''
        return first

    body = b'' if framing == 'empty' else BODY
    lines = ('Transfer-Encoding: chunked',) if framing == 'chunked' else ()
    data = request('/', 'POST', *lines, body=chunked(body) if lines else body)
    answer = posted(locals()[kind], data)
    assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize('kind', ['generator', 'thread', 'coroutine'])
def test_json_may_come_after_the_body_and_the_body_after_json(kind):
    def generator(request):
        body = yield request.body()
        assert (yield request.json()) == (yield request.json()) == {'a': 1}
        return body == (yield request.body())

    def thread(request, thread=True):
        value = request.json().result()
        assert value == {'a': 1} == request.json().result()
        return request.body().result() == BODY

    async def coroutine(request):
        body = await request.body()
        assert await request.json() == {'a': 1}
        return body == await request.body()

    def wrapped(kind):
        return {'generator': generator, 'thread': thread, 'coroutine': coroutine}[kind]

    function = wrapped(kind)

    def answer_of(value):
        return [value]

    if kind == 'generator':
        def handler(request):
            return answer_of((yield from function(request)))
    elif kind == 'thread':
        def handler(request, thread=True):
            return answer_of(function(request))
    else:
        async def handler(request):
            return answer_of(await function(request))
    assert posted(handler, request('/', 'POST', body=BODY)).body == b'[true]'


def test_a_body_that_is_no_json_can_still_be_looked_at():
    def handler(request):
        try:
            yield request.json()
        except Exception as error:
            return str(error), 'utf-8'
        finally:
            assert (yield request.body()) == b'no'

    assert posted(handler, request('/', 'POST', body=b'no')).body == b'400 the body is not JSON'


def test_a_body_that_is_too_large_is_too_large_each_time():
    def handler(request):
        for _ in range(2):
            try:
                yield request.body()
            except PayloadTooLarge:
                yield 'too large '

    data = request('/', 'POST', 'Transfer-Encoding: chunked', body=chunked(bytes(2000)))
    answer = posted(handler, data, body_buffer_size=1000)
    assert answer.body == b'too large too large '


def test_a_wait_that_was_given_up_loses_nothing():
    app = Tremolo()

    @app.route('/', methods=['POST'])
    def handler(request):
        try:
            yield timeout(1, request.body())
        except (TimeoutError, Cancelled):
            yield sleep(1)
        return (yield request.body())

    with virtual(app) as host:
        client = host.connect(request('/', 'POST', 'Content-Length: 8') + b'{"a"')
        host.advance(3)
        client.send(b': 1}')
        assert client.take().body == BODY


def test_what_is_looked_at_while_the_body_comes_does_not_lose_it():
    app = Tremolo()

    @app.route('/', methods=['POST'])
    def handler(request):
        coming = request.body()
        assert request.query == {'a': ['1']} and request.cookies == {}
        first, second = (yield coming), (yield request.body())
        assert first == second and request.query == {'a': ['1']}
        return second

    with virtual(app) as host:
        client = host.connect(request('/?a=1', 'POST', 'Content-Length: 8') + b'{"a"')
        host.advance(1)
        client.send(b': 1}')
        assert client.take().body == BODY


def test_query_and_cookies_are_parsed_once():
    looks = []

    def handler(request):
        looks.extend((request.query, request.query, request.cookies, request.cookies))
        yield 'x'

    app = Tremolo()
    app.route('/')(handler)
    with virtual(app) as host:
        client = host.connect(request('/?a=1&a=2&b=', 'GET', 'Cookie: c=3'))
        assert client.take().body == b'x'
        assert looks[0] is looks[1] and looks[0] == {'a': ['1', '2'], 'b': ['']}
        assert looks[2] is looks[3] and looks[2] == {'c': '3'}
        # Another request of the connection has its own.
        looks.clear()
        client.send(request())
        client.take()
        assert looks == [{}, {}, {}, {}]


def test_ten_looks_cost_little_more_than_one():
    """Counted by calls, not by a clock: the parser of the query is entered once."""
    calls = []

    def handler(request):
        def note(frame, event, _):
            if event == 'call' and frame.f_code.co_name in ('read_fields', 'parse_cookies'):
                calls.append(frame.f_code.co_name)

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            for _ in range(10):
                assert len(request.query) == 1000
                assert len(request.cookies) == 100
        finally:
            sys.setprofile(before)
        return 'x'

    query = '&'.join(f'{n}=1' for n in range(1000))
    cookies = '; '.join(f'{n}=1' for n in range(100))
    app = Tremolo()
    app.route('/')(handler)
    with virtual(app) as host:
        client = host.connect(request(f'/?{query}', 'GET', f'Cookie: {cookies}'))
        assert client.take().body == b'x'
    assert sorted(calls) == ['parse_cookies', 'read_fields']


def test_too_many_fields_are_refused_each_time():
    def handler(request):
        for _ in range(2):
            try:
                yield str(request.query)
            except Exception as error:
                yield f'{error};'

    app = Tremolo()
    app.route('/')(handler)
    with virtual(app) as host:
        client = host.connect(request('/?' + '&'.join('a' * 1001)))
        assert client.take().body == b'400 too many fields in the query;' * 2


@pytest.mark.parametrize(('sent', 'name', 'value'), [
    ('name=Zo\u00eb'.encode(), 'name', 'Zo\u00eb'), ('name=\u20ac\U0001f600'.encode(), 'name',
                                                    '\u20ac\U0001f600'),
    ('\u00e9=1'.encode(), '\u00e9', '1'), (b'name=\xe9', 'name', '\xe9'),
    (b'a=\xe9; name="\xc3\xa9"', 'name', '\xe9'), (b'name=plain', 'name', 'plain'),
    (b'name=%C3%A9', 'name', '%C3%A9')])
def test_cookies_of_utf_8_are_text(sent, name, value):
    app = Tremolo()
    app.route('/')(lambda request: request.cookies)
    with virtual(app) as host:
        client = host.connect(b'GET / HTTP/1.1\r\nHost: a\r\nCookie: ' + sent + b'\r\n\r\n')
        assert json.loads(client.take().body)[name] == value


def test_two_fields_of_cookies_are_one_list():
    app = Tremolo()
    app.route('/')(lambda request: request.cookies)
    with virtual(app) as host:
        client = host.connect(request('/', 'GET', 'Cookie: a=1', 'Cookie: b=2; a=3'))
        assert client.take().body == b'{"a": "1", "b": "2"}'


def test_a_request_has_one_place_for_all_of_these():
    assert [name for name in Request.__slots__ if name in ('kept', '_query', '_cookies')] == [
        'kept']


@pytest.mark.parametrize('kind', ['generator', 'thread', 'coroutine'])
def test_the_body_may_be_asked_for_twice_at_the_same_time(kind):
    def generator(request):
        first, second, third = request.body(), request.json(), request.body()
        return seen((yield first), (yield second), (yield third))

    def thread(request, thread=True):
        first, second, third = request.body(), request.json(), request.body()
        return seen(third.result(), second.result(), first.result())

    async def coroutine(request):
        first, second, third = request.body(), request.json(), request.body()
        return seen(await first, await second, await third)

    def seen(first, second, third):
        assert first is third and second == {'a': 1}
        return first

    app = Tremolo()
    app.route('/', methods=['POST'])(locals()[kind])
    with serving(app, port=0) as host:
        data = request('/', 'POST', body=BODY)
        client = host.connect(data[:-3])
        host.wait_for(lambda: any(
            each.request_body and each.request_body.reading for each in host.server.connections))
        client.send(data[-3:])
        answer = client.take()
        assert (answer.status, answer.body) == (200, BODY)


def test_the_second_reader_reads_on_when_the_first_one_is_cancelled():
    app = Tremolo()

    @app.route('/', methods=['POST'])
    def both(request):
        first, second, third = request.body(), request.body(), request.body()
        yield sleep(1)
        first.cancel()
        return (yield third) if (yield second) is (yield third) else 'others'

    with virtual(app) as host:
        data = request('/', 'POST', body=BODY)
        client = host.connect(data[:-3])
        host.advance(2)
        client.send(data[-3:])
        assert client.take().body == BODY


def test_a_fault_of_the_body_reaches_all_who_wait_for_it():
    app = Tremolo()
    seen = []

    @app.route('/', methods=['POST'])
    def both(request):
        readers = [request.body(), request.body(), request.json()]
        for reader in readers:
            try:
                yield reader
            except PayloadTooLarge as error:
                seen.append(error)
        return 'told'

    with virtual(app, body_buffer_size=10) as host:
        data = request('/', 'POST', 'Transfer-Encoding: chunked', body=chunked(b'x' * 20))
        client = host.connect(data[:-20])
        host.advance(1)
        client.send(data[-20:])
        assert client.take().body == b'told'
    assert len(seen) == 3
