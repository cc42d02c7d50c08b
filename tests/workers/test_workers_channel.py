"""Channel: descriptors of sockets that several processes use at the same time."""

from __future__ import annotations

import os
import socket

import pytest

from tremolo.loop import Reactor
from tremolo.workers.channel import LISTENER, Channel, copy_of, socket_of


@pytest.fixture
def listening():
    with socket.create_server(('127.0.0.1', 0)) as sock:
        sock.setblocking(False)
        yield sock


def blocks(sock) -> bool:
    return os.get_blocking(sock.fileno())


def test_a_socket_made_of_a_descriptor_does_not_block_the_others(listening):
    default = socket.getdefaulttimeout()
    with socket_of(os.dup(listening.fileno())) as other, copy_of(other) as third:
        for sock in (listening, other, third):
            assert not blocks(sock)
            with pytest.raises(BlockingIOError):
                sock.accept()
            assert sock.getsockname() == listening.getsockname()
    assert socket.getdefaulttimeout() == default


def test_a_socket_that_comes_over_the_line_does_not_block_the_others(listening):
    ours, theirs = socket.socketpair()
    received = []

    def heard(kind, sock):
        received.append((kind, sock, blocks(sock), blocks(listening)))
        reactor.stop()

    with Reactor() as reactor:
        one = Channel(reactor, ours, lambda *_: None, lambda: None)
        other = Channel(reactor, theirs, heard, lambda: None)
        one.send(LISTENER, copy_of(listening))
        assert not blocks(listening)
        reactor.run()
        one.close()
        other.close()
    [(kind, sock, *blocking)] = received
    assert kind == LISTENER
    assert blocking == [False, False]
    assert sock.getsockname() == listening.getsockname()
    sock.close()
