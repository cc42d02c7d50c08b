"""Outlet: who waits until the client takes more, and what waits until a stream has ended.

    room         senders that wait: more than the stream's mark is kept
    the last     while so much is kept, pings are not answered one by one (RFC 6455 section 5.5.3)
    pong
    behind       whole frames that wait for the end of a message in fragments (streams.py)

A socket whose client takes everything has no such object.
"""

from __future__ import annotations

from functools import partial

from ..loop import Future
from ..typed import TYPE_CHECKING
from ..ws.parser import PONG, frame
from . import keepalive
from .errors import tell

if TYPE_CHECKING:
    from .reading import Reading
    from .streams import Sink


class Outlet:
    """What waits for the way out of one socket."""

    __slots__ = ('_behind', '_pong', '_senders', '_watching', 'behind_size', 'sink')

    def __init__(self) -> None:
        self.sink: Sink | None = None    # The message that is being sent in fragments.
        self._behind: list[tuple[bytes, Future | None]] = []
        self.behind_size = 0
        self._senders: list[Future] = []
        self._pong: bytes | None = None
        self._watching = False

    def wait(self, websocket: Reading) -> Future:
        """Return a Future that is done when the client takes more."""
        future = Future(websocket.reactor)
        self._senders.append(future)
        self._watch(websocket)
        return future

    def answer_later(self, websocket: Reading, payload: bytes) -> None:
        """Answer this ping, and none before it, when the client takes more."""
        self._pong = payload
        self._watch(websocket)

    def _watch(self, websocket: Reading) -> None:
        if not self._watching:
            drain = websocket.wire.drain()
            if drain is None:
                websocket.reactor.call_soon(self._drained, websocket, None)
            else:
                drain.add_done_callback(partial(self._drained, websocket))
                keepalive.watch_kept(websocket)
            self._watching = True

    def _drained(self, websocket: Reading, _: Future | None) -> None:
        self._watching = False
        if websocket.state == 'open':
            pong, self._pong = self._pong, None
            if pong is not None:
                websocket.wire.write_ahead(frame(PONG, pong))
            senders, self._senders = self._senders, []
            for future in senders:
                if not future.done():
                    future.set_result()

    # -- behind a stream ------------------------------------------------------------------------

    def send_later(self, data: bytes, future: Future | None = None) -> None:
        """Send a whole frame after the end of the stream."""
        self._behind.append((data, future))
        self.behind_size += len(data)

    def stream_ended(self, websocket: Reading) -> None:
        """Send what waited for the end of the stream."""
        self.sink = None
        behind, self._behind, self.behind_size = self._behind, [], 0
        for data, future in behind:
            if websocket.state == 'open':
                websocket.wire.write(data)
                if future is not None and not future.done():
                    future.set_result()

    def end(self, code: int, reason: str) -> None:
        """Tell everybody who waits that the socket is over."""
        for _, future in self._behind:
            tell(future, code, reason)
        for future in self._senders:
            tell(future, code, reason)
        self._behind, self._senders = [], []
        self.behind_size, self.sink, self._pong = 0, None, None
