"""Closing: how a socket ends (RFC 6455 section 7).

    close               we close: behind what was sent; then we wait for the client's close
    closed_by_client    the client closes: we answer with the same code
    fail                the client did wrong: we close with a code, and wait for nothing
    cut                 the client takes nothing: a reset
    lost, gone          the client's side ended without a close: 1006

The end of a TCP connection may destroy what is on its way to a client that still sends. So after
the last close frame our side ends, and what still comes is thrown away (`Lifetime.linger`), within
`ws_close_timeout` in all.

`end` is what all of them have in common: everybody who waits is told.
"""

from __future__ import annotations

from ..loop.patience import read_now
from ..loop.timers import NEVER
from ..server.notices import cancel
from ..typed import TYPE_CHECKING, Any
from ..ws.parser import BINARY, CLOSE, MORE, PIECE, FrameError, close_payload, frame
from .errors import tell

if TYPE_CHECKING:
    from ..loop import Stream
    from ..server import Request
    from .reading import Reading

# Seconds that a handler has to end by itself once its socket is over.
GRACE = 1.0
# Seconds after `shutdown_timeout` that service/ending.py has to do it, and to tell so.
_BEHIND = 0.1
PER_TURN = 64    # What is taken, or thrown away, before others have their turn: see `weight`.
# Bytes that take as long as a frame: a few of those that came may be inflated to a megabyte.
_AS_A_FRAME = 4096
# Frames of a socket that is over in which messages are looked for. (A message waits behind more of
# them only if the client sent a flood of pings or of tiny fragments.)
_LOOKED_THROUGH = 1024


def close(websocket: Reading, code: int, reason: str) -> None:
    """Close, behind all that was sent, and wait for the close of the client."""
    payload = close_payload(code, reason)
    if websocket.state != 'open':
        return
    websocket.code, websocket.reason = code, reason
    websocket.state = 'closing'
    _tell_all(websocket)
    websocket.wire.write(frame(CLOSE, payload))
    if websocket.state == 'closing':
        Closing(websocket).begin()


def closed_by_client(websocket: Reading, code: int, reason: str) -> None:
    """Answer the close of the client with the same code, and end."""
    websocket.code, websocket.reason = code, reason
    _send_last(websocket, b'' if code == 1005 else close_payload(code, ''))
    end(websocket, code, reason)
    linger(websocket)


def fail(websocket: Reading, code: int, reason: str, why: str = 'websocket',
         told: int = 0) -> None:
    """Close with this code because the client did wrong, and end; the log has a line."""
    websocket.connection.ends_because(why, f'{code}: {reason}')
    _send_last(websocket, close_payload(code, reason))
    end(websocket, told or code, reason)
    linger(websocket)


def cut(websocket: Reading, why: str) -> None:
    """Reset the connection of a client that takes nothing."""
    websocket.connection.ends_because(why)
    websocket.connection.abort(why, reset=True)


def lost(websocket: Reading, why: str) -> None:
    """End: the client has ended its side without a close."""
    connection = websocket.connection
    if websocket.state == 'open':
        connection.ends_because(why)
    end(websocket, websocket.code, websocket.reason)
    connection.close(why)


def gone(websocket: Reading, cause: BaseException | None) -> None:
    """End: the connection is closed."""
    connection = websocket.connection
    if connection.reason == 'upgraded' and websocket.state == 'open':
        connection.ends_because('reset' if cause is not None else 'hang-up')
    end(websocket, websocket.code, websocket.reason)
    websocket.timer.cancel()
    connection.stream_closed(cause)


def end(websocket: Reading, code: int, reason: str) -> None:
    """Tell everybody who waits that the socket is over, once, and let go of what it needed."""
    if websocket.state == 'closed':
        return
    websocket.code, websocket.reason = code, reason
    if websocket.held and websocket.state == 'open':
        take_rest(websocket)
    websocket.state = 'closed'
    _tell_all(websocket)
    websocket.deflater = websocket.pings = websocket.outlet = None
    for group in websocket.groups:
        group.left(websocket)
    websocket.groups = ()
    if websocket.ended is not None and not websocket.ended.done():
        websocket.ended.set_result()
    connection = websocket.connection
    task, connection.task = connection.task, None
    if task is not None:
        _stop_later(websocket, task)
    on_end, websocket.on_end = websocket.on_end, None
    if on_end is not None:
        on_end()


def _stop_later(websocket: Reading, task: Any, left: int = -1) -> None:
    """Cancel a handler that does not end by itself; one that still receives has more time.

    While the server stops, a handler has the time that is left. (On a reactor of ours
    service/ending.py cancels it and tells so; on one of somebody else it does not know of it.)
    """
    server = websocket.connection.server
    if server.stopping.done():
        drain: Any = server.at_stop[0]
        websocket.reactor.call_later(drain.rest() + _BEHIND, _stop, websocket, task)
        return
    backlog, incoming = websocket.backlog, websocket.incoming
    waiting = len(backlog.messages) if backlog is not None else 0
    if incoming is not None:
        waiting = incoming.size
    if left < 0 or 0 < waiting < left:
        websocket.reactor.call_later(GRACE, _stop_later, websocket, task, waiting)
    else:
        _stop(websocket, task)


def _stop(websocket: Reading, task: Any) -> None:
    cancel(task, f'the WebSocket is over: {websocket.code}')


