"""Upload: the body of one request, read as a form, event by event.

The body is parsed only as far as somebody reads, and no more of it is taken from the client than
the request's inbox holds: a slow disk, or a handler that takes its time, makes the client wait. All
that is here runs on the reactor's thread.

A body is read in one way. Which calls may follow each other:

                        then form()      then files()     then body(), json()   then read()
    after form()        the same dict    HandlerError     HandlerError          HandlerError
    after files()       HandlerError     goes on          HandlerError          HandlerError
    after body()        of those bytes   of those bytes   the same bytes        b''
    after read()        HandlerError     HandlerError     the rest              the rest
"""

from __future__ import annotations

import copy
from collections.abc import Generator

from ..http.errors import FormError
from ..http.multipart import EndOfForm, EndOfPart, MultipartParser, PartHead, PartLimits
from ..http.parameters import MULTIPART, URLENCODED, boundary_of, media_type
from ..loop import Inbox, InvalidState, LimitExceeded, StreamClosed
from ..loop.shared_future import SharedFuture
from ..loop.task import TIME_SLICE
from ..server import HandlerError, HTTPError, Request, Response
from ..server.early_answer import is_untouched
from ..server.errors import UnsupportedMediaType
from ..server.notices import gone
from ..server.phases import CLOSED
from ..server.request_body import open_inbox
from ..typed import Any
from .errors import UploadEnded, answer_of

# Bytes that one `recv` asks for. (With 64 KiB an upload to disk takes half as much CPU time again.)
PIECE = 1 << 20

Steps = Generator[Any, Any, Any]    # What a task does; it returns a value.


class _FormInbox(Inbox):
    """The inbox of a body that is read as a form: nobody else may read it."""

    __slots__ = ()

    def read(self, size: int = -1) -> Any:
        """Raise `HandlerError`: bytes that another one reads would be missing in the form."""
        raise HandlerError(_otherwise('read()'))

    def piece(self) -> Any:
        """Return a Future of what has arrived; b'' at the end."""
        return super().read()


class _Taken(SharedFuture):
    """Stands for the call that reads the body; `body()` and `json()`, which wait for it, fail."""

    __slots__ = ()

    def outcome(self) -> tuple[Any, BaseException | None]:
        """Return an error, a new one for each who waits."""
        return None, HandlerError(_otherwise('body() or json()'))


def _otherwise(call: str) -> str:
    return (f'the body of this request is read by form() or files(), and by {call}: leave one out '
            '(form() and files() may come after body())')


