"""Reading: a socket without its calls for sending: what comes in, and who gets it.

This is the lower half of `WebSocket`. While the socket is open it is the receiver of its stream: it
takes frames out of the bytes, and hands the messages to those who wait in `receive`. What nobody
waits for is kept (backlog.py); when that is much, nothing is read, and TCP makes the client wait.
"""

from __future__ import annotations

from threading import get_ident

from ..loop import Future
from ..loop.shared_future import SharedFuture
from ..loop.threads import call_on_loop
from ..server import HandlerError, Request, Response
from ..typed import TYPE_CHECKING, Any, Callable
from ..ws.parser import BINARY, CLOSE, PIECE, PING, PONG, FrameError, frame
from . import closing, keepalive
from .backlog import Backlog
from .errors import WebSocketClosed, tell
from .message import ALONE, NextMessage, count
from .outlet import Outlet
from .report import describe, waits_for

if TYPE_CHECKING:
    from ..loop import Reactor, Stream
    from ..loop.timers import Timer
    from ..server.connection import Connection
    from ..settings import Settings
    from ..ws.deflate import Deflater
    from ..ws.handshake import Handshake
    from ..ws.parser import FrameParser
    from .keepalive import Pings
    from .streams import Incoming

SMALL = 126    # A payload of fewer bytes has a head of two bytes.


