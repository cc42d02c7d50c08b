"""Response: what a handler sends, and the one place where an answer's framing is decided.

The head goes out with the first bytes of the body, so until then status and headers may change. The
body is framed in one of four ways (RFC 9112 section 6):

    'sized'    Content-Length: the whole answer is known, or the handler set the header
    'chunked'  the length is not known and the client speaks 1.1
    'close'    neither: the end of the connection is the end of the body
    'none'     HEAD, 204 and 304 have no body; what is given for one is counted, not sent

A mistake is found before anything is written, or the connection is cut: never a corrupt stream.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ..http import (
    LAST_CHUNK,
    HeaderError,
    Headers,
    chunk,
    encode_fields,
    format_cookie,
    status_line,
)
from ..loop import Future, Stream, StreamClosed
from .errors import HandlerError, phrase

if TYPE_CHECKING:
    from .connection import Connection
    from .request import Request

HTML = 'text/html; charset=utf-8'
TEXT = 'text/plain; charset=utf-8'

OK: tuple[int, str | None] = (200, None)

# Their answers have no body, whatever the method (RFC 9112 section 6.3).
_BODILESS = frozenset((204, 304))

# Up to this size head and body are joined into one send; copying more costs more than a call.
_JOIN = 65536


class Response:
    """One answer. `status`, `content_type` and `headers` may be set until the first bytes go."""

    # (Made by `to`, see `Request`.)
    __slots__ = ('_headers', '_left', '_line', 'chunked', 'connection', 'content_type', 'ended',
                 'framing', 'request')

    connection: Connection
    request: Request
    # The status and its phrase; None for the standard one.
    _line: tuple[int, str | None]
    # '' for no Content-Type at all.
    content_type: str
    # False: never chunked, the close ends a body of unknown length.
    chunked: bool
    _headers: Headers | None
    # How the body is framed; '' before the head is sent. Whether all is sent.
    framing: str
    ended: bool
    # Bytes of a sized body that are still to come.
    _left: int

    @staticmethod
    def to(request: Request, connection: Connection) -> Response:
        """Make the answer to a request. Hot."""
        response = Response()
        response.request = request
        response.connection = connection
        response._line = OK
        response.content_type = HTML
        response.chunked = True
        response._headers = None
        response.framing = ''
        response.ended = False
        return response

    @property
    def begun(self) -> bool:
        """Whether the head has been sent."""
        return self.framing != ''

    @property
    def status(self) -> int:
        """The status, 200 to 599. Raises `HeaderError` for another, or once the head is sent."""
        return self._line[0]

    @status.setter
    def status(self, status: int | tuple[int, str]) -> None:
        code, reason = status if isinstance(status, tuple) else (status, None)
        if self.begun:
            raise HeaderError('the head is sent already: the status cannot change')
        if not isinstance(code, int) or not 200 <= code <= 599:
            raise HeaderError(f'{code!r} is no status of a final answer (200..599)')
        status_line(code, reason)
        self._line = code, reason

    @property
    def headers(self) -> Headers:
        """The header fields; a bad name or value raises `HeaderError` where it is set."""
        if self._headers is None:
            self._headers = Headers()
        return self._headers

    def set_cookie(self, name: str, value: str = '', **attributes: Any) -> None:
        """Set a cookie; without `max_age` and `expires` it lasts as long as the browser runs.

        `attributes` are those of `tremolo.http.format_cookie`: max_age (seconds), expires, path,
        domain, secure, httponly, samesite. Raises `HeaderError` for what RFC 6265 does not allow.
        """
        self.headers.add('Set-Cookie', format_cookie(name, value, **attributes))

    # -- sending --------------------------------------------------------------------------------

    def send(self, body: bytes) -> None:
        """Send the whole answer. Hot: once per request.

        Raises `HandlerError` when a Content-Length was set that is not the body's size.
        """
        connection = self.connection
        if connection.response is not self or self.framing:
            raise self._too_late()
        if type(body) is not bytes:
            body = _bytes_of(body)
        server, head, line = connection.server, self.request, self._line
        if (self._headers is None and head.keep_alive and head.minor and not head.has_body
                and head.method != 'HEAD' and line[0] not in _BODILESS and len(body) <= _JOIN
                and server.keep_alive):
            # The usual case, in one step (measured: 0.7 us less than the way below).
            start = server.answer_start(line, self.content_type)
            self.framing = 'sized'
            self.ended = True
            connection.send_whole(b'%s%d\r\n\r\n%s' % (start, len(body), body))
        else:
            connection.send(self._begin(len(body)))
            self.ended = True
            if head.method != 'HEAD':
                connection.send(body)
            connection.answered()

    def write(self, data: bytes) -> Future | None:
        """Send a piece of the body, and the head before the first; return a Future to wait for.

        Raises `HandlerError` when that is more than the Content-Length.
        """
        if self.ended or self.connection.response is not self:
            raise self._too_late()
        if type(data) is not bytes:
            data = _bytes_of(data)
        head = b'' if self.begun else self._begin(None)
        framing = self.framing
        if framing == 'sized':
            if len(data) > self._left:
                too_many = len(data) - self._left
                self._left = -1
                if head:
                    # Nothing of it is sent, so an error's answer can take its place.
                    self.framing = ''
                raise HandlerError(f'the body is {too_many} bytes longer than its Content-Length')
            self._left -= len(data)
        elif framing == 'chunked' and data:
            data = chunk(data)
        elif framing == 'none':
            data = b''
        elif framing == 'upgraded':
            raise HandlerError('after an upgrade write to the stream, nothing is to be yielded')
        if head or data:
            self.connection.send(head + data)
        stream = self.connection.stream
        # A stream that has just broken ends the handler by its own way.
        return None if stream.closed else stream.drain()

    def end(self) -> None:
        """Send the end of the body. Raises `HandlerError` if it is shorter than announced."""
        if self.ended or self.connection.response is not self:
            return
        if self.framing == 'sized' and self._left:
            raise HandlerError(f'the body is {self._left} bytes shorter than its Content-Length')
        self.ended = True
        if self.framing == 'chunked':
            self.connection.send(LAST_CHUNK)
        self.connection.answered()

    def upgrade(self, protocol: str) -> Stream:
        """Answer 101 and take over the stream, to speak `protocol` on it (RFC 9110 section 7.8).

        What the client sent ahead is read first from it. The connection closes when the handler
        ends. Raises `HandlerError` if the client did not ask for it, or announced a body.
        """
        offered = (self.request.upgrade or b'').decode('latin-1').lower().split(',')
        if self.begun or protocol.lower() not in [each.strip() for each in offered]:
            raise HandlerError(f'the client does not offer to upgrade to {protocol}')
        stream = self.connection.upgrade()
        self.framing = 'upgraded'
        self.headers['Upgrade'] = protocol
        self.connection.send(b'%sConnection: upgrade\r\n%s%s\r\n' % (
            status_line(101), encode_fields(self.headers.items()),
            self.connection.server.common_fields()))
        stream.unread(self.connection.parser.rest())
        return stream

    def _too_late(self) -> Exception:
        """Say why nothing can be sent: what comes after an answer would be taken for the next."""
        if self.begun:
            return HandlerError('the answer is sent already')
        return StreamClosed(self.connection.stream.cause)

    def reset(self) -> None:
        """Forget status and headers, for an error's answer in their place."""
        self._line = OK
        self._headers = None
        self.content_type = HTML

    # -- the head -------------------------------------------------------------------------------

    def _begin(self, size: int | None) -> bytes:
        """Decide the framing of a body of `size` bytes (None: not known) and make the head. Hot."""
        connection, head, line = self.connection, self.request, self._line
        common = connection.server.common_fields()
        content_type = self.content_type
        more = b''
        close = False
        if self._headers is not None:
            more, common, size, close, content_type = self._own_fields(size)
        if head.method == 'HEAD' or line[0] in _BODILESS:
            kind, framing = 'none', self._no_body(size)
            if line[0] in _BODILESS:
                content_type = ''
        elif size is not None:
            kind, framing = 'sized', b'Content-Length: %d\r\n' % size
            self._left = size
        elif self.chunked and head.minor:
            kind, framing = 'chunked', b'Transfer-Encoding: chunked\r\n'
        else:
            # Only the close ends this body.
            kind, framing = 'close', b''
            close = True
        start = head_start(line, content_type)
        self.framing = kind
        if not connection.keep_alive(head.keep_alive and not close):
            framing += b'Connection: close\r\n'
        elif not head.minor:
            framing += b'Connection: keep-alive\r\n'
        return b'%s%s%s%s\r\n' % (start, framing, more, common)

    def _own_fields(
        self, size: int | None
    ) -> tuple[bytes, bytes, int | None, bool, str]:
        """Encode what the handler set, and take out what rules the framing."""
        fields = self.headers
        close = False
        if 'content-length' in fields:
            announced = self._announced(fields['content-length'], size)
            # A 304 may tell the length of what it stands for (RFC 9110 section 8.6).
            if self.status != 304:
                size = announced
                del fields['content-length']
        if 'connection' in fields:
            close = fields['connection'].lower() == 'close'
            del fields['connection']
        common = self.connection.server.common_fields(
            date='date' not in fields, server='server' not in fields)
        content_type = '' if 'content-type' in fields else self.content_type
        return encode_fields(fields.items()), common, size, close, content_type

    def _no_body(self, size: int | None) -> bytes:
        """Frame an answer without a body; HEAD tells the length that GET would have had."""
        if self.status in _BODILESS:
            if size:
                raise HandlerError(f'an answer of status {self.status} has no body')
            return b''
        if size is not None:
            return b'Content-Length: %d\r\n' % size
        return b'Transfer-Encoding: chunked\r\n' if self.chunked and self.request.minor \
            else b''

    def _announced(self, value: str, size: int | None) -> int:
        if not (value.isascii() and value.isdigit()):
            raise HandlerError(f'Content-Length {value[:64]!r} is no number')
        if (size is not None and int(value) != size and self.request.method != 'HEAD'
                and self.status != 304):
            raise HandlerError(f'Content-Length is {value}, but the body has {size} bytes')
        return int(value)


def _bytes_of(body: bytes) -> bytes:
    """Copy what is like bytes; its length may count other things than bytes."""
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise HandlerError(f'a body is bytes, not {type(body).__name__}')
    return bytes(body)


# (Python 3.11 finds a name of the module 0.1 us sooner than a static method.)
answer_to = Response.to


@functools.lru_cache(maxsize=256)
def head_start(line: tuple[int, str | None], content_type: str) -> bytes:
    """Encode the status line and the Content-Type field. Raises `HeaderError`."""
    typed = encode_fields([('Content-Type', content_type)]) if content_type else b''
    return status_line(*line) + typed


def refusal(status: int, common: bytes) -> bytes:
    """Make the whole answer to what is no request; nothing of it is repeated to the client."""
    body = b'%d %s\n' % (status, phrase(status).encode('ascii'))
    return b'%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close' \
        b'\r\n%s\r\n%s' % (status_line(status), len(body), common, body)
