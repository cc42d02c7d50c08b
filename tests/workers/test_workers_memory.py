"""The worst-case memory of `--check` holds: a real worker, and clients at their worst of each kind.

    connections x (a connection + its WebSocket) + requests x a request, and the answers

A third more is what Python's allocator may keep. `limit_concurrency` is `FEW`: what exceeds it is
refused, and without it each kind would hold `MANY` times as much.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from pathlib import Path

import pytest
from worker_group import wait_until

from tremolo.machine import resident_memory
from tremolo.settings import Settings
from tremolo.settings.limits import memory_of

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

KIB, MIB = 1 << 10, 1 << 20
MANY, FEW = 24, 6
ANSWER = 4 * MIB
SIZES = {'head_size': 64 * KIB, 'pipeline_size': 64 * KIB, 'body_buffer_size': 256 * KIB,
         'json_size': 64 * KIB, 'form_size': 256 * KIB, 'ws_message_size': 64 * KIB}
# The options of a socket that is reset when it is closed.
_NO_LINGER = struct.pack('ii', 1, 0)

PROGRAM = f'''
import tremolo

app = tremolo.Tremolo()

def begun():
    with open('begun', 'a') as file:
        file.write('x')

@app.route('/hold')
def hold():
    begun()
    yield tremolo.sleep(1000)

@app.route('/body', methods=['POST'])
def body(request):
    held = yield request.body()
    begun()
    yield tremolo.sleep(1000)

@app.route('/json', methods=['POST'])
def json(request):
    held = yield request.json()
    begun()
    yield tremolo.sleep(1000)

@app.route('/form', methods=['POST'])
def form(request):
    held = yield request.form()
    begun()
    yield tremolo.sleep(1000)

@app.route('/answer')
def answer():
    begun()
    return b'x' * {ANSWER}

@app.route('/stream')
def stream():
    begun()
    while True:
        yield b'x' * {64 * KIB}

@app.route('/ws')
def ws(websocket):
    yield websocket.accept()
    begun()
    yield tremolo.sleep(1000)
'''


def post(path: str, body: bytes, kind: str = 'application/json') -> bytes:
    return (f'POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n'
            f'Content-Length: {len(body)}\r\n\r\n').encode() + body


def get(path: str, *lines: str) -> bytes:
    return '\r\n'.join((f'GET {path} HTTP/1.1', 'Host: x', *lines, '', '')).encode()


def worst_json() -> bytes:
    deep = '[' * 900 + ']' * 900
    text = f'[{",".join([deep] * (SIZES["json_size"] // (len(deep) + 1)))}]'
    return text.encode()


def message() -> bytes:
    """A text with one rare character, which Python keeps as 4 bytes for each; without its end."""
    text = '\U0001f600'.encode() + b'x' * (SIZES['ws_message_size'] - 8)
    whole = b'\x81\xfe' + struct.pack('!H', len(text)) + bytes(4) + text
    if len(text) >= 65536:
        whole = b'\x81\xff' + struct.pack('!Q', len(text)) + bytes(4) + text
    return whole * 3


HANDSHAKE = get('/ws', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
                'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==')
# What each client sends; how many handlers begin; and what these hold beside the connections.
KINDS = {
    'heads': (get('/hold', 'X: ' + 'x' * 60 * KIB)[:-2], 0, 0),
    'pipelines': (get('/hold') + get('/hold') * 2000, FEW, FEW * 136 * KIB),
    'bodies': (post('/body', b'x' * 256 * KIB), FEW, FEW * (256 + 72) * KIB),
    'forms': (post('/form', 'a=\U0001f600'.encode() + b'x' * 250 * KIB,
                   'application/x-www-form-urlencoded'), FEW, FEW * 5 * 256 * KIB),
    'JSON': (post('/json', worst_json()), FEW, FEW * 50 * 64 * KIB),
    'streams': (get('/stream'), FEW, FEW * 136 * KIB),
    'answers': (get('/answer'), FEW, FEW * ANSWER),
    'WebSockets': (HANDSHAKE + message(), MANY - 1, MANY * 10 * 64 * KIB)}


@pytest.fixture
def worker(group, tmp_path):
    (tmp_path / 'held.py').write_text(PROGRAM)
    options = [each for name, size in SIZES.items()
               for each in (f'--{name.replace("_", "-")}', str(size))]
    return group('--workers', '1', '--port', '0', '--connections', str(MANY),
                 '--limit-concurrency', str(FEW), '--health', '/health', '--stall-timeout', 'off',
                 '--min-download-rate', 'off', '--min-upload-rate', 'off', *options,
                 command=('-m', 'tremolo', 'held:app'))


def looked(worker) -> None:
    """Wait for some turns of the loop: it has read what had come."""
    for _ in range(4):
        assert worker.get('/health')


def unconnected(pid: int) -> set[str]:
    """Return the sockets of a process that are none of TCP, or were reset."""
    tcp = {line.split()[9] for line in Path('/proc/net/tcp').read_text().splitlines()}
    found = set()
    for file in Path(f'/proc/{pid}/fd').iterdir():
        with contextlib.suppress(OSError):    # (It may be closed meanwhile.)
            found.add(os.readlink(file))
    return {each for each in found if each.startswith('socket:') and each[8:-1] not in tcp}


@pytest.mark.skipif(sys.implementation.name == 'pypy', reason='frees nothing at once')
def test_no_clients_make_a_worker_exceed_the_formula(worker, tmp_path):
    pid, = wait_until(lambda: worker.pids)
    memory = memory_of([Settings(connections=MANY, limit_concurrency=FEW, **SIZES)], 'native', True)
    begun = tmp_path / 'begun'
    host, port = worker.address.removeprefix('http://').split(':')
    address = host, int(port)
    others = len(unconnected(pid))
    looked(worker)
    first, grown = resident_memory(pid), {}
    for kind, (data, handlers, held) in KINDS.items():
        begun.write_text('')
        before = resident_memory(pid)
        with contextlib.ExitStack() as clients:
            for _ in range(MANY - 1):    # (The last place is for who looks.)
                client = clients.enter_context(socket.socket())
                # (So the kernel takes little of what nobody reads.)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                client.connect(address)
                client.setblocking(False)
                with contextlib.suppress(OSError):    # (It may be refused meanwhile.)
                    client.send(data)
            wait_until(lambda: begun.stat().st_size >= handlers)    # noqa: B023
            looked(worker)
            grown[kind] = resident_memory(pid) - before
        # (Who costs much has its turn later: its place is free once its reset has been seen.)
        wait_until(lambda: len(unconnected(pid)) <= others)
        looked(worker)
        assert grown[kind] < (MANY * memory.connection + held) * 4 / 3, kind
        assert begun.stat().st_size == handlers, kind
    assert resident_memory(pid) - first < (memory.total(MANY, FEW) + FEW * ANSWER) * 4 / 3
    # They did hold much: the bound is no accident.
    for kind in 'JSON', 'answers':
        assert grown[kind] > KINDS[kind][2] / 2, kind
    worker.end('SIGQUIT')
