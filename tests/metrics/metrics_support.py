"""A server in this process whose answers are counted, for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import prometheus_text

from tremolo.metrics.board import Board
from tremolo.metrics.counting import Counting
from tremolo.metrics.exposition import exposition
from tremolo.metrics.reading import Reading


class Counted:
    """What a server has counted; `host` is that of server_support.py."""

    def __init__(self, host: Any) -> None:
        self._time = host.reactor.time
        self.board = Board.new()
        self.counting = Counting(host.server, self.board.claim(), 1)

    def read(self) -> prometheus_text.Samples:
        return prometheus_text.read(exposition(Reading(self.board, self._time())))


@contextmanager
def counted(host: Any) -> Iterator[Counted]:
    """Count what a server does, until the end of the block; then all its connections end."""
    # (The loop of a real one turns in a thread.)
    on_loop = getattr(host, 'on_loop', lambda function: function())
    found = on_loop(lambda: Counted(host))
    try:
        yield found
    finally:
        on_loop(host.server.close)
        found.counting.close()
        found.board.close()
