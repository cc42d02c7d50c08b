"""How sockets end: each cell of the table in the room's README, and what everybody is told."""

from __future__ import annotations

import gc
import sys

import pytest
from server_support import serving, virtual
from websocket_support import (
    BINARY,
    CLOSE,
    TEXT,
    Client,
    Sockets,
    close_frame,
    echo,
    frame,
    frames,
    handshake,
    head,
    text,
)

from tremolo import HandlerError
from tremolo.loop import Stream, sleep, timeout
from tremolo.server import Connection
from tremolo.websocket import WebSocket, WebSocketClosed
from tremolo.websocket.keepalive import Pings
from tremolo.ws.parser import FrameParser


def told(function):
    """Call it; return the code of the WebSocketClosed that its Future raises."""
    with pytest.raises(WebSocketClosed) as caught:
        function().result()
    return caught.value.code


@pytest.mark.parametrize('end, code', [
    (lambda raw: raw.send(close_frame(1000)), 1000),
    (lambda raw: raw.send(close_frame(4999, 'why')), 4999),
    (lambda raw: raw.send(frame(CLOSE)), 1005),
    (lambda raw: raw.fin(), 1006),
    (lambda raw: raw.reset(), 1006),
    (lambda raw: raw.send(b'\x81\x02hi'), 1002),
    (lambda raw: raw.send(frame(TEXT, b'\xff')), 1007),
    (lambda raw: raw.send(head(BINARY, 2 << 20)), 1009),
])
def test_every_call_is_told_the_same_and_so_is_the_handler(end, code):
    app = Sockets(echo)
    ended = []
    with virtual(app) as host:
        client = Client(host)
        websocket = app.sockets[0]
        websocket.on_end = lambda: ended.append(websocket.state)
        pinged = websocket.ping()
        waiting = websocket.receive()    # The second in line.
        host.settle()
        gone = websocket.disconnected
        assert not gone.done()
        end(client.raw)
        host.until(lambda: host.closed)
        assert app.outcomes == [(code, websocket.reason)]
        assert websocket.state == 'closed' and websocket.code == code
        assert gone.done() and websocket.disconnected is gone
        assert ended == ['closed']
        for call in (lambda: pinged, lambda: waiting, websocket.receive, websocket.ping,
                     lambda: websocket.send('x')):
            assert told(call) == code
        assert websocket.close().done()
        assert len(host.server.connections) == 0


@pytest.mark.parametrize('code', [1000, 1001, 3000, 4999])
def test_a_close_is_answered_with_its_code(code):
    with virtual(Sockets(echo)) as host:
        client = Client(host)
        client.send(close_frame(code, 'a reason'))
        assert client.closed() == (code, '')


def test_a_close_without_a_code_is_answered_without_one():
    with virtual(Sockets(echo)) as host:
        client = Client(host)
        client.send(frame(CLOSE))
        client.raw.until_ended()
        assert client.frames() == [(CLOSE, b'', True)]


@pytest.mark.parametrize('code', [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000])
def test_a_code_that_may_not_be_sent_is_an_error_of_the_program(code):
    def handler(websocket):
        yield websocket.accept()
        with pytest.raises(ValueError, match='a close code is'):
            websocket.close(code)
        with pytest.raises(ValueError, match='123 bytes'):
            websocket.close(1000, 'x' * 124)

    with virtual(Sockets(handler)) as host:
        client = Client(host)
        client.send(close_frame())
        assert client.closed() == (1000, '')


def test_a_close_goes_behind_what_was_sent_and_nothing_goes_behind_it():
    def handler(websocket):
        yield websocket.accept()
        for number in range(50):
            websocket.send(b'%d' % number * 1000)
        closing = websocket.close(1001, 'enough')
        assert websocket.state == 'closing'
        assert told(lambda: websocket.send('x')) == 1001
        assert told(websocket.receive) == 1001
        yield closing
        assert websocket.state == 'closed'

    app = Sockets(handler)
    with virtual(app) as host:
        client = Client(host)
        client.send(close_frame(1001))
        client.raw.until_ended()
        sent = client.frames()
        assert [payload for _, payload, _ in sent[:-1]] == [
            b'%d' % number * 1000 for number in range(50)]
        assert sent[-1] == (CLOSE, b'\x03\xe9enough', True)
        assert app.outcomes == ['returned']


