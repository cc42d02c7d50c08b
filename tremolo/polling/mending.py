"""Mending: what is done when a poller refuses a change, so that both sides know the same after it.

The kernel may be short of memory for a moment (ENOMEM), a user may watch too many descriptors
(ENOSPC: `fs.epoll.max_user_watches`), or a descriptor was closed behind our back and is another one
now (ENOENT, EEXIST, EBADF). An entry that stayed here by mistake would let the next socket with
that number wait for ever; one that stayed in the kernel would be reported in each turn. So the
entry is removed and made anew, once. If that fails too, there is none on either side, and who
wanted it has to let go of its descriptor.
"""

from __future__ import annotations

import errno
import logging
from contextlib import suppress

from ..typed import Any, Callable
from .poller import Poller

_log = logging.getLogger('tremolo.loop')

QUIET = 10.0    # Seconds until it is told again.


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
