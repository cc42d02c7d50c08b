"""Floods of 200 MB that one side does not take: they wait where they come from."""

from __future__ import annotations

import contextlib
import http.client
import socket
import zlib
from pathlib import Path

import pytest

MIB = 1 << 20
BLOCK = bytes(range(256)) * 256
SIZE = 200 * MIB
MOST = 16 * MIB
# Seconds without progress after which a sender is stalled.
STALLED = 0.3


@pytest.fixture(scope='module')
def flood(serve, tmp_path_factory):
    """The application of flood_app.py in a process."""
    application = str(Path(__file__).with_name('frameworks') / 'flood_app.py')
    folder = tmp_path_factory.mktemp('flood')
    with serve(application, '--log-level', 'warning', folder=folder) as server:
        yield server
    assert server.log == ''


@pytest.fixture(scope='module')
def expected():
    """Size and checksum of all that is sent."""
    checksum = 0
    for _ in range(SIZE // len(BLOCK)):
        checksum = zlib.crc32(BLOCK, checksum)
    return SIZE, checksum


def ask(server, path):
    connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=30)
    try:
        connection.request('GET', path)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_200_mb_for_a_client_that_does_not_read_stay_in_the_application(flood, expected):
    ask(flood, '/go')
    before = flood.resident()
    flood.forget_peak()
    connection = http.client.HTTPConnection('127.0.0.1', flood.port, timeout=30)
    try:
        connection.request('GET', '/send')
        # The kernel holds some, on both sides.
        assert int(ask(flood, '/stalled')) < 32 * MIB
        assert flood.resident('VmHWM') - before < MOST
        size = checksum = 0
        with connection.getresponse() as answer:
            while data := answer.read(65536):
                size += len(data)
                checksum = zlib.crc32(data, checksum)
    finally:
        connection.close()
    assert (size, checksum) == expected
    assert ask(flood, '/ended') == b'sent'
    assert flood.resident('VmHWM') - before < MOST


@pytest.mark.parametrize('length', [b'Content-Length: %d' % SIZE, b'Transfer-Encoding: chunked'],
                         ids=['sized', 'chunked'])
def test_200_mb_for_an_application_that_does_not_receive_stay_in_the_client(
        flood, expected, length):
    ask(flood, '/stop')
    before = flood.resident()
    flood.forget_peak()
    block = b'%x\r\n%s\r\n' % (len(BLOCK), BLOCK) if b'chunked' in length else BLOCK
    left = memoryview(block * (SIZE // len(BLOCK)) + (b'0\r\n\r\n' if block != BLOCK else b''))
    whole = len(left)
    with socket.create_connection(('127.0.0.1', flood.port), timeout=STALLED) as sock:
        sock.sendall(b'POST /receive HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n\r\n' % length)
        with pytest.raises(TimeoutError):
            while True:
                left = left[sock.send(left[:MIB]):]
        assert whole - len(left) < 32 * MIB
        assert flood.resident('VmHWM') - before < MOST
        ask(flood, '/go')
        sock.settimeout(30)
        sock.sendall(left)
        with http.client.HTTPResponse(sock) as answer:
            answer.begin()
            assert answer.read().decode() == '{} {:08x}'.format(*expected)
    assert flood.resident('VmHWM') - before < MOST


def test_200_mb_for_an_application_that_answers_at_once_are_thrown_away(flood):
    before = flood.resident()
    flood.forget_peak()
    head = b'POST /ignore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n' % SIZE
    with socket.create_connection(('127.0.0.1', flood.port), timeout=30) as sock:
        sock.sendall(head)
        with http.client.HTTPResponse(sock) as answer:
            answer.begin()
            assert (answer.read(), answer.headers['connection']) == (b'ignored', 'close')
        # It is read on for a while, lest a reset destroy the answer; then it may be cut.
        with contextlib.suppress(ConnectionError):
            for _ in range(SIZE // len(BLOCK)):
                sock.sendall(BLOCK)
    assert flood.resident('VmHWM') - before < MOST


def test_a_client_that_leaves_while_a_send_waits_is_an_os_error(flood):
    with socket.create_connection(('127.0.0.1', flood.port), timeout=30) as sock:
        sock.sendall(b'GET /send HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')
        ask(flood, '/stalled')
    assert ask(flood, '/ended') == b'OSError'


def test_a_send_that_was_given_up_is_sent_all_the_same(flood):
    with socket.create_connection(('127.0.0.1', flood.port), timeout=30) as sock:
        sock.sendall(b'GET /give-up HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')
        sends = int(ask(flood, '/ended'))
        with http.client.HTTPResponse(sock) as answer:
            answer.begin()
            assert answer.read() == BLOCK * sends
