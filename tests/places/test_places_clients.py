"""connections_per_client: one address cannot take all places."""

from __future__ import annotations

import asyncio
import socket

import pytest
from server_lines import server_lines
from server_support import request, serving, virtual
from tls_support import Peer, context_of

from tremolo import Tremolo, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.places.clients import who

V1 = b'PROXY TCP4 %s 10.0.0.1 40000 80\r\n'


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()
    app.route('/')(lambda: 'answered')

    @app.route('/wait')
    def wait():
        yield sleep(3600)

    return app


def is_refused(host, data: bytes = b'', listener: int = 0) -> bool:
    """Whether a new client is closed without a byte; if not, it stays."""
    client = host.connect(data, listener)
    host.settle()
    host.advance(0.01)
    assert client.received == b''
    return bool(client.ended)


def answered(host, client, *lines: str, path: str = '/'):
    client.send(request(path, 'GET', *lines))
    return client.take()


@pytest.mark.parametrize('address, known', [
    (('192.0.2.1', 80), ('192.0.2.1', 9)), (('::ffff:192.0.2.1', 80, 0, 0), ('192.0.2.1', 9)),
    (('64:ff9b::192.0.2.1', 80), ('192.0.2.1', 9)),
    (('2001:db8::1', 80), ('2001:db8::ffff:0:0:1', 9)),
    (('fe80::1%eth0', 80), ('fe80::2%eth0', 9))])
def test_one_client_is_an_address_or_a_net_of_64_bits(address, known):
    assert who(address) == who(known) is not None


def test_others_are_others_and_who_hides_is_nobody():
    all = {who((each, 1)) for each in ('192.0.2.1', '192.0.2.2', '2001:db8::1', '2001:db8:0:1::1',
                                       '64:ff9b::192.0.2.3', '::1', '0.0.0.1')}
    assert len(all) == 7
    assert who(None) is who(('unknown', 0)) is who(('_hidden', 0)) is who(('', 0)) is None


def test_it_is_off_and_then_nothing_stands_at_the_door(app):
    with virtual(app) as host:
        assert host.server.clients is host.server.places is host.server.arrive is None
        assert not any(is_refused(host) for _ in range(100))


def test_a_connection_too_many_is_closed_at_once_without_a_byte(app):
    with server_lines() as lines, virtual(app, connections_per_client=3) as host:
        clients = [host.connect() for _ in range(3)]
        host.settle()
        assert all(is_refused(host, request()) for _ in range(30))
        assert [answered(host, each).body for each in clients] == [b'answered'] * 3
        assert host.closed == {'connections_per_client': 30}
        clients.pop().close()
        host.advance(0.01)
        assert not is_refused(host)
        assert is_refused(host)
        assert len(host.server.connections) == 3
        # The log is not the client's: ten lines in a second, and their count.
        host.advance(20)
    told = [each for each in lines.texts if 'connections_per_client' in each]
    assert told[0] == ('CLIENT: refused: connections_per_client: one client had as many '
                       'connections as it may have (connections_per_client)')
    assert len(told) == 11 and told[-1].startswith('connections_per_client: 21 more connections')


def test_it_does_not_hinder_those_that_wait_for_a_place(app):
    with virtual(app, connections=2, connections_per_client=1) as host:
        client = host.connect()
        host.settle()
        assert all(is_refused(host) for _ in range(5))
        client.close()
        host.advance(0.01)
        assert not is_refused(host)
        assert not host.server.listeners[0].paused


def test_all_addresses_of_a_server_count_together(app):
    app.listen(0)
    with virtual(app, connections_per_client=2) as host:
        assert [is_refused(host, listener=each) for each in (0, 1, 1, 0)] == [0, 0, 1, 1]


@pytest.mark.parametrize('said', ['handshake', 'nothing'])
def test_over_tls_it_comes_before_the_handshake(app, said):
    with virtual(app, connections_per_client=2, ssl_context=context_of()) as host:
        if said == 'handshake':
            peers = [Peer(host) for _ in range(2)]
            assert all(each.is_open for each in peers)
        else:
            # What arrives counts: handshakes without end are many, too.
            peers = [host.connect() for _ in range(2)]
            host.settle()
        assert is_refused(host, b'\x16\x03\x01')
        assert host.closed == {'connections_per_client': 1}
        (peers[0].client if said == 'handshake' else peers[0]).reset()
        host.advance(0.01)
        assert Peer(host).is_open
        assert host.server.clients._count == {who(('127.0.0.1', 0)): 2}


