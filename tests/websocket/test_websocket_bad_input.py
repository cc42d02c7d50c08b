"""Clients that break the protocol or want too much: the right end, a bounded cost, one line."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterator
from functools import cache

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


@cache
def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Give the lines at info of the server's logger."""
    found: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, handler = logging.getLogger('tremolo.server'), Lines(logging.INFO)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(before)


BROKEN = {
    'not masked': (b'\x81\x02hi', 1002),
    'RSV1 without compression': (head(TEXT, 1, compressed=True) + MASK + b'x', 1002),
    'RSV2': (b'\xa1\x80' + MASK, 1002),
    'a reserved opcode': (frame(3, b''), 1002),
    'a reserved control opcode': (frame(11, b''), 1002),
    'a ping in fragments': (frame(PING, b'', last=False), 1002),
    'a long ping': (frame(PING, b'x' * 126), 1002),
    'a continuation without a beginning': (frame(0, b'x'), 1002),
    'a message within a message': (frame(TEXT, b'a', last=False) + frame(TEXT, b'b'), 1002),
    'bad UTF-8': (frame(TEXT, b'\xc0\xaf'), 1007),
    'bad UTF-8 in a fragment': (frame(TEXT, b'\xed\xa0', last=False), 1007),
    'a close of one byte': (frame(CLOSE, b'\x03'), 1002),
    'a close code of nobody': (frame(CLOSE, (1006).to_bytes(2, 'big')), 1002),
    'a close reason that is no text': (frame(CLOSE, b'\x03\xe8\xff'), 1007),
    'a size with the highest bit': (b'\x82\xff' + b'\xff' * 8 + MASK, 1002),
    'a size longer than it needs': (b'\x82\xfe\x00\x01' + MASK + b'x', 1002),
    'too long': (head(BINARY, (1 << 20) + 1), 1009),
    'too long in fragments': (b''.join([
        frame(BINARY, bytes(1 << 19), last=False), frame(0, bytes(1 << 19), last=False),
        frame(0, b'x')]), 1009),
}


@pytest.mark.parametrize('data, code', BROKEN.values(), ids=BROKEN)
def test_the_right_code_one_line_and_the_end(data, code, lines):
    app = Sockets(echo)
    with virtual(app) as host:
        client = Client(host, '/path?q=1')
        client.send(text('first'), data, text('never'))
        client.raw.until_ended()
        sent = client.frames()
        # (What came before may be answered, or is received by nobody.)
        assert [each[1] for each in sent[:-1]] in ([b'first'], [])
        assert sent[-1][0] == CLOSE and int.from_bytes(sent[-1][1][:2], 'big') == code
        assert app.outcomes[0][0] == code
        line, = lines
        assert re.match(rf'127\.0\.0\.1:\d+: cut: {code}: [^:]+: GET ', line)
        assert line.endswith(": GET '/path?q=1'")
        assert host.closed == {'websocket': 1}


SMALL_BOMB = deflated(bytes(5_000_000))
BOMBS = {
    'in one frame': [frame(BINARY, deflated(bytes(50_000_000)), compressed=True)],
    'in fragments': [frame(BINARY, SMALL_BOMB[:100], last=False, compressed=True),
                     *[frame(0, SMALL_BOMB[at:at + 100], last=False)
                       for at in range(100, 5000, 100)]],
}


@pytest.mark.parametrize('bomb', BOMBS.values(), ids=BOMBS)
def test_a_deflate_bomb_is_1009(bomb, lines):
    app = Sockets(echo)
    with virtual(app) as host:
        client = Client(host, '/', 'Sec-WebSocket-Extensions: permessage-deflate; '
                        'client_max_window_bits')
        assert 'permessage-deflate' in client.answer.headers['sec-websocket-extensions']
        client.send(*bomb)
        assert client.closed()[0] == 1009
        assert len(lines) == 1


