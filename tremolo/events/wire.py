"""Wire: one event as the bytes that an EventSource reads (WHATWG HTML, "Server-sent events").

    encode('two\\nlines', 'news', '7', 3000)

    event: news
    id: 7
    retry: 3000
    data: two
    data: lines

An empty line ends the event. The reader removes one blank behind the colon, so there always is one:
data that begins with a blank keeps its own. Nothing here knows who reads.
"""

from __future__ import annotations

from ..late import expression
from ..server import HandlerError
from ..typed import Any

# Exactly these end a line. (`str.splitlines` knows more, and would break other characters.)
_LINE_END = expression('\r\n|\r|\n')
# An id comes back as a field of a request, Last-Event-ID: no receiver takes a control character
# there, and each removes a blank around the value (RFC 9110 section 5.5).
_NO_ID = expression(r'[\x00-\x1f\x7f]|\A | \Z')
# More than that no server takes everywhere, and its client would never come back: 431.
_LONGEST_ID = 4096    # Bytes.

COMMENT = b':\n\n'    # What every reader skips.


def encode(data: Any, event: Any = None, id: Any = None, retry: Any = None) -> bytes:
    """Encode an event. Raises `HandlerError` for what cannot be sent."""
    lines = []
    if event is not None:
        name = _text(event, 'event')
        if _LINE_END.search(name):
            raise HandlerError(f'an event is named in one line: {name!r:.64} has a line end')
        lines.append(f'event: {name}')
    if id is not None:
        lines.append(f'id: {_id(id)}')
    if retry is not None:
        if type(retry) is not int or retry < 0:
            raise HandlerError('retry is a whole number of milliseconds until the client comes '
                               f'back, as 3000, not {retry!r:.64}')
        lines.append(f'retry: {retry}')
    # (Also of '' there is one line: without any, the reader would drop the event.)
    lines += [f'data: {line}' for line in _LINE_END.split(_text(data, 'data'))]
    try:
        return ('\n'.join(lines) + '\n\n').encode()
    except UnicodeEncodeError as error:
        raise HandlerError(f'an event is sent as UTF-8: {error}') from None


def _id(value: Any) -> str:
    """Return an id as text: also a number, as a database gives it."""
    if type(value) is int:
        return str(value)
    text = _text(value, 'id')
    if len(text.encode('utf-8', 'replace')) > _LONGEST_ID:
        raise HandlerError(f'an id comes back in the head of a request, so it has at most '
                           f'{_LONGEST_ID} bytes, not {len(text)} characters')
    if _NO_ID.search(text):
        raise HandlerError('an id comes back as a field, in which there is no line end, no other '
                           f'control character, and no blank at an end: not {text!r:.64}')
    return text


def _text(value: Any, what: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        try:
            return str(value, 'utf-8')
        except UnicodeDecodeError as error:
            raise HandlerError(f'{what} is sent as UTF-8: {error}') from None
    if what == 'data' and isinstance(value, (dict, list, tuple)):
        raise HandlerError(f'data is str, not {type(value).__name__}: write '
                           '`sse.send(json.dumps(...))`')
    raise HandlerError(f'{what} is str, not {type(value).__name__}: write str(...)')
