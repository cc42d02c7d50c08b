"""Handlers: how what they yield, return and raise becomes an answer, or a clear error."""

from __future__ import annotations

import contextvars
import copy
import functools
import pickle
import threading
import urllib.request

import pytest
from server_support import answers, chunked, request, serving, virtual
from simulated import World

from tremolo import (
    Cancelled,
    Future,
    HandlerError,
    HTTPError,
    MethodNotAllowed,
    NotFound,
    StreamClosed,
    Tremolo,
    sleep,
)
from tremolo.exceptions import ProtocolError
from tremolo.loop import current_reactor

HTML = 'text/html; charset=utf-8'


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/next')
    def following():
        return 'next'

    return app


def ask(app, path='/', method='GET', *lines, **options):
    """Ask for a path and give the answer; the connection is kept."""
    with virtual(app, **options) as host:
        client = host.connect(request(path, method, *lines))
        return client.take(method)


def serve(app, function, path='/', **options):
    app.route(path)(function)
    return ask(app, path, **options)


def ask_and_next(app, function, **options):
    """Give the answer of a handler, and see that the connection serves the next request."""
    app.route('/')(function)
    with virtual(app, **options) as host:
        client = host.connect(request() + request('/next'))
        answer = client.take()
        assert client.take().body == b'next'
        return answer


# -- what is returned -----------------------------------------------------------------------------


@pytest.mark.parametrize(('value', 'status', 'content_type', 'body'), [
    ('text é', 200, HTML, 'text é'.encode()),
    ('', 200, HTML, b''),
    (b'bytes', 200, HTML, b'bytes'),
    (b'', 200, HTML, b''),
    (bytearray(b'array'), 200, HTML, b'array'),
    (memoryview(b'view'), 200, HTML, b'view'),
    (('é', 'latin-1'), 200, 'text/html; charset=latin-1', b'\xe9'),
    ((b'\xe9', 'latin-1'), 200, 'text/html; charset=latin-1', b'\xe9'),
    ({'a': [1, None]}, 200, 'application/json', b'{"a": [1, null]}'),
    ([1, 2], 200, 'application/json', b'[1, 2]'),
    ({}, 200, 'application/json', b'{}'),
    ([], 200, 'application/json', b'[]'),
    (None, 204, None, b''),
])
@pytest.mark.parametrize('kind', ['plain', 'generator', 'waited'])
def test_what_is_returned_is_the_whole_answer(app, value, status, content_type, body, kind):
    def plain():
        return value

    def generator():
        if False:
            yield
        return value

    def waited():
        yield sleep(0.1)
        return value

    function = {'plain': plain, 'generator': generator, 'waited': waited}[kind]
    answer = ask_and_next(app, function)
    assert answer.status == status
    assert answer.headers.get('content-type') == content_type
    assert answer.body == body
    assert answer.headers.get('content-length') == (None if status == 204 else str(len(body)))


@pytest.mark.parametrize('value', [7, 1.5, True, object(), {1, 2}, ('a', 'b', 'c'), ('a', 1), (1,)])
def test_anything_else_that_is_returned_is_a_handler_error(app, value, logged):
    def strange():
        return value

    answer = ask_and_next(app, strange)
    assert answer.status == 500
    assert 'HandlerError' in logged.text
    assert f'strange() at {__file__}:' in logged.text


def test_json_that_cannot_be_made_is_500(app, logged):
    def strange():
        return {'x': object()}

    assert ask_and_next(app, strange).status == 500
    assert 'strange()' in logged.text


@pytest.mark.parametrize('encoding', ['klingon', 'a\r\nX: y', ''])
@pytest.mark.parametrize('body', ['text', b'bytes'])
def test_a_pair_with_an_unknown_encoding_is_500(app, logged, encoding, body):
    def strange():
        return body, encoding

    answer = ask_and_next(app, strange)
    assert answer.status == 500 or (body == b'bytes' and encoding in ('klingon', ''))
    assert 'x' not in answer.headers


def test_text_that_the_encoding_does_not_have_is_500(app, logged):
    def strange():
        return 'ЯЯ', 'latin-1'

    assert ask_and_next(app, strange).status == 500


# -- what is yielded ------------------------------------------------------------------------------


@pytest.mark.parametrize('chunk', ['text', b'text', bytearray(b'text'), memoryview(b'text')])
@pytest.mark.parametrize('waits', [False, True])
def test_chunks_of_every_kind_are_sent(app, chunk, waits):
    def handler():
        yield chunk
        if waits:
            yield sleep(0.1)
        yield chunk

    answer = ask_and_next(app, handler)
    assert answer.body == b'texttext'
    assert ('content-length' in answer.headers) is not waits


