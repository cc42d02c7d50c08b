"""Channel: descriptors of sockets that several processes use at the same time."""

from __future__ import annotations

import os
import random
import socket

import pytest

from tremolo.loop import Reactor
from tremolo.workers.channel import (
    BEAT,
    CONNECTION,
    LISTENER,
    NAMED,
    READY,
    Channel,
    copy_of,
    socket_of,
)


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


# -- what the other end sends by mistake ----------------------------------------------------------


class Mistaken:
    """A channel, and a process at its other end that sends whatever it likes."""

    def __init__(self):
        self.found = []
        self.reactor = Reactor()
        self.ours, theirs = socket.socketpair()
        self.channel = Channel(self.reactor, theirs, self.heard, lambda: None)

    def heard(self, kind, sock, *carried):
        self.found.append((kind, sock is not None, *carried))
        if sock is not None:
            sock.close()

    def send(self, data: bytes, *files) -> None:
        """Send bytes, and descriptors with the first of them; let them be heard."""
        socket.send_fds(self.ours, [data], [each.fileno() for each in files])
        for _ in range(len(data) + 2):
            self.reactor.step(0)

    def close(self) -> None:
        self.ours.close()
        self.reactor.step(0)
        self.channel.close()
        self.reactor.close()


@pytest.fixture
def mistaken():
    """(The fixture of all tests counts descriptors.)"""
    end = Mistaken()
    yield end
    end.close()


def test_a_descriptor_of_no_socket_is_closed_and_the_channel_goes_on(mistaken, tmp_path):
    with open(tmp_path / 'file', 'w') as file, socket.socket() as sock:
        mistaken.send(CONNECTION, file)
        mistaken.send(CONNECTION, file, sock)
        mistaken.send(BEAT)
    assert mistaken.found == [(CONNECTION, False), (CONNECTION, True), (BEAT, False)]


def test_of_several_descriptors_the_first_counts_and_the_others_are_closed(mistaken):
    with socket.socket() as one, socket.socket() as other:
        mistaken.send(CONNECTION, one, other)
    assert mistaken.found == [(CONNECTION, True)]


def test_a_descriptor_that_no_message_waits_for_is_closed(mistaken):
    with socket.socket() as sock:
        mistaken.send(READY, sock)
        mistaken.send(b'?', sock)
        mistaken.send(NAMED + b'\0', sock)
        mistaken.send(b'\2a', sock)
        mistaken.send(b'b', sock)
    assert mistaken.found == [(READY, False), (b'?', False), (NAMED, True, b'ab')]


def test_bytes_and_descriptors_by_chance_do_no_harm(mistaken, tmp_path):
    chance = random.Random(23)
    with open(tmp_path / 'file', 'w') as file, socket.socket() as sock:
        for _ in range(200):
            data = bytes(chance.choices(b'rbndcalsthk\0\1\2\xff', k=chance.randint(1, 30)))
            mistaken.send(data, *chance.choices([file, sock], k=chance.choice([0, 0, 1, 1, 2, 3])))
    mistaken.found.clear()
    mistaken.send(b'b' * 66_000)
    assert mistaken.found[-1] == (BEAT, False)
