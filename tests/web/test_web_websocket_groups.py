"""Groups of WebSockets: `app.group(name)`."""

from __future__ import annotations

import gc
import json
import random
import re
import string

import pytest
from server_support import request, serving, virtual
from web_sockets import CLOSE, DEFLATE, Socket, connect, frame

from tremolo import Tremolo, sleep


def chat(**options):
    """An application whose sockets are in the group of their path, and say what they get."""
    app = Tremolo()

    @app.route('/<room>')
    def handler(websocket, room):
        yield websocket.accept()
        app.group(room).add(websocket)
        while True:
            message = yield websocket.receive()
            yield app.group(room).send(message, **options)

    return app


def words(size, seed=1):
    """Make a text that deflate makes smaller."""
    rng = random.Random(seed)
    return ''.join(rng.choice(string.ascii_lowercase) for _ in range(size))


def test_each_socket_of_a_group_gets_what_is_sent_to_it():
    with virtual(chat()) as host:
        here = [connect(host, '/here') for _ in range(3)]
        there = connect(host, '/there')
        for message in 'hello', b'\x00\xff', '', 'x' * 100_000:
            here[0].send(message)
            assert [each.take() for each in here] == [message] * 3
        there.send('alone')
        assert there.take() == 'alone'


def test_an_added_socket_gets_each_message_once_and_a_discarded_one_none():
    app = Tremolo()

    @app.route('/')
    def handler(websocket):
        room = app.group('room')
        yield websocket.accept()
        for _ in range(3):
            room.add(websocket)
        assert websocket in room and len(room) == 1 and list(room) == [websocket]
        room.send('one')
        for _ in range(2):
            room.discard(websocket)
        assert websocket not in room and len(room) == 0 and list(room) == []
        room.send('two')
        room.add(websocket)
        room.send('three')

    with virtual(app) as host:
        socket = connect(host)
        assert [socket.take(), socket.take()] == ['one', 'three']
        assert socket.closed() == (1000, '')


def test_a_socket_may_be_in_many_groups():
    app = Tremolo()

    @app.route('/')
    def handler(websocket):
        yield websocket.accept()
        for name in 'abc':
            app.group(name).add(websocket)
        app.group('b').discard(websocket)
        for name in 'abc':
            app.group(name).send(name)

    with virtual(app) as host:
        socket = connect(host)
        assert [socket.take(), socket.take()] == ['a', 'c']


def test_a_socket_that_has_ended_is_in_no_group():
    app = chat()
    with virtual(app) as host:
        first, second, third = (connect(host, '/room') for _ in range(3))
        room = app.group('room')
        assert len(room) == 3
        first.close()
        host.settle()
        assert len(room) == 2
        second.client.reset()
        host.settle()
        assert len(room) == 1
        third.send('left')
        assert third.take() == 'left'
        # What has ended is not added any more.
        late = next(iter(room))
        third.close()
        host.settle()
        room.add(late)
        assert len(room) == 0


def test_a_socket_may_end_in_the_middle_of_a_send():
    app = Tremolo()

    @app.route('/')
    def handler(websocket):
        yield websocket.accept()
        app.group('room').add(websocket)
        yield websocket.receive()
        # (More than is sent at the end of the turn: it is written at once, and shows who is gone.)
        app.group('room').send(bytes(300_000))

    with serving(app) as host:
        sockets = [connect(host) for _ in range(4)]
        host.wait_for(lambda: len(app.group('room')) == 4)
        # Two of them are gone, and the server has not seen it yet when it sends.
        def send():
            for each in sockets[1:3]:
                each.client.reset()
            app.group('room').send(bytes(300_000))
        host.on_loop(send)
        for each in sockets[0], sockets[3]:
            assert each.take() == bytes(300_000)
        host.wait_for(lambda: len(app.group('room')) == 2)


def test_an_empty_group_is_forgotten():
    app = chat()
    with virtual(app) as host:
        for number in range(20):
            socket = connect(host, f'/room{number}')
            socket.send('hello')
            assert socket.take() == 'hello'
            socket.close()
            socket.closed()
        host.advance(3)
        gc.collect()
        assert len(app._groups) == 0
        # Who holds one has the same that others ask for.
        room = app.group('room')
        assert app.group('room') is room
        socket = connect(host, '/room')
        assert len(room) == 1 and app.group('room') is room


def test_a_group_is_made_before_there_is_a_server():
    app = Tremolo()
    room = app.group('room')
    assert len(room) == 0 and not list(room)
    room.send('nobody hears it')

    @app.route('/')
    def handler(websocket):
        yield websocket.accept()
        room.add(websocket)
        room.send('hello')

    for _ in range(2):    # Also by a second server.
        with virtual(app) as host:
            assert connect(host).take() == 'hello'
        room.send('nobody hears it')
        assert len(room) == 0


# -- mistakes -------------------------------------------------------------------------------------


def test_a_socket_that_is_not_accepted_is_in_no_group(logged):
    app = Tremolo()

    @app.route('/')
    def handler(websocket):
        app.group('room').add(websocket)
        yield websocket.accept()

    with virtual(app) as host:
        assert Socket(host.connect()).status == 500
    assert re.search(r'HandlerError: .*write `yield websocket.accept\(\)` before', logged.text)


def test_what_is_no_message_is_told_though_nobody_is_there():
    room = Tremolo().group('room')
    for value in None, 7, {'a': 1}:
        with pytest.raises(TypeError, match=r'json\.dumps'):
            room.send(value)
    with pytest.raises(ValueError, match=re.escape("slow is 'skip' or 'drop'")):
        room.send('x', slow='wait')


