"""Fields: the header fields of an ASGI message, as the bytes of an answer.

An application gives pairs of bytes. They are written as they are, checked all at once: a name is
looked up in the table of those seen before, and when the lines are joined they must have no other
control characters than their own ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NoReturn

from ..http import HeaderError
from ..server import Encoded

# token = 1*tchar                                                            RFC 9110 section 5.6.2
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# What no value may have (RFC 9110 section 5.5): all controls but HTAB.
_CONTROLS = bytes([*range(9), *range(10, 32), 127])
_MOST_NAMES = 1024    # Names that are remembered.

# Names that mean something to us; Transfer-Encoding is the server's affair.
_OURS = frozenset((b'content-length', b'connection', b'transfer-encoding', b'date', b'server'))
_known: set[bytes] = set()    # Well-formed names of other fields that were seen.


def encode(headers: Iterable[Any]) -> Encoded:
    """Encode the headers of an answer. Hot: once per request.

    Raises `TypeError` for what is no pair of bytes, `HeaderError` for what may not be sent.
    """
    block, ends, close, date, server, known = b'', 0, False, True, True, _known
    length: int | None = None
    try:
        for name, value in headers:
            if name in known:
                block += b'%b: %b\r\n' % (name, value)
                ends += 2
            elif name == b'content-length' and value.isdigit() and length is None:
                length = int(value)
            else:
                lower = _checked(name)
                if lower == b'content-length':
                    if not value.isdigit() or length not in (None, int(value)):
                        raise HeaderError(f'Content-Length {value[:64]!r}: no number, or another')
                    length = int(value)
                elif lower == b'connection':
                    close = close or value.lower() == b'close'
                elif lower != b'transfer-encoding':
                    block += b'%b: %b\r\n' % (name, value)
                    ends += 2
                    date, server = date and lower != b'date', server and lower != b'server'
    except HeaderError:
        raise
    except (AttributeError, TypeError, ValueError, BytesWarning) as error:
        raise TypeError(f'a header is a pair of bytes: {headers!r:.200}') from error
    # The only control characters are the ends of the lines.
    if len(block) - len(block.translate(None, _CONTROLS)) != ends:
        _find_fault(headers)
    return block, length, close, date, server


def _checked(name: bytes) -> bytes:
    """Check a name, and remember it if it is ordinary; return it in lower case."""
    if not isinstance(name, bytes):
        raise TypeError
    if _TOKEN.fullmatch(name) is None:
        raise HeaderError(f'malformed header name: {name[:64]!r}')
    lower = name.lower()
    if lower not in _OURS and len(_known) < _MOST_NAMES:
        _known.add(name)
    return lower


def _find_fault(headers: Iterable[Any]) -> NoReturn:
    """Name the field whose value has a control character."""
    for name, value in headers:
        text = bytes(value)
        if len(text.translate(None, _CONTROLS)) != len(text):
            raise HeaderError(f'the value of header {bytes(name).decode()} has a control '
                              f'character: {text[:64]!r}')
    raise HeaderError('the headers can be read once only, and have a control character')


def encode_trailers(headers: Iterable[Any]) -> bytes:
    """Encode trailer fields. Raises as `encode` does, and for those that frame a message."""
    block, length, close, _, _ = encode(headers)
    if length is not None or close:
        raise HeaderError('Content-Length and Connection cannot come as trailers')
    return block


def encode_links(links: Iterable[Any]) -> bytes:
    """Encode the values of Link fields (RFC 8288). Raises as `encode` does."""
    return encode([(b'link', link) for link in links])[0]
