"""Streams: messages of any size, in pieces, in flat memory.

    source = yield websocket.stream()          # the next message; its rest is skipped by the next
    while data := (yield source.read(65536)):  # `receive` or `stream`
        ...

    sink = websocket.stream(text=False)        # a message of ours
    yield sink.write(b'...')
    yield sink.end()

From the first `stream()` on, a socket takes all messages in pieces, as they arrive. `Incoming`
keeps the pieces, at most `ws_message_size` bytes of them, and serves those who wait, in order:
`receive` wants a whole message, `stream` the beginning of one, `read` a piece.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from ..loop import Future
from ..loop.done import DONE
from ..loop.threads import call_on_loop
from ..server import HandlerError
from ..typed import TYPE_CHECKING, Any, Callable, NamedTuple
from ..ws.parser import BINARY, CONTINUATION, TEXT, frame
from .backlog import Backlog, size_of
from .closing import fail
from .errors import tell
from .outlet import Outlet

if TYPE_CHECKING:
    from ..settings import Settings
    from .reading import Reading
    from .websocket import WebSocket

_SMALL = 4096    # Pieces are joined up to this size: each fragment may have one byte.


class _Piece(NamedTuple):
    kind: int       # TEXT or BINARY
    data: Any       # str or bytes
    last: bool      # the message ends here


class _Begun:
    """A message that is being read. (`Incoming` knows it, and no `Source`: that were a cycle.)"""

    __slots__ = ('ended', 'text')

    def __init__(self, text: bool) -> None:
        self.text = text
        self.ended = False    # Whether all was read, or the rest is skipped.


class Source:
    """A message of the client, which is read in pieces. `text` tells whether they are str."""

    __slots__ = ('_begun', '_incoming', '_websocket')

    def __init__(self, websocket: Reading, incoming: Incoming, begun: _Begun) -> None:
        self._websocket = websocket
        self._incoming = incoming
        self._begun = begun

    @property
    def text(self) -> bool:
        """Whether the pieces are str."""
        return self._begun.text

    @property
    def ended(self) -> bool:
        """Whether all was read, or the rest is skipped."""
        return self._begun.ended

    def read(self, size: int = -1) -> Future:
        """Return a Future of what has arrived, at most `size` bytes or characters.

        It is b'' or '' at the end, and raises `WebSocketClosed` if the message is cut.
        """
        websocket = self._websocket
        return call_on_loop(websocket.reactor, self._incoming.read, websocket, self._begun, size)

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> Any:
        if data := await self.read():
            return data
        raise StopAsyncIteration


class Incoming:
    """The pieces that nobody has read, and those who wait for pieces.

    It gets its socket with each call: the socket knows it, and both together were a cycle.
    """

    __slots__ = ('_begun', '_settings', '_size', '_waiting', '_wholes', 'pieces')

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.pieces: deque[_Piece] = deque()
        self._size = 0
        self._wholes = 0    # The messages that end within `pieces`.
        self._begun: _Begun | None = None    # The message that is being read.
        # Who waits: the Future, and the function that serves it or returns False.
        self._waiting: deque[tuple[Future, Callable[[Reading, Future], bool]]] = deque()

    @property
    def size(self) -> int:
        """The bytes of all pieces."""
        return self._size

    @property
    def full(self) -> bool:
        """Whether no more is to be parsed."""
        return (self._size > self._settings.ws_message_size
                or self._wholes >= self._settings.ws_queue)

    def put(self, websocket: Reading, kind: int, data: Any, last: bool) -> None:
        """Take a piece, and serve those who wait."""
        pieces, size = self.pieces, size_of(data)
        if pieces and not pieces[-1].last and len(pieces[-1].data) + len(data) < _SMALL:
            data = pieces.pop().data + data
        pieces.append(_Piece(kind, data, last))
        self._size += size
        self._wholes += last
        self.serve(websocket)

    def take_over(self, websocket: Reading, backlog: Backlog | None,
                  waiting: Future | None) -> None:
        """Go on with messages that came before, or with those who wait for messages."""
        if waiting is not None:
            self._waiting.append((waiting, self._give_message))
        if backlog is not None:
            self._waiting.extend((each, self._give_message) for each in backlog.line)
            for message in backlog.messages:
                self.put(websocket, _kind(message), message, True)

    def _take(self) -> _Piece:
        piece = self.pieces.popleft()
        self._size -= size_of(piece.data)
        self._wholes -= piece.last
        return piece

    def put_back(self, websocket: Reading, message: Any) -> None:
        """Take back a whole message whose receiver was cancelled."""
        self._put_back(websocket, _Piece(_kind(message), message, True), None)

    def _put_back(self, websocket: Reading, piece: _Piece, begun: _Begun | None) -> None:
        """Take back what was given to somebody who was cancelled."""
        self.pieces.appendleft(piece)
        self._size += size_of(piece.data)
        self._wholes += piece.last
        if begun is not None:
            begun.ended = False
            self._begun = begun
        self.serve(websocket)

    def serve(self, websocket: Reading) -> None:
        """Give what there is to those who wait, in order."""
        while self._waiting:
            future, serve = self._waiting[0]
            if not future.done() and not serve(websocket, future):
                break
            self._waiting.popleft()
        if websocket.state == 'closing' or (websocket.state == 'closed' and not websocket.held):
            # Nothing more comes.
            waiting, self._waiting = self._waiting, deque()
            for future, _ in waiting:
                tell(future, websocket.code, websocket.reason)

    # -- who waits ------------------------------------------------------------------------------

    def receive(self, websocket: Reading) -> Future:
        """Return a Future of the next whole message."""
        return self._wait(websocket, self._give_message)

    def next_source(self, websocket: Reading) -> Future:
        """Return a Future of the next message's `Source`."""
        return self._wait(websocket, self._give_source)

    def read(self, websocket: Reading, begun: _Begun, size: int) -> Future:
        """Return a Future of a piece."""
        return self._wait(websocket, partial(self._give_piece, begun, size))

    def _wait(self, websocket: Reading, serve: Callable[[Reading, Future], bool]) -> Future:
        future = Future(websocket.reactor)
        self._waiting.append((future, serve))
        self.serve(websocket)
        websocket.more_is_wanted()
        return future

    def _skip(self) -> bool:
        """Skip the rest of the message that was read; return whether it is over."""
        begun = self._begun
        if begun is not None:
            begun.ended = True
            while self.pieces:
                if self._take().last:
                    self._begun = None
                    return True
        return begun is None

    def _give_message(self, websocket: Reading, future: Future) -> bool:
        if not self._skip():
            return False
        parts, before, limit = [], self._size, self._settings.ws_message_size
        last = not self._wholes
        while not last:
            kind, data, last = self._take()
            parts.append(data)
        # (A message that is not whole yet is the only one.)
        if (before - self._size if parts else before) > limit:
            self.pieces.clear()
            self._size = self._wholes = 0
            if websocket.state == 'open':
                fail(websocket, 1009, f'a message exceeds {limit} bytes (ws_message_size)')
            return False
        if not parts:
            return False
        future.give_back = partial(self.put_back, websocket)
        future.set_result(('' if kind == TEXT else b'').join(parts))
        return True

    def _give_source(self, websocket: Reading, future: Future) -> bool:
        if not self._skip() or not self.pieces:
            return False
        self._begun = _Begun(self.pieces[0].kind == TEXT)
        future.set_result(Source(websocket, self, self._begun))
        return True

    def _give_piece(self, begun: _Begun, size: int, websocket: Reading, future: Future) -> bool:
        if begun.ended:
            future.set_result('' if begun.text else b'')
            return True
        if not self.pieces:
            return False
        kind, data, last = self._take()
        if 0 <= size < len(data):
            self.pieces.appendleft(_Piece(kind, data[size:], last))
            self._size += size_of(data[size:])
            self._wholes += last
            data, last = data[:size], False
        if last:
            begun.ended = True
            self._begun = None
        elif not data and size:
            return self._give_piece(begun, size, websocket, future)
        future.give_back = lambda data: self._put_back(websocket, _Piece(kind, data, last), begun)
        future.set_result(data)
        return True