def _tell_all(websocket: Reading) -> None:
    """Let all that is in progress raise `WebSocketClosed`."""
    code, reason = websocket.code, websocket.reason
    waiting, websocket.waiting = websocket.waiting, None
    spare, websocket.spare = websocket.spare, None
    tell(waiting, code, reason)
    if spare is not None:
        spare.cancel()    # (So it counts as seen.)
    taker, websocket.taker = websocket.taker, None
    if taker is not None:
        websocket.reactor.call_soon(taker, None)
    backlog, outlet, pings = websocket.backlog, websocket.outlet, websocket.pings
    if backlog is not None:
        for future in backlog.line:
            tell(future, code, reason)
        backlog.line.clear()
    if outlet is not None:
        outlet.end(code, reason)
    if pings is not None:
        pings.end(code, reason)
    if websocket.incoming is not None:
        websocket.incoming.serve(websocket)


def _send_last(websocket: Reading, payload: bytes) -> None:
    """Send a close frame that nothing will follow; it does not wait behind what we hold back."""
    wire = websocket.wire
    if websocket.state == 'open' and not wire.closed:
        if wire.write_limit is not None:
            wire.write_ahead(frame(CLOSE, payload), last=True)
        else:
            wire.write(frame(CLOSE, payload))


def linger(websocket: Reading) -> None:
    """End our side, and throw away what still comes, for `ws_close_timeout` in all."""
    websocket.connection.linger('upgraded')
    if not websocket.wire.closed:
        timer = websocket.timer
        timer.cancel()
        websocket.timer = websocket.reactor.timers.new(_abort, websocket)
        websocket.timer.move(websocket.reactor.now + patience(websocket))


def patience(websocket: Reading) -> float:
    """Return how many seconds a close may take."""
    settings = websocket.settings
    seconds: float = settings.ws_close_timeout
    if websocket.connection.server.stopping.done():
        # Before `shutdown_timeout` is over (drain.py has used a quarter of it).
        seconds = min(seconds, settings.shutdown_timeout / 2)
    return seconds


def _abort(websocket: Reading) -> None:
    websocket.connection.abort('upgraded')


def is_held_back(wire: Stream) -> bool:
    """Return whether our own rate limit holds back what was sent."""
    rest = wire.write_rest
    return bool(wire.buffered) and rest is not None and rest.deadline != NEVER


class Closing:
    """The receiver after our close: it throws away what comes, until the client's close."""

    __slots__ = ('_sent', '_until', 'websocket')

    def __init__(self, websocket: Reading) -> None:
        self.websocket = websocket
        self._sent = 0
        self._until = 0.0

    @property
    def request(self) -> Request:
        """The request that asked for the socket."""
        return self.websocket.request

    def begin(self) -> None:
        """Take the place of the socket."""
        websocket = self.websocket
        websocket.timer.cancel()
        websocket.timer = websocket.reactor.timers.new(self._tick)
        self._wait()
        websocket.wire.receiver = self
        websocket.parser.pieces = True    # What comes is no message for anybody.
        self._take()

    def _wait(self) -> None:
        websocket = self.websocket
        self._sent = websocket.wire.sent
        self._until = websocket.reactor.now + patience(websocket)
        websocket.timer.move(self._until)

    def _tick(self) -> None:
        """End, or wait on for a client that still takes what was sent before the close."""
        wire = self.websocket.wire
        read_now(wire)    # (The client's close may have come since the poll of this turn.)
        if self.websocket.state != 'closing':
            return
        if wire.buffered and (wire.sent > self._sent or is_held_back(wire)):
            self._wait()
            return
        self.websocket.connection.ends_because('ws_close_timeout')
        self.websocket.connection.abort('ws_close_timeout')

    def data_received(self, data: bytes) -> None:
        """Look for the close of the client."""
        self.websocket.parser.feed(data)
        self._take()

    def _take(self) -> None:
        websocket = self.websocket
        if websocket.state != 'closing':
            return None
        wire, left = websocket.wire, PER_TURN
        try:
            while (event := websocket.parser.next_event()) is not None:
                left -= weight(event)
                if event[0] == CLOSE:
                    return self._finish()
                if left <= 0:
                    wire.pause_reading()
                    websocket.reactor.call_soon(self._take)
                    return None
        except FrameError:
            return self._finish()
        wire.resume_reading()
        if wire.eof:
            self.eof_received()
        return None

    def _finish(self) -> None:
        websocket = self.websocket
        end(websocket, websocket.code, websocket.reason)
        linger(websocket)

    def eof_received(self) -> None:
        """End: nothing more comes."""
        lost(self.websocket, 'upgraded')

    def stream_closed(self, cause: BaseException | None) -> None:
        """End: the connection is gone."""
        gone(self.websocket, cause)


def weight(event: tuple[int, Any]) -> int:
    """Return how much of a turn an event has taken, in frames."""
    kind, value = event
    if kind == MORE:
        return PER_TURN    # (As many fragments.)
    return 1 if kind >= CLOSE and kind != PIECE else (
        1 + len(value[1] if kind == PIECE else value) // _AS_A_FRAME)


def take_rest(websocket: Reading) -> None:
    """Keep what came before the end and was not parsed, as far as there is room."""
    parser, left = websocket.parser, _LOOKED_THROUGH
    try:
        while not websocket.full:
            event = parser.next_event() if left > 0 else None
            if event is None or event[0] == CLOSE:
                break
            left -= weight(event)
            if event[0] <= BINARY or event[0] == PIECE:
                websocket.hand_out(*event)
        else:
            return
    except FrameError:
        pass
    websocket.held = False
    if websocket.incoming is not None:
        websocket.incoming.serve(websocket)