def test_a_buffer_that_is_used_again_is_copied(app):
    def handler():
        buffer = bytearray(b'one')
        yield buffer
        buffer[:] = b'two'
        yield memoryview(buffer)

    assert ask_and_next(app, handler).body == b'onetwo'


def test_an_empty_chunk_is_an_answer_and_ends_nothing(app):
    def empty():
        yield b''

    def between(stream=True):
        yield b'a'
        yield b''
        yield ''
        yield b'b'

    app.route('/between')(between)
    answer = ask_and_next(app, empty)
    assert (answer.status, answer.body) == (200, b'')
    assert ask(app, '/between').body == b'ab'


def test_nothing_yielded_and_nothing_returned_is_204(app):
    def nothing():
        if False:
            yield

    def waited():
        yield sleep(0.1)
        yield None

    app.route('/waited')(waited)
    assert ask_and_next(app, nothing).status == 204
    assert ask(app, '/waited').status == 204


def test_none_lets_others_run(app):
    order = []

    def handler():
        for n in range(3):
            order.append(n)
            current_reactor().call_soon(order.append, 'other')
            yield None
        yield b'done'

    assert ask_and_next(app, handler).body == b'done'
    assert order == [0, 'other', 1, 'other', 2, 'other']


def test_a_future_gives_its_value_or_raises_its_error(app):
    def handler():
        future = Future()
        current_reactor().call_later(1, future.set_result, 'value')
        yield (yield future)
        failing = Future()
        current_reactor().call_later(1, failing.set_exception, ValueError('bad'))
        try:
            yield failing
        except ValueError as error:
            yield f' {error}'

    assert ask_and_next(app, handler).body == b'value bad'


@pytest.mark.parametrize('value', [7, 1.5, {'a': 1}, ['a'], object()])
@pytest.mark.parametrize('waits', [False, True])
def test_a_yielded_value_of_another_kind_is_a_handler_error(app, value, waits, logged):
    def strange():
        if waits:
            yield sleep(0.1)
        yield value

    answer = ask_and_next(app, strange)
    assert answer.status == 500
    assert 'HandlerError' in logged.text
    assert f'strange() at {__file__}:' in logged.text
    assert type(value).__name__ in logged.text


def test_a_strange_value_after_the_head_was_sent_cuts_the_connection(app, logged):
    @app.route('/')
    def strange():
        yield b'begun'
        yield sleep(0.1)
        yield 7

    with virtual(app) as host:
        client = host.connect(request() + request('/next'))
        client.until_ended()
        assert client.received.endswith(b'5\r\nbegun\r\n')
        assert host.closed == {'failed': 1}


def test_a_helper_without_yield_from_gets_an_error_that_says_so(app, logged):
    def helper():
        yield b'x'

    def strange():
        yield helper()

    assert ask_and_next(app, strange).status == 500
    assert '`yield from helper()`' in logged.text


def test_a_value_returned_after_a_chunk_is_a_handler_error(app, logged):
    def strange():
        yield b'chunk'
        return 'lost'

    answer = ask_and_next(app, strange)
    assert answer.status == 500
    assert 'strange()' in logged.text
    assert 'returned a value after it had yielded' in logged.text


def test_a_value_returned_after_the_head_was_sent_cuts_the_connection(app, logged):
    @app.route('/')
    def strange():
        yield b'chunk'
        yield sleep(0.1)
        return 'lost'

    with virtual(app) as host:
        client = host.connect(request())
        client.until_ended()
        assert client.received.endswith(b'5\r\nchunk\r\n')
        assert host.closed == {'failed': 1}


# -- buffering ------------------------------------------------------------------------------------


@pytest.mark.parametrize('count', [1, 2, 7, 8, 9, 20])
def test_a_generator_that_never_waits_is_one_write_with_its_length(app, count):
    begun = []

    @app.route('/')
    def handler(response):
        for n in range(count):
            begun.append(response.head_sent)
            yield b'%d,' % n

    answer = ask(app)
    assert answer.headers['content-length'] == str(len(answer.body))
    assert not any(begun)
    assert answer.body == b''.join(b'%d,' % n for n in range(count))


def test_what_was_yielded_is_sent_when_the_generator_waits(app):
    @app.route('/')
    def handler():
        yield b'one'
        yield b'two'
        yield sleep(5)
        yield b'three'

    with virtual(app) as host:
        client = host.connect(request())
        client.until(b'6\r\nonetwo\r\n')
        assert host.now < 1
        client.until(b'5\r\nthree\r\n0\r\n\r\n')
        assert host.now == pytest.approx(5, abs=0.1)


def test_buffer_size_bytes_are_sent_without_waiting(app):
    seen = []

    @app.route('/')
    def handler(response, buffer_size=1000):
        for _ in range(25):
            yield b'x' * 100
            seen.append(response.head_sent)

    answer = ask(app)
    assert answer.headers['transfer-encoding'] == 'chunked'
    assert answer.body == b'x' * 2500
    assert seen[:8] == [False] * 8
    assert seen[10:] == [True] * 15