def _kind(message: Any) -> int:
    return TEXT if isinstance(message, str) else BINARY


class Sink:
    """A message that we send in fragments. Whole messages wait until it has ended."""

    __slots__ = ('_opcode', '_text', '_websocket')

    def __init__(self, websocket: WebSocket, text: bool) -> None:
        if websocket.state == 'handshake':
            websocket.refused()    # (It raises.)
        outlet = websocket.outlet = websocket.outlet or Outlet()
        if outlet.sink is not None:
            raise HandlerError('a message is being streamed: call `end` of that sink first')
        outlet.sink = self
        self._websocket = websocket
        self._text = text
        self._opcode = TEXT if text else BINARY    # That of the next frame; -1 after the last.

    def write(self, data: str | bytes) -> Future:
        """Send a fragment; return a Future that is done when the client takes more."""
        return call_on_loop(self._websocket.reactor, self._send, data, False)

    def end(self, data: str | bytes | None = None) -> Future:
        """End the message, after a last fragment."""
        empty: str | bytes = '' if self._text else b''
        return call_on_loop(self._websocket.reactor, self._send, empty if data is None else data,
                            True)

    def _send(self, data: str | bytes, last: bool) -> Future:
        websocket = self._websocket
        payload = data.encode() if isinstance(data, str) else bytes(data)
        if isinstance(data, str) is not self._text:
            raise TypeError(f'this sink takes {"str" if self._text else "bytes"}, not '
                            f'{type(data).__name__}: write stream(text={not self._text})')
        if websocket.state != 'open':
            return websocket.refused()
        if self._opcode < 0:
            raise HandlerError('this message has ended: call `stream` for another')
        if not (payload or last):
            return DONE
        websocket.wire.write(frame(self._opcode, payload, last=last))
        self._opcode = -1 if last else CONTINUATION
        if last and websocket.outlet is not None:
            websocket.outlet.stream_ended(websocket)
        return websocket.room()
