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

from tremolo import Cancelled, Tremolo, sleep

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


@pytest.mark.parametrize(('times', 'options'), [
    (1, {}), (2, {}), (3, {}),
    (3, {'connections': 4}),    # The listener is often paused and started.
])
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


def test_the_clock_of_a_client_of_a_proxy_that_was_refused_does_not_touch_the_next_one(
        logged: Any) -> None:
    options = {'proxy_protocol': 'v1', 'trusted_proxies': ['127.0.0.1']}
    with virtual(app, world(), **options) as host:
        refusals = Refusals(host.reactor._poller)
        refusals.next(3, errno.ENOSPC)
        first = host.connect()
        first.until_ended()
        host.advance(1)
        # It has the same descriptor, and sends its header when the time of the first would be over.
        second = host.connect()
        host.advance(4.5)
        second.send(b'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n' + request('/', 'GET', LAST))
        second.until_ended()
        assert second.received.endswith(b'hello')
    assert logged.count('the poller does not take a descriptor') == 1


def test_a_handler_is_told_why_its_client_is_lost(logged: Any) -> None:
    told: list[str] = []
    site = Tremolo()

    @site.route('/')
    def write(response: Any) -> Any:
        try:
            while True:
                yield response.write(BIG)
        except Cancelled as error:
            told.append(str(error))
            raise

    with virtual(site, world()) as host:
        client = host.connect()
        client.reading = False
        host.settle()
        Refusals(host.reactor._poller).next(3, errno.ENOSPC)
        client.send(request('/'))
        host.until(lambda: host.closed)
        assert host.closed == {'failed': 1}
    assert told == ['[Errno 28] the poller does not take the socket: No space left on device']
    assert len(logged.messages) == 1
