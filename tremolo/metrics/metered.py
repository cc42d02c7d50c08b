"""Metered: the metrics of a process: its counts, and, where nobody is above it, the page as well.

    Metered     in each process that serves
    Shown       in the supervisor: what is beside the workers, and shows the counts of all

The descriptor of the board, and in one process those of the page's sockets, are in `kept` of its
slot: so they go to the next program.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial

from ..loop import ListenError, Reactor
from ..server import Server
from ..settings import Address
from ..typed import Any, Protocol
from .board import Board
from .counting import Counting
from .exposition import exposition
from .page import Page
from .reading import Reading

_log = logging.getLogger('tremolo')

COUNTS = 'metrics'    # The name of the board's descriptor in `kept`.

Kept = dict[str, list[int]]


class Restarted(Protocol):
    """The workers, as the supervisor sees them."""

    restarts: Counter[str]
    slots: list[Any]


class Shown:
    """The page in the supervisor: it is `Beside` the workers."""

    def __init__(self, address: Address, mode: int | None) -> None:
        """`mode` is that of a UNIX socket's file, if the address has none."""
        self._address = address
        self._mode = mode
        self._page: Page | None = None

    def begin(self, reactor: Reactor, group: Restarted) -> None:
        """Listen, and give the workers what they count in. Raises `ListenError`."""
        board = _new_board()
        self._page = Page(reactor, self._address, partial(_page, board, group.restarts), self._mode)
        group.slots[0].slot.kept[COUNTS] = [board.fd]
        self._page.start()

    def close(self) -> None:
        """End; in a worker, leave what belongs to the supervisor."""
        if self._page is not None:
            self._page.close()


class Metered:
    """Counts what a server does; without a supervisor it serves the page, in a thread."""

    def __init__(self, server: Server, kept: Kept, slot: int, alone: bool) -> None:
        """Begin to count. Raises `ListenError`.

        `kept` has what the program before has left; what is used is taken out of it.
        """
        settings = server.settings
        self._address = str(settings.metrics)
        self.page: Page | None = None
        self._counting: Counting | None = None
        counts, sockets = kept.pop(COUNTS, []), kept.pop(self._address, [])
        while kept:    # Of an address that the program before had.
            for fd in kept.popitem()[1]:
                os.close(fd)
        board = Board.found(counts[0]) if counts else _new_board() if alone else None
        if board is None and alone:
            # (The program before counted in another way: to a monitor it is a restart.)
            os.close(counts[0])
            board = _new_board()
        self._board = board
        if board is None:
            _log.warning('metrics: this worker is not counted: the supervisor, which is of another '
                         'version, counts in another way; start the server afresh')
            return
        if alone and settings.metrics is not None:
            make = partial(_page, board, {})
            self.page = Page(Reactor(), settings.metrics, make, settings.socket_mode,
                             [socket.socket(fileno=fd) for fd in sockets])
        self._counting = Counting(server, board.claim(), slot, alone and bool(counts))
        if self.page is not None:
            self.page.start(thread=True)

    def close(self) -> None:
        """End: the server has ended."""
        if self.page is not None:
            self.page.close()
            self.page.reactor.close()
        if self._counting is not None and self._board is not None:
            self._counting.close()
            self._board.close()

    def leave(self) -> Kept:
        """End the page, and return what the next program goes on with."""
        kept: Kept = {}
        if self._board is not None:
            kept[COUNTS] = [os.dup(self._board.fd)]
        if self.page is not None:
            kept[self._address] = self.page.leave()
            self.page.reactor.close()
            self.page = None
        return kept


def _page(board: Board, restarts: Mapping[str, int]) -> bytes:
    # (The reactors' clock is the same in all processes of a machine.)
    return exposition(Reading(board, time.monotonic(), restarts))


def _new_board() -> Board:
    try:
        return Board.new()
    except OSError as error:
        raise ListenError(f'metrics: no memory to count in: {error.strerror}') from error
