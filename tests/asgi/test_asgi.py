"""ASGI applications on real sockets: the messages, their order, and the lifespan."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from server_support import answers, chunked, request

from tremolo.asgi import Lifespan, LifespanFailed
from tremolo.asgi_app import AsgiApplication

ROOT = Path(__file__).resolve().parents[2]


def start(app, **options):
    return AsgiApplication(app).start(port=0, **options)


def ask(server, *wires):
    """Send the requests, the last of which closes, and read the answers to the end."""
    with socket.create_connection(('127.0.0.1', server.port), timeout=10) as sock:
        sock.sendall(b''.join(wires))
        received = b''
        while data := sock.recv(65536):
            received += data
    method = wires[0].split(b' ', 1)[0].decode()
    return answers(received, *([method] if method == 'HEAD' else ()))


def get(path='/', *lines, method='GET', body=b''):
    return request(path, method, 'Connection: close', *lines, body=body)


def http_only(function):
    """Make an application that knows no lifespan."""
    async def app(scope, receive, send):
        assert scope['type'] == 'http'
        await function(scope, receive, send)

    return app


async def answer(send, body=b'', status=200, headers=()):
    await send({'type': 'http.response.start', 'status': status, 'headers': headers})
    await send({'type': 'http.response.body', 'body': body})


async def whole_body(receive):
    body = b''
    while True:
        message = await receive()
        assert message['type'] == 'http.request'
        body += message['body']
        if not message['more_body']:
            return body


def test_the_scope_tells_all_of_the_request():
    seen = []

    @http_only
    async def app(scope, receive, send):
        seen.append(scope)
        await answer(send, b'hello', headers=[(b'x-a', b'1'), (b'x-a', b'2')])

    with start(app, root_path='/mount') as server:
        found, = ask(server, get('/a%20b?c=d', 'X-Test: Yes'))
        port = server.port
    assert found.body == b'hello'
    assert found.head.count(b'x-a: ') == 2
    assert b'content-type' not in found.head.lower()
    scope, = seen
    assert scope.pop('client')[0] == '127.0.0.1'
    assert scope == {
        'type': 'http', 'asgi': {'version': '3.0', 'spec_version': '2.3'}, 'http_version': '1.1',
        'method': 'GET', 'scheme': 'http', 'path': '/mount/a b', 'raw_path': b'/mount/a%20b',
        'query_string': b'c=d', 'root_path': '/mount', 'server': ('127.0.0.1', port),
        'headers': [(b'host', b'test'), (b'connection', b'close'), (b'x-test', b'Yes')],
        'state': {}, 'extensions': {
            'http.response.early_hint': {}, 'http.response.trailers': {},
            'http.response.pathsend': {}}}


@pytest.mark.parametrize('wire', [
    get(method='POST', body=b'x' * 200000),
    request('/', 'POST', 'Connection: close', 'Transfer-Encoding: chunked',
            body=chunked(*[b'x' * 1000] * 200)),
], ids=['sized', 'chunked'])
def test_bodies_come_in_pieces(wire):
    @http_only
    async def app(scope, receive, send):
        await answer(send, b'%d' % len(await whole_body(receive)))

    with start(app) as server:
        assert ask(server, wire)[0].body == b'200000'


def test_answers_in_pieces_are_chunked_and_announced_ones_are_not():
    @http_only
    async def app(scope, receive, send):
        headers = [(b'content-length', b'4')] if scope['path'] == '/sized' else []
        headers.append((b'transfer-encoding', b'chunked'))
        await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
        await send({'type': 'http.response.body', 'body': b'ab', 'more_body': True})
        await asyncio.sleep(0)
        await send({'type': 'http.response.body', 'body': b'cd'})

    with start(app) as server:
        found, = ask(server, get('/'))
        assert (found.body, found.headers['transfer-encoding']) == (b'abcd', 'chunked')
        found, = ask(server, get('/sized'))
        assert (found.body, found.headers['content-length']) == (b'abcd', '4')
        assert 'transfer-encoding' not in found.headers


def test_head_and_bodiless_answers_have_no_body():
    @http_only
    async def app(scope, receive, send):
        await answer(send, b'' if scope['path'] == '/204' else b'hello',
                     204 if scope['path'] == '/204' else 200)

    with start(app) as server:
        found, = ask(server, get(method='HEAD'))
        assert (found.body, found.headers['content-length']) == (b'', '5')
        found, = ask(server, get('/204'))
        assert found.status == 204
        assert 'content-length' not in found.headers


def test_pipelined_requests_and_their_contexts():
    name = contextvars.ContextVar('name', default='')
    seen = []

    @http_only
    async def app(scope, receive, send):
        seen.append(name.get())
        name.set(scope['path'])
        if scope['path'] == '/1':
            await asyncio.sleep(0.005)
        assert name.get() == scope['path']
        await answer(send, scope['path'].encode())

    with start(app) as server:
        found = ask(server, request('/0'), request('/1'), request('/2'), get('/3'))
    assert [each.body for each in found] == [b'/0', b'/1', b'/2', b'/3']
    assert seen == [''] * 4


@pytest.mark.parametrize(('messages', 'error'), [
    ([], 'RuntimeError: the application returned without a complete answer'),
    ([{'type': 'http.response.body'}], 'RuntimeError: expected http.response.start'),
    ([{'type': 'http.response.start', 'status': '200'}], "HeaderError: '200' is no status"),
    ([{'type': 'http.response.start', 'status': 99}], 'HeaderError: 99 is no status'),
    ([{'type': 'http.response.start', 'status': 200, 'headers': [('a', 'b')]}],
     'TypeError: a header is a pair of bytes'),
    ([{'type': 'http.response.start', 'status': 200, 'headers': [(b'a', b'b\r\nc: d')]}],
     'HeaderError: '),
    ([{'type': 'http.response.start', 'status': 200}], 'RuntimeError: the application returned'),
    ([{'type': 'http.response.start', 'status': 200},
      {'type': 'http.response.start', 'status': 200}], 'expected http.response.body'),
    ([{'type': 'http.response.start', 'status': 200},
      {'type': 'http.response.body', 'body': 'text'}], 'TypeError: the body of a message is bytes'),
    ([{'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'9')]},
      {'type': 'http.response.body', 'body': b'text'}], 'HandlerError: Content-Length is 9'),
])
def test_a_mistake_is_raised_in_the_application_and_answered_with_500(messages, error, logged):
    @http_only
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    with start(app) as server:
        assert ask(server, get())[0].status == 500
    assert error in logged.text


def test_sending_after_the_end_is_a_mistake(logged):
    @http_only
    async def app(scope, receive, send):
        await answer(send, b'hello')
        await send({'type': 'http.response.body'})

    with start(app) as server:
        assert ask(server, get())[0].body == b'hello'
    assert 'after the answer was complete' in logged.text


def test_an_error_after_the_head_cuts_the_connection(logged):
    @http_only
    async def app(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200})
        await send({'type': 'http.response.body', 'body': b'half', 'more_body': True})
        raise ValueError('wrong')

    with start(app) as server, socket.create_connection(
            ('127.0.0.1', server.port), timeout=10) as sock:
        sock.sendall(request())
        received = b''
        while data := sock.recv(1000):
            received += data
    assert received.endswith(b'4\r\nhalf\r\n')
    assert 'ValueError: wrong' in logged.text


def test_a_client_that_leaves_is_a_disconnect_and_then_an_os_error():
    seen = []
    ended = threading.Event()

    @http_only
    async def app(scope, receive, send):
        await whole_body(receive)
        await send({'type': 'http.response.start', 'status': 200})
        await send({'type': 'http.response.body', 'body': b'x', 'more_body': True})
        seen.append((await receive())['type'])
        try:
            await send({'type': 'http.response.body', 'body': b'y', 'more_body': True})
        except OSError:
            seen.append('OSError')
        ended.set()

    with start(app, half_close_timeout=0.01) as server:
        with socket.create_connection(('127.0.0.1', server.port), timeout=10) as sock:
            sock.sendall(request())
            sock.recv(1000)
        assert ended.wait(10)
    assert seen == ['http.disconnect', 'OSError']


def test_a_client_that_does_not_read_holds_the_application_up():
    sent = []

    @http_only
    async def app(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200})
        for _ in range(2000):
            await send({'type': 'http.response.body', 'body': b'x' * 50000, 'more_body': True})
            sent.append(1)
        await send({'type': 'http.response.body'})

    with start(app) as server, socket.create_connection(
            ('127.0.0.1', server.port), timeout=10) as sock:
        sock.sendall(get())
        sock.recv(1000)
        size = 1000
        while data := sock.recv(1 << 20):
            if size == 1000:
                # The kernel's buffers are full by now, or soon.
                assert len(sent) < 1000
            size += len(data)
    assert size > 2000 * 50000


@pytest.mark.parametrize('size', [100, 16384, 16385, 65536, 200_000])
@pytest.mark.parametrize('sized', [True, False])
def test_a_long_piece_is_framed_as_a_short_one_is(size, sized):
    pieces = [bytes([number]) * size for number in range(5)]
    headers = [(b'content-length', b'%d' % (5 * size))] if sized else []

    @http_only
    async def app(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
        for piece in pieces:
            await send({'type': 'http.response.body', 'body': piece, 'more_body': True})
        await send({'type': 'http.response.body'})

    with start(app) as server:
        for found in ask(server, request('/'), get()):
            assert found.body == b''.join(pieces)
            assert ('transfer-encoding' in found.headers) is not sized


def test_a_body_that_breaks_the_rules_is_400():
    @http_only
    async def app(scope, receive, send):
        while (await receive())['type'] != 'http.disconnect':
            pass

    with start(app) as server:
        wire = request('/', 'POST', 'Transfer-Encoding: chunked', body=b'3\r\nabc\r\nxyz\r\n')
        assert ask(server, wire)[0].status == 400


def test_an_application_that_waits_for_ever_is_ended_by_handler_timeout(logged):
    ended = threading.Event()

    @http_only
    async def app(scope, receive, send):
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()

    with start(app, handler_timeout=0.05) as server:
        assert ask(server, get())[0].status == 503
        assert ended.wait(10)
    assert 'handler_timeout' in logged.text


def test_an_application_that_never_waits_lets_others_run():
    others = []

    @http_only
    async def app(scope, receive, send):
        if scope['path'] == '/other':
            others.append(1)
            await answer(send, b'other')
            return
        await send({'type': 'http.response.start', 'status': 200})
        while not others:
            # Nothing of this is ever kept, so there is always room.
            await send({'type': 'http.response.body', 'body': b'', 'more_body': True})
        await send({'type': 'http.response.body', 'body': b'done'})

    with start(app) as server, socket.create_connection(
            ('127.0.0.1', server.port), timeout=10) as sock:
        sock.sendall(get())
        assert sock.recv(1000).startswith(b'HTTP/1.1 200 ')
        assert ask(server, get('/other'))[0].body == b'other'
        while sock.recv(1000):
            pass


# The extensions

def raw(server, *wires):
    """Send the requests, the last of which closes, and return all that comes back."""
    with socket.create_connection(('127.0.0.1', server.port), timeout=10) as sock:
        sock.sendall(b''.join(wires))
        received = b''
        while data := sock.recv(65536):
            received += data
    return received


def test_early_hints_come_before_the_answer_and_not_in_http_1_0():
    @http_only
    async def app(scope, receive, send):
        await send({'type': 'http.response.early_hint', 'links': [b'</a.css>; rel=preload']})
        await send({'type': 'http.response.start', 'status': 200})
        await send({'type': 'http.response.early_hint', 'links': [b'</b.js>', b'</c.js>']})
        await send({'type': 'http.response.body', 'body': b'a', 'more_body': True})
        # Too late, and harmless.
        await send({'type': 'http.response.early_hint', 'links': [b'</d.js>']})
        await send({'type': 'http.response.body', 'body': b'b'})

    with start(app) as server:
        hints, answer = raw(server, get()).split(b'HTTP/1.1 200 ', 1)
        assert hints == (b'HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n'
                         b'HTTP/1.1 103 Early Hints\r\nlink: </b.js>\r\nlink: </c.js>\r\n\r\n')
        assert b'103' not in answer
        assert raw(server, request('/', version='1.0')).startswith(b'HTTP/1.1 200 ')


@pytest.mark.parametrize(('te', 'more'), [
    ('TE: trailers', True), ('TE: gzip;q=0.5, Trailers', False), ('TE: gzip', True)])
def test_trailers_come_after_the_body_if_the_client_takes_them(te, more):
    @http_only
    async def app(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200, 'trailers': True})
        await send({'type': 'http.response.body', 'body': b'hello', 'more_body': more})
        if more:
            await send({'type': 'http.response.body'})
        await send({'type': 'http.response.trailers', 'headers': [(b'x-a', b'1')],
                    'more_trailers': True})
        await send({'type': 'http.response.trailers', 'headers': [(b'x-b', b'2')]})

    with start(app) as server:
        received = raw(server, get('/', te))
        end = b'' if te == 'TE: gzip' else b'x-a: 1\r\nx-b: 2\r\n'
        assert received.endswith(b'\r\n\r\n5\r\nhello\r\n0\r\n' + end + b'\r\n')


def test_trailers_of_an_answer_of_known_length_are_left_out():
    @http_only
    async def app(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200, 'trailers': True,
                    'headers': [(b'content-length', b'5')]})
        await send({'type': 'http.response.body', 'body': b'hello'})
        await send({'type': 'http.response.trailers', 'headers': [(b'x-a', b'1')]})

    with start(app) as server:
        assert raw(server, get('/', 'TE: trailers')).endswith(b'\r\n\r\nhello')


@pytest.mark.parametrize('headers', [
    [(b'content-length', b'5')], [(b'connection', b'close')], [(b'x', b'1\r\n\r\n')]])
def test_what_cannot_be_a_trailer_cuts_the_answer(headers, logged):
    @http_only
    async def app(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200, 'trailers': True})
        await send({'type': 'http.response.body', 'body': b'hello'})
        await send({'type': 'http.response.trailers', 'headers': headers})

    with start(app) as server:
        assert raw(server, get('/', 'TE: trailers')).endswith(b'5\r\nhello\r\n')
    assert 'HeaderError' in logged.text


def sends_file(path, *headers):
    @http_only
    async def app(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
        await send({'type': 'http.response.pathsend', 'path': str(path)})

    return app


@pytest.mark.parametrize('size', [0, 1, 1_000_000])
def test_a_file_is_sent_by_its_path(tmp_path, size):
    path = tmp_path / 'file'
    path.write_bytes(bytes(range(256)) * (size // 256) + b'x' * (size % 256))
    with start(sends_file(path)) as server:
        assert ask(server, get())[0].body == path.read_bytes()
        assert ask(server, get(method='HEAD'))[0].body == b''
    with start(sends_file(path, (b'content-length', str(size).encode()))) as server:
        found, = ask(server, get())
        assert (found.body, found.headers['content-length']) == (path.read_bytes(), str(size))
        found, = ask(server, get(method='HEAD'))
        assert (found.body, found.headers['content-length']) == (b'', str(size))


def test_a_file_that_is_not_there_or_too_short_is_no_answer(tmp_path, logged):
    with start(sends_file(tmp_path / 'none')) as server:
        assert ask(server, get())[0].status == 500
    assert 'FileNotFoundError' in logged.text
    (tmp_path / 'short').write_bytes(b'half')
    with start(sends_file(tmp_path / 'short', (b'content-length', b'8'))) as server:
        assert raw(server, get()).endswith(b'\r\n\r\nhalf')
    assert '4 bytes shorter than its Content-Length' in logged.text


def test_a_client_that_leaves_ends_the_sending_of_a_file(tmp_path):
    path = tmp_path / 'file'
    with path.open('wb') as file:
        file.truncate(1 << 30)
    ended = threading.Event()
    seen = []

    @http_only
    async def app(scope, receive, send):
        try:
            await sends_file(path)(scope, receive, send)
        except OSError as error:
            seen.append(str(error))
        ended.set()

    with start(app) as server:
        with socket.create_connection(('127.0.0.1', server.port), timeout=10) as sock:
            sock.sendall(get())
            sock.recv(1000)
        assert ended.wait(10)
    assert seen == ['the client is gone: reset: the connection broke']


def test_debug_information_is_for_debug_mode(logged):
    @http_only
    async def app(scope, receive, send):
        if 'http.response.debug' in scope['extensions']:
            await send({'type': 'http.response.debug', 'info': {'template': 'x'}})
            await answer(send, b'debug')
        else:
            with pytest.raises(RuntimeError, match=r'expected http\.response\.start'):
                await send({'type': 'http.response.debug', 'info': {}})
            await answer(send, b'none')

    with start(app) as server:
        assert ask(server, get())[0].body == b'none'
    with start(app, debug=True) as server:
        assert ask(server, get())[0].body == b'debug'


# Receiving

def test_who_gives_up_waiting_for_the_end_may_wait_again():
    @http_only
    async def app(scope, receive, send):
        await receive()
        for _ in range(2):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(receive(), 0.01)
        await answer(send, b'still here')

    with start(app) as server:
        assert ask(server, get())[0].body == b'still here'


def test_two_tasks_that_receive_get_the_whole_body_between_them():
    @http_only
    async def app(scope, receive, send):
        async def take():
            size = 0
            while (message := await receive())['type'] == 'http.request':
                size += len(message['body'])
                if not message['more_body']:
                    break
            return size

        one = asyncio.ensure_future(take())
        other = asyncio.ensure_future(take())
        await asyncio.wait((one, other), return_when=asyncio.FIRST_COMPLETED)
        await answer(send, b'')
        sizes.append(await one + await other)

    sizes = []
    with start(app) as server:
        ask(server, get(method='POST', body=b'x' * 500000))
    assert sizes == [500000]


def test_the_last_piece_of_a_sized_body_says_so():
    @http_only
    async def app(scope, receive, send):
        await answer(send, repr((await receive())['more_body']).encode())

    with start(app) as server:
        assert ask(server, get(method='POST', body=b'x'))[0].body == b'False'


def test_the_target_names_the_host_and_not_the_field():
    @http_only
    async def app(scope, receive, send):
        await answer(send, repr((scope['path'], scope['query_string'], [
            value for name, value in scope['headers'] if name == b'host'])).encode())

    with start(app) as server:
        found, = ask(server, get('http://other:81/a?b'))
        assert found.body == b"('/a', b'b', [b'other:81'])"


def test_headers_that_mean_something_to_the_server():
    @http_only
    async def app(scope, receive, send):
        await answer(send, b'x', headers=[
            (b'Date', b'today'), (b'SERVER', b'mine'), (b'Connection', b'close'),
            (b'Content-Length', b'1'), (b'X-Own', b'1')])

    with start(app) as server:
        # The answer says close, so the request need not.
        received = raw(server, request())
    head, _, body = received.partition(b'\r\n\r\n')
    assert sorted(head.split(b'\r\n')[1:]) == [
        b'Connection: close', b'Content-Length: 1', b'Date: today', b'SERVER: mine', b'X-Own: 1']
    assert body == b'x'


@pytest.mark.parametrize('headers', [
    [(b'content-length', b'1'), (b'content-length', b'2')], [(b'content-length', b'+1')],
    [(b'', b'x')], [(b'a b', b'x')], [(b'a:', b'x')], [(b'a', b'x\0')], [(b'a', b'\n')],
    [(b'a\n', b'x')], [(b'x-good', b'1'), (b'x-good', b'2\r\nx-evil: 3')]])
def test_headers_that_may_not_be_sent(headers, logged):
    @http_only
    async def app(scope, receive, send):
        await answer(send, b'x', headers=headers)

    with start(app) as server:
        for _ in range(2):
            # Also when the names are known already.
            found, = ask(server, get())
            assert found.status == 500
            assert 'x-evil' not in found.headers
    assert 'HeaderError' in logged.text


@pytest.mark.parametrize('headers', [
    [('a', 'b')], [(b'a', 1)], [(b'a', None)], [b'ab'], [(b'a',)], 5, [(b'content-length', 1)],
    [(bytearray(b'a'), b'x')]])
def test_headers_that_are_no_pairs_of_bytes(headers, logged):
    @http_only
    async def app(scope, receive, send):
        await answer(send, b'x', headers=headers)

    with start(app) as server:
        assert ask(server, get())[0].status == 500
    assert 'TypeError: a header is a pair of bytes' in logged.text


def test_an_application_that_is_cancelled_is_an_error(logged):
    @http_only
    async def app(scope, receive, send):
        raise asyncio.CancelledError

    with start(app) as server:
        assert ask(server, get())[0].status == 500
    assert 'CancelledError' in logged.text


def test_lists_and_tuples_and_generators_of_headers_are_all_the_same():
    @http_only
    async def app(scope, receive, send):
        pairs = [[b'x-a', b'1'], (b'x-b', memoryview(b'2'))]
        await answer(send, bytearray(b'hello'), headers=(each for each in pairs))

    with start(app) as server:
        found, = ask(server, get())
    assert (found.headers['x-a'], found.headers['x-b'], found.body) == ('1', '2', b'hello')


# Applications that fail in unusual ways

def test_an_error_that_is_its_own_cause_is_an_error_like_any_other(logged):
    @http_only
    async def app(scope, receive, send):
        await answer(send, b'answered')
        try:
            raise ValueError('wrong')
        except ValueError as error:
            raise error from error

    with start(app) as server:
        for _ in range(2):
            assert ask(server, get())[0].body == b'answered'
    assert logged.count('the ASGI application failed') == 2


def test_an_application_that_is_no_coroutine_function(logged):
    @http_only
    async def app(scope, receive, send):
        if scope['path'] == '/wait':
            await asyncio.sleep(0.01)
        await answer(send, scope['path'].encode())

    def make(scope, receive, send):
        if scope['path'] == '/raise':
            raise ValueError('wrong')
        return asyncio.ensure_future(app(scope, receive, send))

    with start(make, lifespan='off') as server:
        found = ask(server, request('/wait'), request('/raise'), get('/now'))
    assert [each.status for each in found] == [200, 500, 200]
    assert found[2].body == b'/now'
    assert 'ValueError: wrong' in logged.text


def test_handler_timeout_ends_what_has_begun_to_answer_too(logged):
    ended = threading.Semaphore(0)

    @http_only
    async def app(scope, receive, send):
        try:
            await send({'type': 'http.response.start', 'status': 200})
            await send({'type': 'http.response.body', 'body': b'x', 'more_body': True})
            await asyncio.sleep(1000)
        finally:
            ended.release()

    with start(app, handler_timeout=0.05) as server:
        with pytest.raises(ConnectionResetError):
            raw(server, get())
        assert ended.acquire(timeout=10)
    assert 'handler_timeout' in logged.text


def test_other_tasks_of_one_that_failed_are_told_too(logged):
    seen = []
    told = threading.Event()

    async def wait(receive):
        seen.append((await receive())['type'])
        told.set()

    @http_only
    async def app(scope, receive, send):
        await receive()
        tasks.append(asyncio.ensure_future(wait(receive)))
        await asyncio.sleep(0)
        raise ValueError('wrong')

    tasks = []
    with start(app) as server:
        assert ask(server, get())[0].status == 500
        assert told.wait(10)
    assert seen == ['http.disconnect']
    assert 'ValueError: wrong' in logged.text


def test_head_claims_no_length_that_nobody_told():
    @http_only
    async def app(scope, receive, send):
        await answer(send)

    with start(app) as server:
        found, = ask(server, get(method='HEAD'))
        assert 'content-length' not in found.headers
        found, = ask(server, get())
        assert found.headers['content-length'] == '0'


def test_a_client_that_leaves_in_the_last_message_is_nobody_s_fault():
    ended = threading.Event()

    @http_only
    async def app(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200})
        await send({'type': 'http.response.body', 'body': b'x', 'more_body': True})
        await send({'type': 'http.response.body', 'body': bytes(20_000_000)})
        ended.set()

    with start(app) as server:
        with socket.create_connection(('127.0.0.1', server.port), timeout=10) as sock:
            sock.sendall(request('/', version='1.0'))
            sock.recv(1000)
            assert ended.wait(10)
        # (What was logged about it is looked at when the test has ended.)
        assert ask(server, get())[0].status == 200


# The lifespan

def living(log, startup='complete', shutdown='complete'):
    """Make an application that has a lifespan and logs it."""
    async def app(scope, receive, send):
        if scope['type'] == 'http':
            await answer(send, repr(scope['state']).encode())
            return
        for what, how in (('startup', startup), ('shutdown', shutdown)):
            message = await receive()
            log.append(message['type'])
            if how == 'hang':
                await asyncio.sleep(1000)
            if how == 'raise':
                raise ValueError('wrong')
            scope['state']['started'] = True
            await send({'type': f'lifespan.{what}.{how}', 'message': 'no database'})

    return app


def test_startup_comes_before_the_first_request_and_shutdown_after_the_last():
    log = []
    with start(living(log)) as server:
        assert log == ['lifespan.startup']
        assert ask(server, get())[0].body == b"{'started': True}"
    assert log == ['lifespan.startup', 'lifespan.shutdown']


def test_a_lifespan_that_ends_at_once_is_heard(logged):
    async def app(scope, receive, send):
        raise ValueError('no lifespan')

    async def main():
        # With the factory, from Python 3.12 on, it has ended before anybody listens.
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, 'eager_task_factory', None))
        await Lifespan(app, 'auto').startup(5)
        with pytest.raises(LifespanFailed, match='no lifespan'):
            await Lifespan(app, 'on').startup(5)

    asyncio.run(main())


def test_off_runs_no_lifespan():
    log = []
    with start(living(log), lifespan='off') as server:
        assert ask(server, get())[0].body == b'{}'
    assert log == []


def test_an_application_without_a_lifespan_is_served_unless_it_must_have_one(logged):
    app = living([], startup='raise')
    with start(app) as server:
        assert ask(server, get())[0].status == 200
    with pytest.raises(LifespanFailed, match='wrong'):
        start(app, lifespan='on')
    assert 'ValueError: wrong' in logged.text


def test_a_startup_that_fails_or_hangs_ends_the_start():
    with pytest.raises(LifespanFailed, match='no database'):
        start(living([], startup='failed'))
    begun = time.monotonic()
    with pytest.raises(LifespanFailed, match=r'longer than 0\.05 seconds'):
        start(living([], startup='hang'), startup_timeout=0.05)
    assert time.monotonic() - begun < 10


def test_a_shutdown_that_fails_is_logged(logged):
    with start(living([], shutdown='failed')) as server:
        ask(server, get())
    assert 'the shutdown of the application failed: no database' in logged.text


# The command line

APPLICATION = '''
async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        await receive()
        await send({'type': 'lifespan.startup.failed', 'message': 'no database'})
        return
    await send({'type': 'http.response.start', 'status': 200})
    await send({'type': 'http.response.body', 'body': b'hello'})
'''


def test_the_command_line_serves_an_application_or_says_why_not(tmp_path):
    (tmp_path / 'example.py').write_text(APPLICATION)
    command = [sys.executable, '-m', 'tremolo', 'example:app', '--port', '0']
    environment = {'PYTHONPATH': str(ROOT), 'PATH': ''}
    failed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True,
                            timeout=60, check=False)
    assert failed.returncode == 3
    assert failed.stderr.splitlines()[-1] == 'tremolo: error: no database'
    served = subprocess.Popen([*command, '--lifespan', 'off'], cwd=tmp_path, env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        port = int(served.stdout.readline().split(b' (')[0].rpartition(b':')[2])
        with socket.create_connection(('127.0.0.1', port), timeout=10) as sock:
            sock.sendall(get())
            received = b''
            while data := sock.recv(1000):
                received += data
        assert answers(received)[0].body == b'hello'
    finally:
        served.terminate()
        served.communicate(timeout=20)
    assert served.returncode == 0