def test_behind_proxies_that_speak_proxy_their_clients_count(app):
    with virtual(app, connections_per_client=2, proxy_protocol='v1',
                 trusted_proxies='127.0.0.1') as host:
        # The proxy itself is nobody, as long as it has not said whose connection it is.
        waiting = [host.connect() for _ in range(5)]
        host.settle()
        for name in (b'192.0.2.1 10.0.0.1', b'192.0.2.2 10.0.0.1'):
            head = b'PROXY TCP4 %s 40000 80\r\n' % name
            assert [is_refused(host, head) for _ in range(4)] == [False, False, True, True]
        head = b'PROXY TCP6 2001:db8::%d ::1 40000 80\r\n'
        assert [is_refused(host, head % each) for each in range(1, 5)] == [0, 0, 1, 1]
        assert not any(is_refused(host, b'PROXY UNKNOWN\r\n') for _ in range(4))
        for each in waiting:
            each.send(b'PROXY TCP4 192.0.2.9 10.0.0.1 40000 80\r\n' + request())
        host.advance(0.01)
        assert sum(bool(each.received) for each in waiting) == 2
        assert sum(bool(each.ended) for each in waiting) == 3


@pytest.mark.parametrize('trusted', ['127.0.0.1', '*'])
@pytest.mark.parametrize('field', ['X-Forwarded-For: {}', 'Forwarded: for={}'])
def test_behind_proxies_that_tell_of_clients_their_requests_count(app, trusted, field):
    kind = field.partition('-')[0].partition(':')[0].lower()
    forwarded = {'x': 'x-forwarded', 'forwarded': 'forwarded'}[kind]
    with server_lines() as lines, virtual(app, connections_per_client=2, trusted_proxies=trusted,
                                          forwarded=forwarded) as host:
        proxies = [host.connect() for _ in range(6)]
        for each in proxies[:2]:
            each.send(request('/wait', 'GET', field.format('192.0.2.1')))
        host.advance(0.01)
        # Its further requests are refused, and the connection, which is the proxy's, goes on.
        for _ in range(2):
            refused = answered(host, proxies[2], field.format('192.0.2.1'))
            assert (refused.status, refused.headers['retry-after']) == (429, '1')
            assert 'connection' not in refused.headers
            assert answered(host, proxies[2], field.format('192.0.2.2')).status == 200
        assert answered(host, proxies[3]).status == 200    # (The proxy asks for itself.)
        proxies[0].reset()
        host.advance(0.01)
        assert answered(host, proxies[3], field.format('192.0.2.1')).status == 200
        assert len(host.server.connections) == 5
    assert next(each for each in lines.texts if '429' in each).startswith('192.0.2.1 via ')


def test_who_leaves_handlers_running_cannot_take_all_places():
    """Each connection is reset, so there is never more than one; what runs is counted, too."""
    opened = False
    running = 0

    async def asgi(scope, receive, send):
        nonlocal running
        running += 1
        while scope['path'] == '/wait' and not opened:
            await asyncio.sleep(0.001)
        running -= 1
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'answered'})

    with serving(AsgiApplication(asgi), lifespan='off', connections_per_client=3) as host:
        for _ in range(10):
            client = host.connect(request('/wait'))
            host.wait_for(lambda: running == 3 or any(
                each.phase == 'busy' for each in host.server.connections))
            client.reset()
            host.wait_for(lambda: not host.server.connections)
        assert running == 3
        assert host.ask(request('/', 'GET', 'Connection: close'))[0].status == 429
        opened = True
        host.wait_for(lambda: not running)
        assert host.ask(request('/', 'GET', 'Connection: close'))[0].status == 200
        host.wait_for(lambda: not host.server.connections)
        clients = host.server.clients
        assert not (clients._count or clients._who or host.server.places._each)


def test_a_unix_socket_has_no_clients(app, tmp_path):
    with serving(app, bind=f'unix:{tmp_path}/s', connections_per_client=1) as host:
        clients = [host.connect(request()) for _ in range(4)]
        assert [each.take().body for each in clients] == [b'answered'] * 4


def test_what_another_worker_hands_over_counts_and_is_kept(app):
    with serving(app, connections_per_client=1) as host:
        address = host.running.address
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            listener.listen()
            ends = []
            for _ in range(3):
                ends.append(socket.create_connection(listener.getsockname()))
                ends.append(listener.accept()[0])
        for ours in ends[1::2]:
            host.on_loop(lambda: host.server.take(ours))    # noqa: B023
        for theirs in ends[::2]:
            theirs.sendall(request())
            assert b'answered' in theirs.recv(65536)
        with socket.create_connection(address) as further:
            assert further.recv(1) == b''
        for theirs in ends[::2]:
            theirs.close()
        host.wait_for(lambda: not host.server.connections)
        assert host.connect(request()).take().body == b'answered'


def test_the_test_client_is_a_client(app):
    with app.client(connections_per_client=2) as client, \
            app.client(connections_per_client=2) as other:
        for _ in range(3):
            assert client.get('/').status == other.get('/').status == 200