def test_stream_sends_each_chunk_for_itself(app):
    @app.route('/')
    def handler(stream=True):
        for n in range(3):
            yield b'%d' % n

    with virtual(app) as host:
        client = host.connect(request())
        client.until(b'\r\n\r\n1\r\n0\r\n1\r\n1\r\n1\r\n2\r\n0\r\n\r\n')


def test_a_time_slice_sends_what_there_is_and_lets_others_run(app):
    @app.route('/')
    def busy():
        for _ in range(100):
            host.world.now += 0.004
            yield b'x'

    with virtual(app) as host:
        client = host.connect(request())
        other = host.connect(request('/next'))
        assert other.take().body == b'next'
        assert host.now < 0.2
        answer = client.take()
        assert answer.body == b'x' * 100
        assert answer.headers['transfer-encoding'] == 'chunked'


# -- the signature --------------------------------------------------------------------------------


def test_server_receives_everything(app):
    def handler(**server):
        return ' '.join(sorted(server))

    answer = ask_and_next(app, handler)
    assert answer.body == b'app context globals lock logger loop reactor request response'


def test_server_receives_the_groups_of_the_path_too(app):
    @app.route('/item/<int:number>/<path:rest>')
    def handler(**server):
        return f'{server["number"]!r} {server["rest"]!r} {server["request"].path}'

    assert ask(app, '/item/7/a/b').body == b"7 'a/b' /item/7/a/b"


def test_a_named_parameter_receives_just_itself(app):
    def handler(request, response, app, context, globals, logger, loop, reactor):
        assert context is request.context
        assert loop is reactor is current_reactor()
        assert globals is app.context
        assert logger is app.logger
        response.headers['X-Test'] = 'yes'
        return request.method

    answer = ask_and_next(app, handler)
    assert (answer.body, answer.headers['x-test']) == (b'GET', 'yes')


def test_named_and_all_can_be_mixed(app):
    def handler(request, **server):
        return f'{"request" in server} {"response" in server}'

    assert ask_and_next(app, handler).body == b'False True'


def test_keyword_only_parameters_are_like_others(app):
    def handler(*, request, content_type='text/plain', flavour='sweet'):
        yield f'{request.path} {request.context.options["flavour"]}'

    answer = ask_and_next(app, handler)
    assert (answer.body, answer.headers['content-type']) == (b'/ sweet', 'text/plain')


def test_a_parameter_that_nobody_gives_is_refused_at_registration(app):
    with pytest.raises(HandlerError, match="asks for 'reqest'"):
        @app.route('/')
        def handler(reqest):
            return ''


@pytest.mark.parametrize('source', ['lambda *all: 0', 'lambda request, /: 0'])
def test_parameters_that_cannot_be_given_by_name_are_refused_at_registration(app, source):
    with pytest.raises(HandlerError, match='cannot be given by name'):
        app.route('/')(eval(source))


def test_threads_are_for_plain_functions(app):
    async def coroutine(thread=True):
        return ''

    def generator(thread=True):
        yield b''

    for function in (coroutine, generator):
        with pytest.raises(HandlerError, match='thread=True'):
            app.route('/')(function)


def test_the_decorator_returns_the_function_unchanged(app):
    def handler():
        yield b'x'

    assert app.route('/')(handler) is handler


@pytest.mark.parametrize(('content_type', 'expected', 'body'), [
    ('text/plain', 'text/plain', 'é'.encode()),
    (b'text/plain', 'text/plain', 'é'.encode()),
    ('text/plain; charset=latin-1', 'text/plain; charset=latin-1', b'\xe9'),
    ('text/plain; Charset="ISO-8859-1"', 'text/plain; Charset="ISO-8859-1"', b'\xe9'),
    ('', None, 'é'.encode()),
    (None, None, 'é'.encode()),
])
def test_the_option_content_type(app, content_type, expected, body):
    def handler(content_type=content_type):
        yield 'é'

    answer = ask_and_next(app, handler)
    assert answer.headers.get('content-type') == expected
    assert answer.body == body


@pytest.mark.parametrize(('status', 'code', 'reason'), [
    (201, 201, 'Created'), ((200, 'Fine'), 200, 'Fine'), ((299, 'Odd'), 299, 'Odd'),
    (299, 299, '')])
def test_the_option_status(app, status, code, reason):
    def handler(status=status):
        yield b'x'

    answer = ask_and_next(app, handler)
    assert (answer.status, answer.reason) == (code, reason)


