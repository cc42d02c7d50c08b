"""FileAnswer: a file as the whole answer of a handler, with its conditions and ranges.

    200    the file
    206    a part of it, or several (`multipart/byteranges`)
    304    the client has it already
    412    the client wants another state of it than it has
    416    the file has none of the bytes that are asked for

Conditions and ranges are for GET and for an answer of 200 (a handler may send a page of 404 with
it), conditions for HEAD, too. What a handler has set itself stays: a field, the Content-Type.

A short answer is read at once. Of a longer one the stream has the pieces (piece.py), and sends them
as fast as the client and the limits of rate allow; until then the request is in hand.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterable
from functools import lru_cache, partial

from ..http import http_date
from ..http.conditions import may_be_part, outcome
from ..http.ranges import Range, content_range, ranges_of
from ..http.replaced import replace_fields
from ..loop import Future
from ..loop.stream import APART
from ..pages import send_error
from ..server import HandlerError, HTTPError, Response
from ..server.bodiless import BODILESS
from ..server.response_head import HTML
from ..typed import Any
from .content_types import content_type_of
from .disposition import attachment
from .piece import FilePiece, is_closed

_log = logging.getLogger('tremolo.error')

_SHORT = 65536    # An answer of so many bytes is read at once, and sent with its head.

_date = lru_cache(maxsize=1024)(http_date)

# What goes before a part of the file, where it begins, and how long it is.
_Piece = tuple[bytes, int, int]


class FileAnswer:
    """A file that a handler returns: `return send_file('report.pdf')`.

    It owns the file, and closes it when it is sent, or cannot be.
    """

    __slots__ = ('_begin', '_fd', '_file', 'content_type', 'download_name', 'etag', 'headers',
                 'modified', 'name', 'size')

    def __init__(self, file: Any, fd: int, begin: int, size: int, name: str,
                 content_type: str | None = None, modified_ns: int | None = None, coding: str = '',
                 headers: Iterable[tuple[str, str]] = (), download_name: str | None = None) -> None:
        """`size` bytes of a file from `begin` on, and what is to be said of them.

        `fd` is the descriptor of a regular file with the bytes of `file`, or -1. `modified_ns` is
        its time in nanoseconds since 1970; without one it has neither ETag nor Last-Modified. The
        `coding` is part of the ETag: the same file, compressed, is another one.
        """
        self._file = file
        self._fd = fd
        self._begin = begin
        self.size = size
        self.name = name
        self.content_type = content_type
        self.download_name = download_name
        self.headers = headers
        self.etag = self.modified = None
        if modified_ns is not None:
            self.etag = f'"{size}-{modified_ns}{"-" + coding if coding else ""}"'
            self.modified = modified_ns // 1_000_000_000

    @classmethod
    def opened(cls, fd: int, found: os.stat_result, name: str, content_type: str | None = None,
               coding: str = '', headers: Iterable[tuple[str, str]] = (),
               download_name: str | None = None) -> FileAnswer:
        """Make an answer of a descriptor, which it then owns, and of what `os.fstat` found."""
        return cls(io.FileIO(fd), fd, 0, found.st_size, name, content_type, found.st_mtime_ns,
                   coding, headers, download_name)

    def close(self) -> None:
        """Close the file; harmless when it is closed."""
        self._file.close()

    def answer(self, response: Response) -> None:
        """Send it as the whole answer. The file is closed whatever happens."""
        try:
            self._answer(response)
        except BaseException:
            self.close()
            raise

    def _answer(self, response: Response) -> None:
        if is_closed(self._file):
            raise HandlerError(f'the file {self.name!a:.200} is closed already: open it for '
                               'each answer, without `with`; it is closed when it is sent')
        request, headers = response.request, response.headers
        self._describe(response)
        parts: list[Range] | None = None
        if response.status == 200 and request.method in ('GET', 'HEAD'):
            headers.setdefault('Accept-Ranges', 'bytes')
            now = response.connection.stream.reactor.wall_clock()
            status = outcome(request, *headers.validators, now)
            if status == 304:
                headers.pop('Content-Encoding')
                response.status = 304
            elif status:
                return self._refuse(response, HTTPError(status))
            elif request.method == 'GET':
                wanted = next((value for name, value in request.fields if name == b'range'), b'')
                if wanted and may_be_part(request, *headers.validators, now):
                    parts = ranges_of(wanted, self.size)
        if parts == []:
            return self._refuse(response, HTTPError(416, headers={
                'Content-Range': content_range(None, self.size)}))
        if self.download_name is not None and response.status != 304:
            headers.setdefault('Content-Disposition', attachment(self.download_name))
        if request.method == 'HEAD' or response.status in BODILESS:
            self.close()
            if response.status not in BODILESS:
                headers['Content-Length'] = self.size
            return response.send_body(b'')
        return self._send(response, self._pieces(response, parts))

    def _describe(self, response: Response) -> None:
        """Set the fields that say what it is, where the handler has not set them."""
        headers = response.headers
        if self.headers:
            replace_fields(headers, self.headers)
        if self.content_type is not None:
            response.content_type = self.content_type
        elif response.content_type is HTML:
            response.content_type = content_type_of(self.download_name or self.name)
        if self.etag is not None and self.modified is not None:
            headers.setdefault('ETag', self.etag)
            # (A time that is yet to come must not be told, RFC 9110 section 8.8.2.1.)
            now = response.connection.stream.reactor.wall_clock()
            headers.setdefault('Last-Modified', _date(max(0, min(self.modified, int(now)))))

    def _refuse(self, response: Response, error: HTTPError) -> None:
        self.close()
        # (No cache may keep it: what the handler has said to caches is said of the file. A 416 that
        # is kept would be the answer to who asks for all of it, RFC 9111 section 3.)
        response.reset(meant=False)
        send_error(response, error)

    # -- the body -------------------------------------------------------------------------------

    def _pieces(self, response: Response, parts: list[Range] | None) -> list[_Piece]:
        """Set the status and the fields that belong to the parts; return the pieces of the body."""
        if parts is None:
            return [(b'', self._begin, self.size)]
        headers = response.headers
        response.status = 206
        if len(parts) == 1:
            (begin, end), = parts
            headers['Content-Range'] = content_range(parts[0], self.size)
            return [(b'', self._begin + begin, end - begin)]
        boundary = os.urandom(16).hex()
        kind = headers.pop('Content-Type') or response.content_type
        response.content_type = f'multipart/byteranges; boundary={boundary}'
        return [*((f'\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: '
                   f'{content_range(part, self.size)}\r\n\r\n'.encode('latin-1'),
                   self._begin + part[0], part[1] - part[0]) for part in parts),
                (f'\r\n--{boundary}--\r\n'.encode(), 0, 0)]

    def _send(self, response: Response, pieces: list[_Piece]) -> None:
        # (Of a long answer a part that is no longer than APART would be copied by who sends it.)
        short = _SHORT if sum(size for _, _, size in pieces) <= _SHORT else APART
        long = [piece for piece in pieces if piece[2] > short]
        # What can fail comes before the first byte of the answer.
        body: list[tuple[bytes, Any]] = []
        for piece in pieces:
            before, begin, size = piece
            body.append((before, self._read(begin, size) if size <= short else FilePiece(
                self._file, self._fd, begin, size, partial(self._failed, response),
                last=piece is long[-1])))
        if not long:
            self.close()
            return response.send_body(b''.join(each for pair in body for each in pair))
        response.headers['Content-Length'] = sum(len(each) for pair in body for each in pair)
        wait: Future | None = None
        for before, data in body:
            wait = response.write_pieces(before, data)
        if response.connection.stream.closed:
            self.close()    # (It has kept nothing.)
        elif wait is None:
            response.finish()
        else:
            wait.add_done_callback(partial(_finish, response))
        return None

    def _read(self, begin: int, size: int) -> Any:
        """Read a short part. Raises `OSError` if the file has become shorter."""
        self._file.seek(begin)
        data: bytes = self._file.read(size)
        # (A raw file, or an object of anybody's, may return less than there is.)
        while len(data) < size:
            more = self._file.read(size - len(data))
            if not more:
                raise OSError(f'{self.name!a} ended {size - len(data):,} bytes too early')
            data += more
        return data

    def _failed(self, response: Response, why: str) -> None:
        """Cut the connection: the client must not take a part for the whole."""
        _log.error('%s: the file %.200a could not be sent to its end, and the connection is cut: '
                   '%s', response.connection.describe(), self.name, why)
        response.connection.abort('failed', reset=True)


def _finish(response: Response, drained: Future) -> None:
    """Complete an answer when nearly all of it is sent; a stream that has ended is known."""
    if drained.outcome()[1] is None:
        response.finish()
