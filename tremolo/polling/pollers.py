"""Pollers of other systems than Linux, which one this system gets, and what one may refuse.

A poller may refuse a change. `Mending` sees to it that both sides know the same afterwards. The
kernel may be short of memory for a moment (ENOMEM), a user may watch too many descriptors
(ENOSPC: `fs.epoll.max_user_watches`), or a descriptor was closed behind our back and is another one
now (ENOENT, EEXIST, EBADF). An entry that stayed here by mistake would let the next socket with
that number wait for ever; one that stayed in the kernel would be reported in each turn. So the
entry is removed and made anew, once. If that fails too, there is none on either side, and who
wanted it has to let go of its descriptor.
"""

from __future__ import annotations

import errno
import logging
import os
import select
from contextlib import suppress

from ..typed import Any, Callable
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
        if fd not in self._masks:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
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


_log = logging.getLogger('tremolo.loop')

QUIET = 10.0    # Seconds until it is told again that a poller refuses something.
# What select takes: so many fds on Windows, and elsewhere those with a lower number.
_MOST_SELECTED = 512 if os.name == 'nt' else 1024


class SelectPoller:
    """All other systems: each poll hands all fds to the kernel, and few systems take 1,024."""

    def __init__(self) -> None:
        self._readers: set[int] = set()
        self._writers: set[int] = set()

    def modify(self, fd: int, mask: int) -> None:
        for bit, fds in ((READ, self._readers), (WRITE, self._writers)):
            (fds.add if mask & bit else fds.discard)(fd)

    def register(self, fd: int, mask: int) -> None:
        number = len(self._readers | self._writers) if os.name == 'nt' else fd
        if number >= _MOST_SELECTED:
            # (Otherwise the next poll would raise, for all of them.)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.modify(fd, mask)

    def unregister(self, fd: int) -> None:
        self.modify(fd, 0)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        try:
            readable, writable, _ = select.select(self._readers, self._writers, (), timeout)
        except OSError:
            if not self._forget_closed():
                raise
            return []
        events = dict.fromkeys(readable, READ)
        for fd in writable:
            events[fd] = events.get(fd, 0) | WRITE
        return list(events.items())

    def _forget_closed(self) -> bool:
        """Forget the fds that were closed without a word; return whether there are any."""
        found = False
        for fd in self._readers | self._writers:
            try:
                select.select((fd,), (), (), 0)
            except OSError:
                self.unregister(fd)
                found = True
        return found

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


class Unwatched(OSError):
    """The poller has refused a descriptor twice, and nothing watches it."""


class Mending:
    """Mends the entries of one poller, and tells of those that it cannot mend."""

    def __init__(self, poller: Poller, watchers: dict[int, Any],
                 clock: Callable[[], float]) -> None:
        """`watchers` has an item for each fd that the poller knows."""
        self._poller = poller
        self._watchers = watchers
        self._clock = clock
        self._told = -QUIET
        self._count = 0    # Refusals that were not told yet.

    def enter(self, fd: int, mask: int) -> None:
        """Enter an fd anew. Raises `Unwatched`; then neither the poller nor `watchers` has it."""
        self.leave(fd)
        try:
            self._poller.register(fd, mask)
        except OSError as error:
            self._watchers.pop(fd, None)
            if error.errno == errno.EPERM:
                raise    # (A file on a disk: no poller watches these, and its owner is to know.)
            why = error.strerror or str(error)
            self._tell(why)
            raise Unwatched(error.errno, f'the poller does not take the socket: {why}') from None

    def leave(self, fd: int) -> None:
        """Remove the entry of an fd that is perhaps closed already: a second try."""
        with suppress(OSError):
            self._poller.unregister(fd)

    def _tell(self, why: str) -> None:
        self._count += 1
        if (now := self._clock()) - self._told >= QUIET:
            _log.error('the poller does not take %s: %s; what needs it is closed',
                       'a descriptor' if self._count == 1 else f'{self._count:,} descriptors', why)
            self._told, self._count = now, 0