@pytest.mark.parametrize('status', [99, 100, 600, '200', (200, 'a\r\nb')])
def test_a_bad_status_is_500(app, status, logged):
    def handler(response):
        response.status = status
        return 'x'

    assert ask_and_next(app, handler).status == 500
    assert 'handler()' in logged.text


def test_the_option_chunked_false_ends_the_body_with_the_connection(app):
    @app.route('/')
    def handler(chunked=False):
        yield b'one'
        yield sleep(0.1)
        yield b'two'

    with virtual(app) as host:
        answer, = host.ask(request())
        assert 'transfer-encoding' not in answer.headers
        assert answer.headers['connection'] == 'close'
        assert answer.body == b'onetwo'


def test_unknown_options_are_in_the_context_of_the_request(app):
    def handler(context, colour='red', buffer_size=99):
        return [context.options['colour'], context.options['buffer_size'],
                context.options['idle_timeout']]

    assert ask_and_next(app, handler, idle_timeout=12).body == b'["red", 99, 12.0]'


def test_values_in_the_contexts_last_as_long_as_they_say(app):
    @app.route('/')
    def handler(request, context):
        was = [hasattr(context, 'mark'), hasattr(request.connection.context, 'mark')]
        context.mark = request.connection.context.mark = True
        return was

    with virtual(app) as host:
        client = host.connect(request() + request())
        assert client.take().body == b'[false, false]'
        assert client.take().body == b'[false, true]'
        assert host.connect(request()).take().body == b'[false, false]'


# -- Content-Length -------------------------------------------------------------------------------


@pytest.mark.parametrize('waits', [False, True])
def test_a_content_length_that_is_right_is_used(app, waits):
    def handler(response):
        response.headers['Content-Length'] = '6'
        yield b'one'
        if waits:
            yield sleep(0.1)
        yield b'two'

    answer = ask_and_next(app, handler)
    assert answer.headers['content-length'] == '6'
    assert answer.body == b'onetwo'


@pytest.mark.parametrize('length', ['5', '7', '0', 'x', '-1', '+6', ''])
def test_a_wrong_content_length_is_500_when_nothing_was_sent(app, length, logged):
    def liar(response):
        response.headers['Content-Length'] = length
        yield b'onetwo'

    answer = ask_and_next(app, liar)
    assert answer.status == 500
    assert f'liar() at {__file__}:' in logged.text
    assert 'Content-Length' in logged.text


@pytest.mark.parametrize(('length', 'sent'), [('5', b'one'), ('7', b'onetwo')])
def test_a_wrong_content_length_cuts_the_connection_once_the_head_is_sent(
        app, length, sent, logged):
    @app.route('/')
    def liar(response):
        response.headers['Content-Length'] = length
        yield b'one'
        yield sleep(0.1)
        yield b'two'

    with virtual(app) as host:
        client = host.connect(request() + request('/next'))
        client.until_ended()
        assert client.received.endswith(b'\r\n\r\n' + sent)
        assert host.closed == {'failed': 1}
        assert f'liar() at {__file__}:' in logged.text
        assert 'Content-Length' in logged.text


def test_a_generator_cannot_go_on_after_it_wrote_too_much(app, logged):
    @app.route('/')
    def stubborn(response, stream=True):
        response.headers['Content-Length'] = '3'
        yield b'abc'
        for _ in range(3):
            try:
                yield b'more'
            except HandlerError:
                yield sleep(0.1)

    with virtual(app) as host:
        client = host.connect(request() + request('/next'))
        client.until_ended()
        assert client.received.endswith(b'\r\n\r\nabc')


def test_304_may_tell_the_length_of_what_it_stands_for(app):
    def cached(response, status=304):
        response.headers['Content-Length'] = '1234'
        return b''

    answer = ask_and_next(app, cached)
    assert (answer.status, answer.headers.get('content-length')) == (304, '1234')


def test_an_answer_is_sent_once(app, logged):
    def twice(response):
        response.write(b'one')
        return b'two'

    @app.route('/after')
    def after(response):
        response.send(b'one')
        response.write(b'two')

    @app.route('/again')
    def again(response):
        response.send(b'one')
        response.send(b'two')

    @app.route('/late')
    def late(response):
        response.send(b'one')
        yield sleep(0.1)
        yield b'two'

    app.route('/')(twice)
    with virtual(app) as host:
        for path in ('/after', '/again', '/late'):
            client = host.connect(request(path) + request('/next'))
            assert [client.take().body, client.take().body] == [b'one', b'next']
            assert client.received == b''
        client = host.connect(request())
        client.until_ended()
        assert client.received.endswith(b'3\r\none\r\n')


# -- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(('name', 'value'), [
    ('X-Bad', 'a\r\nX-Evil: yes'), ('X-Bad', 'a\nb'), ('X-Bad', 'a\0b'), ('X Bad', 'a'),
    ('X-Bad\r\nX-Evil', 'a'), ('', 'a'), ('X-Bad', 7.5), ('X-Bad', '€')])
