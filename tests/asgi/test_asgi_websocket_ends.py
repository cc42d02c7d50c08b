"""How a `websocket` scope ends: errors, returns, refusals, clients that leave, and a drain."""

from __future__ import annotations

import asyncio
import gc
import platform

import pytest
from asgi_sockets import Peer, accept, connected, frame, handshake, say, site
from server_support import answers, request
from test_asgi_websocket_messages import Seen, echo

from tremolo import Forbidden, pace

FAILED = "the ASGI application failed on GET '/'"


def raising(error, accepted, waits=False, said=''):
    """Make an application that raises an error, before or after it accepts."""
    async def app(scope, receive, send):
        await connected(receive)
        if accepted:
            await send({'type': 'websocket.accept'})
        if said:
            await say(send, said)
        if waits:
            await asyncio.sleep(0.001)
        if isinstance(error, BaseException):
            raise error

    return app


ERRORS = [ValueError('on purpose'), Forbidden('on purpose'), SystemExit('on purpose'),
          KeyboardInterrupt('on purpose'), asyncio.CancelledError('on purpose')]


@pytest.mark.parametrize('waits', [False, True])
@pytest.mark.parametrize('error', ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_after_accept_closes_with_1011_and_is_logged(error, waits, logged):
    with site(raising(error, True, waits, 'said')) as host:
        peer = host.open()
        assert peer.message() == 'said'
        assert peer.closed() == (1011, '')
    assert logged.count(FAILED) == 1
    assert type(error).__name__ in logged.text


@pytest.mark.parametrize('waits', [False, True])
@pytest.mark.parametrize('error', ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_before_accept_is_500_and_is_logged(error, waits, logged):
    with site(raising(error, False, waits)) as host:
        peer = host.open()
        assert peer.status == 500
        assert b'on purpose' not in peer.answer.body
    assert logged.count(FAILED) == 1
    assert type(error).__name__ in logged.text


def test_prior_10_what_was_sent_right_after_accept_comes_before_the_close(logged):
    async def app(scope, receive, send):
        await accept(receive, send)
        await say(send, 'a')
        await say(send, b'b' * 300000)
        raise ValueError('on purpose')

    with site(app) as host:
        peer = host.open()
        assert peer.status == 101
        assert peer.message() == 'a'
        assert peer.message() == b'b' * 300000
        assert peer.closed() == (1011, '')
    assert logged.count(FAILED) == 1


@pytest.mark.parametrize('waits', [False, True])
def test_a_return_after_accept_closes_with_1000(waits):
    with site(raising(None, True, waits, 'said')) as host:
        peer = host.open()
        assert peer.message() == 'said'
        assert peer.closed() == (1000, '')


@pytest.mark.parametrize('waits', [False, True])
def test_a_return_before_accept_is_500_and_is_logged(waits, logged):
    with site(raising(None, False, waits)) as host:
        assert host.open().status == 500
    assert logged.count(FAILED) == 1
    assert 'the application returned without an answer to the handshake' in logged.text


def test_an_error_after_the_own_close_is_logged_and_the_close_stays(logged):
    async def app(scope, receive, send):
        await accept(receive, send)
        await send({'type': 'websocket.close', 'code': 4000, 'reason': 'mine'})
        await asyncio.sleep(0)
        raise ValueError('on purpose')

    with site(app) as host:
        assert host.open().closed() == (4000, 'mine')
    assert logged.count('the ASGI application failed on ') == 1


def test_a_close_before_accept_is_403_and_the_last_message():
    seen = Seen()

    async def app(scope, receive, send):
        await connected(receive)
        await send({'type': 'websocket.close', 'code': 4000, 'reason': 'no'})
        for kind in 'websocket.accept', 'websocket.close', 'websocket.send':
            with pytest.raises(RuntimeError, match=f'{kind} after websocket.close'):
                await send({'type': kind})
        seen.put(await receive())

    with site(app) as host:
        peer = host.open()
        assert peer.status == 403
        assert peer.answer.headers['connection'] == 'close'
        assert peer.client.read_all() == b''
        assert seen.get() == {'type': 'websocket.disconnect', 'code': 1006, 'reason': ''}


def denying(status, *bodies, headers=(), wait=None):
    async def app(scope, receive, send):
        await connected(receive)
        await send({'type': 'websocket.http.response.start', 'status': status,
                    'headers': headers})
        for body in bodies[:-1]:
            await send({'type': 'websocket.http.response.body', 'body': body, 'more_body': True})
            if wait is not None:
                await wait()
        await send({'type': 'websocket.http.response.body', 'body': bodies[-1]}
                   if bodies[-1] else {'type': 'websocket.http.response.body'})
        for kind in 'websocket.accept', 'websocket.close', 'websocket.http.response.body':
            with pytest.raises(RuntimeError, match='after the answer was complete'):
                await send({'type': kind})
        assert await receive() == {'type': 'websocket.disconnect', 'code': 1006, 'reason': ''}

    return app


@pytest.mark.parametrize(('status', 'bodies'), [
    (401, [b'who are you?']), (404, [b'']), (503, [b'a', b'', b'b' * 1000, b'']),
    (200, [b'x' * 3000000]), (403, [b'x' * 300000] * 10),
])
def test_a_denial_is_an_answer_of_any_size(status, bodies):
    fields = [(b'content-type', b'text/x'), (b'www-authenticate', b'Basic')]
    with site(denying(status, *bodies, headers=fields)) as host:
        peer = host.open()
        assert peer.status == status
        assert peer.answer.body == b''.join(bodies)
        assert peer.answer.headers['content-type'] == 'text/x'
        assert peer.answer.headers['www-authenticate'] == 'Basic'
        assert peer.answer.headers['connection'] == 'close'
        assert peer.client.read_all() == b''


def test_a_denial_is_streamed():
    seen = Seen()

    async def wait():
        await asyncio.get_running_loop().run_in_executor(None, seen.get)

    with site(denying(403, b'first', b'last', wait=wait)) as host:
        client = host.connect(handshake())
        client.until(b'first')
        seen.put('go on')
        found = client.take()
        assert (found.status, found.body) == (403, b'firstlast')


def test_a_denial_waits_for_a_client_that_does_not_read():
    sent = []

    async def app(scope, receive, send):
        await connected(receive)
        await send({'type': 'websocket.http.response.start', 'status': 403})
        for _ in range(24):
            await send({'type': 'websocket.http.response.body', 'body': bytes(1 << 20),
                        'more_body': True})
            sent.append(1)
        await send({'type': 'websocket.http.response.body'})

    with site(app) as host:
        client = host.connect(handshake(), receive_buffer=262144)
        connection, = host.on_loop(lambda: list(host.server.connections))
        host.wait_for(lambda: connection.stream.buffered > connection.stream.high)
        assert len(sent) < 16
        answer, = answers(client.read_all())
        assert (answer.status, len(answer.body)) == (403, 24 << 20)


@pytest.mark.parametrize(('message', 'error'), [
    ({'type': 'websocket.http.response.start', 'status': 99}, 'HeaderError'),
    ({'type': 'websocket.http.response.start', 'status': 400, 'headers': [(b'a', b'\n')]},
     'HeaderError'),
    ({'type': 'websocket.http.response.body'}, 'RuntimeError'),
])
def test_a_wrong_denial_is_raised_and_another_answer_is_still_possible(message, error):
    async def app(scope, receive, send):
        await connected(receive)
        try:
            await send(message)
        except Exception as fault:
            await accept(lambda: asyncio.sleep(0, {'type': 'websocket.connect'}), send)
            await say(send, type(fault).__name__)

    with site(app) as host:
        assert host.open().message() == error


@pytest.mark.parametrize('kind', ['websocket.accept', 'websocket.close', 'websocket.send'])
def test_within_a_denial_only_its_body_may_be_sent(kind):
    async def app(scope, receive, send):
        await connected(receive)
        await send({'type': 'websocket.http.response.start', 'status': 403})
        with pytest.raises(RuntimeError, match=r'expected websocket\.http\.response\.body'):
            await send({'type': kind})
        await send({'type': 'websocket.http.response.body', 'body': b'no'})

    with site(app) as host:
        peer = host.open()
        assert (peer.status, peer.answer.body) == (403, b'no')


@pytest.mark.parametrize('begun', [False, True])
def test_a_denial_without_its_end_is_a_failure(begun, logged):
    async def app(scope, receive, send):
        await connected(receive)
        await send({'type': 'websocket.http.response.start', 'status': 403})
        if begun:
            await send({'type': 'websocket.http.response.body', 'body': b'a', 'more_body': True})

    with site(app) as host:
        client = host.connect(handshake())
        if begun:
            client.until(b'\r\na\r\n')
            with pytest.raises((AssertionError, ConnectionError)):
                client.take()
        else:
            assert client.take().status == 500
    assert logged.count(FAILED) == 1


@pytest.mark.parametrize('then', ['websocket.accept', 'websocket.close',
                                  'websocket.http.response.start'])
def test_a_client_that_leaves_before_accept(then, logged):
    seen = Seen()

    async def app(scope, receive, send):
        await connected(receive)
        seen.put('connected')
        for _ in range(2):
            seen.put(await receive())
        try:
            await send({'type': then, 'status': 403})
        except OSError as error:
            seen.put(str(error))
            raise
        seen.put('')

    with site(app) as host:
        client = host.connect(handshake())
        assert seen.get() == 'connected'
        client.reset()
        for _ in range(2):
            assert seen.get() == {'type': 'websocket.disconnect', 'code': 1006, 'reason': ''}
        found = seen.get()
        assert found.startswith('the client is gone') if then != 'websocket.close' else not found
    assert logged.text == ''


def test_a_receive_that_waits_for_the_end_of_the_handshake():
    async def app(scope, receive, send):
        await connected(receive)
        early = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await send({'type': 'websocket.accept'})
        await say(send, (await early)['text'])

    with site(app) as host:
        assert host.open(more=frame(1, b'a')).message() == 'a'


def test_at_a_drain_the_application_is_told_1001_and_has_time_to_end():
    seen = Seen()

    async def app(scope, receive, send):
        await accept(receive, send)
        await say(send, 'ready')
        for _ in range(2):
            seen.put(await receive())
        with pytest.raises(OSError):
            await say(send, 'too late')
        await asyncio.sleep(0.01)
        seen.put('ended')

    with site(app) as host:
        peer = host.open()
        assert peer.message() == 'ready'
        host.reactor.call_soon_threadsafe(host.server.drain)
        assert peer.closed()[0] == 1001
        for _ in range(2):
            found = seen.get()
            assert (found['type'], found['code']) == ('websocket.disconnect', 1001)
        assert seen.get() == 'ended'


@pytest.mark.parametrize('then', ['websocket.accept', 'websocket.close',
                                  'websocket.http.response.start'])
def test_a_handshake_in_hand_at_a_drain_is_503_and_the_application_is_told(then, logged):
    seen = Seen()

    async def app(scope, receive, send):
        await connected(receive)
        seen.put('connected')
        seen.put(await receive())
        try:
            await send({'type': then, 'status': 403})
        finally:
            seen.put('ended')

    with site(app) as host:
        client = host.connect(handshake())
        assert seen.get() == 'connected'
        host.reactor.call_soon_threadsafe(host.server.drain)
        assert client.take().status == 503
        assert seen.get()['type'] == 'websocket.disconnect'
        assert seen.get() == 'ended'
    assert logged.text == ''


def test_handler_timeout_ends_a_handshake_and_no_socket(logged):
    seen = Seen()

    async def app(scope, receive, send):
        await connected(receive)
        if scope['path'] == '/open':
            await send({'type': 'websocket.accept'})
            seen.put('accepted')
        try:
            await receive()
        except asyncio.CancelledError:
            seen.put('cancelled')
            raise
        await say(send, 'still here')

    with site(app, handler_timeout=0.02) as host:
        peer = host.open('/open')
        assert seen.get() == 'accepted'
        assert host.connect(handshake()).take().status == 503
        assert seen.get() == 'cancelled'
        peer.text('?')
        assert peer.message() == 'still here'
    assert logged.count('handler_timeout') == 1


def test_a_stop_lets_an_application_end_that_has_lost_its_client():
    seen = Seen()

    async def app(scope, receive, send):
        await accept(receive, send)
        await receive()
        await asyncio.sleep(0.05)
        seen.put('ended')

    with site(app) as host:
        host.open().gone()
        host.wait_for(lambda: not host.server.connections)
    assert seen.get() == 'ended'


def test_after_a_refused_handshake_the_server_serves_on():
    async def app(scope, receive, send):
        if scope['type'] == 'http':
            await send({'type': 'http.response.start', 'status': 200})
            await send({'type': 'http.response.body', 'body': b'http'})
            return
        await connected(receive)
        await send({'type': 'websocket.close'})

    with site(app) as host:
        for _ in range(3):
            assert host.open().status == 403
        assert host.connect(request()).take().body == b'http'


@pytest.mark.skipif(platform.python_implementation() == 'PyPy', reason='counts references')
@pytest.mark.parametrize('end', ['client', 'application', 'denied', 'lost', 'failed'])
def test_no_cycle_is_left(end, logged, monkeypatch):
    # (More would be counted, and then nothing keeps their errors and the frames of these.)
    monkeypatch.setattr(pace, 'MOST_LINES', 100)

    async def app(scope, receive, send):
        await connected(receive)
        if end == 'denied':
            early = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            await send({'type': 'websocket.close'})
            return await early
        await send({'type': 'websocket.accept'})
        await send({**await receive(), 'type': 'websocket.send'})
        if end == 'failed':
            raise ValueError('on purpose')
        if end != 'application':
            await receive()
        return None

    def once(host):
        peer = Peer(host.connect())
        if end != 'denied':
            peer.text('a')
            assert peer.message() == 'a'
            if end == 'client':
                peer.leave()
            elif end == 'lost':
                peer.gone()
            else:
                peer.closed()
        host.wait_for(lambda: not host.server.connections)

    with site(app) as host:
        once(host)
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                once(host)
            assert host.on_loop(gc.collect) == 0
        finally:
            gc.enable()
    logged.records.clear()


def test_an_echo_serves_many_at_once():
    with site(echo()) as host:
        peers = [host.open() for _ in range(50)]
        for number, peer in enumerate(peers):
            peer.text(str(number))
        assert [peer.message() for peer in peers] == [str(number) for number in range(50)]
