"""Files: the parts of an upload, one after the other, as they arrive."""

from __future__ import annotations

from collections.abc import Iterator

from ..loop import Future
from ..loop.threads import call_on_loop
from ..server import Request, Response
from ..typed import Any
from .later import Later
from .part import Part, refuse_on_loop
from .upload import Steps, Upload, answer_to, upload_of


class Files:
    """The parts of an upload: `part = yield files.next()`, None at the end."""

    __slots__ = ('_response', '_upload')

    # What a handler is told that yields or returns it.
    instead = ': write `part = yield files.next()`'

    def __init__(self, upload: Upload, response: Response) -> None:
        self._upload = upload
        self._response = response

    def next(self) -> Future:
        """Return a Future of the next `Part`, None at the end; what is left of one is skipped.

        It raises `BadRequest` and `PayloadTooLarge` for a form that is malformed or over a limit,
        `UploadEnded` after the end of the answer, and `StreamClosed` when the client is gone.
        """
        later = Later(self._next(), self._upload.reactor, 'files.next()')
        later.give_back = self._give_back
        return later

    def _next(self) -> Steps:
        upload = self._upload
        head = yield from upload.alone(self._response, upload.next_head())
        return None if head is None else Part(upload, self._response, head)

    def _give_back(self, part: Part | None) -> None:
        if part is not None:
            self._upload.head_back(part.number, part.head)

    def __aiter__(self) -> Files:
        return self

    async def __anext__(self) -> Part:
        part: Part | None = await self.next()
        if part is None:
            raise StopAsyncIteration
        return part

    def __iter__(self) -> Iterator[Any]:
        """Iterate, in a thread. Raises `HandlerError` where nobody can wait."""
        refuse_on_loop(self._upload.reactor, 'part', 'files', 'files.next()')
        return iter(lambda: self.next().result(), None)


def files_of(request: Request) -> Files:
    """Return the parts of a request's upload; see `Request.files` of the room `web`."""
    return call_on_loop(request.connection.stream.reactor, _files, request)


def _files(request: Request) -> Files:
    response = answer_to(request)
    return Files(upload_of(request, 'files'), response)
