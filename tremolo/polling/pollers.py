"""Pollers of other systems than Linux, and which poller this system gets."""

from __future__ import annotations

import select

from ..typed import Any
from .poller import HANGUP, MOST_EVENTS, READ, WRITE, EpollPoller, Poller


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