def test_what_came_before_the_end_is_received_first():
    def later(websocket):
        yield websocket.accept()
        yield sleep(0.5)
        while True:
            got.append((yield websocket.receive()))

    for end in (close_frame(3000), b'', frame(8, b'\0')):
        got = []
        app = Sockets(later)
        with virtual(app, ws_queue=1000) as host:
            client = Client(host)
            client.send(*[text(str(number)) for number in range(100)], end)
            if not end:
                client.raw.fin()
            host.advance(2)
            assert got == [str(number) for number in range(100)]
            assert app.outcomes[0][0] == {b'': 1006, close_frame(3000): 3000}.get(end, 1002)


def test_messages_that_were_not_parsed_when_the_connection_broke_are_received():
    def later(websocket):
        yield websocket.accept()
        yield sleep(0.5)
        while True:
            got.append((yield websocket.receive()))

    got = []
    app = Sockets(later)
    with virtual(app, ws_queue=3) as host:
        client = Client(host)
        client.send(*[text(str(number)) for number in range(100)])
        host.advance(0.1)
        client.raw.reset()
        host.advance(2)
        assert got == [str(number) for number in range(100)]
        assert app.outcomes == [(1006, '')]


def test_a_handler_that_waits_for_something_else_is_cancelled_a_second_later():
    def busy(websocket):
        yield websocket.accept()
        try:
            yield sleep(1000)
        finally:
            ended.append(websocket.reactor.time())

    ended = []
    app = Sockets(busy)
    with virtual(app) as host:
        client = Client(host)
        client.send(close_frame())
        host.settle()
        begun = host.now
        host.advance(5)
        assert ended == [pytest.approx(begun + 1, abs=0.05)]
        assert app.outcomes == ['cancelled: the WebSocket is over: 1000']


def test_before_accept_messages_are_errors_of_the_program():
    def handler(websocket):
        for call in (websocket.receive, websocket.ping, lambda: websocket.send('x'),
                     websocket.close, websocket.stream):
            with pytest.raises(HandlerError, match='not accepted'):
                call()
        yield websocket.accept()
        with pytest.raises(HandlerError, match='accepted already'):
            websocket.accept()
        yield websocket.send('fine')

    with virtual(Sockets(handler)) as host:
        client = Client(host)
        assert client.wait(2)[0] == (TEXT, b'fine', True)


@pytest.mark.parametrize('leave', ['reset', 'close'])
def test_a_client_that_leaves_before_accept(leave):
    def handler(websocket):
        yield sleep(5)
        yield websocket.accept()

    app = Sockets(handler)
    with virtual(app) as host:
        raw = host.connect(handshake())
        host.settle()
        gone = app.sockets[0].disconnected
        getattr(raw, leave)()
        host.advance(60)
        assert gone.done() and app.sockets[0].state == 'closed'
        assert told(app.sockets[0].accept) == 1006
        assert app.outcomes == ['returned' if leave == 'close' else 'cancelled: reset: the '
                                'connection broke']


def test_after_a_refusal_the_connection_goes_on():
    def handler(websocket):
        yield sleep(0)

    with virtual(Sockets(handler)) as host:
        raw = host.connect(handshake() + handshake())
        assert [raw.take().status, raw.take().status] == [403, 403]


def test_what_a_handler_sent_before_its_end_arrives():
    """PRIOR.md fault 10: what was sent right after accept was dropped when the handler ended."""
    def handler(websocket):
        websocket.accept()
        websocket.send('first')
        return
        yield

    with virtual(Sockets(handler)) as host:
        client = Client(host)
        client.send(close_frame())
        client.raw.until_ended()
        assert client.frames() == [(TEXT, b'first', True), (CLOSE, b'\x03\xe8', True)]


def test_a_handler_learns_at_once_that_its_client_has_left():
    """PRIOR.md fault 32: a handler that waited for a message was told 30 seconds later."""
    def handler(websocket):
        yield websocket.accept()
        try:
            yield websocket.receive()
        finally:
            times.append(websocket.reactor.time())

    times = []
    app = Sockets(handler)
    with virtual(app) as host:
        client = Client(host)
        host.advance(1)
        begun = host.now
        client.raw.reset()
        host.advance(1)
        assert times[0] - begun < 0.1
        assert app.outcomes == [(1006, '')]


