"""Response head: what an application sets before an answer begins, checked where it is set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ..errors import SettingError
from ..http import Encoded, HeaderError, Headers, format_cookie
from ..http.conditions import outcome
from ..http.encoder import encode
from ..http.headers import SentHeaders
from ..http.replaced import checked_status, fields_kept
from ..http.text_fields import encode_pair
from ..loop import Stream
from ..settings.kinds import KINDS
from ..throttling import Download, rate_of
from ..typed import TYPE_CHECKING, Any
from .bodiless import BODILESS, UNMET, UNTRUE
from .errors import NO_KEYS, HandlerError
from .upgrade import switch

if TYPE_CHECKING:
    from .connection import Connection
    from .request import Request

HTML = 'text/html; charset=utf-8'
TEXT = 'text/plain; charset=utf-8'

OK: tuple[int, str | None] = (200, None)


class ResponseHead:
    """The status and the fields of an answer."""

    __slots__ = ('_chunked', '_content_type', '_headers', 'connection', 'framing', 'line',
                 'request')

    # What stands around the answer; only a response of the room `around` has something.
    layers: Sequence[Any] = ()
    connection: Connection
    request: Request
    # The status and its phrase; None for the standard one. Applications have `status`, which checks
    # what is set. (To read that is a call, which takes as long as to count an answer.)
    line: tuple[int, str | None]
    _content_type: str
    _chunked: bool
    _headers: Headers | Encoded | None
    framing: str                     # How the body is framed; '' before the head is sent.

    @property
    def status(self) -> int:
        """The status, 200 to 599. Raises `HeaderError` for another, or once the head is sent."""
        return self.line[0]

    @status.setter
    def status(self, status: int | tuple[int, str]) -> None:
        self._refuse_late('the status cannot change')
        self.line = checked_status(status)

    @property
    def content_type(self) -> str:
        """The Content-Type, '' for none. Raises `HeaderError` once the head is sent."""
        return self._content_type

    @content_type.setter
    def content_type(self, content_type: str | None) -> None:
        self._refuse_late('the Content-Type cannot change')
        if not isinstance(content_type, (str, type(None))):
            raise TypeError(f'content_type is str, not {type(content_type).__name__}: write '
                            "'text/plain'")
        self._content_type = content_type or ''

    @property
    def chunked(self) -> bool:
        """Whether a body of unknown length is sent in chunks; False: the close ends it.

        Raises `HeaderError` once the head is sent.
        """
        return self._chunked

    @chunked.setter
    def chunked(self, chunked: bool) -> None:
        self._refuse_late('the framing cannot change')
        self._chunked = chunked

    @property
    def headers(self) -> Headers:
        """The header fields; a bad name or value raises `HeaderError` where it is set.

        Once the head is sent they can be read, and not changed.
        """
        if not isinstance(self._headers, Headers):
            self._headers = Headers()
        if self.framing:
            self._seal()
        return self._headers

    @headers.setter
    def headers(self, fields: Headers | Mapping[str, str | int]
                | Iterable[tuple[str, str | int]]) -> None:
        """Set these fields, and no others. Raises as `Headers` does."""
        self._refuse_late('the headers cannot change')
        self._headers = Headers(
            fields.items() if isinstance(fields, (Headers, Mapping)) else fields)

    def _seal(self) -> None:
        """Refuse changes of the fields, which are sent, also by who has taken them before."""
        if isinstance(self._headers, Headers):
            self._headers.__class__ = SentHeaders

    def _refuse_late(self, what: str) -> None:
        """Raise `HeaderError` once the head is sent: what is set then would be lost."""
        if self.framing:
            raise HeaderError(f'the head is sent already: {what}')

    @property
    def rate(self) -> int:
        """Bytes/second at most, instead of the option `download_rate`; 0: no limit.

        It may be set as an option is: `'64KiB'`, or None for no limit. Raises `HandlerError` for a
        value that is no rate, or once the head is sent.
        """
        return rate_of(self)

    @rate.setter
    def rate(self, rate: int | str | None) -> None:
        if self.framing:
            raise HandlerError('the head is sent already: the rate cannot change')
        rate_answer(self, rate)

    def cut(self, reason: str) -> None:
        """Take the end of an answer that is not complete; only `layers` want to know."""

    def _encoded(self) -> Encoded:
        """Return the fields that were set as bytes, Content-Type among them.

        A condition of the request may make a 304 or 412 of an answer of 200 with an ETag or a
        Last-Modified (bodiless.py); then the status line is another afterwards.
        """
        headers, line = self.headers, self.line
        if line[0] == 200 and any(headers.validators):
            now = self.connection.stream.reactor.wall_clock()
            self.line = UNMET.get(outcome(self.request, *headers.validators, now), line)
            if self.line is not line:
                for name in UNTRUE[self.line[0]]:
                    headers.pop(name)
        lines = headers.raw_items()
        if self._content_type and 'content-type' not in headers and self.status not in BODILESS:
            lines.insert(0, encode_pair('Content-Type', self._content_type))
        return encode(lines, refuse_coding=True)

    def set_cookie(self, name: str, value: str = '', *, signed: bool = False,
                   **attributes: Any) -> None:
        """Set a cookie; without `max_age` and `expires` it lasts as long as the browser runs.

        One that is `signed` may have any text, which the client can read and cannot change:
        `request.signed_cookie(name)` gives it back. Without `app.secret_keys`: `HandlerError`.

        `attributes` are those of `tremolo.http.format_cookie`: max_age (seconds), expires, path,
        domain, secure, httponly, samesite. Raises `HeaderError` for values that RFC 6265 forbids,
        or once the head is sent.
        """
        if signed:
            signer = self.request.signer
            if signer is None:
                raise HandlerError(NO_KEYS)
            value = signer.sign(name, value, self.connection.server.reactor.wall_clock())
        self.headers.add('Set-Cookie', format_cookie(name, value, **attributes))

    def upgrade(self, protocol: str) -> Stream:
        """Answer 101 and return the stream, to speak `protocol` on it (RFC 9110 section 7.8).

        Bytes that the client sent ahead are read first. The connection closes when the handler
        ends. Raises `HandlerError` if the client does not offer the protocol, or announced a body.
        """
        stream = self.switch(protocol)
        stream.fill(self.connection.parser.rest())
        return stream

    def switch(self, protocol: str) -> Stream:
        """Do the same, and leave what the client sent ahead to the caller (`parser.rest`)."""
        stream = switch(self, protocol)
        self._seal()
        self.line = 101, None
        return stream

    def reset(self, meant: bool = True) -> None:
        """Forget the status and what describes a body: an error is answered instead.

        Cookies and other fields stay: a browser shows a page the error of another origin only with
        the fields of CORS. `meant` is False for an answer that the application did not choose.
        """
        self.line = OK
        self._content_type = HTML
        # (An ASGI application sets all fields at once, or none.)
        own = self._headers if isinstance(self._headers, Headers) else None
        self._headers = fields_kept(own, meant) if own is not None else None


def checked_rate(rate: Any) -> int:
    """Return a rate in bytes/second; 0: no limit. Raises `HandlerError`."""
    try:
        number: int = 0 if rate in (None, 'off') else KINDS['rate'].convert(rate)
    except (SettingError, TypeError, ValueError, BytesWarning):
        number = -1
    if number < 0:
        # (`'1MB'`: a unit of others, of which we know ours.)
        unit = re.fullmatch('([0-9]+) ?([kmg])b', rate.lower()) if isinstance(rate, str) else None
        hint = f': write {unit[1] + unit[2].upper() + "iB"!r}' if unit else ''
        raise HandlerError(f'rate: {rate!r:.64} is not {KINDS["rate"].accepts}, or None{hint}')
    return number


def rate_answer(response: ResponseHead, rate: Any) -> None:
    """Set the rate of an answer, in bytes/second; None: no limit. Raises `HandlerError`."""
    connection, number = response.connection, checked_rate(rate)
    limit = connection.stream.write_limit
    if limit is None:
        limit = connection.stream.write_limit = Download(connection, None, None)
    if isinstance(limit, Download):
        limit.rate(response, number)