@pytest.mark.parametrize('caught', [False, True])
def test_a_bad_header_is_500_and_never_on_the_wire(app, name, value, caught, logged):
    def careless(response):
        response.headers[name] = value
        yield b'x'

    answer = ask_and_next(app, careless)
    assert answer.status == 500
    assert b'Evil' not in answer.head
    assert 'careless()' in logged.text


@pytest.mark.parametrize('content_type', ['a\r\nX-Evil: yes', 'a\0b', '€'])
@pytest.mark.parametrize('kind', ['plain', 'generator', 'waited'])
def test_a_bad_content_type_is_500_and_never_on_the_wire(app, content_type, kind, logged):
    def plain(response):
        response.content_type = content_type
        return b'x'

    def generator(response):
        response.content_type = content_type
        yield b'x'

    def waited(response):
        response.content_type = content_type
        yield b'x'
        yield sleep(0.1)

    answer = ask_and_next(app, {'plain': plain, 'generator': generator, 'waited': waited}[kind])
    assert answer.status == 500
    assert b'Evil' not in answer.head


def test_transfer_encoding_is_not_for_the_handler(app, logged):
    def careless(response):
        response.headers['Transfer-Encoding'] = 'chunked'
        yield b'x'

    answer = ask_and_next(app, careless)
    assert answer.status == 500


def test_headers_cannot_change_once_the_head_is_sent(app, logged):
    @app.route('/')
    def late(response):
        yield b'x'
        yield sleep(0.1)
        response.status = 404

    with virtual(app) as host:
        client = host.connect(request())
        client.until_ended()
        assert host.closed == {'failed': 1}


def test_cookies_are_set_each_on_a_line_of_its_own(app):
    def handler(response):
        response.set_cookie('a', '1', max_age=60, httponly=True)
        response.set_cookie('b', '2', path=None)
        return ''

    answer = ask_and_next(app, handler)
    assert answer.head.count(b'\r\nSet-Cookie: ') == 2
    assert b'Set-Cookie: a=1; Max-Age=60; Path=/; HttpOnly\r\n' in answer.head + b'\r\n'


def test_own_date_and_server_replace_ours(app):
    def handler(response):
        response.headers['Date'] = 'today'
        response.headers['Server'] = 'mine'
        response.headers['Content-Type'] = 'text/x-own'
        return ''

    headers = ask_and_next(app, handler).headers
    assert (headers['date'], headers['server'], headers['content-type']) == (
        'today', 'mine', 'text/x-own')


# -- errors that are answers ----------------------------------------------------------------------


@pytest.mark.parametrize('error', [
    HTTPError(409, 'taken', {'X-Why': 'because'}), HTTPError(409, body='taken'), HTTPError(409),
    NotFound('nothing here'), NotFound(), MethodNotAllowed(['GET', 'PUT'])], ids=repr)
def test_an_http_error_stays_the_same_when_it_is_copied_or_comes_from_another_process(error):
    for other in copy.copy(error), pickle.loads(pickle.dumps(error)):
        assert type(other) is type(error)
        assert (other.status, other.body, other.headers) == (
            error.status, error.body, error.headers)
        assert str(other) == str(error)
    assert str(error).startswith(str(error.status))


@pytest.mark.parametrize('kind', ['raised', 'returned', 'yielded later'])
def test_an_http_error_is_an_answer(app, kind):
    error = HTTPError(409, 'taken <b>', {'X-Why': 'because'})

    def raised():
        raise error

    def returned():
        return error

    def later():
        yield sleep(0.1)
        raise error

    function = {'raised': raised, 'returned': returned, 'yielded later': later}[kind]
    answer = ask_and_next(app, function)
    assert (answer.status, answer.body) == (409, b'taken <b>')
    assert answer.headers['content-type'] == 'text/plain; charset=utf-8'
    assert answer.headers['x-why'] == 'because'


def test_an_http_error_takes_the_place_of_what_was_collected(app):
    def handler(response):
        response.status = 201
        response.headers['X-Kept'] = 'yes'
        yield b'collected'
        raise NotFound

    answer = ask_and_next(app, handler)
    assert answer.status == 404
    assert b'collected' not in answer.body
    assert answer.headers['x-kept'] == 'yes'


def test_an_http_error_after_the_head_was_sent_cuts_the_connection(app, logged):
    @app.route('/')
    def handler():
        yield b'begun'
        yield sleep(0.1)
        raise HTTPError(409, 'too late')

    with virtual(app) as host:
        client = host.connect(request())
        client.until_ended()
        assert b'409' not in client.received
        assert not client.received.endswith(b'0\r\n\r\n')
        assert 'raised 409 too late after the head was sent' in logged.text


