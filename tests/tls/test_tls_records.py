"""Several records that have come at once: how they are read, and what stands behind them."""

from __future__ import annotations

import select
import socket
import ssl

import pytest
from certificates import LOCALHOST
from tls_support import context_of, strict_client

from tremolo.settings import Settings
from tremolo.tls.contexts import server_context
from tremolo.tls.transport import TlsTransport

RECORD = bytes(range(256)) * 64    # 16 KiB: as much as a record holds


class Pair:
    """A transport after its handshake, and a client in memory at the other end of its socket."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.settimeout(20)
        self.transport = TlsTransport(self.ours, context or context_of())
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = strict_client().wrap_bio(
            self.incoming, self.outgoing, server_hostname='localhost')
        with pytest.raises(ssl.SSLWantReadError):
            self.client.do_handshake()
        self.transport.handshake(self.outgoing.read())
        self.incoming.write(self.theirs.recv(65536))
        self.client.do_handshake()
        assert self.transport.handshake(self.outgoing.read())

    def sealed(self, *pieces: bytes) -> bytes:
        for piece in pieces:
            self.client.write(piece)
        return self.outgoing.read()

    def read(self, data: bytes, size: int = 73728) -> list[bytes]:
        """Send, and read as a stream does, until there is nothing more; b'' is the end."""
        self.theirs.sendall(data)
        pieces = []
        while pieces[-1:] != [b'']:
            try:
                pieces.append(self.transport.recv(size))
            except BlockingIOError:    # (The kernel is asked once: it may have more by now.)
                if not select.select([self.ours], [], [], 0)[0]:
                    break
        return pieces


@pytest.fixture
def pair():
    made = Pair()
    yield made
    made.ours.close()
    made.theirs.close()


def test_whole_records_that_have_come_are_one_piece(pair):
    assert pair.read(pair.sealed(RECORD, RECORD, RECORD, b'end')) == [RECORD * 3 + b'end']
    assert pair.read(pair.sealed(b'one', b'two')) == [b'one', b'two']


@pytest.mark.parametrize('size', [1, 100, 16383, 16384, 16385, 40000, 49152, 73728])
def test_no_piece_is_longer_than_was_asked_for(pair, size):
    wanted = RECORD * 3 if size > 1 else RECORD[:300]
    pieces = pair.read(pair.sealed(*(wanted[at:at + 16384] for at in range(0, len(wanted), 16384))),
                       size)
    assert b''.join(pieces) == wanted
    assert max(map(len, pieces)) <= size


def test_an_end_behind_records_is_told_though_the_kernel_has_nothing_more(pair):
    data = pair.sealed(RECORD, RECORD)
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    pair.theirs.sendall(data + pair.outgoing.read())
    assert pair.transport.recv(73728) == RECORD * 2
    assert pair.transport.pending()
    assert pair.transport.recv(73728) == b''


def test_a_broken_record_takes_nothing_of_those_before_it(pair):
    good, bad = pair.sealed(RECORD, RECORD), bytearray(pair.sealed(RECORD))
    bad[100] ^= 1
    pair.theirs.sendall(good + bad)
    assert pair.transport.recv(73728) == RECORD * 2
    assert pair.transport.pending()
    with pytest.raises(ssl.SSLError):
        pair.transport.recv(73728)
    pair.incoming.write(pair.theirs.recv(65536))
    with pytest.raises(ssl.SSLError, match=r'(?i)bad.record.mac'):    # The alert says why.
        pair.client.read()


@pytest.mark.parametrize('cut', [1, 5, 100, 16000])
def test_a_record_that_has_come_in_part_is_read_when_the_rest_is_there(pair, cut):
    data = pair.sealed(RECORD, RECORD)
    assert pair.read(data[:-cut]) == [RECORD]
    assert not pair.transport.pending()
    assert pair.read(data[-cut:]) == [RECORD]


def test_a_client_gets_one_ticket():
    settings = Settings(ssl_certfile=[LOCALHOST.cert], ssl_keyfile=[LOCALHOST.key])
    settings.check()
    pair = Pair(server_context(settings))
    with pair.ours, pair.theirs:
        pair.transport.send(b'x')
        data, records = pair.theirs.recv(65536), 0
        while data:
            records, data = records + 1, data[5 + int.from_bytes(data[3:5], 'big'):]
    assert records == 2    # The ticket, and the byte.
