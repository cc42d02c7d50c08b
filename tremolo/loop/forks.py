"""Forks: a process that a handler has forked is no second server.

The child has a copy of all that the loop has in hand, and shares the poller and the sockets with
its parent. So the loop ends in it at once (`end_loop`): its descriptors lead nowhere, nothing that
waits is ever run, and no answer is sent. The handler itself goes on in the child, for as long as it
likes: it may even run a server of its own, on a new reactor. When it comes back to the loop, by a
return, a `yield` or an error, the process ends.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from contextlib import suppress

from ..typed import TYPE_CHECKING, Any, NoReturn
from .errors import NoReactor
from .future import set_current_reactor

if TYPE_CHECKING:
    from .reactor import Reactor

_log = logging.getLogger('tremolo')


class _Forked:
    """Whether this process is such a child, and its handler has not come back."""

    here = False


def end_loop(reactor: Reactor, descriptors: Iterable[int]) -> None:
    """End a loop in the child, which has a copy of it; `descriptors` are those it does not watch.

    They are not closed: objects of the child still have their numbers, and would close or use a
    file that got the same number.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    own = (reactor.fileno(), *(each.fileno() for each in (reactor._wake_in, reactor._wake_out)))
    for fd in {*reactor.watchers, *descriptors, *own}:
        with suppress(OSError):
            os.dup2(nothing, fd, inheritable=False)
    os.close(nothing)
    reactor.watchers.clear()    # (A turn that goes on has this one.)
    reactor.watchers = _NoWatchers()
    reactor.timers.clear()
    end: Any = _End()
    reactor._poller = reactor._ready = reactor.unsent = end
    reactor._poll, reactor.closed = end.poll, True
    if reactor.bridge is not None:
        reactor.bridge.forget()
    before = set_current_reactor(None)
    if before is reactor:
        _Forked.here = True
    else:
        set_current_reactor(before)


def end_if_forked(error: BaseException | None = None) -> None:
    """End this process if a handler has forked it, and comes back here with this error, or None."""
    if _Forked.here:
        before = set_current_reactor(None)
        if before is None:
            end_child(error)
        set_current_reactor(before)    # (The child has a server of its own.)


def end_child(error: BaseException | None = None) -> NoReturn:
    """End the child as `sys.exit` would, but leave all alone that its parent needs."""
    if isinstance(error, NoReactor):    # (It asked for something of the loop: `sleep`, for example.)
        error = None
    code = getattr(error, 'code', 0 if error is None else 1)
    with suppress(Exception):
        if error is None:
            _log.warning('a handler has forked, and its child comes back from it: it is ended '
                         '(end it yourself, by os._exit)')
        elif not isinstance(error, SystemExit):
            _log.error('the child that a handler has forked failed', exc_info=error)
        elif isinstance(code, str):
            print(code, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code & 255 if isinstance(code, int) else int(code is not None))


class _NoWatchers(dict[int, Any]):
    """In the place of what a loop watches: who asks for an entry comes from the handler."""

    def __missing__(self, fd: int) -> NoReturn:
        end_child()

    def __setitem__(self, fd: int, watcher: Any) -> None:
        """Watch nothing."""


class _End:
    """In the place of a poller, and of the queues of a loop, in the child: a turn ends it."""

    def __len__(self) -> int:
        return 1

    def poll(self, timeout: float | None) -> NoReturn:
        end_child()

    def pop(self) -> NoReturn:
        end_child(sys.exc_info()[1])    # (asyncio raises `sys.exit` of a task out of its loop.)

    popleft = pop

    def fileno(self) -> int:
        return -1

    def append(self, *_: object) -> None:
        """Do nothing of all that."""

    insert = register = modify = unregister = close = clear = append
