"""Input and errors: the two streams of an environ.

`wsgi.input` is an `io.BufferedReader` over `Input`: what has come of the body is read as it is asked
for, and only the thread that reads waits. `wsgi.errors` writes whole lines to the log, escaped.
"""

from __future__ import annotations

import io
import logging

from ..typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .call import Call

_log = logging.getLogger('tremolo.error')

_PIECE = 65536    # Bytes that are fetched at once, at most: what the server reads of a body at once.


class Input(io.RawIOBase):
    """The body of a request, for one thread at a time."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer, and wait for the first of them; 0: the end.

        Raises `ClientGone` when the client has left, or was refused while it sent the body.
        """
        data = self._call.fetch(len(buffer))
        size = len(data)
        buffer[:size] = data
        return size


def input_of(call: Call) -> Any:
    """Return the stream of a request's body."""
    if call.request.has_body:
        return io.BufferedReader(Input(call), _PIECE)
    return io.BytesIO()


class Errors:
    """The stream `wsgi.errors` of one request."""

    __slots__ = ('_line',)

    def __init__(self) -> None:
        self._line = ''    # What was written of a line that has not ended.

    def write(self, text: str) -> int:
        """Write text; each line goes to the log when it has ended."""
        if not isinstance(text, str):
            raise TypeError(f'wsgi.errors takes str, not {type(text).__name__}')
        *lines, self._line = (self._line + text).split('\n')
        for line in lines:
            _show(line)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write the line that has begun, as it is."""
        line, self._line = self._line, ''
        if line:
            _show(line)


def _show(line: str) -> None:
    """Log a line. What is not printable is escaped: a client may have a part in the text."""
    line = line.rstrip('\r')
    if not line.isprintable():
        line = ''.join(each if each.isprintable() or each == '\t' else ascii(each)[1:-1]
                       for each in line)
    if line:
        _log.error('wsgi.errors: %s', line)