@pytest.mark.parametrize('headers', [{'X': 'a\r\nEvil: yes'}, {'Evil evil': 'x'}, [('X', 7.5)]])
def test_an_http_error_with_bad_headers_is_500(app, headers, logged):
    def handler():
        raise HTTPError(409, 'x', headers)

    answer = ask_and_next(app, handler)
    assert answer.status == 500
    assert b'vil' not in answer.head


@pytest.mark.parametrize('status', [204, 304])
def test_an_http_error_without_a_body_may_be_of_a_bodiless_status(app, status):
    def handler():
        raise HTTPError(status)

    assert ask_and_next(app, handler).status == status


def test_an_http_error_with_a_body_for_a_bodiless_status_is_sent_without_it(app, logged):
    def handler():
        raise HTTPError(204, 'body')

    assert ask_and_next(app, handler).status == 204
    assert '4 bytes are left out' in logged.text


def test_text_of_an_error_that_cannot_be_encoded_is_500(app, logged):
    def handler():
        raise HTTPError(409, 'lone \udcff')

    assert ask_and_next(app, handler).status == 500


# -- errors that are mistakes ---------------------------------------------------------------------


@pytest.mark.parametrize('error', [
    ValueError('secret <&>'), KeyError('secret'), StopIteration('secret'), SystemExit('secret'),
    GeneratorExit('secret'), Cancelled(), MemoryError(), RecursionError(), StopAsyncIteration()])
@pytest.mark.parametrize('kind', ['plain', 'generator', 'waited'])
@pytest.mark.parametrize('debug', [False, True])
def test_whatever_a_handler_raises_is_500_and_the_loop_goes_on(app, error, kind, debug, logged):
    def plain():
        raise error

    def generator():
        yield b'coll' b'ected'    # (The page of debug mode shows the lines around an error.)
        raise error

    def waited():
        yield sleep(0.1)
        raise error

    function = {'plain': plain, 'generator': generator, 'waited': waited}[kind]
    answer = ask_and_next(app, function, debug=debug)
    assert answer.status == 500
    assert b'collected' not in answer.body
    # A task's traceback of `Cancelled` is dropped: mostly it says nothing.
    assert (b'Traceback' in answer.body) is debug or isinstance(error, Cancelled)
    assert (b'secret' in answer.body) is (debug and 'secret' in str(error))
    assert b'<&>' not in answer.body
    assert f'{kind}() at {__file__}:' in logged.text


def test_a_debug_page_of_text_that_cannot_be_encoded_is_still_a_page(app, logged):
    def handler():
        raise ValueError('lone \udcff')

    answer = ask_and_next(app, handler, debug=True)
    assert answer.status == 500
    assert b'lone' in answer.body


def test_an_error_that_cannot_even_be_shown_is_500(app, logged):
    class Broken(Exception):
        def __str__(self):
            raise RuntimeError('no')

    def handler():
        raise Broken

    assert ask_and_next(app, handler, debug=True).status == 500


@pytest.mark.parametrize('error', [ValueError, SystemExit, GeneratorExit, Cancelled])
@pytest.mark.parametrize('version', ['1.0', '1.1'])
def test_an_error_after_the_head_was_sent_cuts_the_connection(app, error, version, logged):
    @app.route('/')
    def handler():
        yield b'begun'
        yield sleep(0.1)
        raise error

    with virtual(app) as host:
        client = host.connect(request(version=version))
        client.until_ended()
        assert not client.received.endswith(b'0\r\n\r\n')
        # An orderly end would look like the end of a body that only the close ends.
        assert client.ended == ('reset' if version == '1.0' else 'fin')
        assert host.closed == {'failed': 1}
        assert 'handler()' in logged.text
        host.connect(request('/next')).until(b'next')


def test_an_error_in_finally_is_logged_and_costs_only_its_connection(app, logged):
    @app.route('/')
    def handler():
        try:
            yield b'begun'
            yield sleep(100)
        finally:
            raise ValueError('in finally')

    with virtual(app) as host:
        client = host.connect(request())
        client.until(b'begun')
        client.reset()
        host.settle()
        assert 'in finally' in logged.text
        host.connect(request('/next')).until(b'next')
        assert not host.reactor.tasks


def test_a_mistake_found_while_the_generator_waits_ends_it(app, logged):
    ended = []

    @app.route('/')
    def handler(response):
        response.headers['Content-Length'] = '1'
        try:
            yield b'too much'
            yield sleep(1000)
        finally:
            ended.append(host.now)

    with virtual(app) as host:
        client = host.connect(request() + request('/next'))
        assert client.take().status == 500
        client.until(b'next')
        assert ended
        assert ended[0] < 1


# -- cancelling -----------------------------------------------------------------------------------