def test_bombs_of_the_allowed_size_wait_in_the_kernel():
    def later(websocket):
        yield websocket.accept()
        yield sleep(5)
        while True:
            sizes.append(len((yield websocket.receive())))

    sizes = []
    app = Sockets(later)
    with virtual(app) as host:
        client = Client(host, '/', 'Sec-WebSocket-Extensions: permessage-deflate')
        client.send(*[frame(BINARY, deflated(bytes(1 << 20)), compressed=True)] * 30)
        host.advance(4)
        kept = app.sockets[0].backlog.messages
        assert sum(map(len, kept)) == 1 << 20
        host.advance(4)
        assert sizes == [1 << 20] * 30


@pytest.mark.parametrize('flood', [
    frame(PING, b'x'), frame(PONG, b'x'), frame(TEXT), frame(BINARY, b'y')])
def test_a_flood_of_tiny_frames_does_not_hold_the_loop(flood):
    app = Sockets(echo)
    with virtual(app) as host:
        client = Client(host)
        other = Client(host)
        taken = []
        websocket = app.sockets[0]
        parser = websocket.parser

        class Counting:
            def __getattr__(self, name):
                return getattr(parser, name)

            def next_event(self):
                taken[-1] += 1
                return parser.next_event()

        websocket.parser = Counting()
        step = host.reactor.step

        def counted(timeout=None):
            taken.append(0)
            step(timeout)

        host.reactor.step = counted
        client.send(flood * 5000)
        other.send(text('meanwhile'))
        assert other.messages() == [b'meanwhile']
        client.send(frame(PING, b'the end'))
        client.raw.until(b'\x8a\x07the end')
        assert max(taken) <= 2 * 64 + 2
        assert sum(taken) > 5000 or flood == frame(TEXT)


def test_unread_pongs_take_no_memory_and_the_last_ping_is_answered():
    app = Sockets(echo)
    world = World(seed=1, buffer_size=20000)
    with virtual(app, world) as host:
        client = Client(host)
        client.raw.reading = False
        for number in range(300):
            client.send(frame(PING, b'%0100d' % number) * 50)
            host.settle()
        websocket = app.sockets[0]
        assert websocket.kept < 200_000
        client.raw.reading = True
        client.raw.until(b'%0100d' % 299)
        count = len([1 for opcode, _, _ in client.frames() if opcode == PONG])
        assert 100 < count < 14_000


def test_one_byte_fragments_are_no_more_than_their_message():
    app = Sockets(echo)
    with virtual(app) as host:
        client = Client(host)
        client.send(frame(TEXT, b'a', last=False), frame(0, b'b', last=False) * 30000, frame(0))
        assert client.messages() == [b'a' + b'b' * 30000]


def test_a_flood_of_faults_is_counted(lines):
    app = Sockets(echo)
    with virtual(app) as host:
        for _ in range(40):
            Client(host).send(b'\x81\x01x')
        host.advance(11)
        assert len([line for line in lines if 'not masked' in line]) <= 20
        assert lines[-1].startswith('websocket: ') and 'more connections' in lines[-1]


def test_a_client_that_never_answers_the_close_of_a_fault_is_closed():
    app = Sockets(echo)
    with virtual(app, ws_close_timeout=5) as host:
        client = Client(host)
        client.raw.lingers = True
        client.send(b'\x81\x01x')
        for _ in range(10):
            client.send(bytes(1000))
            host.advance(1)
        assert len(host.server.connections) == 0


@pytest.mark.parametrize('largest', [1, 2, 3, 7])
def test_any_split_of_the_bytes_gives_the_same(largest):
    """PRIOR.md fault 21: control frames within a message, and an empty last fragment."""
    world = World(seed=largest, largest_piece=largest)
    with virtual(Sockets(echo), world) as host:
        client = Client(host)
        client.send(frame(TEXT, b'he', last=False), frame(PING, b'p'), frame(0, b''),
                    frame(TEXT, b'x'), frame(TEXT), frame(BINARY, b'', last=False), frame(0, b'y'),
                    close_frame())
        client.raw.until_ended()
        sent = client.frames()
        assert sent.count((PONG, b'p', True)) == 1
        messages = [each for each in sent if each[0] in (TEXT, BINARY)]
        # (The close may come before the handler had its turn for the last of them.)
        expected = [(TEXT, b'he', True), (TEXT, b'x', True), (TEXT, b'', True),
                    (BINARY, b'y', True)]
        assert messages == expected[:len(messages)]
        assert sent[-1][0] == CLOSE
