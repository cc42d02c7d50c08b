"""Request: what a handler of an application with routes reads: the server's, and what is decoded.

The server makes its requests of this class (`Server.request_class`). An application for ASGI reads
the server's own, which knows nothing of forms.

A body is read as JSON (RFC 8259) by one rule: what is read could be sent again. So what is no JSON
for others, though Python reads it, is refused: NaN and Infinity, a number that is too large for a
float (`1e999`), half of a surrogate pair in a string, which no UTF-8 can hold (RFC 7493 section
2.1), and any charset but UTF-8 (RFC 8259 section 8.1). A byte order mark is passed over. An int of
more than 4,300 digits is refused, too, as Python itself does not write it in decimals, and what is
nested deeper than Python's stack. Of a name that is there twice the last value counts.

While it is parsed everybody waits, so it has a limit of its own, `json_size`. (Not on a thread:
`json.loads` holds the interpreter's lock from the first byte to the last.) Measured for 256 KiB, in
ms on CPython 3.9, 3.11, 3.13 and PyPy 3.9: records with a list in each 3, 3, 3, 18; floats 7, 7,
11, 9; the worst is lists in lists: 26, 17, 17, 40; on a busy machine twice as much.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Generator

from .. import server
from ..http.cookies import read_cookies
from ..http.form import Fields, read_fields
from ..late import expression
from ..loop import Future
from ..loop.future import on_loop
from ..loop.shared_future import SharedFuture
from ..server.errors import NO_KEYS, BadRequest, HandlerError, PayloadTooLarge
from ..typed import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from ..uploads import Files

_LONG = 16384    # Characters of a JSON for which the collector is stopped.
# What may be half of a pair: `\ud83d\ude00` is a whole one, `\\ud83d` is no escape at all.
_SURROGATE = expression(r'\\u[dD][89a-fA-F]')
# All escapes but halves. (64 at once: sre notes down each repeat of a group.)
_WHOLE = expression(
    r'(?:\\(?:[^u]|u(?![dD][89a-fA-F])|u[dD][89abAB]..\\u[dD][c-fC-F])){1,64}')


class Request(server.Request):
    """One request. Body reads are Futures: `data = yield request.read(65536)`."""

    __slots__ = ()

    @property
    def query(self) -> Fields:
        """The fields of the query, each with all its values; the same dictionary each time.

        Raises `BadRequest` for more than 1,000 fields.
        """
        parts = self.kept = {} if self.kept is None else self.kept
        if 'query' not in parts:
            try:
                parts['query'] = read_fields(self.query_string)
            except ValueError:
                parts['query'] = None
        fields: Fields | None = parts['query']
        if fields is None:
            raise BadRequest('too many fields in the query')
        return fields

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the client sent; the same dictionary each time."""
        parts = self.kept = {} if self.kept is None else self.kept
        if 'cookies' not in parts:
            parts['cookies'] = read_cookies(
                value for name, value in self.fields if name == b'cookie')
        cookies: dict[str, str] = parts['cookies']
        return cookies

    def json(self) -> Future:
        """Read the whole body as JSON in UTF-8; the same value each time.

        Raises `PayloadTooLarge` beyond the option `json_size`, and `BadRequest` if it is none. NaN,
        Infinity, a number that is too large, and half of a surrogate pair are none either: what is
        read could be sent again.
        """
        return self._task(self._json())

    def accepts(self, *offers: str) -> str | None:
        """Return the media type that the client likes best, of equals the first; None if none.

            kind = request.accepts('text/html', 'application/json')

        The rules are those of RFC 9110 section 12.5.1: a client that sends no Accept likes all.
        Raises `ValueError` for an offer that is no media type.
        """
        from ..http.accept import best_of, read_elements  # (`Application.route` has imported it.)
        parts = self.kept = {} if self.kept is None else self.kept
        if 'accept' not in parts:
            parts['accept'] = read_elements(', '.join(self.headers.get_all('accept')) or '*/*')
        return best_of(parts['accept'], offers)

    def signed_cookie(self, name: str, max_age: float | None = None) -> str | None:
        """Return the value of a cookie that `response.set_cookie(name, value, signed=True)` set.

        None if there is none, if it was not signed with one of `app.secret_keys`, or if it was
        signed more than `max_age` seconds ago. Raises `HandlerError` without keys.
        """
        signer = self.signer
        if signer is None:
            raise HandlerError(NO_KEYS)
        signed, now = self.cookies.get(name, ''), self.connection.server.reactor.wall_clock()
        value: str | None = signer.read(name, signed, now, max_age)
        return value

    @property
    def root_path(self) -> str:
        """The prefix at which the application is mounted that answers; '' if it is not."""
        place = self.kept.get('place') if self.kept is not None else None
        return '' if place is None else str(place.root_path)

    @property
    def signer(self) -> Any:
        """What signs the cookies of the application; None without keys."""
        place = self.kept.get('place') if self.kept is not None else None
        return (self.connection.server if place is None else place.service).signer

    @property
    def disconnected(self) -> Future:
        """Done when the client is gone: its connection has ended; the value is the reason.

        The handler itself is cancelled then. This is for what goes on: a thread asks `.done()`, a
        job waits for it. It may be asked for on any thread, and is the same each time.
        """
        connection = self.connection
        reactor = connection.stream.reactor
        watched = connection.server.watched
        future = watched.setdefault(connection, _Gone(reactor))
        if connection.stream.closed and not future.done():
            # (It is gone, or goes just now, seen from another thread.)
            on_loop(reactor, _settle, watched, connection)
        return future

    # (The room `uploads` is imported late: few programs have forms. `Application.route` imports it
    # with the first route that takes a body, so that no request does.)

    def form(self) -> Future:
        """Read the fields of a form, each with all its values; the same dictionary each time.

        They are those of an urlencoded body, or the text parts of a multipart one, whose files are
        passed over: see `files`. The Future raises `UnsupportedMediaType` for another Content-Type,
        `BadRequest` for a malformed form, `PayloadTooLarge` beyond the options `form_size` and
        `form_fields`, and `HandlerError` if the body is read in another way, too.
        """
        from ..uploads import form_of
        return form_of(self)

    def files(self) -> Files:
        """Return the parts of an upload, to be read as they arrive: files and fields, in order.

            files = request.files()
            while part := (yield files.next()):
                yield part.save(path)

        Raises `UnsupportedMediaType` for what is no multipart/form-data, `BadRequest` without a
        usable boundary, and `HandlerError` if the body is read in another way, too.
        """
        from ..uploads import files_of
        return files_of(self)

    def _json(self) -> Generator[Future, Any, Any]:
        settings = self.connection.server.settings
        most = settings.json_size
        less = (most, 'json_size') if most < settings.body_buffer_size else ()
        body: bytes = yield from self._body(*less)
        if len(body) > most:    # (`body()` has read it.)
            raise PayloadTooLarge(f'the body exceeds {most} bytes (json_size)')
        parts = self.kept = {} if self.kept is None else self.kept
        if 'json' not in parts:
            try:
                parts['json'] = read_json(body), ''
            except ValueError as error:
                why = f': {error}' if error.args else ''
                parts['json'] = None, f'the body is not JSON{why}'
        value, fault = parts['json']
        if fault:
            raise BadRequest(fault)
        return value


