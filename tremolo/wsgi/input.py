"""Input and errors: the two streams of an environ.

`wsgi.input` is an `io.BufferedReader` over `Input`: the body is read as it comes, and only the
thread that reads waits. `wsgi.errors` writes whole lines to the log, escaped.
"""

from __future__ import annotations

import io
import logging

from ..server import Request
from ..typed import Any, Callable

_log = logging.getLogger('tremolo.error')

_PIECE = 65536    # Bytes that are fetched at once, at most: as many as the server receives.


class Input(io.RawIOBase):
    """The body of a request, for one thread at a time."""

    def __init__(self, fetch: Callable[[int], bytes]) -> None:
        super().__init__()
        self._fetch = fetch

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer, and wait for the first of them; 0: the end.

        Raises `ClientGone` when the client has left, or was refused while it sent the body.
        """
        data = self._fetch(len(buffer))
        size = len(data)
        buffer[:size] = data
        return size


def input_of(request: Request, body: bytes | None, fetch: Callable[[int], bytes]) -> Any:
    """Return the stream of a request's body; if all of it is known, `fetch` is not called."""
    if body is not None:
        return io.BytesIO(body)
    return io.BufferedReader(Input(fetch), _PIECE) if request.has_body else io.BytesIO()


class Errors:
    """The stream `wsgi.errors` of one request."""

    # What was written of a line that has not ended. (Few write: an `__init__`, which CPython 3.11
    # does not inline, would be 0.5 % of a hello world.)
    line = ''

    def write(self, text: str) -> int:
        """Write text; each line goes to the log when it has ended."""
        if not isinstance(text, str):
            raise TypeError(f'wsgi.errors takes str, not {type(text).__name__}')
        *lines, self.line = (self.line + text).split('\n')
        for line in lines:
            _show(line)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write the line that has begun, as it is."""
        line, self.line = self.line, ''
        if line:
            _show(line)


def _show(line: str) -> None:
    line = line.rstrip('\r')
    if line:
        # (Our logger escapes it: a client may have a part in the text.)
        _log.error('wsgi.errors: %s', line)
