"""Poller: which file descriptors are ready? The six methods of a poller, and `epoll`.

The pollers of other systems are in pollers.py.

A poller is level-triggered: an fd is reported again on every poll for as long as it is ready.
Events are pairs `(fd, mask)`. The bits of a mask are epoll's own numbers, so that on Linux nothing
is translated: this code runs once per turn.

`ERROR` and `HANGUP` need not be asked for. epoll always reports them, kqueue only together with a
filter, and select cannot tell them from readiness. So even with an empty interest a reset peer is
reported on *every* poll: the owner of a watched fd must be able to let go of it then.

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
import select
from contextlib import suppress

from ..typed import Any, Callable, Protocol

_log = logging.getLogger('tremolo.loop')

READ = 0x01
WRITE = 0x04
ERROR = 0x08
HANGUP = 0x10

# Events in one turn at most; the next poll reports the others, in the kernel's order.
MOST_EVENTS = 512
QUIET = 10.0    # Seconds until it is told again that a poller refuses something.


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