def test_finally_runs_when_the_client_leaves_and_may_wait(app):
    seen = []

    @app.route('/')
    def handler():
        try:
            yield b'begun'
            yield sleep(1000)
        finally:
            seen.append('leaving')
            yield sleep(3)
            seen.append('left')

    with virtual(app) as host:
        client = host.connect(request())
        client.until(b'begun')
        client.reset()
        host.advance(1)
        assert seen == ['leaving']
        host.advance(3)
        assert seen == ['leaving', 'left']
        assert not host.reactor.tasks


def test_a_handler_that_swallows_cancelled_is_closed_at_last(app, logged):
    seen = []

    @app.route('/')
    def stubborn():
        try:
            while True:
                try:
                    yield b'x' * 100
                    yield sleep(1)
                except Cancelled:
                    seen.append('swallowed')
        finally:
            seen.append(host.now)

    with virtual(app) as host:
        client = host.connect(request())
        client.until(b'x')
        client.reset()
        host.advance(30)
        assert seen[0] == 'swallowed'
        assert seen[-1] == pytest.approx(10, abs=1)
        assert not host.reactor.tasks
        host.connect(request('/next')).until(b'next')


def test_a_handler_that_swallows_cancelled_may_return(app):
    @app.route('/')
    def handler():
        try:
            yield sleep(1000)
        except Cancelled:
            return

    with virtual(app) as host:
        client = host.connect(request())
        host.advance(0.1)
        client.reset()
        host.advance(0.1)
        assert not host.reactor.tasks


# -- contexts -------------------------------------------------------------------------------------


VARIABLE = contextvars.ContextVar('VARIABLE', default='unset')


def test_each_request_has_a_context_of_its_own(app):
    @app.route('/plain')
    def plain():
        was = VARIABLE.get()
        VARIABLE.set('plain')
        return was

    @app.route('/generator')
    def generator():
        was = VARIABLE.get()
        VARIABLE.set('generator')
        yield was

    @app.route('/waited')
    def waited():
        was = VARIABLE.get()
        VARIABLE.set('waited')
        yield sleep(0.1)
        yield f'{was} {VARIABLE.get()}'

    VARIABLE.set('outside')
    with virtual(app) as host:
        paths = ['/plain', '/generator', '/waited'] * 2
        client = host.connect(b''.join(map(request, paths)))
        assert [client.take().body for _ in paths] == [
            b'outside', b'outside', b'outside waited'] * 2
    assert VARIABLE.get() == 'outside'


# -- threads --------------------------------------------------------------------------------------


def test_a_threaded_handler_waits_for_futures_by_result(app):
    @app.route('/', methods=['POST'])
    def blocking(request, thread=True):
        assert threading.current_thread().name == 'tremolo-worker'
        body = request.body().result()
        return sleep(0.01, body * 2).result()

    with serving(app) as host:
        client = host.connect(request('/', 'POST', body=b'ab'))
        assert client.take().body == b'abab'
        client.send(request('/', 'POST', 'Transfer-Encoding: chunked')
                    + chunked(b'x' * 100_000) + request('/next'))
        assert client.take().body == b'x' * 200_000
        assert client.take().body == b'next'


@pytest.mark.parametrize(('error', 'status'), [
    (ValueError('x'), 500), (SystemExit(), 500), (StopIteration(), 500), (NotFound(), 404)])
def test_a_threaded_handler_that_raises_is_answered(app, error, status, logged):
    @app.route('/')
    def blocking(thread=True):
        raise error

    with serving(app) as host:
        client = host.connect(request() + request('/next'))
        assert client.take().status == status
        assert client.take().body == b'next'


def test_a_threaded_handler_may_return_all_that_a_plain_one_may(app):
    @app.route('/none')
    def none(thread=True):
        return None

    @app.route('/json')
    def json(thread=True):
        return {'a': 1}

    with serving(app) as host:
        client = host.connect(request('/none') + request('/json'))
        assert client.take().status == 204
        assert client.take().body == b'{"a": 1}'


def test_the_result_of_a_threaded_handler_whose_client_left_is_dropped(app):
    go = threading.Event()
    began = threading.Event()

    @app.route('/')
    def blocking(thread=True):
        began.set()
        go.wait(10)
        return 'late'

    with serving(app) as host:
        client = host.connect(request())
        assert began.wait(10)
        client.reset()
        host.wait_for(lambda: not host.server.connections)
        go.set()
        assert host.connect(request('/next')).take().body == b'next'
        host.wait_for(lambda: not host.reactor.tasks)


