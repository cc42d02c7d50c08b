"""Telling: writes the rows of a process to a socket, a few in each turn.

Ten thousand connections are half a second of work, and a client may be slow to read. So the loop
never does more than a slice of it at once, and no more is written than the client takes.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..loop import Stream, StreamClosed
from ..server import Server
from .rows import END, Row, line, rows
from .tally import Tally

_SLICE = 0.002    # Seconds of each turn.


class Telling:
    """One answer to the question what goes on here; it closes the stream at its end."""

    def __init__(self, stream: Stream, server: Server, tally: Tally, worker: int = 0) -> None:
        self._stream = stream
        self._tally = tally
        self._rows: Iterator[Row] = rows(server, tally, worker)
        self._go_on()

    def _go_on(self, _: object = None) -> None:
        stream, time = self._stream, self._stream.reactor.time
        until, lines = time() + _SLICE, []
        try:
            for row in self._rows:
                lines.append(line(row))
                if time() >= until:
                    break
            else:
                lines.append(END)
        except Exception:
            self._tally.failed()
            stream.abort()    # (So the client sees that the end is missing.)
        try:
            stream.write(b''.join(lines))
            if lines and lines[-1] is END:
                stream.close()
                return
            wait = stream.drain()
        except StreamClosed:
            return    # The client has gone.
        if wait is None:
            stream.reactor.call_soon(self._go_on)
        else:
            wait.add_done_callback(self._go_on)