class Upload:
    """The parser of a form, the body that it reads, and how far it has come.

    Its request keeps it, so it refers neither to the request nor to what does: that were a cycle.
    """

    __slots__ = ('_again', '_busy', '_inbox', '_kept', '_left', '_refused', '_taken', 'by',
                 'number', 'parser', 'part_ended', 'reactor', 'settings')

    def __init__(self, request: Request, by: str, parser: MultipartParser | None,
                 kept: bytes | None) -> None:
        self.reactor = request.connection.stream.reactor
        self.settings = request.connection.server.settings
        self.by = by    # The call that reads it: 'form' or 'files'.
        self.parser = parser    # None: the form is urlencoded.
        self.number = 0    # How many parts were asked for.
        self.part_ended = True    # Whether the part that was begun last is read to its end.
        self._busy = False    # Whether somebody reads now.
        self._again: PartHead | None = None    # A head whose reader was cancelled.
        self._left, self._taken = b'', 0    # A piece of the part, and how much of it was read.
        self._refused: HTTPError | None = None    # The answer to a form that is wrong.
        self._kept = kept    # The whole body, if `body()` has read it.
        if kept is None:
            inbox: Any = open_inbox(request) if request.inbox is None else request.inbox
            # (It may hold bytes already, so it stays the same, and refuses `read` from now on.)
            inbox.__class__ = _FormInbox
            request.inbox = self._inbox = inbox
            body = request.connection.request_body
            if body is not None:
                body.piece = PIECE

    def alone(self, response: Response, steps: Steps) -> Steps:
        """Do the steps of a reader. Raises `UploadEnded` after the end of the answer."""
        check(response)
        if self._busy:
            raise InvalidState('another read of this upload is waiting already: is a `yield` or an '
                               '`await` missing?')
        self._busy = True
        try:
            return (yield from steps)
        except StreamClosed:
            if response.ended:
                raise UploadEnded from None
            raise
        finally:
            self._busy = False

    # -- the body -------------------------------------------------------------------------------

    def arrived(self) -> Steps:
        """Return what has arrived of the body, b'' at its end."""
        if self._kept is None:
            return (yield self._inbox.piece())
        data, self._kept = self._kept, b''
        return data

    def whole(self, most: int) -> Steps:
        """Return the whole body. Raises `LimitExceeded` beyond `most` bytes."""
        if self._kept is None:
            # (Kept until it is read as a form: a call that is cancelled loses nothing.)
            self._kept = yield self._inbox.read_all(most)
        if len(self._kept) > most:
            raise LimitExceeded
        return self._kept

    def forget(self) -> None:
        """Let go of the whole body, which was read."""
        self._kept = b''

    def event(self) -> Steps:
        """Return the next event of the form: PartHead, bytes, EndOfPart or EndOfForm.

        Others have their turn in between: what arrived may be a thousand parts, or look like them.
        """
        parser: Any = self.parser
        if self.reactor.time() - self.reactor.now >= TIME_SLICE:
            yield None
        while self._refused is None:
            try:
                event = parser.next_event()
            except FormError as error:
                raise self.refused(answer_of(error)) from None
            if event is not None:
                return event
            data = yield from self.arrived()
            if data:
                parser.feed(data)
            else:
                parser.feed_eof()
        raise copy.copy(self._refused)

    def refused(self, answer: HTTPError) -> HTTPError:
        """Return the answer, to be raised, and remember that all later reads raise it too."""
        self._refused = answer
        return copy.copy(answer)    # (With its traceback, the same one would be a cycle.)

    # -- parts ----------------------------------------------------------------------------------

    def next_head(self) -> Steps:
        """Return the head of the next part, None at the end; what is left of one is skipped."""
        if self._again is not None:
            head, self._again = self._again, None
            return head
        self.number += 1
        self._left, self._taken = b'', 0
        while self.parser is not None:
            event = yield from self.event()
            if type(event) is PartHead:
                self.part_ended = False
                return event
            if type(event) is EndOfForm:
                self.parser = None
        return None

    def piece(self) -> Steps:
        """Return bytes of the part that has begun, b'' at its end."""
        if self._left:
            data, self._left = self._left[self._taken:], b''
            return data
        if self.part_ended:
            return b''
        event = yield from self.event()
        if type(event) is EndOfPart:
            self.part_ended = True
            return b''
        return event

    def piece_of(self, size: int) -> Steps:
        """Return 1 to `size` bytes of the part that has begun, b'' at its end."""
        if not self._left:
            self._left, self._taken = (yield from self.piece()), 0
        begin, end = self._taken, self._taken + size
        data = self._left[begin:end]
        if end < len(self._left):
            self._taken = end
        else:
            self._left = b''
        return data

    # -- what a cancelled reader did not get ------------------------------------------------------

    def head_back(self, number: int, head: PartHead) -> None:
        """Take back the head of a part, unless that was passed: `next_head` returns it again."""
        if number == self.number:
            self._again = head

    def piece_back(self, number: int, data: bytes | None) -> None:
        """Take back bytes of a part, unless that part was passed. (None: there was an error.)"""
        if number == self.number and data:
            self._left, self._taken = data + self._left[self._taken:], 0


def check(response: Response) -> None:
    """Raise `UploadEnded` after the end of an answer, `StreamClosed` if its client has gone."""
    if not response.live:
        raise UploadEnded if response.ended else StreamClosed(gone(response.connection))


def answer_to(request: Request) -> Response:
    """Return the answer that a request waits for. Raises as `check` does."""
    connection = request.connection
    response = connection.response
    if response is not None and response.request is request:
        return response
    raise StreamClosed(gone(connection)) if connection.phase is CLOSED else UploadEnded


def upload_of(request: Request, by: str) -> Upload:
    """Return the upload of a request that `form` or `files` reads; the same one each time.

    Raises `UnsupportedMediaType` for what is no form, `BadRequest` without a usable boundary, and
    `HandlerError` if the body is read in another way.
    """
    kept = request.kept = {} if request.kept is None else request.kept
    upload: Upload | None = kept.get('upload')
    if upload is not None:
        if upload.by != by:
            raise HandlerError(f'the body of this request is read by {upload.by}(): leave out '
                               f'{by}() (files() has the fields too: parts without a file name)')
        return upload
    parser = parser_of(request, by)
    if 'reader' in kept:
        raise InvalidState(f'body() reads the body now: call {by}() when it has ended')
    body = request.connection.request_body
    if 'body' not in kept and body is not None and not is_untouched(body):
        raise HandlerError(f'the body of this request is read by read(), and by {by}(): leave one '
                           'out')
    upload = kept['upload'] = Upload(request, by, parser, kept.get('body'))
    if 'body' not in kept:
        taken = kept['reader'] = _Taken(upload.reactor)
        taken.set_result()
    return upload


def parser_of(request: Request, by: str) -> MultipartParser | None:
    """Return the parser of a request's form; None if it is urlencoded."""
    kind = media_type(request.content_type)
    if kind == URLENCODED and by == 'form':
        return None
    if kind != MULTIPART:
        known = MULTIPART if by == 'files' else f'{URLENCODED} or {MULTIPART}'
        raise UnsupportedMediaType(f'the Content-Type has to be {known}')
    settings = request.connection.server.settings
    try:
        boundary = boundary_of(request.content_type)
    except FormError as error:
        raise answer_of(error) from None
    return MultipartParser(boundary, PartLimits(
        settings.part_count, settings.part_head_size, settings.part_fields))
