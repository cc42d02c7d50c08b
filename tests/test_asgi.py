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

from tremolo.asgi import LifespanFailed
from tremolo.asgi_app import AsgiApplication

ROOT = Path(__file__).resolve().parent.parent


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
        'type': 'http', 'asgi': {'version': '3.0', 'spec_version': '2.4'}, 'http_version': '1.1',
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
