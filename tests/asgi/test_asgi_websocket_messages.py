"""The messages of a `websocket` scope: their contents, their order, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import queue

import pytest
from asgi_sockets import (
    BINARY,
    CLOSE,
    TEXT,
    accept,
    closing,
    connected,
    frame,
    say,
    site,
)
from server_support import PATIENCE


class Seen:
    """What an application saw, for the test's thread."""

    def __init__(self):
        self._values = queue.Queue()
        self.put = self._values.put

    def get(self):
        return self._values.get(timeout=PATIENCE)


def echo(seen=None):
    async def app(scope, receive, send):
        await accept(receive, send)
        while True:
            message = await receive()
            if seen is not None:
                seen.put(message)
            if message['type'] == 'websocket.disconnect':
                break
            await send({**message, 'type': 'websocket.send'})

    return app


def test_each_message_has_both_keys_and_the_types_are_exact():
    seen = Seen()
    with site(echo(seen)) as host:
        peer = host.open()
        for text in 'hé€llo', '', 'x' * 70000:
            peer.text(text)
            assert peer.message() == text
            assert seen.get() == {'type': 'websocket.receive', 'text': text, 'bytes': None}
        for data in b'\0\xff', b'', b'x' * 70000:
            peer.binary(data)
            assert peer.message() == data
            message = seen.get()
            assert message == {'type': 'websocket.receive', 'text': None, 'bytes': data}
            assert type(message['bytes']) is bytes
        peer.send(frame(TEXT, b'in ', last=False) + frame(9, b'?') + frame(0, b'pieces'))
        assert peer.frame() == (10, b'?')
        assert peer.message() == 'in pieces'


def test_many_messages_in_one_packet_keep_their_order():
    with site(echo()) as host:
        peer = host.open()
        peer.send(b''.join(frame(BINARY, b'%d' % number) for number in range(1000)))
        assert [peer.message() for _ in range(1000)] == [b'%d' % each for each in range(1000)]


@pytest.mark.parametrize(('message', 'expected'), [
    ({'text': 'a', 'bytes': None}, 'a'),
    ({'text': None, 'bytes': b'a'}, b'a'),
    ({'text': ''}, ''),
    ({'bytes': b''}, b''),
    ({'bytes': bytearray(b'ab')}, b'ab'),
    ({'bytes': memoryview(b'abc')[1:]}, b'bc'),
    ({'text': type('Str', (str,), {})('ab')}, 'ab'),
])
def test_what_may_be_sent(message, expected):
    async def app(scope, receive, send):
        await accept(receive, send)
        await send({'type': 'websocket.send', **message})
        if isinstance(message.get('bytes'), bytearray):
            message['bytes'][:] = b'xx'    # It is the application's again.

    with site(app) as host:
        peer = host.open()
        assert peer.message() == expected
        assert peer.closed() == (1000, '')


@pytest.mark.parametrize(('message', 'error'), [
    ({'type': 'websocket.send'}, 'ValueError: a websocket.send has either text or bytes'),
    ({'type': 'websocket.send', 'text': None, 'bytes': None}, 'ValueError: a websocket.send has'),
    ({'type': 'websocket.send', 'text': 'a', 'bytes': b'a'}, 'ValueError: a websocket.send has'),
    ({'type': 'websocket.send', 'text': b'a'}, 'TypeError: '),
    ({'type': 'websocket.send', 'bytes': 'a'}, 'TypeError: '),
    ({'type': 'websocket.send', 'text': '\ud800'}, 'UnicodeEncodeError: '),
    ({'type': 'websocket.close', 'code': 999}, 'ValueError: '),
    ({'type': 'websocket.close', 'code': 1005}, 'ValueError: '),
    ({'type': 'websocket.close', 'code': 5000}, 'ValueError: '),
    ({'type': 'websocket.close', 'reason': 'x' * 124}, 'ValueError: '),
    ({'type': 'websocket.accept'}, 'RuntimeError: expected websocket.send or websocket.close, '
                                   'got websocket.accept'),
    ({'type': 'websocket.connect'}, 'RuntimeError: expected websocket.send or websocket.close, '),
    ({'type': 'http.response.start', 'status': 200}, 'RuntimeError: expected websocket.send or'),
    ({'type': 'websocket.http.response.start', 'status': 200}, 'RuntimeError: expected '),
    ({'type': 'websocket.http.response.body'}, 'RuntimeError: expected websocket.send or '),
])
def test_a_wrong_message_is_raised_in_the_application_and_the_socket_goes_on(message, error):
    async def app(scope, receive, send):
        await accept(receive, send)
        try:
            await send(message)
        except Exception as fault:
            await say(send, f'{type(fault).__name__}: {fault}')
        await send({'type': 'websocket.close', 'code': 3000, 'reason': 'bye'})

    with site(app) as host:
        peer = host.open()
        assert peer.message().startswith(error)
        assert peer.closed() == (3000, 'bye')


@pytest.mark.parametrize('kind', [
    'websocket.send', 'websocket.http.response.body', 'http.response.start', 'http.response.body',
    'websocket.receive',
])
def test_before_accept_nothing_else_may_be_sent(kind):
    async def app(scope, receive, send):
        await connected(receive)
        with pytest.raises(RuntimeError, match='expected websocket.accept, websocket.close or '
                                               f'websocket.http.response.start, got {kind}'):
            await send({'type': kind, 'text': 'a'})
        await send({'type': 'websocket.accept'})

    with site(app) as host:
        assert host.open().closed() == (1000, '')


