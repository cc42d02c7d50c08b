"""Fields: the header fields of an ASGI message, as the bytes of an answer.

An application gives pairs of bytes. They are written as they are, checked all at once: a name is
looked up in the table of those seen before, and when the lines are joined they must have no other
control characters than their own ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..http import HeaderError
from ..server import Encoded

# token = 1*tchar                                                            RFC 9110 section 5.6.2
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# What no value may have (RFC 9110 section 5.5): all controls but HTAB.
_CONTROLS = bytes([*range(9), *range(10, 32), 127])
# Names that are remembered.
_MOST_NAMES = 1024

# What each name is to us: most are nothing, Transfer-Encoding is the server's affair.
_OTHER, _LENGTH, _CONNECTION, _CODING, _DATE, _SERVER = range(6)
_RULES = {b'content-length': _LENGTH, b'connection': _CONNECTION,
          b'transfer-encoding': _CODING, b'date': _DATE, b'server': _SERVER}
_known = dict(_RULES)


def encode(headers: Iterable[Any]) -> Encoded:
    """Encode the headers of an answer. Hot: once per request.

    Raises `TypeError` for what is no pair of bytes, `HeaderError` for what may not be sent.
    """
    lines: list[bytes] = []
    length: int | None = None
    close = False
    date = server = True
    try:
        for name, value in headers:
            rule = _known.get(name)
            if rule is None:
                rule = _learn(name)
            if rule is _OTHER:
                lines.append(b'%b: %b\r\n' % (name, value))
            elif rule is _LENGTH:
                if not value.isdigit() or length not in (None, int(value)):
                    raise HeaderError(f'Content-Length {value[:64]!r}: not a number, or another')
                length = int(value)
            elif rule is _CONNECTION:
                close = close or value.lower() == b'close'
            elif rule is not _CODING:
                lines.append(b'%b: %b\r\n' % (name, value))
                date, server = date and rule is not _DATE, server and rule is not _SERVER
    except HeaderError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise TypeError(f'a header is a pair of bytes: {repr(headers)[:200]}') from error
    block = b''.join(lines)
    # Each line has two of its own.
    if len(block) - len(block.translate(None, _CONTROLS)) != 2 * len(lines):
        line = next(line for line in lines if len(line.translate(None, _CONTROLS)) != len(line) - 2)
        name, _, value = line[:-2].partition(b': ')
        raise HeaderError(f'the value of header {name.decode()} has a control character: '
                          f'{value[:64]!r}')
    return block, length, close, date, server


def encode_trailers(headers: Iterable[Any]) -> bytes:
    """Encode trailer fields. Raises as `encode` does, and for those that frame a message."""
    block, length, close, _, _ = encode(headers)
    if length is not None or close:
        raise HeaderError('Content-Length and Connection cannot come as trailers')
    return block


def encode_links(links: Iterable[Any]) -> bytes:
    """Encode the values of Link fields (RFC 8288). Raises as `encode` does."""
    return encode([(b'link', link) for link in links])[0]


def _learn(name: bytes) -> int:
    """Check a name that was not seen before, and remember what it is to us."""
    if not isinstance(name, bytes):
        raise TypeError
    if _TOKEN.fullmatch(name) is None:
        raise HeaderError(f'malformed header name: {name[:64]!r}')
    rule = _RULES.get(name.lower(), _OTHER)
    if len(_known) < _MOST_NAMES:
        _known[name] = rule
    return rule
