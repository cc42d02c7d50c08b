"""Part: one file or field of an upload, read in pieces as it arrives, or saved."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

from ..http import Headers
from ..http.errors import FormError
from ..http.multipart import PartHead
from ..http.parameters import decode_text
from ..loop import Future, Reactor
from ..server import HandlerError, Response
from ..server.errors import PayloadTooLarge
from ..typed import Any
from .errors import PartPassed, answer_of
from .later import Later
from .saving import save
from .upload import Steps, Upload, check


class Part:
    """One part. It is read until `files.next()` goes on to the next one.

    `name` is the name of the form's field. `filename` is None for a part that is no file; otherwise
    it is the last component of what the client sent, `raw_filename`, without control characters;
    '' if nothing is left. It is text for people: choose the names of files on disk yourself.
    """

    __slots__ = ('_response', '_upload', 'content_type', 'filename', 'head', 'headers', 'name',
                 'number', 'raw_filename')

    # What a handler is told that yields or returns a part.
    instead = ': write `yield part.read()`, `yield part.text()` or `yield part.save(path)`'

    def __init__(self, upload: Upload, response: Response, head: PartHead) -> None:
        self.name: str = head.name
        self.filename: str | None = head.filename
        self.raw_filename: str | None = head.raw_filename
        self.content_type: str = head.content_type
        self.headers = Headers.from_wire(head.fields)
        self.head = head    # As the parser read it.
        self._upload = upload
        self._response = response
        self.number = upload.number    # Which one it is of the parts that were asked for.

    def __repr__(self) -> str:
        return f'<Part {self.name!r} {self.filename!r}>'

    def read(self, size: int = -1) -> Future:
        """Read what has arrived of the part, 1 to `size` bytes (-1: all of it); b'' at its end.

        The Future raises `PartPassed`, `BadRequest` and `PayloadTooLarge` for a form that is
        malformed or over a limit, `UploadEnded` after the end of the answer, `StreamClosed` when
        the client is gone.
        """
        if size == 0 or size < -1:
            raise ValueError(f'read({size}): write the most bytes that you take, or -1')
        upload = self._upload
        steps = upload.piece() if size < 0 else upload.piece_of(size)
        later = self._later(steps, 'part.read()')
        later.give_back = partial(upload.piece_back, self.number)
        return later

    def text(self) -> Future:
        """Read the rest of the part, and decode it: as UTF-8, or as the part's `charset` says.

        The Future raises `PayloadTooLarge` beyond the option `form_size`, `BadRequest` for what
        cannot be decoded, and otherwise what `read` raises.
        """
        return self._later(self._text(), 'part.text()')

    def save(self, path: str | os.PathLike[str]) -> Future:
        """Write the rest of the part to a file, on worker threads; return a Future of its size.

        The file appears when it is whole: it is written under another name, `.upload-...`, in the
        same folder, and renamed, in place of what `path` named before. When the upload is cut, the
        disk is full or the handler is cancelled, nothing remains. It is a new file with the mode
        bits that `open` gives, and it is not synchronised: after a loss of power it may be missing.
        The Future raises `OSError`, and what `read` raises.
        """
        later = self._later(save(self._upload, self._response, os.fsdecode(path)),
                            'part.save(path)')
        later.give_back = _saved
        return later

    def stream(self) -> Pieces:
        """Return the pieces of the part, for `async for`, and for `for` in a thread."""
        return Pieces(self, self._upload.reactor)

    def _later(self, steps: Steps, call: str) -> Later:
        return Later(self._steps(steps), self._upload.reactor, call)

    def _steps(self, steps: Steps) -> Steps:
        check(self._response)
        if self.number != self._upload.number:
            raise PartPassed(self.name)
        return (yield from self._upload.alone(self._response, steps))

    def _text(self) -> Steps:
        upload, value = self._upload, bytearray()
        most = upload.settings.form_size
        while True:
            piece = yield from upload.piece()
            if not piece:
                break
            value += piece
            if len(value) > most:
                raise PayloadTooLarge(f'the field {self.name!r:.64} exceeds {most} bytes '
                                      '(form_size)')
        try:
            return decode_text(bytes(value), self.head.charset)
        except FormError as error:
            raise answer_of(error) from None


def _saved(size: int) -> None:
    """Do nothing: there is this only so that a forgotten `yield` is told, as that of `read` is."""


class Pieces:
    """The pieces of a part: `async for piece in part.stream()`."""

    __slots__ = ('_part', '_reactor')

    instead = ': write `yield part.read()`'

    def __init__(self, part: Part, reactor: Reactor) -> None:
        self._part = part
        self._reactor = reactor

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        piece: bytes = await self._part.read()
        if not piece:
            raise StopAsyncIteration
        return piece

    def __iter__(self) -> Iterator[Any]:
        """Iterate, in a thread. Raises `HandlerError` where nobody can wait."""
        read = self._part.read
        refuse_on_loop(self._reactor, 'piece', 'part.stream()', 'part.read()')
        return iter(lambda: read().result(), b'')


def refuse_on_loop(reactor: Reactor, each: str, over: str, call: str) -> None:
    """Raise `HandlerError`, with what to write, for a `for` on the reactor's thread."""
    # (No TypeError: `b''.join` replaces it by one of its own.)
    if reactor.in_loop_thread():
        raise HandlerError(f'`for {each} in {over}` is for handlers with thread=True: write '
                           f'`while {each} := (yield {call}):` in a generator, and '
                           f'`async for {each} in {over}:` in an `async def`')