class Reading:
    """One WebSocket, as far as it only reads."""

    __slots__ = ('_handshake', '_response', 'backlog', 'code', 'connection', 'deflater', 'ended',
                 'groups', 'held', 'incoming', 'kept_from', 'missed', 'on_end', 'outlet', 'parser',
                 'pings', 'reactor', 'reason', 'received', 'request', 'since', 'slow_from', 'spare',
                 'state', 'subprotocols', 'taker', 'timer', 'waiting', 'wire')

    parser: FrameParser    # From the 101 on.
    timer: Timer           # From the 101 on; calls `keepalive.tick`.

    def __init__(self, request: Request, response: Response, handshake: Handshake) -> None:
        self.request = request
        self.connection: Connection = request.connection
        self.wire: Stream = self.connection.stream
        self.reactor: Reactor = self.wire.reactor
        self._response: Response | None = response
        self._handshake: Handshake | None = handshake
        self.subprotocols = handshake.subprotocols    # As the client offers them, the best first.
        self.state = 'handshake'
        # How it was closed: by the client, or by us. 1006 if neither has closed.
        self.code = 1006
        self.reason = ''
        # Called once when the socket has ended: there is nothing more to be sent or received.
        self.on_end: Callable[[], object] | None = None
        self.groups: tuple[Any, ...] = ()    # Each has `left(websocket)`, called at the end.
        # -- what comes in
        self.waiting: NextMessage | None = None    # The receiver that gets the next message.
        self.spare: NextMessage | None = None    # The one after that (message.py).
        # Instead of it: a function that is called once with the next message, and with None at the
        # end. It may do anything, and is called as the last thing of a read, or soon.
        self.taker: Callable[[Any], object] | None = None
        # The messages that wait for a receiver, or the receivers that stand behind `waiting`.
        self.backlog: Backlog | None = None
        # Whether we read no more: the backlog is full, or others have their turn.
        self.held = False
        self.incoming: Incoming | None = None    # Messages in pieces, from `stream()` on.
        # -- what goes out
        self.deflater: Deflater | None = None
        self.outlet: Outlet | None = None    # Who waits until the client takes more.
        # -- the clocks
        self.since = self.reactor.now    # When the last bytes came.
        self.missed = self.reactor.pauses.missed    # The pauses that were made up for.
        self.received = 0    # Bytes since the 101.
        # Since when the frame at hand is not whole, and `received` at that time; None: it is whole.
        self.slow_from: tuple[float, int] | None = None
        # Since when the client has taken nothing of what is kept, and what was sent until then.
        self.kept_from: tuple[float, int] | None = None
        self.pings: Pings | None = None    # What the client has not answered yet.
        self.ended: SharedFuture | None = None    # `disconnected`, once somebody has asked.

    @property
    def settings(self) -> Settings:
        """The options of the address at which the client is."""
        return self.connection.server.settings

    # -- bytes in (called by the stream) --------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes from the stream. Hot: once per message."""
        self.since = self.reactor.now
        self.received += len(data)
        parser = self.parser
        try:
            event = parser.take(data)
        except FrameError as error:
            return closing.fail(self, error.code, error.reason)
        if event is not None and event[0] < CLOSE and not parser.buffered \
                and self.backlog is None and self.slow_from is None:
            # The usual case: one whole message, and somebody waits for it.
            taker, waiting = self.taker, self.waiting
            if waiting is not None and (task := waiting.taker) is not None \
                    and count(waiting) == ALONE:
                waiting.taker = self.waiting = None
                self.spare = waiting
                return task.take(event[1])
            if taker is not None:
                self.taker = None
                taker(event[1])
                return None
            if waiting is not None and not waiting.done():
                self.waiting = None
                return waiting.wake(event[1])
        return self.pump(event)

    def pump(self, event: tuple[int, Any] | None = None) -> None:
        """Take the frames that have come, after a first `event`, and hand the messages out."""
        parser, left = self.parser, closing.PER_TURN
        while True:
            try:
                event = event or parser.next_event()
            except FrameError as error:
                if left == closing.PER_TURN:
                    return closing.fail(self, error.code, error.reason)
                # Who has got the messages before it may answer them; then `pump` finds it again.
                return self._others_first()
            if event is None:
                break
            kind, value = event
            left -= closing.weight(event)
            event = None
            if kind < CLOSE or kind == PIECE:
                self.hand_out(kind, value)
                if self.full:
                    return self._hold()
            elif kind == CLOSE:
                return closing.closed_by_client(self, *value)
            elif kind == PING:
                self._answer_ping(value)
            elif kind == PONG and self.pings is not None:
                self.pings.answered(self, value)
            if self.state != 'open':
                return None    # A write has shown that the client has gone.
            if left <= 0 and parser.buffered:
                return self._others_first()
        # (The rest of a frame must come, and not too slowly.)
        if self.slow_from is not None or parser.within:
            keepalive.watch_frame(self)
        return None

    def hand_out(self, kind: int, value: Any) -> None:
        """Give a message to who waits for it, or keep it."""
        if kind == PIECE:
            if self.incoming is not None:
                self.incoming.put(self, *value)
            return None
        taker, waiting, backlog = self.taker, self.waiting, self.backlog
        if taker is not None:
            self.taker = None
            return self.reactor.call_soon(taker, value)
        while waiting is not None:
            self.waiting = backlog.next_in_line() if backlog is not None else None
            if not waiting.done():
                return waiting.set_result(value)
            waiting = self.waiting
        if backlog is None:
            backlog = self.backlog = Backlog(self.settings)
        return backlog.put(value)

    @property
    def full(self) -> bool:
        """Whether so much waits for the handler that no more is to be parsed."""
        if self.incoming is not None:
            return self.incoming.full
        return self.backlog is not None and self.backlog.full

    def _hold(self) -> None:
        """Read nothing, and parse nothing: TCP makes the client wait."""
        self.held = True
        self.slow_from = None
        self.wire.pause_reading()

    def _others_first(self) -> None:
        """Go on when all that is ready by now had its turn."""
        self._hold()
        self.reactor.call_soon(self.go_on)

    def go_on(self) -> None:
        """Take what came before we held, and read on."""
        if not self.held or self.full:
            return
        if self.state == 'open':
            self.held = False
            keepalive.go_on(self)
            self.pump()
            if not self.held and self.state == 'open':
                self.wire.resume_reading()
        elif self.state == 'closed':
            closing.take_rest(self)

    def eof_received(self) -> None:
        """End: the client has ended its side without a close."""
        closing.lost(self, 'hang-up')

    def stream_closed(self, cause: BaseException | None) -> None:
        """End: the connection is gone."""
        closing.gone(self, cause)

    # -- messages in ----------------------------------------------------------------------------

    def receive(self) -> Future:
        """Return a Future of the next message, str or bytes.

        It raises `WebSocketClosed` when the socket is over, and all that came before is received.
        Hot: once per message.
        """
        # (Mostly the first comparison tells: it costs a third of the call.)
        if self.reactor.thread != get_ident() and not self.reactor.in_loop_thread():
            return call_on_loop(self.reactor, self.receive)
        if self.incoming is not None:
            return self.incoming.receive(self)
        backlog, waiting = self.backlog, self.waiting
        if backlog is None and waiting is None and self.state == 'open':
            message, self.spare = self.spare, None
            if message is None:
                message = NextMessage(self.reactor, self.put_back)
            self.waiting = message
            return message
        return self._receive(backlog)

    def _receive(self, backlog: Backlog | None) -> Future:
        """Receive what is there already, or stand in line."""
        if backlog is not None and backlog.messages:
            future = NextMessage(self.reactor, self.put_back)
            future.set_result(backlog.take())
            if not backlog.messages:
                self.backlog = None
            self.more_is_wanted()
            return future
        if self.state != 'open':
            return self.refused()
        future = NextMessage(self.reactor, self.put_back)
        if self._somebody_waits():
            if self.backlog is None:
                self.backlog = Backlog(self.settings)
            self.backlog.stand_in_line(future)
        else:
            self.waiting, self.backlog = future, None
        return future

    def _somebody_waits(self) -> bool:
        """Return whether a receiver waits; one that gave up makes room for the next in line."""
        if self.waiting is not None and self.waiting.done():
            self.waiting = self.backlog.next_in_line() if self.backlog is not None else None
        return self.waiting is not None

    def more_is_wanted(self) -> None:
        """Take more of what has come, soon, if there is room now."""
        if self.held:
            if self.state == 'open':
                self.reactor.call_soon(self.go_on)
            else:
                self.go_on()

    def __aiter__(self) -> Reading:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except WebSocketClosed:
            raise StopAsyncIteration from None

    def put_back(self, message: Any) -> None:
        """Take a message back whose receiver was cancelled: it is the next one again."""
        if self.incoming is not None:
            self.incoming.put_back(self, message)
        elif self.taker is not None or self._somebody_waits():
            self.hand_out(BINARY, message)
        else:
            if self.backlog is None:
                self.backlog = Backlog(self.settings)
            self.backlog.put_back(message)

    def _answer_ping(self, payload: bytes) -> None:
        """Answer a ping; while the client takes nothing, only the last one is answered."""
        stream = self.wire
        if stream.buffered > stream.high:
            if self.outlet is None:
                self.outlet = Outlet()
            self.outlet.answer_later(self, payload)
        else:
            stream.write_ahead(frame(PONG, payload))

    # -- the end --------------------------------------------------------------------------------

    @property
    def disconnected(self) -> SharedFuture:
        """A Future that is done when the socket is over; any number may wait for it."""
        if self.ended is None:
            self.ended = SharedFuture(self.reactor)
            if self.state == 'closed':
                self.ended.set_result()
        return self.ended

    def refused(self) -> Future:
        """Return a Future with the error of a call that comes too late, or raise for too early."""
        if self.state == 'handshake':
            raise HandlerError('the WebSocket is not accepted yet: write `yield '
                               'websocket.accept()` first')
        future = Future(self.reactor)
        tell(future, self.code, self.reason)
        return future

    def report(self) -> str:
        """Tell what it is and what it waits for, for the report of SIGUSR2."""
        return describe(self)

    def waits_for(self) -> str:
        """Tell what it waits for, for `python -m tremolo.top`."""
        return waits_for(self)

    @property
    def kept(self) -> int:
        """The bytes that were sent and that the client's side has not taken yet."""
        behind = self.outlet.behind_size if self.outlet is not None else 0
        return self.wire.buffered + behind
