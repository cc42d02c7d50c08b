"""Head: what an application says by `start_response`, checked and encoded where it says it.

    status_of('404 Not Found')                          # 404
    fields_of([('Content-Type', 'text/plain')])         # bytes, as `http.encoder` returns them

A mistake is raised in the application, by a sentence that says what to write. So nothing that an
application says can break the answer (RFC 9110 section 5, PEP 3333 "The start_response Callable").
"""

from __future__ import annotations

import re

from ..http import Encoded, HeaderError
from ..http.encoder import encode
from ..http.phrases import PHRASES
from ..server import HandlerError
from ..typed import Any

_STATUS = re.compile(r'([2-5][0-9]{2}) ([\t\x20-\x7e\x80-\xff]+)')
# They belong to the connection, which is the server's affair (PEP 3333, RFC 9110 section 7.6.1).
_HOP_BY_HOP = frozenset((
    'connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection',
    'te', 'trailer', 'trailers', 'transfer-encoding', 'upgrade'))

# What was checked before: at most so many of each, of at most so many characters.
_MOST = 1024
_LONGEST = 64
_statuses: dict[str, Any] = {}
_names: dict[str, bytes] = {}


def status_of(status: Any) -> int | tuple[int, str]:
    """Return the status as `Response.set_encoded` takes it. Raises `HandlerError`."""
    found = _statuses.get(status) if type(status) is str else None
    if found is None:
        match = _STATUS.fullmatch(status) if isinstance(status, str) else None
        if match is None:
            raise HandlerError(f'start_response: the status {status!r:.64} is no str of three '
                               f'digits from 200 on, a space and a phrase{_instead(status)}')
        code = int(match[1])
        found = code if PHRASES.get(code) == match[2] else (code, match[2])
        if len(status) <= _LONGEST:
            # (`>=`: threads may each add one at once.)
            if len(_statuses) >= _MOST:
                _statuses.clear()
            _statuses[str(status)] = found
    return found


def _instead(status: Any) -> str:
    digits = str(status if isinstance(status, (int, str)) else getattr(status, 'value', '')).strip()
    code = int(digits[:3]) if digits[:3].isascii() and digits[:3].isdigit() else 0
    return f": write '{code} {PHRASES.get(code, 'Phrase')}'" if 200 <= code <= 599 else ''


def fields_of(headers: Any) -> Encoded:
    """Encode the fields. Hot: once per request. Raises `HandlerError` and `HeaderError`."""
    if not isinstance(headers, list):
        raise HandlerError(
            f'start_response: the headers are a list of tuples, not {type(headers).__name__}: '
            + ('write `list(headers.items())`' if hasattr(headers, 'items')
               else 'write `list(headers)`'))
    pairs = []
    known = _names.get
    try:
        for name, value in headers:
            pairs.append((known(name) or _name(name), value.encode('latin-1')))
    except HeaderError:
        raise
    except (AttributeError, TypeError, ValueError, BytesWarning):
        # (`python -bb` raises the last one where a name of bytes is looked up.)
        raise _fault(headers) from None
    return encode(pairs, refuse_coding=True)


def _fault(headers: list[Any]) -> HandlerError:
    """Return the error of the first field that is no pair of str of Latin-1."""
    for field in headers:
        if not isinstance(field, tuple) or len(field) != 2:
            return HandlerError(f"start_response: a header is a tuple, ('Name', 'value'), not "
                                f'{field!r:.100}')
        for each in field:
            if not isinstance(each, str):
                write = 'str(value)' if isinstance(each, (int, float)) else (
                    "value.decode('latin-1')" if isinstance(each, bytes) else "'...'")
                return HandlerError(f'start_response: a header is a pair of str, not '
                                    f'{field!r:.100}: write {write}')
            if not each.isascii() and max(each) > '\xff':
                return HandlerError(
                    f'start_response: a header is sent as Latin-1, and {field!a:.100} has other '
                    "characters: write `text.encode('utf-8').decode('latin-1')`, or urllib's quote")
    return HandlerError(f'start_response: a header is a pair of str, not {headers!r:.100}')


def _name(name: Any) -> bytes:
    """Check the name of a field that was not seen before, and encode it."""
    lower = name.lower()
    if lower in _HOP_BY_HOP:
        raise HeaderError(f'the field {name!r} belongs to the connection, which is the '
                          "server's affair (PEP 3333): leave it out")
    encoded: bytes = name.encode('latin-1')
    if len(name) <= _LONGEST:
        if len(_names) >= _MOST:
            _names.clear()
        _names[str(name)] = encoded
    return encoded
