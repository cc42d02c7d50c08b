"""Drain: how the event streams of a server that stops are ended.

Each of their clients comes back at once or soon, to the next process. If they came together, that
process could do nothing else for a while. So the first 50 streams end at once, and the others one
by one, in 5 seconds at most, or in a quarter of `shutdown_timeout` if that is less.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from ..server import Server
    from .stream import EventStream

AT_ONCE = 50
LONGEST = 5.0    # Seconds.
_STEP = 0.05     # Seconds between two batches.


class Drain:
    """The open event streams of a server, and their end when the server begins to stop."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # (A dictionary keeps the order: those that came first end first.)
        self._streams: dict[EventStream, None] = {}
        server.stopping.add_done_callback(self._begin)

    @staticmethod
    def of(server: Server) -> Drain:
        """Return that of a server and its parts."""
        for each in server.at_stop:
            if isinstance(each, Drain):
                return each
        drain = Drain(server)
        server.at_stop.append(drain)
        return drain

    def join(self, stream: EventStream) -> None:
        """End this stream, too, when the server stops."""
        self._streams[stream] = None

    def leave(self, stream: EventStream) -> None:
        """Forget a stream that has ended."""
        self._streams.pop(stream, None)

    def _begin(self, _: object) -> None:
        self._end(AT_ONCE)
        begun = self._server.reactor.time()
        spread = min(LONGEST, self._server.settings.shutdown_timeout / 4)
        self._go_on(begun, max(spread, _STEP), len(self._streams))

    def _go_on(self, begun: float, spread: float, many: int) -> None:
        """End as many as is due; `many` of them in `spread` seconds."""
        reactor = self._server.reactor
        left = int(many * (1 - (reactor.time() - begun) / spread))
        self._end(len(self._streams) - max(0, left))
        if self._streams:
            reactor.call_later(_STEP, self._go_on, begun, spread, many)

    def _end(self, count: int) -> None:
        for stream in list(self._streams)[:max(0, count)]:
            stream.stop('the server stops')
