"""Response: what a handler sends, and the one place where an answer's framing is decided.

The head is sent with the first bytes of the body, so until then status and headers may change. The
body is framed in one of four ways (RFC 9112 section 6):

    'sized'    Content-Length: the whole answer is known, or the handler has set the header
    'chunked'  the length is not known, and the client speaks HTTP/1.1
    'close'    the length is not known, and the client speaks HTTP/1.0, or `chunked` is False: the
               end of the connection is the end of the body
    'none'     HEAD, 204, 205 and 304 have no body: one that is given is not sent (bodiless.py), nor
               is that of an answer which a condition of the request has made a 304 or 412

A fifth is 'upgraded': after 101 there is no body, and the handler has the stream. A mistake is
found before anything is written, or the connection is aborted: the stream is never corrupt.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

from ..http import Encoded, Headers, encode_fields, status_line
from ..http.charset import charset_of, fault
from ..http.headers import SentHeaders
from ..loop import Future
from ..loop.stream import APART
from ..loop.threads import call_on_loop
from ..throttling import begin_answer
from ..typed import TYPE_CHECKING
from . import sending
from .bodiless import BODILESS, UNMET, frame_bodiless, leave_out
from .errors import HandlerError
from .response_head import HTML, OK, ResponseHead

if TYPE_CHECKING:
    from .connection import Connection
    from .request import Request


_JOIN = 65536    # Up to this size a whole answer is one piece, and waits for the end of the turn.


class Response(ResponseHead):
    """One answer. `status`, `content_type` and `headers` may be set until the first bytes go."""

    # (Made by `to`: without an `__init__`, as `Context`.)
    __slots__ = ('_left', 'ended', 'given', 'handler_timeout', 'live', 'yielded')

    ended: bool                      # Whether all is sent.
    given: int                       # Bytes of the body given to the stream; set with the head.
    handler_timeout: float | None    # Seconds, 0: no limit; None: as the server's option says.
    live: bool                       # Whether the connection waits for it (it sets this).
    _left: int                       # Bytes of a sized body that are still to come.
    # What its handler has yielded and what waits to be sent; only handlers of `web` set it.
    yielded: list[bytes]

    @staticmethod
    def to(request: Request, connection: Connection) -> Response:
        """Make the answer to a request. Hot."""
        response = Response()
        response.request = request
        response.connection = connection
        response.line = OK
        response._content_type = HTML
        response._chunked = True
        response._headers = None
        response.framing = ''
        response.ended = False
        response.handler_timeout = None
        response.live = True
        return response

    @property
    def head_sent(self) -> bool:
        """Whether the head has been sent."""
        return self.framing != ''

    begun = head_sent    # The old name.

    @property
    def size(self) -> int:
        """How many bytes of the body were given to the stream so far, without their framing."""
        return self.given if self.framing and self.framing != 'upgraded' else 0

    def set_encoded(self, status: int, fields: Encoded) -> None:
        """Set the status and all fields at once, when they are bytes already. Hot.

        Raises `HeaderError` for the status. The fields must be well-formed: nobody checks them.
        """
        if status == 200 and not self.framing:
            self.line = OK
        else:
            self.status = status
        self._headers = fields

    def encode(self, text: str) -> bytes:
        """Encode text by the charset of the Content-Type; raise `HeaderError` if it cannot be."""
        content_type: str | None = self._content_type
        if isinstance(self._headers, Headers):
            content_type = self._headers.get('content-type', content_type)
        try:
            return text.encode(charset_of(content_type))
        except (LookupError, UnicodeEncodeError) as error:
            raise fault(charset_of(content_type), error) from None

    # -- sending, for applications (sending.py) -------------------------------------------------

    def send(self, body: bytes | str = b'') -> Future:
        """Send the whole answer. Raises `HandlerError` for a wrong Content-Length."""
        return call_on_loop(self.connection.stream.reactor, sending.send_whole, self, body)

    def write(self, data: bytes | str) -> Future:
        """Send a piece of the body, and the head before the first piece, which may be b''.

        Return a Future to wait for: it is done when the client takes more. Raises `HandlerError`
        when the body is longer than its Content-Length, `StreamClosed` when the client is gone.
        """
        return call_on_loop(self.connection.stream.reactor, sending.write, self, data)

    def end(self, data: bytes | str = b'',
            trailers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> Future:
        """End the body, after a last piece; without a `write` before it is the whole answer.

        `trailers` are fields behind a body in chunks (RFC 9110 section 6.5), declared in the field
        Trailer; a client of HTTP/1.0 does not get them. Raises `HeaderError` for one that may not
        be sent, `HandlerError` if the body is shorter than its Content-Length, or has one.
        """
        return call_on_loop(self.connection.stream.reactor, sending.end, self, data, trailers)

    def hint(self, fields: Iterable[tuple[str, str]] | Mapping[str, str]) -> Future:
        """Send 103 Early Hints with these fields, unless the head is sent (RFC 8297)."""
        return call_on_loop(self.connection.stream.reactor, sending.hint, self, fields)

    # -- sending, for the server ----------------------------------------------------------------

    def send_body(self, body: bytes) -> None:
        """Send the whole answer. Raises `HandlerError` for a wrong Content-Length. Hot."""
        connection = self.connection
        if not self.live or self.framing:
            raise sending.too_late(self)
        server, head, line = connection.server, self.request, self.line
        whole, upload, size = b'', connection.request_body, len(body)
        if (head.keep_alive and head.minor and (upload is None or upload.done)
                and head.method != 'HEAD' and (line is OK or line[0] not in BODILESS)
                and size <= _JOIN and server.keep_alive
                and connection.stream.write_limit is None):
            # The usual case, in one step (measured: 0.7 us less than the steps below).
            if self._headers is None:
                start = server.heads.start(line, self._content_type)
                whole = b'%s%d\r\n\r\n%s' % (start, size, body)
            else:
                whole = self._with_own_fields(body)
        if whole:
            if head.mark is not None:
                whole = head.marked(whole)
            self.framing = 'sized'
            self.ended = True
            self.given = size
            connection.send_whole(self, whole)
        else:
            connection.send(self._begin(size))
            if type(self._headers) is Headers:
                self._seal()
            self.ended = True
            if self.line is line and head.method != 'HEAD' and line[0] not in BODILESS:
                self.given = size
                connection.send(body)
            connection.answered()

    def write_pieces(self, before: bytes, data: bytes) -> Future | None:
        """Send `before` and `data` as one piece of the body; a long `data` is not copied.

        (It may be a `Piece` of the loop that is longer than APART, behind a head or a `before`.)

        Return a Future to wait for when the client takes no more at present, else None.
        """
        if self.ended or not self.live:
            raise sending.too_late(self)
        connection, size = self.connection, len(before) + len(data)
        head = b'' if self.framing else self._begin(None)
        framing = self.framing
        if framing == 'sized':
            self._left -= size
            if self._left < 0:
                if head:
                    self.framing = ''    # Nothing is sent: an error's answer can take its place.
                too_many = -self._left
                raise HandlerError(f'the body is {too_many} bytes longer than its Content-Length')
        elif framing == 'none':
            if self.line[0] in BODILESS and self.line is not UNMET[304]:
                leave_out(self, size)
            before, data, size = b'', b'', 0
        elif framing == 'upgraded':
            raise HandlerError('after an upgrade write to the stream, nothing is to be yielded')
        if head and type(self._headers) is Headers:
            self._seal()
        self.given += size
        # (A long piece is sent as it is: it may be the same object for many slow clients.)
        if framing == 'chunked' and size:
            if len(data) > APART:
                connection.send(b'%s%x\r\n%s' % (head, size, before), (data, b'\r\n'))
            else:
                connection.send(b'%s%x\r\n%s%s\r\n' % (head, size, before, data))
        elif len(data) > APART:
            if first := head + before:
                connection.send(first, (data,))
            else:
                connection.send(data)    # (As it is: PyPy copies `b'' + data`.)
        elif head or size:
            connection.send(head + before + data)
        stream = connection.stream
        # (If the stream has just broken, it keeps nothing, and `Connection.stream_closed` has
        # stopped the handler.)
        return None if stream.buffered <= stream.high else stream.drain()

    def finish(self, trailers: bytes = b'') -> None:
        """End a body that has begun; `trailers` follow a chunked body.

        Raises `HandlerError` if the body is shorter than its Content-Length.
        """
        if self.ended or not self.live:
            return
        if self.framing == 'sized' and self._left:
            raise HandlerError(f'the body is {self._left} bytes shorter than its Content-Length')
        self.ended = True
        if self.framing == 'chunked':
            self.connection.send(b'0\r\n%s\r\n' % trailers)
        elif self.framing == 'close':
            self.connection.stream.end_by_reset(False)
        self.connection.answered()

    def send_hint(self, fields: bytes) -> None:
        """Send 103 Early Hints with these field lines, unless the head is sent (RFC 8297)."""
        if self.request.minor and not self.framing and self.live:
            self.connection.send(b'%s%s\r\n' % (status_line(103), fields))

    # -- the head -------------------------------------------------------------------------------

    def _begin(self, size: int | None) -> bytes:
        """Decide the framing of a body of `size` bytes (None: not known), return the head. Hot."""
        connection, head, line = self.connection, self.request, self.line
        length, close = None, False
        self.given = 0
        if connection.stream.write_limit is not None:
            begin_answer(self)
        if self._headers is None:
            start = head_start(line, '' if line[0] in BODILESS else self._content_type)
            common = connection.server.heads.common_fields()
        else:
            own = self._headers
            fields, length, close, date, server = own if type(own) is tuple else self._encoded()
            start = status_line(*self.line)
            # (After our `Connection: close`: some clients look at the first such field alone.)
            common = fields + connection.server.heads.common_fields(date, server)
        self.framing, framing = self._frame(size, length)
        # A body of unknown length that is not chunked ends with the connection.
        if not connection.keep_alive(head.keep_alive and not close and self.framing != 'close'):
            framing += b'Connection: close\r\n'
        elif not head.minor:
            framing += b'Connection: keep-alive\r\n'
        begin = b'%s%s%s\r\n' % (start, framing, common)
        return begin if head.mark is None else head.marked(begin)

    def _frame(self, size: int | None, length: int | None) -> tuple[str, bytes]:
        """Return the framing and its field line.

        `size` is the size of the body, `length` the Content-Length that the handler set; None: not
        known. Raises `HandlerError` if they contradict each other.
        """
        head, status = self.request, self.line[0]
        if self.line is UNMET.get(status):
            return 'none', b'' if status == 304 else b'Content-Length: 0\r\n'
        if status in BODILESS:
            return frame_bodiless(self, size, length)
        # An answer to HEAD has the length that the answer to GET would have.
        kind = 'none' if head.method == 'HEAD' else ''
        if length is not None:
            if size is not None and size != length and not kind:
                raise HandlerError(f'Content-Length is {length}, but the body has {size} bytes')
            size = length
        if size is not None:
            self._left = size
            return kind or 'sized', b'Content-Length: %d\r\n' % size
        if self._chunked and head.minor:
            return kind or 'chunked', b'Transfer-Encoding: chunked\r\n'
        if not kind:
            # Until the end of the body each close is a reset: after a FIN a part would look whole.
            self.connection.stream.end_by_reset(True)
        return kind or 'close', b''

    def _with_own_fields(self, body: bytes) -> bytes:
        """Make a whole answer in which all but the fields is ordinary, or nothing. Hot."""
        own, line = self._headers, self.line
        if type(own) is not tuple:
            lines = own.plain_lines()    # type: ignore[union-attr]
            if lines is not None:
                start = self.connection.server.heads.start(line, self._content_type)
                own.__class__ = SentHeaders    # As `_seal` does, without the call.
                return b'%s%d\r\n%s\r\n%s' % (start, len(body), lines, body)
            own = self._encoded()
        fields, length, close, date, server = own
        if (self.line is not line or close or not (date and server)
                or (length is not None and length != len(body))):
            return b''
        start = self.connection.server.heads.start(self.line, '')
        if own is not self._headers:
            self._seal()
        return b'%s%d\r\n%s\r\n%s' % (start, len(body), fields, body)


# (Python 3.11 finds a name of the module 0.1 us sooner than a static method.)
answer_to = Response.to


@functools.lru_cache(maxsize=256)
def head_start(line: tuple[int, str | None], content_type: str) -> bytes:
    """Encode the status line and the Content-Type field. Raises `HeaderError`."""
    typed = encode_fields([('Content-Type', content_type)]) if content_type else b''
    return status_line(*line) + typed
