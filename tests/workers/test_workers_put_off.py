"""SIGHUP without workers: the server goes on while a request takes long; nobody waits for it."""

from __future__ import annotations

import sys

import pytest
from worker_group import APPLICATION, PATIENCE, wait_until

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

NATIVE = APPLICATION + '''
import asyncio

def gone():
    return not os.path.exists('go')

@app.route('/thread')
def threaded(thread=True):
    while gone():
        time.sleep(0.01)
    return 'ended'

@app.route('/coroutine')
async def coroutine():
    while gone():
        await asyncio.sleep(0.01)
    return 'ended'

@app.route('/events')
def events(sse):
    yield sse.send('begun')
    yield tremolo.sleep(1000)

@app.route('/socket')
def socket(websocket):
    yield websocket.accept()
    yield websocket.send('begun')
    yield websocket.receive()
'''
ASGI = '''
import asyncio, os

# asgi
async def app(scope, receive, send):
    assert scope['type'] == 'http'
    kind = b'text/event-stream' if scope['path'] == '/events' else b'text/plain'
    await send({'type': 'http.response.start', 'status': 200,
                'headers': [(b'content-type', kind)]})
    if scope['path'] == '/':
        await send({'type': 'http.response.body', 'body': b'%d first' % os.getpid()})
        return
    await send({'type': 'http.response.body', 'body': b'begun ', 'more_body': True})
    if scope['path'] == '/events':
        receiving = asyncio.create_task(receive())
        while not receiving.done() and not os.path.exists('go'):
            await asyncio.sleep(0.01)
    else:
        while not os.path.exists('go'):
            await asyncio.sleep(0.01)
    await send({'type': 'http.response.body', 'body': b'ended'})
'''


UPGRADE = ('Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'
           'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')


def begin(server, path):
    sock = server.connect()
    more = UPGRADE if path == '/socket' else 'Connection: close'
    if path == '/events' and b'asgi' in (server.folder / 'example.py').read_bytes():
        more += '\r\nAccept: text/event-stream'
    sock.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n\r\n'.encode())
    received = b'begun' if path in ('/thread', '/coroutine') else b''
    while b'begun' not in received:
        data = sock.recv(65536)
        assert data
        received += data
    return sock


def rest(sock):
    with sock:
        received = b''
        while data := sock.recv(65536):
            received += data
    return received


def renewed(server, folder):
    """Send SIGHUP, for other code."""
    path = folder / 'example.py'
    path.write_text(path.read_text().replace('first', 'second'))
    server.signal('SIGHUP')


@pytest.mark.parametrize(('code', 'paths'), [
    (NATIVE, ['/held', '/thread', '/coroutine']), (ASGI, ['/held'])], ids=['native', 'asgi'])
def test_a_new_connection_does_not_wait_for_a_long_answer(group, tmp_path, code, paths):
    (tmp_path / 'example.py').write_text(code)
    server = group('--port', '0')
    old = f'{server.process.pid} first'
    assert server.get() == old
    held = [begin(server, path) for path in paths]
    renewed(server, tmp_path)
    wait_until(lambda: 'serving goes on' in server.log)
    for _ in range(10):
        assert server.get() == old
    (tmp_path / 'go').touch()
    for each in held:
        assert b'ended' in rest(each)
    wait_until(lambda: server.get() == old.replace('first', 'second'))
    assert server.end() == 0


@pytest.mark.parametrize(('code', 'paths'), [
    (NATIVE, ['/events', '/socket']), (ASGI, ['/events'])], ids=['native', 'asgi'])
def test_an_event_stream_or_a_socket_does_not_put_off_a_renewal(group, tmp_path, code, paths):
    """It ends when it is told, and it is told when the server drains."""
    (tmp_path / 'example.py').write_text(code)
    server = group('--port', '0')
    pid = server.process.pid
    held = [begin(server, path) for path in paths]
    renewed(server, tmp_path)
    wait_until(lambda: 'renewing' in server.log)
    (tmp_path / 'go').touch()
    while held[0].recv(65536):
        pass
    # (The other end of the socket would have to say that it closes, too.)
    for each in held:
        each.close()
    wait_until(lambda: server.get() == f'{pid} second')
    assert 'serving goes on' not in server.log


def test_what_takes_too_long_does_not_put_it_off_for_ever(group, tmp_path):
    (tmp_path / 'example.py').write_text(APPLICATION)
    server = group('--port', '0', '--shutdown-timeout', '0.2')
    with begin(server, '/held'):
        renewed(server, tmp_path)
        wait_until(lambda: server.get().endswith('second'))
    assert 'shutdown_timeout is over' in server.log


def test_a_stop_does_not_wait_for_a_renewal_that_is_put_off(group, tmp_path):
    server = group('--port', '0')
    with begin(server, '/held') as sock:
        renewed(server, tmp_path)
        wait_until(lambda: 'serving goes on' in server.log)
        server.signal('SIGTERM')
        wait_until(server.refuses)
        (tmp_path / 'go').touch()
        assert b'ended' in rest(sock)
    assert server.process.wait(PATIENCE) == 0
