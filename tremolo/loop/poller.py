"""Pollers: which file descriptors are ready? `epoll`, `kqueue` or `select`, behind six methods.

A poller is level-triggered: an fd is reported again on every poll for as long as it is ready.
Events are pairs `(fd, mask)`. The bits of a mask are epoll's own numbers, so that on Linux nothing
is translated: this code runs once per turn.

`ERROR` and `HANGUP` need not be asked for. epoll always reports them, kqueue only together with a
filter, and select cannot tell them from readiness. So even with an empty interest a reset peer is
reported on *every* poll: the owner of a watched fd must be able to let go of it then.
"""

from __future__ import annotations

import select
from typing import Any, Protocol

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


class KqueuePoller:
    """macOS and the BSDs: two filters per fd, for reading and writing, are reported separately."""

    def __init__(self, module: Any = select) -> None:
        self._kq = module
        self._queue = module.kqueue()
        self._masks: dict[int, int] = {}
        self.fileno = self._queue.fileno
        self.close = self._queue.close

    def register(self, fd: int, mask: int) -> None:
        self._masks[fd] = 0    # An fd that had this number lost its filters when it was closed.
        self.modify(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        kq = self._kq
        changed = self._masks[fd] ^ mask
        self._queue.control([
            kq.kevent(fd, kind, kq.KQ_EV_ADD if mask & bit else kq.KQ_EV_DELETE)
            for bit, kind in ((READ, kq.KQ_FILTER_READ), (WRITE, kq.KQ_FILTER_WRITE))
            if changed & bit
        ], 0, 0)
        self._masks[fd] = mask

    def unregister(self, fd: int) -> None:
        self.modify(fd, 0)
        del self._masks[fd]

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        events: dict[int, int] = {}
        for event in self._queue.control(None, MOST_EVENTS, timeout):
            mask = READ if event.filter == self._kq.KQ_FILTER_READ else WRITE
            # EV_EOF of the read filter is an ordinary end of input; of the write filter it means
            # that the peer takes no more bytes.
            if mask == WRITE and event.flags & self._kq.KQ_EV_EOF:
                mask |= HANGUP
            events[event.ident] = events.get(event.ident, 0) | mask
        return list(events.items())


class SelectPoller:
    """All other systems: each poll hands all fds to the kernel, and few systems take 1,024."""

    def __init__(self) -> None:
        self._readers: set[int] = set()
        self._writers: set[int] = set()

    def modify(self, fd: int, mask: int) -> None:
        for bit, fds in ((READ, self._readers), (WRITE, self._writers)):
            (fds.add if mask & bit else fds.discard)(fd)

    register = modify

    def unregister(self, fd: int) -> None:
        self.modify(fd, 0)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        readable, writable, _ = select.select(self._readers, self._writers, (), timeout)
        events = dict.fromkeys(readable, READ)
        for fd in writable:
            events[fd] = events.get(fd, 0) | WRITE
        return list(events.items())

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def make_poller(name: str | None = None) -> Poller:
    """Make the best poller of this system, or the one of that name. Raises `ValueError`."""
    for kind, maker in (('epoll', EpollPoller), ('kqueue', KqueuePoller), ('select', SelectPoller)):
        if name in (None, kind) and hasattr(select, kind):
            return maker()
    raise ValueError(f'no poller {name!r} on this system')
