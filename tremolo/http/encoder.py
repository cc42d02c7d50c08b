"""Encoder: the fields of an answer as bytes; the one place that checks what an application sends.

    encode([(b'x-a', b'1'), (b'content-length', b'5')])    # (b'x-a: 1\\r\\n', 5, False, True, True)

An ASGI application sends pairs of bytes. `Headers` holds pairs of str; text_fields.py makes bytes
of them, by the same rules. A name is a token, and a value has no control character
(RFC 9110 section 5): with a CR or LF in a value, a client of the application could add a field to
an answer, or a whole answer. Steady fields, which most answers have alike, are checked once and
kept as lines. Of others, a name is looked up in the set of names that were checked before, and the
control characters are counted in all lines together: there must be as many as the lines' own CRs
and LFs. (Measured, a Content-Type and a Content-Length: 6,200 instructions if the first is kept,
9,500 if it is not; the count of control characters alone takes 2,200.)

The server alone writes the fields that frame a message. `encode` takes Content-Length and
`Connection: close` out and returns what they say; other options of Connection are passed on. A
Transfer-Encoding that is not true would split the answer in two for a proxy. `encode` refuses it or
leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..typed import Any, Optional
from .errors import HeaderError, shown
from .grammar import CONTROLS, TOKEN
from .own_fields import connection_options, find_fault, refuse_transfer_encoding

# Five things: the field lines without Content-Length and `Connection: close`; the Content-Length,
# if any; whether the connection shall close; whether the server shall add its Date; and its Server
# field.
Encoded = tuple[bytes, Optional[int], bool, bool, bool]

# Names with a meaning for the server. They are never in `known_names`, so `encode` notices them.
_OURS = frozenset((b'content-length', b'connection', b'transfer-encoding', b'date', b'server'))
# Well-formed names of other fields, as they were written. A value may be a cookie or a token, and
# is never kept. There are at most 1,024 names of at most 64 bytes; a full set is emptied.
known_names: set[bytes] = set()
_MOST_NAMES = 1024
_LONGEST_NAME = 64

# Fields of answers that are the same for all clients, by name and value: the line, checked. Only
# these names, as they are mostly written, are kept. What may belong to one user (a cookie, a token,
# an address, a nonce in a Content-Security-Policy, an ETag) never is. There are at most 1,024 lines
# of at most 256 bytes; a full dictionary is emptied.
steady: dict[Any, bytes] = {}
_find = steady.get
_MOST_STEADY = 1024
_LONGEST_STEADY = 256
# Values of Content-Length that were read before: at most 1,024 of at most 9 digits, likewise.
_lengths: dict[bytes, int] = {}
_MOST_LENGTHS = 1024
_MOST_DIGITS = 9
_STEADY = frozenset(spelt for name in (
    b'accept-ranges', b'access-control-allow-credentials', b'access-control-allow-headers',
    b'access-control-allow-methods', b'access-control-allow-origin',
    b'access-control-expose-headers', b'access-control-max-age', b'allow', b'cache-control',
    b'content-encoding', b'content-language', b'content-type', b'cross-origin-embedder-policy',
    b'cross-origin-opener-policy', b'cross-origin-resource-policy', b'permissions-policy',
    b'pragma', b'referrer-policy', b'strict-transport-security', b'vary',
    b'x-content-type-options', b'x-frame-options', b'x-powered-by', b'x-robots-tag',
    b'x-xss-protection') for spelt in (name, name.title()))


def encode(fields: Iterable[Any], refuse_coding: bool = False) -> Encoded:
    """Encode pairs of bytes. Hot: once per request of an ASGI application.

    With `refuse_coding` a Transfer-Encoding is an error, otherwise it is left out. Raises
    `HeaderError` for what may not be sent, `TypeError` for what is no pair of bytes.
    """
    block, unchecked, ends, close, date, server = b'', b'', 0, False, True, True
    length: int | None = None
    try:
        for field in fields:
            try:
                line = _find(field)
            except (TypeError, ValueError, BytesWarning):    # (A list, or in a pair no bytes.)
                line = None
            if line is not None:
                block += line
                continue
            name, value = field
            if name in known_names:
                line = b'%b: %b\r\n' % (name, value)
                if name in _STEADY:
                    _keep(name, value, line)
            elif (name == b'content-length' and length is None and type(value) is bytes
                    and (length := _lengths.get(value)) is not None):
                continue
            else:
                lower = check_name(name)
                if lower == b'content-length':
                    if not value.isdigit() or length not in (None, int(value)):
                        raise HeaderError(f'Content-Length {value[:64]!r}: no number, or another')
                    length = int(value)
                    if type(value) is bytes and len(value) <= _MOST_DIGITS:
                        if len(_lengths) >= _MOST_LENGTHS:
                            _lengths.clear()
                        _lengths[value] = length
                    continue
                if lower == b'connection':
                    closes, value = connection_options(value)
                    close = close or closes
                    if not value:
                        continue
                elif lower == b'transfer-encoding':
                    if refuse_coding:
                        refuse_transfer_encoding()
                    continue
                date, server = date and lower != b'date', server and lower != b'server'
                line = b'%b: %b\r\n' % (name, value)
            block += line
            unchecked += line
            ends += 2
    except HeaderError:
        raise
    except (AttributeError, TypeError, ValueError, BytesWarning) as error:
        raise TypeError(f'a header is a pair of bytes: {fields!r:.200}') from error
    # The CR and LF of each line must be the only control characters.
    if unchecked and len(unchecked) - len(unchecked.translate(None, CONTROLS)) != ends:
        find_fault(fields)
    return block, length, close, date, server


def _keep(name: bytes, value: bytes, line: bytes) -> None:
    """Keep a steady field, if it is well-formed (its name is) and short."""
    if type(name) is type(value) is bytes and len(line) <= _LONGEST_STEADY and (
            len(line) - len(line.translate(None, CONTROLS)) == 2):
        # (`>=`: reactors in several threads may each add a line at once.)
        if len(steady) >= _MOST_STEADY:
            steady.clear()
        steady[name, value] = line


def check_name(name: bytes) -> bytes:
    """Check the name of a field: a token. Return it in lower case. Raises `HeaderError`."""
    if not isinstance(name, bytes):
        raise TypeError(f'the name of a header is bytes, not {type(name).__name__}')
    if TOKEN.fullmatch(name) is None:
        raise HeaderError(f'malformed header name: {shown(name)}')
    lower = name.lower()
    if lower not in _OURS and len(name) <= _LONGEST_NAME:
        # (`>=`: reactors in several threads may each add a name at once.)
        if len(known_names) >= _MOST_NAMES:
            known_names.clear()
        known_names.add(name)
    return lower
