"""Clients that mean harm, once their handshake is complete: what they cost, and what is left."""

from __future__ import annotations

import pytest
from server_support import answers, request, virtual
from simulated import World
from tls_support import Peer, context_of

from tremolo import Tremolo
from tremolo.loop import Stream
from tremolo.tls.transport import TlsTransport


@pytest.fixture(scope='module')
def context():
    return context_of()


@pytest.fixture
def app():
    app = Tremolo()

    @app.route('/', methods=['GET', 'POST'])
    def index(request):
        size = 0
        while (data := (yield request.read())):
            size += len(data)
        yield f'{size}'

    return app


def of_one_byte(peer, data):
    """Return records of a byte each."""
    return b''.join(peer.sealed(data[place:place + 1]) for place in range(len(data)))


def reads_by_turn(host, monkeypatch):
    """Return what counts the records of each turn from now on."""
    reads = {}
    recv = TlsTransport.recv

    def counted(transport, size):
        reads[host.reactor.turns] = reads.get(host.reactor.turns, 0) + 1
        return recv(transport, size)

    monkeypatch.setattr(TlsTransport, 'recv', counted)
    return reads


@pytest.mark.parametrize('data', [
    request('/', 'POST', body=bytes(1500)),
    request('/', 'GET', 'X-Long: ' + 1500 * 'x'),
    request('/') * 40,
], ids=['body', 'head', 'pipelined'])
def test_records_of_one_byte_leave_others_their_turn(app, context, monkeypatch, data):
    # 72 KiB, one read of the kernel, hold 3,200 of them: 40 ms of a turn, measured.
    with virtual(app, World(seed=1, buffer_size=1 << 20), ssl_context=context) as host:
        peer = Peer(host)
        reads = reads_by_turn(host, monkeypatch)
        peer.client.send(of_one_byte(peer, data + request('/', 'GET', 'Connection: close')))
        peer.until_ended()
        found = answers(peer.data)
        assert {each.status for each in found} == {200}
        assert len(found) == data.count(b'HTTP/1.1') + 1
        assert max(reads.values()) <= 130, max(reads.values())


def test_a_paused_stream_stays_paused_after_a_turn_full_of_records(context):
    got = []
    app = Tremolo()

    @app.route('/')
    def upgrade(request):
        return ''

    class Slow:
        def __init__(self, stream):
            self.stream = stream

        def data_received(self, data):
            got.append(data)
            if len(got) % 100 == 64:
                self.stream.pause_reading()

        def eof_received(self):
            pass

        def stream_closed(self, cause):
            pass

    with virtual(app, World(seed=1, buffer_size=1 << 20), ssl_context=context) as host:
        peer = Peer(host)
        stream = next(iter(host.server.connections)).stream
        assert isinstance(stream, Stream)
        stream.receiver = Slow(stream)
        peer.client.send(of_one_byte(peer, bytes(300)))
        host.settle()
        for pauses in (64, 164, 264):
            assert len(got) == pauses
            stream.resume_reading()
            host.settle()
        assert len(got) == 300
        stream.abort()


def test_openssl_is_given_one_record_at_a_time(app, context):
    # A key update holds nothing, so OpenSSL would go through thousands before it returns.
    with virtual(app, World(seed=1, buffer_size=1 << 20), ssl_context=context) as host:
        peer = Peer(host)
        transport = next(iter(host.server.connections)).stream._socket
        written = []

        class Spy:
            def __init__(self, memory):
                self.memory = memory

            def write(self, data):
                written.append(len(data))
                return self.memory.write(data)

        transport._incoming = Spy(transport._incoming)
        records = [peer.sealed(each) for each in (
            request('/'), request('/'), request('/', 'POST', body=bytes(16000)))]
        whole = b''.join(records) + peer.sealed(request('/', 'GET', 'Connection: close'))
        for start in range(0, len(whole), 3001):
            peer.client.send(whole[start:start + 3001])
            host.settle()
        peer.until_ended()
        assert [each.status for each in answers(peer.data)] == [200] * 4
        assert written[:3] == [len(each) for each in records]


@pytest.mark.parametrize('header', [
    b'\x17\x03\x03\xff\xff', b'\x17\x03\x03\x45\x01', b'\x63\x03\x03\x00\x05', b'GET /',
    b'\x17\x02\x00\x10\x00'])
def test_a_header_that_is_no_records_is_refused_before_more_comes(app, context, header):
    with virtual(app, ssl_context=context) as host:
        peer = Peer(host)
        peer.client.send(header)
        host.until(lambda: not host.server.connections)
        assert host.now < 1
        assert host.closed == {'reset': 1}
