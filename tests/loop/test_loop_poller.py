"""Every poller is the same poller: epoll, kqueue (emulated), select and the simulated one."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from loop_support import REAL, make_poller
from simulated import World

from tremolo.polling.poller import (
    ERROR,
    HANGUP,
    READ,
    WRITE,
    EpollPoller,
)
from tremolo.polling.pollers import SelectPoller
from tremolo.polling.pollers import make_poller as choose_poller


class Setup:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        world = World()
        self.network: Any = world.network if kind == 'simulated' else socket
        self.poller = world.poller() if kind == 'simulated' else make_poller(kind)
        self.one, self.other = self.network.socketpair()
        for sock in (self.one, self.other):
            sock.setblocking(False)
        self.fd = self.one.fileno()

    def poll(self) -> list[tuple[int, int]]:
        return self.poller.poll(0)


@pytest.fixture(params=[*REAL, 'simulated'])
def setup(request: Any) -> Iterator[Setup]:
    setup = Setup(request.param)
    yield setup
    setup.one.close()
    setup.other.close()
    setup.poller.close()


def test_nothing_is_ready_before_something_comes(setup: Setup) -> None:
    setup.poller.register(setup.fd, READ)
    assert setup.poll() == []
    setup.other.send(b'x')
    assert setup.poll() == [(setup.fd, READ)]


def test_what_is_ready_is_reported_on_every_poll(setup: Setup) -> None:
    setup.poller.register(setup.fd, READ)
    setup.other.send(b'x')
    assert setup.poll() == setup.poll() == [(setup.fd, READ)]
    setup.one.recv(10)
    assert setup.poll() == []


def test_reading_and_writing_come_as_one_event(setup: Setup) -> None:
    setup.poller.register(setup.fd, READ | WRITE)
    setup.other.send(b'x')
    assert setup.poll() == [(setup.fd, READ | WRITE)]


def test_the_interest_can_be_changed(setup: Setup) -> None:
    setup.other.send(b'x')
    setup.poller.register(setup.fd, READ)
    setup.poller.modify(setup.fd, WRITE)
    assert setup.poll() == [(setup.fd, WRITE)]
    setup.poller.modify(setup.fd, 0)
    assert setup.poll() == []
    setup.poller.modify(setup.fd, READ)
    assert setup.poll() == [(setup.fd, READ)]


def test_an_unregistered_fd_is_silent_and_may_come_back(setup: Setup) -> None:
    setup.other.send(b'x')
    setup.poller.register(setup.fd, READ | WRITE)
    setup.poller.unregister(setup.fd)
    assert setup.poll() == []
    setup.poller.register(setup.fd, READ)
    assert setup.poll() == [(setup.fd, READ)]


def test_the_end_of_input_is_readable(setup: Setup) -> None:
    setup.poller.register(setup.fd, READ)
    setup.other.shutdown(socket.SHUT_WR)
    assert setup.poll()[0][1] & READ
    assert setup.one.recv(10) == b''


def test_a_peer_that_is_gone_wakes_a_writer_that_waits(setup: Setup) -> None:
    try:
        while True:
            setup.one.send(bytes(65536))
    except BlockingIOError:
        setup.poller.register(setup.fd, WRITE)
    assert setup.poll() == []
    setup.other.close()
    assert setup.poll()[0][1] & (WRITE | HANGUP | ERROR)
    with pytest.raises(OSError):
        setup.one.send(b'x')


def test_a_hang_up_is_reported_with_no_interest_where_the_system_can(setup: Setup) -> None:
    setup.poller.register(setup.fd, 0)
    setup.other.close()
    expected = [(setup.fd, HANGUP)] if setup.kind in ('epoll', 'simulated') else []
    assert setup.poll() == setup.poll() == expected


def test_a_closed_socket_leaves_its_poller(setup: Setup) -> None:
    if setup.kind == 'select':
        # The system forgets nothing for it: whoever closes an fd unregisters it first.
        return
    setup.poller.register(setup.fd, READ | WRITE)
    setup.one.close()
    assert setup.poll() == []
    fresh, peer = setup.network.socketpair()
    if fresh.fileno() != setup.fd:
        fresh, peer = peer, fresh
    assert fresh.fileno() == setup.fd
    assert setup.poll() == []
    setup.poller.register(fresh.fileno(), WRITE)
    assert setup.poll() == [(setup.fd, WRITE)]
    fresh.close()
    peer.close()


def test_the_timeout_ends_a_poll(setup: Setup) -> None:
    setup.poller.register(setup.fd, READ)
    assert setup.poller.poll(0.001) == []


def test_a_poll_without_timeout_ends_with_the_event(setup: Setup) -> None:
    setup.poller.register(setup.fd, WRITE)
    assert setup.poller.poll(None) == [(setup.fd, WRITE)]


def test_a_host_can_wait_on_the_pollers_own_fd(setup: Setup) -> None:
    if setup.kind in ('select', 'simulated'):
        assert setup.poller.fileno() == -1
        return
    setup.poller.register(setup.fd, READ)
    assert select.select([setup.poller.fileno()], [], [], 0)[0] == []
    setup.other.send(b'x')
    assert select.select([setup.poller.fileno()], [], [], 0)[0] == [setup.poller.fileno()]


@pytest.mark.parametrize('kind', ['epoll', 'simulated'])
def test_a_reset_is_told_as_error_and_hang_up(kind: str) -> None:
    network: Any = World().network if kind == 'simulated' else socket
    poller = network.world.poller() if kind == 'simulated' else EpollPoller()
    listener = network.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen()
    client = network.socket()
    client.connect_ex(listener.getsockname())
    server, _ = listener.accept()
    client.setsockopt(network.SOL_SOCKET, network.SO_LINGER, struct.pack('ii', 1, 0))
    server.setblocking(False)
    poller.register(server.fileno(), 0)
    client.send(b'last words')
    client.close()
    assert poller.poll(0) == [(server.fileno(), ERROR | HANGUP)]
    # What came before the reset can be read; then it is told once; then comes the end.
    assert server.recv(100) == b'last words'
    with pytest.raises(ConnectionResetError):
        server.recv(100)
    assert server.recv(100) == b''
    assert poller.poll(0) == [(server.fileno(), HANGUP)]
    server.close()
    listener.close()
    poller.close()


def test_the_best_poller_is_chosen_and_others_by_name() -> None:
    for name, kind in ((None, EpollPoller), ('epoll', EpollPoller), ('select', SelectPoller)):
        poller = choose_poller(name)
        assert type(poller) is kind
        poller.close()
    with pytest.raises(ValueError, match='kqueue'):
        choose_poller('kqueue')
    with pytest.raises(ValueError, match='poll'):
        choose_poller('poll')