def test_two_receivers_stand_in_line_and_one_that_gives_up_leaves_it():
    def handler(websocket):
        yield websocket.accept()
        lines.append([websocket.receive() for _ in range(4)])
        with pytest.raises(TimeoutError):
            yield timeout(1, websocket.receive())
        lines[0][1].cancel()
        yield sleep(10)

    lines = []
    app = Sockets(handler)
    with virtual(app) as host:
        client = Client(host)
        host.advance(2)
        client.send(text('a'), text('b'), text('c'), text('d'))
        host.settle()
        first, _, third, fourth = lines[0]
        assert [first.result(), third.result(), fourth.result()] == ['a', 'b', 'c']
        assert app.sockets[0].receive().result() == 'd'


def test_a_message_whose_receiver_was_cancelled_goes_to_the_next():
    app = Sockets(echo)
    with virtual(app) as host:
        client = Client(host)
        websocket = app.sockets[0]
        host.settle()
        first, second = websocket.receive(), websocket.receive()    # Behind the handler.
        client.send(text('h'), text('one'), text('two'), text('three'))
        host.settle()
        first.cancel()    # (It has its message already, and gives it back.)
        # (The handler has echoed `h` and the third, and waits for the next.)
        assert second.result() == 'two'
        host.settle()
        assert client.messages() == [b'h', b'three', b'one']


def test_pings_of_the_program():
    app = Sockets(echo)
    with virtual(app) as host:
        client = Client(host)
        websocket = app.sockets[0]
        first, second = websocket.ping(), websocket.ping()
        forgotten = websocket.ping()
        sent = [payload for _, payload, _ in client.wait(3)]
        host.advance(2)
        client.send(frame(10, sent[1]))
        host.settle()
        assert first.result() == pytest.approx(2, abs=0.1)
        assert second.result() == pytest.approx(2, abs=0.1)
        assert not forgotten.done()
        del forgotten


def test_a_close_frame_is_not_destroyed_by_a_reset():
    """On real sockets: a client that sends on and on gets the close frame, and an orderly end."""
    def handler(websocket):
        yield websocket.accept()
        yield websocket.receive()
        yield websocket.close(3333, 'stop')

    with serving(Sockets(handler)) as server:
        client = server.connect(handshake())
        client.take()
        client.send(text('x') * 20000)
        client.until(b'stop')
        client.send(text('y') * 2000 + close_frame(3333))
        assert frames(client.read_all())[-1] == (CLOSE, (3333).to_bytes(2, 'big') + b'stop', True)


def living():
    """The objects of sockets that there are, whether anybody refers to them or not."""
    return sum(isinstance(each, (WebSocket, Connection, Stream, FrameParser, Pings))
               for each in gc.get_objects())


@pytest.mark.skipif(sys.implementation.name != 'cpython', reason='counts references')
def test_a_socket_that_has_ended_leaves_no_garbage():
    app = Sockets(echo)
    with virtual(app, ws_ping_interval=1) as host:
        gc.collect()
        before = living()
        for end in (close_frame(), b'\x81\x01x', b''):
            client = Client(host)
            client.send(text('hello'), frame(9, b'x'))
            host.advance(1.5)
            assert living() > before
            client.send(end)
            if not end:
                client.raw.reset()
            host.until(lambda: not host.server.connections)
            host.advance(2)
            app.sockets.clear()
            app.outcomes.clear()
            host.clients.clear()
            del client
            assert living() == before


def test_a_ping_that_finds_its_client_gone_raises_nothing_by_itself():
    def handler(websocket):
        yield websocket.accept()
        yield websocket.receive()
        websocket.send('not sent yet')
        pinged = websocket.ping()
        assert pinged.exception().code == 1006
        yield websocket.receive()

    app = Sockets(handler)
    with virtual(app) as host:
        client = Client(host)
        websocket = app.sockets[0]
        host.settle()
        client.raw.reset()
        host.world.wait_until(host.now + 0.001)
        # (Between the reset and its event at our poller.)
        websocket.data_received(text('go'))
        host.advance(1)
        assert app.outcomes == [(1006, '')]


@pytest.mark.parametrize('rate', ['off', 20000])
def test_an_accept_that_finds_its_client_gone(rate):
    """With a rate the 101 is sent at once, and finds it; without, at the end of the turn."""
    def handler(websocket):
        # (Between the reset and its event at our poller.)
        client.reset()
        host.world.wait_until(host.now + 0.001)
        yield websocket.accept()
        yield websocket.receive()

    app = Sockets(handler)
    with virtual(app, download_rate=rate) as host:
        client = host.connect(handshake())
        host.advance(1)
        assert app.sockets[0].state == 'closed' and app.sockets[0].disconnected.done()
        assert app.outcomes == [(1006, '')]
        assert len(host.server.connections) == 0
