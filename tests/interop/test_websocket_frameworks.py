"""The sockets of Starlette, FastAPI, Litestar, Quart, Django Channels and Socket.IO, unchanged.

What the applications do is in frameworks/. They are driven by a small client that offers nothing
(`tests/websocket_peer.py`), and those of Socket.IO by its own clients.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from test_frameworks import ask
from websocket_peer import Peer, Refused

HERE = Path(__file__).resolve().parent


def serve_once(name):
    """Make a fixture: one process of an application, for all tests of this file."""
    @pytest.fixture(scope='module', name=name)
    def fixture(framework):
        with framework(f'{name}_sockets', '--half-close-timeout=0.5') as server:
            yield server

    return fixture


starlette = serve_once('starlette')
fastapi = serve_once('fastapi')
litestar = serve_once('litestar')
quart = serve_once('quart')
channels = serve_once('channels')


@pytest.fixture(scope='module')
def socketio(serve, frameworks_python, tmp_path_factory):
    """Serve socketio_sockets.py. It begins two tasks with its first client, and never ends them."""
    with serve(str(HERE / 'frameworks' / 'socketio_sockets.py'), '--log-level', 'warning',
               '--half-close-timeout=0.5', '--shutdown-timeout=1', python=frameworks_python,
               folder=tmp_path_factory.mktemp('socketio')) as server:
        yield server
        assert server.log == ''
    assert all('shutdown_timeout is over: the task ' in line for line in server.log.splitlines())


def event(server):
    return ask(server, '/event').json


def refusal(server, path, *protocols, **headers):
    """What answers a handshake that is refused."""
    with pytest.raises(Refused) as caught:
        Peer(server.port, path, *protocols, **headers)
    return caught.value


def cookie_of(server, path):
    """The cookies that a page sets, for the next request."""
    return ask(server, path).headers['set-cookie'].split(';')[0]


# Starlette

def test_starlette_echoes_and_learns_how_it_ended(starlette):
    with Peer(starlette.port, '/echo', 'first', 'second') as peer:
        assert (peer.subprotocol, peer.headers['x-greeting']) == ('second', 'hello')
        for message in '', 'é€😀', b'', bytes(range(256)), 'x' * 200_000, bytes(1 << 20):
            peer.send(message)
            assert peer.receive() == message
        assert peer.close(4001, 'that is all')[0] == 4001
    assert event(starlette) == [4001, 'that is all']
    with Peer(starlette.port, '/mounted/echo') as peer:
        assert peer.subprotocol is None
        assert peer.close(None) == (1005, '')
    assert event(starlette) == [1005, '']
    with Peer(starlette.port, '/echo') as peer:
        peer.abort()
    assert event(starlette)[0] == 1006


def test_starlette_s_endpoint_speaks_json(starlette):
    with Peer(starlette.port, '/sums') as peer:
        peer.send('[1, 2, 3]')
        assert json.loads(peer.receive()) == {'sum': 6}
        # As Starlette has it: with this the endpoint closes.
        peer.send('no JSON')
        assert peer.closed() == (1003, '')
        assert starlette.logged('RuntimeError: Malformed JSON data received.').count('ERROR') == 1
    assert event(starlette) == 1011


def test_starlette_knows_who_comes_and_where(starlette):
    with Peer(starlette.port, '/about/n%C3%A4me?a=%20b', 'One', 'two', user_agent='Peer',
              cookie='a=1') as peer:
        about = json.loads(peer.receive())
        assert peer.closed() == (1000, '')
    assert about == {
        'path': '/about/näme', 'scheme': 'ws', 'query': {'a': ' b'}, 'name': 'näme',
        'agent': 'Peer', 'cookies': {'a': '1'}, 'host': '127.0.0.1', 'root': '',
        'link': f'ws://127.0.0.1:{starlette.port}/about/other', 'offered': ['One', 'two']}


def test_starlette_ends_its_sockets(starlette):
    assert Peer(starlette.port, '/close').closed() == (4000, 'closed by Starlette')
    assert Peer(starlette.port, '/returns').closed() == (1000, '')
    assert Peer(starlette.port, '/break-off').closed() == (1008, 'enough of this')
    with Peer(starlette.port, '/fail') as peer:
        peer.send('go')
        assert peer.closed()[0] == 1011
    assert starlette.logged('ValueError: failed on purpose').count('ERROR') == 1


def test_starlette_refuses_and_denies(starlette):
    for path in '/refuse', '/refuse-late', '/nowhere', '/private':
        assert refusal(starlette, path).status == 403
    found = refusal(starlette, '/deny')
    assert (found.status, found.headers['x-denied']) == (402, 'yes')
    assert json.loads(found.body) == {'detail': 'pay first'}
    found = refusal(starlette, '/deny-at-length')
    assert found.status == 403
    assert found.body == ''.join(f'{number}\n' for number in range(20000)).encode()
    found = refusal(starlette, '/deny-by-exception')
    assert (found.status, found.headers['x-denied']) == (401, 'yes')
    assert found.body == b'who are you?'
    assert refusal(starlette, '/fail-early').status == 500
    assert starlette.logged('ValueError: failed early on purpose').count('ERROR') == 1


def test_starlette_s_middleware_knows_sockets(starlette):
    with Peer(starlette.port, '/private?token=secret') as peer:
        assert peer.receive() == 'hello ada'
    cookie = cookie_of(starlette, '/visit')
    with Peer(starlette.port, '/count', cookie=cookie) as peer:
        assert peer.receive() == '1'


def test_starlette_notices_while_it_sends(starlette):
    with Peer(starlette.port, '/send-on') as peer:
        assert peer.receive() == 'more'
        peer.abort()
    assert event(starlette) == ['send', 1006]


def test_starlette_sends_and_receives_at_once(starlette):
    with Peer(starlette.port, '/both') as peer:
        for number in range(100):
            peer.send(str(number))
        assert [peer.receive() for _ in range(101)] == [
            *map(str, range(100)), 'total 4950']
        assert peer.closed() == (1000, '')


# FastAPI

def test_fastapi_s_manager_of_connections(fastapi):
    with Peer(fastapi.port, '/chat/1') as one, Peer(fastapi.port, '/chat/2') as two:
        one.send('hello')
        assert [one.receive(), one.receive()] == ['you wrote: hello', '1 says: hello']
        # The other one was accepted before, or it would not be here.
        assert two.receive() == '1 says: hello'
        two.close()
        assert one.receive() == '2 left the chat'


def test_fastapi_resolves_the_dependencies_of_sockets(fastapi):
    with Peer(fastapi.port, '/items/3?number=4', cookie='session=abc') as peer:
        peer.send('{"a": [1, null]}')
        assert json.loads(peer.receive()) == {
            'item': 3, 'token': 'abc', 'tenfold': 40, 'log': 'opened', 'data': {'a': [1, None]}}
        peer.close()
    assert event(fastapi) == 'closed'


def test_fastapi_refuses_what_is_not_valid(fastapi):
    for path in '/items/3', '/items/three?token=abc', '/items/3?token=abc&number=x', '/nowhere':
        assert refusal(fastapi, path).status == 403
    found = refusal(fastapi, '/unpaid')
    assert found.status == 402
    assert json.loads(found.body) == {'detail': 'pay first'}


def test_an_exception_in_a_fastapi_socket_is_1011(fastapi):
    assert Peer(fastapi.port, '/fail').closed()[0] == 1011
    assert fastapi.logged('ValueError: failed on purpose').count('ERROR') == 1


# Litestar

def test_litestar_echoes_and_learns_how_it_ended(litestar):
    with Peer(litestar.port, '/echo', 'first', 'second') as peer:
        assert (peer.subprotocol, peer.headers['x-greeting']) == ('second', 'hello')
        for message in 'é€😀', 'x' * 200_000:
            peer.send(message)
            assert peer.receive() == message
        assert peer.close(4001, 'that is all')[0] == 4001
    assert event(litestar)[0] == 4001
    with Peer(litestar.port, '/bytes') as peer:
        peer.send(b'some bytes')
        assert peer.receive() == b'setyb emos'
        assert peer.closed() == (4000, 'closed by Litestar')


def test_litestar_s_listeners_have_types(litestar):
    with Peer(litestar.port, '/items') as peer:
        peer.send('{"name": "a", "price": 1.5}')
        assert json.loads(peer.receive()) == {'name': 'a', 'price': 3.0}


def test_litestar_ends_a_stream_when_its_client_leaves(litestar):
    with Peer(litestar.port, '/ticks') as peer:
        assert [peer.receive() for _ in range(3)] == ['tick'] * 3
        peer.close()
    assert event(litestar) == ['stream ended']
    with Peer(litestar.port, '/ticks') as peer:
        assert peer.receive() == 'tick'
        peer.abort()
    assert event(litestar) == ['stream ended']


def test_litestar_guards_and_refuses(litestar):
    assert refusal(litestar, '/private').status == 403
    with Peer(litestar.port, '/private?token=secret') as peer:
        assert json.loads(peer.receive()) == {'hello': 'ada'}
        assert peer.closed() == (1000, '')
    assert refusal(litestar, '/refuse').status == 403
    assert refusal(litestar, '/nowhere').status == 403


def test_litestar_s_channels_reach_all_who_listen(litestar):
    with Peer(litestar.port, '/news') as one, Peer(litestar.port, '/news') as two:
        # (It subscribes after it has accepted; so it is told until both have heard.)
        for peer in one, two:
            while True:
                assert ask(litestar, '/say/hello').status == 200
                try:
                    assert peer.receive(0.2) == 'hello'
                    break
                except TimeoutError:
                    pass
        assert ask(litestar, '/say/end').status == 200
        for peer in one, two:
            while (said := peer.receive()) != 'end':
                assert said == 'hello'


def test_an_exception_in_a_litestar_socket_closes_it(litestar):
    # Litestar sends this itself.
    assert Peer(litestar.port, '/fail').closed()[0] == 4500


# Quart

def test_quart_echoes_and_is_cancelled_at_the_end(quart):
    with Peer(quart.port, '/echo', 'first', 'second') as peer:
        assert (peer.subprotocol, peer.headers['x-greeting']) == ('second', 'hello')
        for message in 'é€😀', bytes(range(256)), 'x' * 200_000:
            peer.send(message)
            assert peer.receive() == message
        assert peer.close(4001, 'that is all')[0] == 4001
    assert event(quart) == 'cancelled'
    with Peer(quart.port, '/echo') as peer:
        peer.abort()
    assert event(quart) == 'cancelled'
    with Peer(quart.port, '/sums') as peer:
        peer.send('[1, 2, 3]')
        assert json.loads(peer.receive()) == {'sum': 6}


def test_quart_s_broker_reaches_all_who_listen(quart):
    with Peer(quart.port, '/chat') as one, Peer(quart.port, '/chat') as two:
        assert [one.receive(), two.receive()] == ['welcome'] * 2
        one.send('hello')
        assert [one.receive(), two.receive()] == ['hello'] * 2
        one.close()
        assert event(quart) == '1 left'
        two.send('alone')
        assert two.receive() == 'alone'
        two.abort()
    assert event(quart) == '0 left'


def test_quart_ends_its_sockets(quart):
    assert Peer(quart.port, '/close').closed() == (4000, 'closed by Quart')
    with Peer(quart.port, '/returns') as peer:
        assert peer.receive() == 'that is all'
        assert peer.closed() == (1000, '')
    # Quart sends this itself.
    assert Peer(quart.port, '/fail').closed() == (1000, '')
    quart.logged('ValueError: failed on purpose')


def test_quart_answers_handshakes_as_requests(quart):
    assert refusal(quart, '/unknown').status == 401
    found = refusal(quart, '/unpaid')
    assert (found.status, found.headers['x-denied']) == (402, 'yes')
    assert json.loads(found.body) == {'detail': 'pay first'}
    assert refusal(quart, '/nowhere').status == 404


def test_quart_s_sessions_know_sockets(quart):
    cookie = cookie_of(quart, '/visit')
    with Peer(quart.port, '/visits', cookie=cookie) as peer:
        assert peer.receive() == '1'


# Django Channels

ORIGIN = 'http://example.org'


def test_channels_groups_reach_all_in_a_room(channels):
    def enter(room):
        return Peer(channels.port, f'/chat/{room}', origin=ORIGIN)

    with enter('a') as one, enter('a') as two, enter('b') as other:
        one.send('{"message": "hello"}')
        assert [json.loads(peer.receive()) for peer in (one, two)] == [{'message': 'hello'}] * 2
        assert ask(channels, '/say/a/from-a-view').status == 200
        assert [json.loads(peer.receive()) for peer in (one, two)] == [
            {'message': 'from-a-view'}] * 2
        two.close(4001)
        assert json.loads(one.receive()) == {'left': 4001}
        other.send('{"message": "over here"}')
        assert json.loads(other.receive()) == {'message': 'over here'}
        other.abort()
        assert ask(channels, '/say/a/more').status == 200
        assert json.loads(one.receive()) == {'message': 'more'}


def test_channels_consumers_on_threads(channels):
    with Peer(channels.port, '/sync', 'first', 'second', origin=ORIGIN) as one, Peer(
            channels.port, '/sync', origin=ORIGIN) as two:
        assert (one.subprotocol, two.subprotocol) == ('second', None)
        one.send('hello')
        assert [one.receive(), two.receive()] == ['hello'] * 2
        two.send(b'bytes')
        assert two.receive() == b'setyb'
        assert one.close() == (1000, '')


def test_channels_closes_refuses_and_fails(channels):
    assert Peer(channels.port, '/ends/close', origin=ORIGIN).closed()[0] == 4000
    assert event(channels) == 4000
    with Peer(channels.port, '/ends/never', origin=ORIGIN) as peer:
        assert peer.close(4001) == (4001, '')
    assert event(channels) == 4001
    with Peer(channels.port, '/ends/never', origin=ORIGIN) as peer:
        peer.abort()
    assert event(channels) == 1006
    for how in 'deny', 'refuse':
        assert refusal(channels, f'/ends/{how}', origin=ORIGIN).status == 403
        assert event(channels) == 1006
    assert refusal(channels, '/sync', origin='http://elsewhere.org').status == 403
    assert refusal(channels, '/sync').status == 403
    assert Peer(channels.port, '/ends/fail', origin=ORIGIN).closed()[0] == 1011
    channels.logged('ValueError: failed on purpose')


def test_channels_knows_sessions(channels):
    cookie = cookie_of(channels, '/visit')
    with Peer(channels.port, '/visits', origin=ORIGIN, cookie=cookie) as peer:
        assert peer.receive() == '1 AnonymousUser'


# Socket.IO

@pytest.mark.parametrize(('client', 'transports'), [
    ('python', 'polling,websocket'), ('python', 'websocket'),
    ('node', 'polling,websocket'), ('node', 'websocket'), ('node', 'polling')])
def test_socketio_upgrades_from_polling_to_websocket(
        client, transports, socketio, frameworks_python, tool, request):
    if client == 'python':
        command = [frameworks_python, str(HERE / 'clients' / 'socketio_client.py')]
    else:
        request.getfixturevalue('node_packages')
        command = [tool('node'), str(HERE / 'clients' / 'socketio_client.mjs')]
    done = subprocess.run([*command, socketio.url, transports], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {'transport': transports.split(',')[-1]},
        {'echo': True}, {'binary': True}, {'large': True},
        {'said': [{'name': 'ada', 'text': 'hello'}] * 2},
        {'namespace': 'hello in /other: 1'},
        {'refused': 'who are you?'},
        {'disconnected': True}]
    # The one who was told to leave, and the one who left (and may not wait until that is sent).
    ended = {ask(socketio, '/ended').body for _ in range(2)}
    assert ended in ({b'server disconnect', b'client disconnect'},
                     {b'server disconnect', b'transport close'})


def test_socketio_ends_a_client_that_breaks_off(socketio):
    with Peer(socketio.port, '/socket.io/?EIO=4&transport=websocket') as peer:
        assert peer.receive().startswith('0{')
        peer.send('40')
        assert peer.receive().startswith('40{')
        peer.send('420["echo","hello"]')
        assert {peer.receive(), peer.receive()} == {'42["echo","hello"]', '430["hello"]'}
        peer.abort()
    assert ask(socketio, '/ended').body in (b'transport close', b'transport error')
