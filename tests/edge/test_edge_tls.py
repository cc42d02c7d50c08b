"""TLS before HTTP: handshakes that are slow, cut or refused, and their limits."""

from __future__ import annotations

import gc
import ssl
import sys

import pytest
from certificates import CA, CLIENT, CLIENT_EXPIRED, STRANGER
from server_support import answers, request, virtual
from simulated import World
from tls_support import Peer, context_of, strict_client

from tremolo import Tremolo, sleep
from tremolo.edge.arrival import Arrival, Refused
from tremolo.loop import Cancelled
from tremolo.tls.handshake import Handshake, Pace
from tremolo.tls.transport import TlsTransport

FIRST_REQUEST = request('/', 'GET', 'Connection: close')


@pytest.fixture
def app():
    app = Tremolo()

    @app.route('/')
    def index(request):
        yield f'{request.scheme} {request.is_secure}'

    return app


@pytest.fixture(scope='module')
def context():
    return context_of()


def settle(host):
    """Wait until nothing is left of what was accepted."""
    host.until(lambda: not (host.server.connections or host.server.arriving))


def test_a_request_over_tls_is_answered_and_the_end_is_told(app, context):
    with virtual(app, ssl_context=context) as host:
        peer = Peer(host)
        assert peer.tls.version() == 'TLSv1.3'
        peer.send(request('/') * 3 + FIRST_REQUEST)
        peer.until_ended()
        assert [each.body for each in answers(peer.data)] == [b'https True'] * 4
        assert peer.notified and peer.client.ended == 'fin'
        settle(host)
        assert host.closed == {'done': 1}


def test_a_handshake_byte_by_byte_is_complete(app, context):
    with virtual(app, World(seed=1, largest_piece=1), ssl_context=context) as host:
        peer = Peer(host)
        peer.send(FIRST_REQUEST)
        peer.until_ended()
        assert [each.status for each in answers(peer.data)] == [200]
        assert peer.notified


def test_the_first_request_may_come_with_the_end_of_the_handshake(app, context):
    with virtual(app, ssl_context=context) as host:
        peer = Peer(host, shake=False)
        peer.client.send(peer.next_bytes())
        host.until(lambda: len(peer.client.received) > 300)
        host.settle()
        last = peer.next_bytes()
        assert peer.is_open
        peer.client.send(last + peer.sealed(request('/')) + peer.sealed(FIRST_REQUEST))
        peer.until_ended()
        assert len(answers(peer.data)) == 2


@pytest.mark.parametrize('end', ['fin', 'reset'])
def test_a_handshake_that_is_cut_anywhere_leaves_nothing(app, context, end, lines):
    with virtual(app, ssl_context=context) as host:
        whole = Peer(host, shake=False)
        hello = whole.next_bytes()
        cuts = [0, 1, 2, 5, 6, 40, len(hello) - 1, len(hello)]
        for cut in cuts:
            client = host.connect(hello[:cut])
            host.settle()
            getattr(client, end)()
            host.settle()
        # The second flight, too: after our certificate.
        for cut in (0, 1, 6, 7, 30, 60):
            peer = Peer(host, shake=False)
            peer.client.send(peer.next_bytes())
            host.until(lambda one=peer: len(one.client.received) > 300)
            host.settle()
            last = peer.next_bytes()
            peer.client.send(last[:cut])
            host.settle()
            getattr(peer.client, end)()
            host.settle()
        whole.client.close()
        host.until(lambda: not host.server.arriving)
        assert host.closed == {'tls_handshake': len(cuts) + 7}
        assert not host.server.connections
    # Who leaves is no news.
    assert lines.texts == []


def test_a_byte_now_and_then_does_not_prolong_a_handshake(app, context, lines):
    with virtual(app, ssl_context=context, ssl_handshake_timeout=4) as host:
        slow, silent = Peer(host, shake=False), host.connect()
        hello = slow.next_bytes()
        for byte in range(10):
            slow.client.send(hello[byte:byte + 1])
            host.advance(0.5)
        assert slow.client.ended and slow.client.ended_at == pytest.approx(4, abs=0.1)
        assert silent.ended and silent.ended_at == pytest.approx(4, abs=0.1)
        settle(host)
        assert host.closed == {'tls_timeout': 2}
    assert lines.texts == ['CLIENT: cut: tls_timeout: the TLS handshake took too long '
                           '(ssl_handshake_timeout)']


