"""Socket task: a Task whose generator waits for messages, most of the time.

It goes on within the read that brings a message, and not from the ready queue, and mostly without a
Future that is made, set and taken (message.py of the room `websocket`). Measured: an echo of 32
bytes takes 32,700 instructions, and 48,000 as an ordinary task. All else is as in other tasks.
"""

from __future__ import annotations

from ..loop import Future, Task
from ..loop.done import DONE
from ..websocket.message import NextMessage


class SocketTask(Task):
    """A generator that handles a WebSocket."""

    __slots__ = ()

    def take(self, message: str | bytes) -> None:
        """Go on with a message, at once. Hot: once per message."""
        self._waiting = None
        self.context.run(self._run, DONE, None, message)

    def arrived(self, message: Future) -> None:
        """Go on with the outcome of the Future of a message, from the ready queue."""
        self._resume(message)

    def _pause(self, waited: Future | None) -> None:
        # (Its owner collects nothing, and need not know that it waits.)
        if type(waited) is NextMessage and waited.taker is None and self._doom is None \
                and not waited.done():
            self.reactor.tasks.add(self)
            self._waiting = waited
            waited.taker = self
        else:
            super()._pause(waited)

    def _abandon(self) -> None:
        waited = self._waiting
        if type(waited) is NextMessage and waited.taker is self:
            waited.taker = None
        super()._abandon()