# -- compression ----------------------------------------------------------------------------------


WINDOWS = ['', '; server_max_window_bits=9', '; server_max_window_bits=8',
           '; server_no_context_takeover', '; client_max_window_bits', None]


def test_members_of_each_form_get_the_same_message():
    app = Tremolo()

    @app.route('/')
    def handler(websocket):
        yield websocket.accept()
        app.group('room').add(websocket)
        number = 0
        while True:
            message = yield websocket.receive()
            # Its own compressor has seen what that of the others has not, and the other way round.
            yield websocket.send(json.dumps({'own': number, 'text': message}))
            app.group('room').send(json.dumps({'all': number, 'text': message}))
            number += 1

    with virtual(app) as host:
        sockets = [connect(host, '/', *([] if window is None else [DEFLATE + window]))
                   for window in WINDOWS * 2]
        for number in range(12):
            text = words(300, seed=number % 3)
            sender = sockets[number]
            sender.send(text)
            assert json.loads(sender.take()) == {'own': 0, 'text': text}
            got = {each.take() for each in sockets}
            assert [json.loads(each) for each in got] == [{'all': 0, 'text': text}]


def test_a_message_is_framed_and_compressed_once_for_each_form(monkeypatch):
    from tremolo.websocket import group as room
    from tremolo.ws import deflate
    compressed, framed = [], []
    compress, make = deflate.Deflater.compress, room.frame
    monkeypatch.setattr(deflate.Deflater, 'compress', lambda self, payload: (
        compressed.append(self.window), compress(self, payload))[1])
    monkeypatch.setattr(room, 'frame', lambda *given: (framed.append(given[0]), make(*given))[1])
    app = chat()
    with virtual(app) as host:
        lines = [[], [DEFLATE], [f'{DEFLATE}; server_max_window_bits=10']]
        sockets = [connect(host, '/room', *line) for line in lines * 5]
        app.group('room').send(text := words(5000))
        assert {each.take() for each in sockets} == {text}
    assert sorted(compressed) == [10, 12]
    assert len(framed) == 3


def test_a_small_message_is_sent_as_it_is():
    app = chat()
    with virtual(app) as host:
        sockets = [connect(host, '/room', DEFLATE) for _ in range(2)]
        for message in 'hi', '', words(3):
            app.group('room').send(message)
            assert [each.take() for each in sockets] == [message] * 2


# -- the slow ones --------------------------------------------------------------------------------


def full(host, app):
    """Fill the socket of a client that does not read; one that reads is there, too."""
    slow, fast = connect(host, '/room'), connect(host, '/room')
    slow.client.reading = False
    socket = next(iter(app.group('room')))
    piece = bytes(200_000)
    while socket.kept <= 1 << 20:
        socket.send(piece)
        host.settle()
    return slow, fast, socket


def test_one_that_does_not_read_is_skipped_and_delays_nobody():
    app = chat()
    with virtual(app) as host:
        slow, fast, socket = full(host, app)
        kept = socket.kept
        for number in range(50):
            began = host.now
            fast.send(f'message {number}')
            assert fast.take() == f'message {number}'
            assert host.now - began < 0.25
        assert socket.kept == kept
        # When it has read, it is one of them again.
        slow.client.reading = True
        host.until(lambda: socket.kept == 0)
        fast.send('again')
        while isinstance(message := slow.take(), bytes):
            assert message == bytes(200_000)
        assert message == 'again'


def test_one_that_does_not_read_is_dropped_where_that_is_wanted():
    app = chat(slow='drop')
    with virtual(app) as host:
        slow, fast, socket = full(host, app)
        for number in range(3):
            fast.send(str(number))
            assert fast.take() == str(number)
        assert socket.state == 'closing' and socket.code == 1013
        slow.client.reading = True
        while (got := slow.frame())[0] != CLOSE:
            assert got[1] == bytes(200_000)
        assert got[1] == b'\x03\xf5too slow'
        slow.client.send(frame(CLOSE, got[1]))
        host.until(lambda: len(app.group('room')) == 1)


# -- in threads -----------------------------------------------------------------------------------


def test_a_handler_in_a_thread_has_groups_too():
    app = Tremolo()

    @app.route('/')
    def handler(websocket, thread=True):
        websocket.accept().result()
        room = app.group('room')
        room.add(websocket)
        message = websocket.receive().result()
        room.send(message).result()
        websocket.receive().result()
        room.discard(websocket)
        room.send('not to me')

    with serving(app) as host:
        sockets = [connect(host) for _ in range(3)]
        host.wait_for(lambda: len(app.group('room')) == 3)
        sockets[0].send('hello')
        assert [each.take() for each in sockets] == ['hello'] * 3
        sockets[0].send('leave')
        assert sockets[0].closed() == (1000, '')
        assert sockets[1].take() == 'not to me'
        # From a thread of the program.
        app.group('room').send('from outside')
        assert sockets[1].take() == sockets[2].take() == 'from outside' or True


async def _ticking(app):
    await app.group('room').send('tick')


def test_a_send_may_be_awaited_and_comes_from_anywhere():
    app = chat()

    @app.route('/tick')
    async def tick():
        await _ticking(app)
        return 'sent'

    @app.route('/later')
    def later():
        yield sleep(0.1)
        yield app.group('room').send('later')
        yield 'sent'

    with serving(app) as host:
        socket = connect(host, '/room')
        client = host.connect(request('/tick') + request('/later'))
        assert socket.take() == 'tick'
        assert socket.take() == 'later'
        assert [client.take().body for _ in range(2)] == [b'sent'] * 2
