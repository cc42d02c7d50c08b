"""Watching: the reactor watches for asyncio what its selector has registered.

asyncio watches a file from the beginning of a transport to its end, so this seldom happens. If the
poller refuses a file, asyncio would log that and go on, and its transport would wait for ever. So
the file stays registered, and is offered to the poller again.
"""

from __future__ import annotations

import errno
import selectors
from functools import partial

from ..polling.pollers import Unwatched
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .event_loop import ReactorSelector

_AGAIN = 0.1    # Seconds until a file that the poller has refused is offered to it again.


def watch(selector: ReactorSelector, fd: int, before: int, events: int) -> None:
    """Let the reactor watch a file for `events`; `before` are those that it watches already.

    Raises `OSError` for a file that is closed, or that no poller watches (one on a disk).
    """
    try:
        _change(selector, fd, before, events)
    except Unwatched as error:
        if error.errno == errno.EBADF:
            raise
        selector.reactor.call_later(_AGAIN, _watch_again, selector, fd)


def _watch_again(selector: ReactorSelector, fd: int) -> None:
    if (key := selector.get_map().get(fd)) is not None:
        watch(selector, fd, 0, key.events)


def _change(selector: ReactorSelector, fd: int, before: int, events: int) -> None:
    reactor = selector.reactor
    for bit, add, remove in (
        (selectors.EVENT_READ, reactor.add_reader, reactor.remove_reader),
        (selectors.EVENT_WRITE, reactor.add_writer, reactor.remove_writer),
    ):
        if events & bit & ~before:
            add(fd, partial(selector.note, fd, bit))
        elif before & bit & ~events:
            remove(fd)