def test_accept_needs_no_receive_before_it():
    async def app(scope, receive, send):
        await send({'type': 'websocket.accept'})
        await connected(receive)
        await say(send, (await receive())['text'])

    with site(app) as host:
        peer = host.open()
        peer.text('a')
        assert peer.message() == 'a'


@pytest.mark.parametrize(('message', 'expected'), [
    ({}, (1000, '')), ({'code': None, 'reason': None}, (1000, '')),
    ({'code': 1001}, (1001, '')), ({'code': 4999, 'reason': 'é' * 61}, (4999, 'é' * 61)),
])
def test_close_has_a_code_and_a_reason_and_is_the_last_message(message, expected):
    seen = Seen()

    async def app(scope, receive, send):
        await accept(receive, send)
        await say(send, 'last')
        await send({'type': 'websocket.close', **message})
        for kind in 'websocket.send', 'websocket.close', 'websocket.accept':
            with pytest.raises(RuntimeError, match=f'{kind} after websocket.close'):
                await send({'type': kind, 'text': 'a'})
        seen.put(await receive())

    with site(app) as host:
        peer = host.open()
        assert peer.message() == 'last'
        assert peer.closed() == expected
        last = seen.get()
        assert (last['type'], last['code']) == ('websocket.disconnect', expected[0])


@pytest.mark.parametrize(('wire', 'code', 'reason'), [
    (closing(1000, 'bye'), 1000, 'bye'), (closing(4001, 'é'), 4001, 'é'), (frame(CLOSE), 1005, ''),
])
def test_the_disconnect_has_the_clients_code_and_reason_and_comes_again(wire, code, reason):
    seen = Seen()

    async def app(scope, receive, send):
        await accept(receive, send)
        for _ in range(3):
            seen.put(await receive())

    with site(app) as host:
        peer = host.open()
        peer.send(frame(TEXT, b'before') + wire)
        assert seen.get()['text'] == 'before'
        for _ in range(2):
            assert seen.get() == {'type': 'websocket.disconnect', 'code': code, 'reason': reason}
        assert peer.frame() == (CLOSE, b'' if code == 1005 else code.to_bytes(2, 'big'))
        assert peer.client.read_all() == b''


@pytest.mark.parametrize('leave', ['reset', 'fin'])
def test_prior_32_a_waiting_receive_is_told_at_once_that_the_client_is_lost(leave):
    seen = Seen()

    async def app(scope, receive, send):
        await accept(receive, send)
        loop = asyncio.get_running_loop()
        seen.put('waiting')
        begun = loop.time()
        for _ in range(2):
            message = await receive()
            assert (message['type'], message['code']) == ('websocket.disconnect', 1006)
        seen.put(loop.time() - begun)

    with site(app, ws_ping_interval=0) as host:
        peer = host.open()
        assert seen.get() == 'waiting'
        getattr(peer.client, leave)()
        # (The old one took 30 s. Nothing here has a deadline but PATIENCE.)
        assert seen.get() < 20


def test_a_send_after_the_client_has_left_is_an_oserror_that_says_why(logged):
    seen = Seen()

    async def app(scope, receive, send):
        await accept(receive, send)
        assert (await receive())['code'] == 4000
        for _ in range(2):
            try:
                await say(send, 'too late')
            except OSError as error:
                seen.put(str(error))
        if scope['path'] == '/close':
            await send({'type': 'websocket.close'})    # That is what it is already.
        else:
            await say(send, 'uncaught')

    with site(app) as host:
        for path in '/', '/close':
            assert host.open(path).leave(4000, 'enough') == b'\x0f\xa0'
            for _ in range(2):
                assert seen.get() == ('the client is gone: the WebSocket is closed (4000, enough)')
            host.wait_for(lambda: not host.server.connections)
    assert logged.text == ''    # A client that has left is no failure.


def test_an_error_that_tells_of_the_disconnect_is_no_failure(logged):
    class WebSocketDisconnect(Exception):
        """What frameworks raise: the disconnect, with its code."""

        def __init__(self, code):
            self.code = code

    async def app(scope, receive, send):
        await accept(receive, send)
        message = await receive()
        if scope['path'] == '/other':
            raise WebSocketDisconnect(1234)
        raise WebSocketDisconnect(message['code'])

    with site(app) as host:
        for path in '/', '/other':
            host.open(path).leave(1001)
            host.wait_for(lambda: not host.server.connections)
    assert logged.count("the ASGI application failed on GET '/'") == 0
    assert logged.count('the ASGI application failed on ') == 1


def test_two_tasks_may_receive_and_one_that_gives_up_loses_nothing():
    async def app(scope, receive, send):
        await accept(receive, send)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(receive(), 0.001)
        tasks = [asyncio.ensure_future(receive()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await say(send, 'ready')
        found = [await tasks[0], await tasks[2], await receive()]
        await say(send, ' '.join(message['text'] for message in found))
        rest = asyncio.gather(receive(), receive())
        await say(send, 'again')
        assert {message['code'] for message in await rest} == {1000}

    with site(app) as host:
        peer = host.open()
        assert peer.message() == 'ready'
        peer.send(frame(TEXT, b'a') + frame(TEXT, b'b'))
        peer.text('c')
        assert sorted(peer.message().split()) == ['a', 'b', 'c']
        assert peer.message() == 'again'
        peer.close()
        assert peer.frame()[0] == CLOSE


def test_the_application_is_not_cancelled_when_its_client_leaves():
    seen = Seen()

    async def app(scope, receive, send):
        await accept(receive, send)
        leaving = asyncio.ensure_future(receive())
        assert (await leaving)['code'] == 1006
        for _ in range(3):
            await asyncio.sleep(0)
        seen.put('to the end')

    with site(app) as host:
        host.open().gone()
        assert seen.get() == 'to the end'
