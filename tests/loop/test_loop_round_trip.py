"""The round trip: what the kernel says, and what is said when it cannot say."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import Any

import pytest

from tremolo.sockets.kernel import round_trip


class Kernel:
    """A socket whose TCP_INFO is given: bytes, or an error."""

    family = socket.AF_INET

    def __init__(self, info: bytes | OSError) -> None:
        self.info = info

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        if isinstance(self.info, OSError):
            raise self.info
        return self.info[:size]


def tcp_info(rtt: int) -> bytes:
    """A `struct tcp_info` in which all other bytes are set."""
    return b'\xff' * 68 + struct.pack('=I', rtt) + b'\xff' * 184


on_linux = pytest.mark.skipif(sys.platform != 'linux', reason='needs TCP_INFO of Linux')


@on_linux
@pytest.mark.parametrize('micros', [1, 17, 27828, 4_000_000_000])
def test_it_is_in_seconds(micros):
    assert round_trip(Kernel(tcp_info(micros)), socket) == micros / 1e6


@on_linux
@pytest.mark.parametrize('info', [
    tcp_info(0), b'', b'\xff' * 71, OSError(errno.EOPNOTSUPP, 'x'), OSError(errno.EBADF, 'x')])
def test_a_kernel_that_does_not_know_it_says_none(info):
    assert round_trip(Kernel(info), socket) is None


def test_a_unix_socket_has_none_to_speak_of():
    one, other = socket.socketpair()
    with one, other:
        assert round_trip(one, socket) == 0.0


def test_a_transport_that_encrypts_is_not_asked():
    class Encrypted(Kernel):
        secure = True

        def getsockopt(self, *_: Any) -> Any:
            raise AssertionError

    assert round_trip(Encrypted(b''), socket) is None


def test_another_system_is_not_asked(monkeypatch):
    monkeypatch.setattr(sys, 'platform', 'freebsd14')
    assert round_trip(Kernel(tcp_info(17)), socket) is None


@on_linux
def test_a_real_connection_has_one():
    with socket.create_server(('127.0.0.1', 0)) as listener, \
            socket.create_connection(listener.getsockname()) as client:
        trip = round_trip(client, socket)
        assert trip is not None and 0 < trip < 10