@pytest.mark.parametrize('size', [1, 3, 10000])
def test_plain_http_on_a_tls_port_is_told_so(app, context, size, lines):
    with virtual(app, ssl_context=context) as host:
        client = host.connect()
        data = request('/', 'POST', body=bytes(5000))
        for start in range(0, len(data), size) if size < 10 else [0]:
            client.send(data[start:start + size])
            if start < 10:
                host.settle()
        client.until_ended()
        answer, = answers(client.received)
        assert answer.status == 400
        assert answer.body == b'400 Bad Request: this port speaks TLS: use https://\n'
        assert client.ended == 'fin'
        settle(host)
        assert host.closed == {'tls_plain': 1}
    assert lines.texts == [
        'CLIENT: refused: tls_plain: plain HTTP came to a TLS port (400)']


@pytest.mark.parametrize('data', [bytes(100), b'\x16\x03\x01' + bytes(100), b'\x80\x2e\x01' * 30,
                                  b'\x16\x03\x01\xff\xff' + bytes(70000), b'\r\n\r\n' * 20])
def test_garbage_instead_of_a_handshake_is_refused_quietly(app, context, data, lines):
    with virtual(app, ssl_context=context) as host:
        client = host.connect(data)
        host.until(lambda: client.ended)
        assert client.received[:1] in (b'', b'\x15')    # Nothing, or an alert.
        settle(host)
        assert host.closed == {'tls_handshake': 1}
    assert lines.texts == []


