"""The clocks of a socket, in virtual time."""

from __future__ import annotations

import pytest
from server_support import virtual
from simulated import World
from websocket_support import (
    BINARY,
    CLOSE,
    MASK,
    PING,
    PONG,
    TEXT,
    Client,
    Sockets,
    close_frame,
    echo,
    frame,
    head,
    text,
)

from tremolo.loop import sleep


def silent(websocket):
    """Accept, and receive nothing."""
    yield websocket.accept()
    yield sleep(1000)


def pings(client):
    return [payload for opcode, payload, _ in client.frames() if opcode == PING]


def test_a_silent_client_gets_pings_and_lives_as_long_as_it_answers():
    with virtual(Sockets(echo), ws_ping_interval=20, ws_ping_timeout=10) as host:
        client = Client(host)
        for _ in range(10):
            host.advance(20.5)
            sent = pings(client)
            assert len(sent) == 1
            client.send(frame(PONG, sent[0]))
            host.settle()
        assert client.ended == ''


@pytest.mark.parametrize('interval, patience', [(20, 20), (5, 60), (60, 5)])
def test_no_answer_to_a_ping_is_1011_on_the_wire_and_1006_in_the_handler(interval, patience):
    app = Sockets(echo)
    with virtual(app, ws_ping_interval=interval, ws_ping_timeout=patience) as host:
        client = Client(host)
        host.advance(interval + patience - 1)
        assert client.ended == '' and len(pings(client)) == 1
        assert client.closed() == (1011, 'no answer to a ping')
        assert interval + patience <= client.raw.ended_at <= interval + patience + 0.1
        assert app.outcomes == [(1006, 'no answer to a ping')]
        assert host.closed == {'ws_ping_timeout': 1}


def test_a_pong_with_another_payload_is_no_answer():
    app = Sockets(echo)
    with virtual(app, ws_ping_interval=5, ws_ping_timeout=5) as host:
        client = Client(host)
        host.advance(6)
        client.send(frame(PONG, b'something'))
        assert client.closed()[0] == 1011


def test_messages_put_the_ping_off():
    with virtual(Sockets(echo), ws_ping_interval=20) as host:
        client = Client(host)
        for _ in range(20):
            host.advance(15)
            client.send(text('x'))
            host.settle()
        assert {opcode for opcode, _, _ in client.frames()} == {TEXT}


@pytest.mark.parametrize('options', [{'ws_ping_interval': 'off'}, {'ws_ping_timeout': 'off'}])
def test_without_pings_or_their_timeout_a_silent_client_stays(options):
    with virtual(Sockets(echo), **options) as host:
        client = Client(host)
        host.advance(3600)
        assert client.ended == ''
        assert len(pings(client)) == (0 if 'ws_ping_interval' in options else 179)


def test_one_large_message_counts_as_life_while_it_comes_fast_enough():
    app = Sockets(echo)
    with virtual(app, ws_ping_interval=2, ws_ping_timeout=2, min_upload_rate=100) as host:
        client = Client(host)
        client.send(head(BINARY, 30000) + MASK)
        for _ in range(100):
            client.send(bytes(300))
            host.advance(1)
        data = client.wait(2)
        assert [len(payload) for opcode, payload, _ in data if opcode == BINARY] == [30000]


@pytest.mark.parametrize('size', [1, 10, 99])
def test_a_frame_slower_than_min_upload_rate_is_1008(size):
    app = Sockets(echo)
    with virtual(app, min_upload_rate=100, rate_grace=5, ws_ping_interval='off') as host:
        client = Client(host)
        client.send(head(BINARY, 60000) + MASK)
        while not client.ended and host.now < 2000:
            client.send(bytes(size))
            host.advance(1)
        assert client.closed() == (1008, 'a message came too slowly')
        assert app.outcomes == [(1008, 'a message came too slowly')]
        assert host.closed == {'ws_slow': 1}
        assert host.now < (20 if size < 50 else 700)


def test_a_fast_beginning_earns_a_pause_and_not_for_ever():
    app = Sockets(echo)
    with virtual(app, min_upload_rate=100, rate_grace=5, ws_ping_interval='off') as host:
        client = Client(host)
        client.send(head(BINARY, 200000) + MASK + bytes(100000))
        host.advance(50)
        assert client.ended == ''
        host.advance(100)
        assert client.closed()[0] == 1008


def test_the_limit_of_a_slow_frame_can_be_off():
    with virtual(Sockets(echo), min_upload_rate='off', ws_ping_interval='off') as host:
        client = Client(host)
        client.send(head(TEXT, 2)[:1])
        host.advance(3600)
        client.send(head(TEXT, 2)[1:] + MASK)
        host.advance(3600)
        client.send(frame(TEXT, b'hi')[6:])
        assert client.messages() == [b'hi']


def test_pings_are_answered_and_pongs_read_while_nobody_receives():
    with virtual(Sockets(silent), ws_ping_interval=5, ws_ping_timeout=5) as host:
        client = Client(host)
        for number in range(20):
            client.send(frame(PING, b'%d' % number), text('x'))
            host.advance(5.1)
            for ping in [payload for opcode, payload, _ in client.frames() if opcode == PING]:
                client.send(frame(PONG, ping))
        assert client.ended == ''
        client.send(frame(PING, b'last'))
        assert (PONG, b'last', True) in client.wait()


