"""Flow: the body of an answer on its way through what middleware puts in the place of its chunks.

What the handler sends goes into a `Flow`. Each middleware that replaces the body has taken its
`Chunks`, an iterator, and given back an iterable, whose values are the chunks of the next one
outside:

    handler --> Flow --> Chunks --> the innermost iterable --> Chunks --> the next one --> client

The outermost is asked for more until it has been told, by an empty chunk, that no more has come
yet. So a compressor can give what it still holds, and none of them ever waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ..server import HandlerError, HTTPError, Response
from ..sockets.outbox import Piece, PieceFailed
from ..typed import Any

_READ = 65536    # Bytes of a file that are one chunk.
_IDLE = 10_000    # So many empty chunks in a row, with no look at what comes, have no end.


class Flow:
    """What has come of a body, and is not taken yet."""

    __slots__ = ('dry', 'ended', 'pending', 'who')

    def __init__(self) -> None:
        self.pending: deque[Any] = deque()    # Chunks, and pieces of files.
        self.ended = False    # Whether no more comes.
        self.dry = False    # Whether more was asked for than has come.
        self.who: Replaced | None = None    # The iterable that has failed.

    def add(self, *chunks: Any) -> None:
        """Add chunks of the body; empty ones are left out."""
        self.pending += [chunk for chunk in chunks if len(chunk)]
        self.dry = False

    def take(self) -> bytes:
        """Take the next chunk; b'' if none has come yet. Raises `StopIteration` at the end."""
        while self.pending:
            first = self.pending[0]
            if not isinstance(first, Piece):
                return bytes(self.pending.popleft())
            data = read_piece(first)
            if not len(first):
                self.pending.popleft()
            return data
        if self.ended:
            raise StopIteration
        self.dry = True
        return b''

    def close(self) -> None:
        """Let go of what nobody takes."""
        for each in self.pending:
            leave(each)
        self.pending.clear()


class Chunks:
    """The chunks of a body, as they come: what the bare `yield` of a middleware returns."""

    __slots__ = ('_below', '_flow', '_name', 'ahead', 'asked', 'idle', 'told')

    def __init__(self, name: str, flow: Flow, below: Replaced | None) -> None:
        """Give a middleware what is in the flow, or what another one, `below`, makes of it."""
        self._name = name
        self._flow = flow
        self._below = below
        self.ahead: deque[bytes] = deque()    # What was put back.
        # Whether the last chunk was empty, and nothing was yielded since.
        self.asked = False
        self.told = False    # Whether an empty chunk was taken since there was more.
        self.idle = 0    # How many empty chunks were yielded since one was taken.

    def __iter__(self) -> Chunks:
        return self

    def __next__(self) -> bytes:
        """Return the next chunk, b'' if none has come yet.

        Raises `HandlerError` for the second empty one in a row: it would go on for ever.
        """
        self.idle = 0
        if self.ahead:
            return self.ahead.popleft()
        below = self._below
        chunk = self._flow.take() if below is None else next(below)
        while not chunk and not self._flow.dry and below is not None:
            chunk = next(below)
        if not chunk:
            if self.asked:
                raise HandlerError(
                    f'{self._name} took an empty chunk, which says that no more has come yet, and '
                    'asked for more: yield for each chunk, b\'\' if there is nothing to send')
            self.asked = self.told = True
        return chunk


class Taken:
    """Chunks, as long as a second half runs: what it takes is noted, and may be put back."""

    __slots__ = ('_source', '_taken')

    def __init__(self, source: Any) -> None:
        self._source: Chunks = source    # (Or an iterator, of a body that is whole.)
        self._taken: list[bytes] | None = []

    def __iter__(self) -> Taken:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._source)
        if self._taken is not None:
            self._taken.append(chunk)
        return chunk

    def put_back(self) -> bool:
        """Put back what was taken; return whether there was anything."""
        taken, self._taken = self._taken, None
        self._source.ahead.extend(filter(None, taken or ()))
        self._source.asked = False
        return bool(taken)

    def keep(self) -> Chunks:
        """Note nothing more; return what it was taken from."""
        self._taken = None
        return self._source


class Replaced:
    """What a middleware has returned in the place of chunks: an iterator of bytes."""

    __slots__ = ('_encode', '_flow', '_iterator', 'chunks', 'name', 'outside', 'unchanged')

    def __init__(self, name: str, value: Any, chunks: Chunks, flow: Flow, encode: Any,
                 outside: list[Any]) -> None:
        """Take the value. Raises `HandlerError` for what is no iterable of chunks.

        `outside` are the error handlers that stand outside of the middleware.
        """
        self.name = name
        self.outside = outside
        self.chunks = chunks
        self.unchanged = value is chunks    # (Some were taken, and put back.)
        self._flow = flow
        self._encode = encode
        self._iterator = iter(iterable(name, value))

    def __iter__(self) -> Replaced:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._iterator)
            data = as_chunk(self.name, chunk, self._encode)
            self.chunks.asked = False
            self.chunks.idle = 0 if data else self.chunks.idle + 1
            if self.chunks.idle > _IDLE:
                raise _only_empty(self.name)
            return data
        except (StopIteration, PieceFailed):
            raise
        except BaseException:
            self._flow.who = self._flow.who or self
            raise

    def close(self) -> None:
        """End its generator: what stands in a `finally` runs."""
        close = getattr(self._iterator, 'close', None)
        if close is not None:
            close()


def iterable(name: str, value: Any) -> Iterable[Any]:
    """Return what a middleware has returned as chunks. Raises `HandlerError` for what is none."""
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        return (value,)
    if isinstance(value, (dict, tuple)) or not isinstance(value, Iterable):
        instead = '; leave that out, what is set in it is sent' if isinstance(value, Response) \
            else '; raise that' if isinstance(value, HTTPError) else ''
        raise HandlerError(
            f'{name} returned {type(value).__name__} after its `yield`: what replaces the body is '
            f'an iterable of bytes or str, or one of these; None leaves it as it is{instead}')
    return value


def as_chunk(name: str, chunk: Any, encode: Any) -> bytes:
    """Return a chunk as bytes. Raises `HandlerError` for what is none."""
    if type(chunk) is bytes:
        return chunk
    if isinstance(chunk, str):
        encoded: bytes = encode(chunk)
        return encoded
    if not isinstance(chunk, (bytes, bytearray, memoryview)):
        raise HandlerError(f'{name} replaces the body by chunks of {type(chunk).__name__}, which '
                           'are bytes or str')
    return bytes(chunk)


def whole(name: str, value: Any, encode: Any) -> bytes:
    """Return all that replaces a whole body. Raises as its iterator does."""
    pieces: list[bytes] = []
    idle = 0
    for chunk in iterable(name, value):
        pieces.append(as_chunk(name, chunk, encode))
        idle = 0 if pieces[-1] else idle + 1
        if idle > _IDLE:
            raise _only_empty(name)
    return b''.join(pieces)


def _only_empty(name: str) -> HandlerError:
    return HandlerError(f'{name} replaces the body by empty chunks without end: take the next '
                        'chunk of the body for each, or return')


def leave(data: Any) -> None:
    """Let go of what is not sent: it may be a piece of a file."""
    if isinstance(data, Piece):
        data.close()


class _Taker:
    """Stands for a socket, and takes what a piece of a file sends."""

    __slots__ = ('taken',)

    def send(self, data: Any) -> int:
        self.taken = bytes(data)
        return len(data)


def read_piece(piece: Piece) -> bytes:
    """Read the next bytes of a piece. Raises `PieceFailed`."""
    taker: Any = _Taker()
    piece.drop(piece.send(taker, False, _READ))
    taken: bytes = taker.taken
    return taken