def test_garbage_after_the_handshake_ends_that_connection_alone(app, context):
    with virtual(app, ssl_context=context) as host:
        other, peer = Peer(host), Peer(host)
        peer.client.send(b'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
        host.until(lambda: peer.client.ended)
        assert host.closed == {'reset': 1}
        other.send(FIRST_REQUEST)
        other.until_ended()
        assert len(answers(other.data)) == 1


def clients_of(**attributes):
    context = strict_client()
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


def verifying(reqs=ssl.CERT_REQUIRED):
    context = context_of(verify_mode=reqs)
    context.load_verify_locations(CA)
    return context


@pytest.mark.parametrize('shown, part', [
    (None, "the client's certificate is required, and it showed none (ssl_cert_reqs)"),
    (STRANGER, "the client's certificate was refused: "),
    (CLIENT_EXPIRED, "the client's certificate was refused: certificate has expired"),
])
def test_a_certificate_that_is_refused_has_a_line_and_an_alert(app, shown, part, lines):
    with virtual(app, ssl_context=verifying()) as host:
        peer = Peer(host, strict_client(shown), shake=False)
        peer.until(lambda: False)
        # (The alert arrives before the end.)
        assert isinstance(peer.error, ssl.SSLError) and 'ALERT' in str(peer.error).upper()
        peer.client.close()
        settle(host)
        assert host.closed == {'tls_handshake': 1}
    line, = lines.texts
    assert line.startswith('CLIENT: refused: tls_handshake: the TLS handshake failed: ')
    assert part in line


def test_a_certificate_that_is_good_is_known(app):
    with virtual(app, ssl_context=verifying()) as host:
        peer = Peer(host, strict_client(CLIENT))
        connection, = host.server.connections
        assert connection.stream.tls.getpeercert()['subject']
        peer.send(FIRST_REQUEST)
        peer.until_ended()
        assert len(answers(peer.data)) == 1


def test_a_client_of_an_old_version_has_a_line(app, lines):
    server = context_of(minimum_version=ssl.TLSVersion.TLSv1_3)
    client = clients_of(maximum_version=ssl.TLSVersion.TLSv1_2)
    with virtual(app, ssl_context=server) as host:
        peer = Peer(host, client, shake=False)
        peer.until(lambda: False)
        assert peer.error is not None
        peer.client.close()
        settle(host)
        assert host.closed == {'tls_handshake': 1}
    assert lines.texts == [
        'CLIENT: refused: tls_handshake: the TLS handshake failed: the client speaks no version of '
        'TLS that is taken here (TLS 1.2 and later are)']


def test_a_client_that_does_not_trust_us_has_a_line(app, context, lines):
    untrusting = ssl.create_default_context()
    with virtual(app, ssl_context=context) as host:
        peer = Peer(host, untrusting, shake=False)
        peer.until(lambda: False)
        assert isinstance(peer.error, ssl.SSLCertVerificationError)
        host.settle()
        peer.client.close()
        settle(host)
        assert host.closed == {'tls_handshake': 1}
    assert lines.texts == ['CLIENT: refused: tls_handshake: the TLS handshake failed: the client '
                           'does not trust our certificate (ssl_certfile)']


def test_lines_of_refused_handshakes_are_paced(app, lines):
    with virtual(app, ssl_context=context_of(minimum_version=ssl.TLSVersion.TLSv1_3)) as host:
        client = clients_of(maximum_version=ssl.TLSVersion.TLSv1_2)
        hello = Peer(host, client, shake=False).next_bytes()
        for _ in range(30):
            host.connect(hello)
        host.settle()
        host.advance(11)
        assert len(lines.texts) == 11
        assert lines.texts[-1] == 'tls_handshake: 20 more connections in the last 10 s'


def test_only_so_many_shake_hands_and_plain_listeners_go_on(app, context):
    app.listen(0, ssl_context=context, ssl_handshakes=3)
    with virtual(app) as host:
        plain, secure = (listener for listener in host.server.listeners)
        assert host.server.parts[secure].settings.ssl_context is context
        waiting = [host.connect(listener=1) for _ in range(5)]
        host.settle()
        assert len(host.server.arriving) == 3 and secure.paused and not plain.paused
        assert host.ask(FIRST_REQUEST)[0].body == b'http False'
        # (The end of another connection does not open the door either.)
        assert secure.paused and len(host.server.arriving) == 3
        waiting[0].fin()
        host.settle()
        assert len(host.server.arriving) == 3 and secure.paused
        for client in waiting[1:3]:
            client.reset()
        host.settle()
        assert len(host.server.arriving) == 2 and not secure.paused
        peer = Peer(host, listener=1)
        peer.send(FIRST_REQUEST)
        peer.until_ended()
        assert answers(peer.data)[0].body == b'https True'


def test_handshakes_count_as_connections(app, context):
    with virtual(app, ssl_context=context, connections=2) as host:
        first = Peer(host)
        waiting = host.connect()
        host.settle()
        listener, = host.server.listeners
        assert listener.paused and len(host.server.connections) == len(host.server.arriving) == 1
        late = Peer(host, shake=False)
        late.client.send(late.next_bytes())
        host.settle()
        assert not late.client.received
        waiting.fin()
        late.until(lambda: late.is_open)
        assert listener.paused and late.is_open
        first.client.close()
        late.client.close()
        host.settle()
        assert not listener.paused


def test_a_thousand_silent_clients_delay_nobody(app, context):
    with virtual(app, ssl_context=context) as host:
        for _ in range(1000):
            host.connect()
        host.settle()
        assert len(host.server.arriving) == 1000
        before = host.now
        peer = Peer(host)
        peer.send(FIRST_REQUEST)
        peer.until_ended()
        assert answers(peer.data)[0].status == 200
        assert host.now - before < 0.1


def test_what_shakes_hands_when_the_server_stops_gets_its_first_answer(app, context):
    with virtual(app, ssl_context=context) as host:
        peer, silent = Peer(host, shake=False), host.connect()
        hello = peer.next_bytes()
        peer.client.send(hello[:50])
        host.settle()
        stopped = host.server.drain()
        host.advance(0.3)
        assert not stopped.done()
        peer.client.send(hello[50:])
        peer.until(lambda: peer.is_open)
        peer.send(request('/'))
        answer = peer.take()
        assert answer.status == 200 and answer.headers['connection'] == 'close'
        peer.until_ended()
        assert peer.notified
        assert not stopped.done()
        host.until(stopped.done)
        assert silent.ended


def test_a_silent_client_does_not_keep_a_server_that_stops(app, context, lines):
    with virtual(app, ssl_context=context) as host:
        silent, slow = host.connect(), host.connect()
        slow.send(b'\x16\x03\x01')
        host.settle()
        stopped = host.server.drain()
        host.until(lambda: silent.ended)
        assert silent.ended_at == pytest.approx(2, abs=0.01)
        assert not slow.ended and not stopped.done()
        host.until(stopped.done)
        assert slow.ended_at == pytest.approx(10, abs=0.1)
    assert host.closed == {'shutdown': 1, 'tls_timeout': 1}
    assert len(lines.texts) == 1    # (Of the slow one.)


def test_what_waits_for_its_turn_in_a_handshake_is_not_silent(app, context, monkeypatch):
    with virtual(app, ssl_context=context) as host:
        client, silent = host.connect(), host.connect()
        host.settle()
        assert [each.is_silent for each in host.server.arriving] == [True, True]
        monkeypatch.setattr(Pace, 'is_over', lambda pace: True)
        client.send(b'\x16')
        host.until(lambda: not all(each.is_silent for each in host.server.arriving))
        silent.close()


def test_after_the_shutdown_timeout_handshakes_are_aborted(app, context, lines):
    with virtual(app, ssl_context=context, shutdown_timeout=2, ssl_handshake_timeout=60) as host:
        client = host.connect(b'\x16\x03\x01')
        host.settle()
        stopped = host.server.drain()
        host.until(stopped.done)
        host.settle()
        assert client.ended and not host.server.arriving
        assert host.now == pytest.approx(2, abs=0.1)


def test_a_server_that_closes_frees_what_is_on_its_way(app, context):
    with virtual(app, ssl_context=context) as host:
        clients = [host.connect(b'\x16'), host.connect()]
        peer = Peer(host, shake=False)
        peer.client.send(peer.next_bytes())
        host.settle()
        assert len(host.server.arriving) == 3
        host.server.close()
        assert not host.server.arriving
        host.settle()
        assert all(client.ended for client in clients)


def test_the_hook_of_a_connection_comes_after_the_handshake(app, context):
    seen = []

    @app.on_connect
    def connected(connection):
        seen.append((connection.scheme, connection.stream.tls.version()))

    with virtual(app, ssl_context=context) as host:
        host.connect(b'\x16').fin()
        host.settle()
        assert seen == []
        Peer(host)
        assert seen == [('https', 'TLSv1.3')]


def test_a_context_that_fails_ends_the_handshake_and_nothing_else(app, logged):
    class Broken(ssl.SSLContext):
        def wrap_bio(self, *args, **kwargs):
            raise ValueError('broken')

    with virtual(app, ssl_context=Broken(ssl.PROTOCOL_TLS_SERVER)) as host:
        for _ in range(3):
            peer = Peer(host, shake=False)
            peer.client.send(peer.next_bytes())
            host.until(lambda one=peer: one.client.ended)
        settle(host)
        assert host.closed == {'tls_handshake': 3}
    assert logged.records == []


def test_a_hook_that_cannot_be_called_leaves_no_socket_open(app, context, logged):
    def fail(connection):
        raise LookupError('hook')

    with virtual(app, ssl_context=context) as host:
        host.server.at_connect.append(fail)
        peer = Peer(host, shake=False)
        peer.until(lambda: False)
        assert peer.client.ended
        assert not host.server.connections and not host.server.arriving
    assert logged.count('a new connection could not be taken') == 1


def test_handshakes_use_a_slice_of_each_turn_alone(app, context):
    """However many clients arrive at once, others are served between their handshakes."""
    now = [0.0]
    with virtual(app, ssl_context=context) as host:
        pace = Pace(host.reactor)
        clock, host.reactor.time = host.reactor.time, lambda: now[0]
        asked = 0
        while not pace.is_over():
            asked += 1
            now[0] += 0.001    # A handshake of RSA.
        assert 2 <= asked <= 6
        assert pace.is_over()
        host.reactor.time = clock
        host.reactor.step(0)
        assert not pace.is_over()


class Late(Pace):
    """Each turn has time for one step."""

    def is_over(self):
        before, self._turn = self._turn, self._reactor.turns
        return before == self._turn


def test_handshakes_that_wait_for_their_turn_all_come_to_their_end(app, context, monkeypatch):
    monkeypatch.setattr('tremolo.tls.handshake.Pace', Late)
    with virtual(app, ssl_context=context) as host:
        peers = [Peer(host, shake=False) for _ in range(50)]
        for peer in peers:
            peer.client.send(peer.next_bytes())
        before = host.reactor.turns
        for peer in peers:
            peer.until(lambda one=peer: one.is_open)
        host.settle()
        assert len(host.server.connections) == 50
        assert host.reactor.turns - before >= 100


def test_nothing_of_an_arrival_is_left_for_the_collector(app, context):
    kinds = (Arrival, Handshake, TlsTransport)
    gc.collect()
    before = [each for each in gc.get_objects() if isinstance(each, kinds)]    # Of earlier tests.
    with virtual(app, ssl_context=context) as host:
        for data in (b'', b'\x16', bytes(50), b'GET / HTTP/1.1\r\n\r\n'):
            client = host.connect(data)
            host.settle()
            client.reset()
            host.settle()
        peer = Peer(host)
        peer.send(FIRST_REQUEST)
        peer.until_ended()
        silent = host.connect()
        host.advance(11)
        assert silent.ended
        if sys.implementation.name == 'pypy':
            for _ in range(3):
                gc.collect()    # (It frees nothing at once, nor what earlier tests have left.)
        left = [each for each in gc.get_objects() if isinstance(each, kinds)]
        assert [each for each in left if each not in before] == []


def test_a_step_that_raises_anything_ends_that_arrival_alone(app, context, logged):
    def step(arrival, sock, known):
        if sock.getpeername()[1] % 2 < 2:
            raise errors.pop(0)
        yield

    errors = [OSError('gone'), LookupError('bug'), Refused('proxy_header', 'why'), Cancelled()]
    with virtual(app, ssl_context=context) as host:
        edges = host.server.arrive.__self__
        edges.steps.append(step)
        for _ in range(4):
            client = host.connect(b'\x16')
            host.until(lambda one=client: one.ended)
        settle(host)
        assert host.closed == {'reset': 1, 'failed': 1, 'proxy_header': 1, 'shutdown': 1}
        edges.steps.clear()
        assert Peer(host).is_open
    assert logged.count('a new connection could not be taken') == 1


def test_an_abort_in_each_step_frees_the_socket_once(app, context):
    def step(arrival, sock, known):
        yield sleep(1)
        return sock, known

    with virtual(app, ssl_context=context) as host:
        host.server.arrive.__self__.steps.append(step)
        for seconds in (0, 0.5, 1.5):
            client = host.connect(b'\x16')
            host.advance(seconds + 0.01)
            arrival, = host.server.arriving
            arrival.abort('shutdown')
            arrival.abort('shutdown')
            assert not host.server.arriving
            host.until(lambda one=client: one.ended)
        settle(host)
        assert host.closed == {'shutdown': 3}


def test_a_stranger_is_refused_before_any_handshake(app, context, lines):
    options = {'ssl_context': context, 'proxy_protocol': 'v1', 'trusted_proxies': '192.0.2.1'}
    with virtual(app, **options) as host:
        client = host.connect(b'\x16')
        host.until(lambda: client.ended)
        settle(host)
        assert host.closed == {'stranger': 1}
    assert len(lines.texts) == 1


def test_the_header_of_proxy_comes_before_tls(app, context):
    with virtual(app, ssl_context=context, proxy_protocol='v1', trusted_proxies='*') as host:
        seen = []
        host.server.at_connect.append(lambda connection: seen.append(connection.addresses))
        for size in (1, 1000):
            peer = Peer(host, shake=False)
            data = b'PROXY TCP4 192.0.2.9 192.0.2.1 1234 443\r\n' + peer.next_bytes()
            for start in range(0, len(data), size):
                peer.client.send(data[start:start + size])
                host.settle()
            peer.until(lambda one=peer: one.is_open)
            peer.send(FIRST_REQUEST)
            peer.until_ended()
            assert answers(peer.data)[0].body == b'https True'
        assert seen == [(('192.0.2.9', 1234), ('192.0.2.1', 443), 'https')] * 2
        silent = host.connect(b'PROXY TCP4 192.0.2.9 192.0.2.1 1234 443\r\nGET / HTTP/1.1\r\n\r\n')
        silent.until_ended()
        assert answers(silent.received)[0].status == 400