def test_with_a_full_queue_nothing_is_read_and_the_deadline_rests():
    def later(websocket):
        yield websocket.accept()
        yield sleep(500)
        for _ in range(200):
            yield websocket.receive()
        yield from echo_rest(websocket)

    def echo_rest(websocket):
        while True:
            yield websocket.send((yield websocket.receive()))

    app = Sockets(later)
    with virtual(app, ws_queue=8, ws_ping_interval=5, ws_ping_timeout=5) as host:
        client = Client(host)
        client.send(*[text('x')] * 200, frame(PING, b'p'), text('echo'))
        host.advance(499)
        assert client.ended == '' and client.frames() == []
        assert len(app.sockets[0].backlog.messages) == 8
        host.advance(2)
        assert client.frames() == [(PONG, b'p', True), (TEXT, b'echo', True)]


def test_handler_and_idle_timeouts_end_no_socket():
    with virtual(Sockets(echo), handler_timeout=1, idle_timeout=1, ws_ping_interval='off') as host:
        client = Client(host)
        host.advance(1000)
        client.send(text('still here'))
        assert client.messages() == [b'still here']


def test_a_client_that_takes_nothing_is_cut_after_stall_timeout():
    def much(websocket):
        yield websocket.accept()
        while True:
            yield websocket.send(bytes(50000))

    app = Sockets(much)
    world = World(seed=1, buffer_size=20000)
    with virtual(app, world, stall_timeout=30, ws_ping_interval='off') as host:
        client = Client(host)
        client.raw.reading = False
        host.advance(29)
        assert host.closed == {}
        # (The kernel has taken a little in this time, and then nothing for 30 seconds.)
        host.advance(32)
        assert host.closed == {'stall_timeout': 1}
        assert app.outcomes == [(1006, '')]
        assert host.server.reactor.tasks == set()


def test_a_close_that_is_not_answered_ends_after_ws_close_timeout():
    def goodbye(websocket):
        yield websocket.accept()
        begun = websocket.reactor.time()
        yield websocket.close(3001, 'bye')
        took.append(websocket.reactor.time() - begun)

    took = []
    app = Sockets(goodbye)
    with virtual(app, ws_close_timeout=7) as host:
        client = Client(host)
        for _ in range(6):
            client.send(text('not heard'))
            host.advance(1)
        client.raw.until_ended()
        assert client.frames() == [(CLOSE, (3001).to_bytes(2, 'big') + b'bye', True)]
        assert took == [pytest.approx(7, abs=0.1)]
        assert host.closed == {'ws_close_timeout': 1}


def test_after_both_closes_input_is_discarded_for_ws_close_timeout_in_all():
    app = Sockets(echo)
    with virtual(app, ws_close_timeout=3) as host:
        client = Client(host)
        client.raw.lingers = True
        client.send(close_frame(1000))
        for _ in range(4):
            client.send(b'x' * 10)
            host.advance(1)
        assert len(host.server.connections) == 0
        assert host.closed == {'upgraded': 1}


def test_pings_do_not_wait_behind_data_that_our_own_limit_holds_back():
    def much(websocket):
        yield websocket.accept()
        for _ in range(20):
            websocket.send(bytes(1000))
        yield sleep(1000)

    with virtual(Sockets(much), download_rate=500, ws_ping_interval=5, ws_ping_timeout=5) as host:
        client = Client(host)
        client.send(frame(PING, b'mine'))
        host.advance(6)
        assert b'\x8a\x04mine' in client.raw.received
        # (Our own ping, too: it does not count against the client that it takes its time.)
        host.advance(35.5)
        assert client.ended == ''
        assert len([1 for opcode, _, _ in client.frames() if opcode == BINARY]) == 20


@pytest.mark.parametrize('data, answer', [
    (close_frame(3000), (3000, '')), (b'\x81\x01x', (1002, 'a frame is not masked'))])
def test_the_last_close_does_not_wait_behind_data_that_our_own_limit_holds_back(data, answer):
    def much(websocket):
        yield websocket.accept()
        for _ in range(50):
            websocket.send(bytes(1000))
        yield websocket.receive()

    with virtual(Sockets(much), download_rate=1000) as host:
        client = Client(host)
        client.send(data)
        assert client.closed() == answer
        assert host.now < 4


def test_a_close_of_the_program_waits_for_data_that_our_own_limit_holds_back():
    def much(websocket):
        yield websocket.accept()
        for _ in range(30):
            websocket.send(bytes(1000))
        yield websocket.close()

    app = Sockets(much)
    with virtual(app, download_rate=1000, ws_close_timeout=3) as host:
        client = Client(host)
        client.wait(31)
        client.send(close_frame())
        client.raw.until_ended()
        assert host.closed == {'upgraded': 1}
        assert app.outcomes == ['returned']


def test_a_message_that_our_own_limit_lets_wait_is_no_silence():
    with virtual(Sockets(echo), upload_rate=100, min_upload_rate=240, ws_ping_interval=5,
                 ws_ping_timeout=5) as host:
        client = Client(host)
        client.send(frame(BINARY, bytes(6000)))
        client.raw.received = b''
        host.advance(70)
        assert client.ended == ''
        assert [len(each[1]) for each in client.frames() if each[0] == BINARY] == [6000]


@pytest.mark.parametrize('begin', [0.1 * number for number in range(20)])
def test_a_deadline_that_is_no_exact_sum_is_looked_at_once(begin):
    def much(websocket):
        yield websocket.accept()
        yield sleep(begin)
        while True:
            yield websocket.send(bytes(100_000))

    app = Sockets(much)
    with virtual(app, World(seed=1, buffer_size=5000), stall_timeout=5.3, rate_grace=0,
                 ws_ping_interval='off') as host:
        client = Client(host)
        client.raw.reading = False
        turns = host.reactor.turns
        host.until(lambda: host.closed)
        assert host.reactor.turns - turns < 50