def test_a_threaded_handler_that_reads_is_let_go_when_its_client_leaves(app):
    ended = threading.Event()
    errors = []

    @app.route('/', methods=['POST'])
    def blocking(request, thread=True):
        try:
            request.body().result()
        except Exception as error:
            errors.append(type(error))
        finally:
            ended.set()

    with serving(app) as host:
        # (Without `Expect` the body would come first, and the thread begin after it.)
        client = host.connect(
            request('/', 'POST', 'Content-Length: 10', 'Expect: 100-continue') + b'part')
        host.wait_for(lambda: [each for each in host.server.connections
                               if each.response and each.response.request.inbox])
        client.reset()
        assert ended.wait(10)
        assert errors == [StreamClosed]
        assert host.connect(request('/next')).take().body == b'next'
        host.wait_for(lambda: not host.reactor.tasks)


def test_a_threaded_handler_that_takes_too_long_is_503(app, logged):
    go = threading.Event()

    @app.route('/')
    def blocking(thread=True):
        go.wait(10)
        return 'late'

    with serving(app, handler_timeout=0.05) as host:
        client = host.connect(request() + request('/next'))
        answer, = answers(client.read_all())
        assert answer.status == 503
        go.set()
        assert host.connect(request('/next')).take().body == b'next'


@pytest.mark.parametrize('thread', [False, True])
def test_a_request_knows_no_other_answer_than_its_own(app, thread):
    """Answers of pipelined requests to threads and to the loop come in the requests' order."""
    @app.route('/thread/<name>')
    def threaded(name, thread=True):
        return name

    @app.route('/loop/<name>')
    def looped(name):
        yield None
        yield name

    with serving(app) as host:
        paths = [f'/{("loop", "thread")[n % 2 == thread]}/{n}' for n in range(20)]
        client = host.connect(b''.join(map(request, paths)))
        assert [client.take().body for _ in paths] == [b'%d' % n for n in range(20)]


# -- backpressure ---------------------------------------------------------------------------------


def test_a_generator_is_not_resumed_while_the_client_does_not_read(app):
    count = [0]

    @app.route('/')
    def endless():
        while True:
            count[0] += 1
            yield b'x' * 1024

    world = World(buffer_size=20_000)
    with virtual(app, world) as host:
        client = host.connect()
        client.reading = False
        client.send(request())
        host.advance(2)
        assert count[0] < 200
        assert host.connect(request('/next')).take().body == b'next'
        before = count[0]
        client.reading = True
        host.until(lambda: count[0] > before + 500)
        client.reset()


def test_the_slow_client_of_a_whole_answer_gets_all_of_it(app):
    body = bytes(range(256)) * 4000

    def large():
        return body

    world = World(buffer_size=10_000, latency=0.05)
    app.route('/')(large)
    with virtual(app, world) as host:
        client = host.connect(request() + request('/next'))
        assert client.take().body == body
        assert client.take().body == b'next'
        assert answers(client.received) == []


def test_a_decorated_generator_is_a_generator(app):
    def twice(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)
        return wrapper

    @app.route('/decorated')
    @twice
    def decorated(**server):
        yield 'first '
        yield sleep(0.001)
        yield 'second'

    with app.start() as server, urllib.request.urlopen(f'{server.url}/decorated') as answer:
        assert answer.read() == b'first second'


def test_send_takes_bytes_and_text_and_counts_their_bytes(app):
    @app.route('/text')
    def text(response):
        response.send('é')

    @app.route('/list')
    def list_of_bytes(response):
        try:
            response.send([b'text'])
        except HandlerError as error:
            return f'told: {error}'

    @app.route('/items')
    def items(response):
        response.send(memoryview(b'abcdefgh').cast('I'))

    @app.route('/pieces')
    def pieces(response):
        response.write(memoryview(b'abcdefgh').cast('I'))
        response.end()

    assert ask(app, '/text').body == 'é'.encode()
    assert ask(app, '/list').body == b'told: a body is bytes or str, not list'
    assert ask(app, '/items').body == b'abcdefgh'
    assert ask(app, '/pieces').body == b'abcdefgh'


@pytest.mark.parametrize('error', [HTTPError(400), ProtocolError(400, 'broken')])
def test_what_a_client_did_wrong_is_no_error_of_the_handler_when_it_has_gone_meanwhile(app, error):
    ended = []

    @app.route('/', methods=['POST'])
    def handler(request):
        yield sleep(0)
        request.connection.abort('reset')    # As when it hangs up in this very moment.
        ended.append(True)
        raise error

    with virtual(app) as host:
        host.connect(request('/', 'POST')).until_ended()
    assert ended == [True]


def test_an_error_after_the_answer_is_told_whatever_it_is(app, logged):
    @app.route('/')
    def handler(response):
        yield response.send(b'')
        yield sleep(1)
        raise HTTPError(400)

    with virtual(app) as host:
        assert host.connect(request()).take().status == 200
        host.advance(2)
    assert logged.count('failed on GET') == 1