class _Gone(SharedFuture):
    """A `disconnected`: it is no bool, and no method."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise TypeError('request.disconnected is a Future, done when the client is gone: write '
                        '`if request.disconnected.done():`')

    __call__ = __bool__


def _settle(watched: dict[Any, SharedFuture], connection: Any) -> None:
    """Complete the Future of a connection that had ended before it was asked for."""
    if connection in watched:
        watched.pop(connection).set_result(connection.reason)


def read_json(data: bytes) -> Any:
    """Return the value of a text.

    Raises `ValueError`: it says which rule is broken, '' if it is the grammar's, and holds nothing
    of the text. (Python's own errors do, on PyPy.)
    """
    try:
        # (The codec `utf-8-sig` would be imported by the first request.)
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f'it is not UTF-8 at byte {error.start}') from None
    try:
        value = _decode(text[text.startswith('\ufeff'):])
        if _SURROGATE.search(text) and '\\' in _WHOLE.sub('', text):
            raise _NotJSON('a string has half of a surrogate pair')
        return value
    except json.JSONDecodeError:
        raise ValueError from None
    except RecursionError:
        raise ValueError('it is nested too deep') from None
    except _NotJSON as error:
        raise ValueError(str(error)) from None
    except ValueError:
        raise ValueError('a number has too many digits') from None


def _decode(text: str) -> Any:
    """Read a text. There are no cycles in what is read, so the collector would look in vain.

    (It looks again and again while there are more lists: that took half of the time.)
    """
    if len(text) < _LONG or not gc.isenabled():
        return _DECODER.decode(text)
    gc.disable()
    try:
        return _DECODER.decode(text)
    finally:
        gc.enable()


class _NotJSON(ValueError):
    """A value that Python reads, and that is no JSON."""


def _constant(name: str) -> float:
    raise _NotJSON(f'{name} is no number of JSON')


def _float(digits: str) -> float:
    value = float(digits)
    if value - value:    # (Of infinity it is NaN.)
        raise _NotJSON('a number is too large')
    return value


_DECODER = json.JSONDecoder(parse_constant=_constant, parse_float=_float)
