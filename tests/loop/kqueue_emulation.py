"""`select.kqueue` and `select.kevent` as documented, on epoll: for tests on Linux.

Filters for reading and writing exist apart; adding one that is there is no error, deleting one that
is not there is ENOENT; a closed descriptor loses its filters; readiness is level-triggered and
reported once per filter; EV_EOF tells that the peer has ended that direction.
"""

from __future__ import annotations

import errno
import os
import select
from typing import Any

KQ_FILTER_READ = -1
KQ_FILTER_WRITE = -2
KQ_EV_ADD = 0x1
KQ_EV_DELETE = 0x2
KQ_EV_EOF = 0x8000

# PyPy does not name it.
_RDHUP = getattr(select, 'EPOLLRDHUP', 0x2000)
_MASKS = {KQ_FILTER_READ: select.EPOLLIN | _RDHUP, KQ_FILTER_WRITE: select.EPOLLOUT}


class kevent:
    def __init__(self, ident: int, filter: int = KQ_FILTER_READ, flags: int = KQ_EV_ADD) -> None:
        self.ident = ident
        self.filter = filter
        self.flags = flags


class kqueue:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._filters: dict[int, set[int]] = {}

    def fileno(self) -> int:
        return self._epoll.fileno()

    def close(self) -> None:
        self._epoll.close()

    def control(self, changes: Any, most: int, timeout: float | None = None) -> list[kevent]:
        for change in changes or ():
            self._change(change)
        if not most:
            return []
        events = []
        for fd, mask in self._epoll.poll(-1 if timeout is None else timeout, most):
            ended = mask & (select.EPOLLHUP | select.EPOLLERR)
            for kind in self._filters[fd]:
                eof = ended or (kind == KQ_FILTER_READ and mask & _RDHUP)
                if mask & _MASKS[kind] or ended:
                    events.append(kevent(fd, kind, KQ_EV_EOF if eof else 0))
        return events[:most]

    def _change(self, change: kevent) -> None:
        fd = change.ident
        os.fstat(fd)
        before = self._filters.get(fd, set())
        if before:
            try:
                self._epoll.modify(fd, self._mask(before))
            except FileNotFoundError:
                # Closed since, and the number used again.
                before = set()
        after = set(before)
        if change.flags & KQ_EV_DELETE:
            if change.filter not in after:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            after.discard(change.filter)
        else:
            after.add(change.filter)
        if before and after:
            self._epoll.modify(fd, self._mask(after))
        elif after:
            self._epoll.register(fd, self._mask(after))
        elif before:
            self._epoll.unregister(fd)
        self._filters[fd] = after

    def _mask(self, filters: set[int]) -> int:
        mask = 0
        for kind in filters:
            mask |= _MASKS[kind]
        return mask
