"""Poller: which file descriptors are ready? The six methods of a poller, and `epoll`.

The pollers of other systems are in pollers.py.

A poller is level-triggered: an fd is reported again on every poll for as long as it is ready.
Events are pairs `(fd, mask)`. The bits of a mask are epoll's own numbers, so that on Linux nothing
is translated: this code runs once per turn.

`ERROR` and `HANGUP` need not be asked for. epoll always reports them, kqueue only together with a
filter, and select cannot tell them from readiness. So even with an empty interest a reset peer is
reported on *every* poll: the owner of a watched fd must be able to let go of it then.
"""

from __future__ import annotations

import select

from ..typed import Protocol

READ = 0x01
WRITE = 0x04
ERROR = 0x08
HANGUP = 0x10

# Events in one turn at most; the next poll reports the others, in the kernel's order.
MOST_EVENTS = 512


class Poller(Protocol):
    """The interface of a backend. `mask` is `READ`, `WRITE`, both, or 0 (hang-ups only)."""

    def register(self, fd: int, mask: int) -> None: ...
    def modify(self, fd: int, mask: int) -> None: ...
    def unregister(self, fd: int) -> None: ...
    def close(self) -> None: ...

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Wait at most `timeout` seconds (None: without end) for events, and return them."""

    def fileno(self) -> int:
        """Return an fd that is readable when events wait, for a host loop; -1 if there is none."""


class EpollPoller:
    """Linux: one system call per turn, however many fds are watched."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        # The methods of the C object itself: no Python frame before the system call.
        self.register = self._epoll.register
        self.modify = self._epoll.modify
        self.unregister = self._epoll.unregister
        self.fileno = self._epoll.fileno
        self.close = self._epoll.close

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        # (PyPy's epoll refuses None.)
        return self._epoll.poll(-1 if timeout is None else timeout, MOST_EVENTS)
