"""TLS that is spoken to a port of plain HTTP: the log says so, and the client gets what helps it.

The answer stays a plain 400. Clients of TLS know what a byte of HTTP in the place of a record means
(OpenSSL, Python, curl and Node: `wrong version number`; Go: `server gave HTTP response to HTTPS
client`). An alert would be misleading: it speaks of certificates and versions.
"""

from __future__ import annotations

import pytest
from server_support import answers, request, serving, virtual

from tremolo import Tremolo

ssl = pytest.importorskip('ssl')

SENTENCE = 'refused: 400: this looks like TLS: the port speaks plain HTTP (is the URL https?)'


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def index():
        yield b'hello'

    return app


def client_hello() -> bytes:
    """What a client of TLS sends first."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname='localhost')
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize('size', [1, 2, 5, 1000])
@pytest.mark.parametrize('before', [0, 1])
def test_tls_at_a_plain_port_is_said_to_be_tls(app, size, before, lines):
    hello = client_hello()
    assert hello.startswith(b'\x16\x03')
    with virtual(app) as host:
        client = host.connect(request() * before)
        for start in range(0, len(hello), size):
            client.send(hello[start:start + size])
            host.settle()
        client.until_ended()
        assert [each.status for each in answers(client.received)] == [200] * before + [400]
        assert lines.texts == [f'CLIENT: {SENTENCE}']
        assert host.now < 1


def test_a_client_of_tls_sees_that_the_port_speaks_no_tls(app, lines):
    with serving(app) as host:
        client = host.connect()
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLError) as caught:
            context.wrap_socket(client.sock, server_hostname='localhost')
        assert caught.value.reason in ('WRONG_VERSION_NUMBER', 'RECORD_LAYER_FAILURE',
                                       'PACKET_LENGTH_TOO_LONG'), caught.value
        host.wait_for(lambda: lines.texts)
    assert lines.texts == [f'CLIENT: {SENTENCE}']


@pytest.mark.parametrize('data', [
    b'GET / HTTP/1.1\r\nHost: a\r\nA: \x16\x03\r\n\r\n', b'GET\x16\x03 / HTTP/1.1\r\n\r\n',
    b'\x03\x16'])
def test_other_control_characters_are_no_tls(app, data, lines):
    with virtual(app) as host:
        for byte in range(len(data)):
            client = host.connect(data[:byte])
            host.settle()
            client.send(data[byte:])
            client.until_ended()
            assert client.received.startswith(b'HTTP/1.1 400 ')
    assert not [text for text in lines.texts if 'TLS' in text]
