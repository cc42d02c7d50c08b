"""The poller refuses a change, at each of its calls and for each reason: nobody else is harmed.

A mix of clients is served in the simulated world, again and again; each time another call of the
poller fails, once or twice in a row. A call that fails once is mended, and nobody notices. After
two failures in a row what needed the descriptor is closed, and told; all others have their answers,
and so has each client that comes after them and has one of their descriptors.
"""

from __future__ import annotations

import errno
from typing import Any

import pytest
from refusals import Refusals
from server_support import Virtual, chunked, request, virtual
from simulated import SimulatedPoller, World

from tremolo import Tremolo, sleep

BIG = b'0123456789' * 4000
ERRORS = (errno.ENOSPC, errno.ENOMEM, errno.EEXIST, errno.ENOENT, errno.EBADF)
# Seconds in which all is over: longer than a listener rests, shorter than any deadline.
SOON = 4.0

app = Tremolo()


@app.route('/')
def hello() -> str:
    return 'hello'


@app.route('/wait')
def wait() -> Any:
    yield sleep(0.01)
    yield 'waited'


@app.route('/big')
def big() -> Any:
    for _ in range(3):
        yield BIG


@app.route('/body', methods=['POST'])
def body(request: Any) -> Any:
    size = 0
    while data := (yield request.read(1000)):
        size += len(data)
        yield sleep(0.001)
    yield str(size)


@app.route('/socket')
def talk(websocket: Any) -> Any:
    yield websocket.accept()
    yield websocket.send('hello')
    yield websocket.receive()


SOCKET = request('/socket', 'GET', 'Upgrade: websocket', 'Connection: Upgrade',
                 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==')
LAST = 'Connection: close'
# What each client sends, and the last bytes of what it gets.
CLIENTS = {
    'plain': (request('/', 'GET', LAST), b'hello'),
    'kept': (request('/'), b'hello'),
    'pipelining': (request('/') * 3 + request('/wait') + request('/', 'GET', LAST), b'hello'),
    'waiting': (request('/wait', 'GET', LAST), b'waited'),
    'half-closed': (request('/wait'), b'waited'),
    'big': (request('/big', 'GET', LAST), b'\r\n0\r\n\r\n'),
    'upload': (request('/body', 'POST', LAST, body=BIG), b'40000'),
    'chunks': (request('/body', 'POST', LAST, 'Transfer-Encoding: chunked',
                       body=chunked(BIG, b'x')), b'40001'),
    'socket': (SOCKET, b'hello'),
    'no head': (b'GET ', b''),
}


def agree(poller: SimulatedPoller, watchers: dict[int, Any]) -> bool:
    """Tell whether a poller knows the same as its reactor."""
    known = {fd: mask for fd, (_, mask) in poller._watched.items() if poller._is_watched(fd)}
    return known == {fd: watcher.mask for fd, watcher in watchers.items()}


def world() -> World:
    return World(seed=1, buffer_size=8192)


def served(host: Virtual) -> list[str]:
    """Serve one client of each kind; return the names of those that were cut."""
    clients = {name: host.connect(data) for name, (data, _) in CLIENTS.items()}
    clients['half-closed'].fin()
    begun = host.now

    def over() -> bool:
        return all(client.ended or client.received.endswith(CLIENTS[name][1] or b'never')
                   for name, client in clients.items() if name != 'no head')

    host.world.later(begun + SOON, lambda: None)
    host.until(lambda: over() or host.now >= begun + SOON)
    assert over(), {name: client.received[-100:] for name, client in clients.items()}
    cut = [name for name, client in clients.items()
           if not client.received.endswith(CLIENTS[name][1])]
    for client in clients.values():
        client.close()
    host.settle()
    return cut


def calls_of_the_mix(**options: Any) -> int:
    with virtual(app, world(), **options) as host:
        refusals = Refusals(host.reactor._poller)
        assert served(host) == []
        return refusals.calls


# (With few places the listener is often paused and started.)
@pytest.mark.parametrize('options', [{}, {'connections': 4}], ids=['', 'few places'])
@pytest.mark.parametrize('times', [1, 2, 3])
def test_a_call_of_the_poller_that_fails_harms_one_client_at_most(
        times: int, options: dict[str, Any], logged: Any) -> None:
    harmed = 0
    for number in range(calls_of_the_mix(**options)):
        with virtual(app, world(), **options) as host:
            code = ERRORS[number % len(ERRORS)]
            Refusals(host.reactor._poller).next(times, code, after=number)
            cut = served(host)
            # Whoever comes then has the same descriptors.
            assert served(host) == [], number
            assert len(cut) <= host.closed.get('failed', 0) <= (times > 1), (number, cut)
            assert not host.server.connections
            assert agree(host.reactor._poller, host.reactor.watchers), number
            harmed += len(cut)
    assert bool(harmed) == (times > 1)
    assert {text.partition(': ')[0] for text in logged.messages} <= {
        'the poller does not take a descriptor', 'no new connections for now', 'accepting again'}
