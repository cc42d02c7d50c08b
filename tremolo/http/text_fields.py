"""Text fields: the fields of `Headers`, trailers and Link fields as bytes, by the encoder's rules.

    encode_fields([('X-A', '1')])    # b'X-A: 1\\r\\n'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..typed import Any
from .encoder import check_name, encode, known_names
from .errors import HeaderError, shown
from .grammar import CONTROLS, TOKEN_STR
from .own_fields import find_fault, refuse_transfer_encoding


def encode_fields(items: Iterable[tuple[str, str]]) -> bytes:
    """Encode pairs of str as field lines, each with CRLF; no field is left out.

    Raises `HeaderError`, also for Transfer-Encoding, and `TypeError` for what is not str.
    """
    pairs = [encode_pair(name, value) for name, value in items]
    for name, _ in pairs:
        if name not in known_names and name.lower() == b'transfer-encoding':
            refuse_transfer_encoding()
    return b''.join([b'%b: %b\r\n' % pair for pair in pairs])


def encode_trailers(fields: Iterable[Any]) -> bytes:
    """Encode trailer fields. Raises as `encode` does, and for Content-Length and Connection."""
    fields = list(fields)
    block, length, _, _, _ = encode(fields)
    if length is not None or any(bytes(name).lower() == b'connection' for name, _ in fields):
        raise HeaderError('Content-Length and Connection cannot come as trailers')
    return block


def encode_links(links: Iterable[Any]) -> bytes:
    """Encode the values of Link fields (RFC 8288). Raises as `encode` does."""
    return encode([(b'link', link) for link in links])[0]


def encode_hints(fields: Iterable[tuple[str, str]] | Mapping[str, str]) -> bytes:
    """Encode the fields of Early Hints (RFC 8297). Raises `HeaderError`."""
    if isinstance(fields, (str, bytes)):
        raise HeaderError("hints are pairs: write [('Link', '</a.css>; rel=preload; as=style')]")
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    lines, length, close, _, _ = encode([encode_pair(*pair) for pair in pairs], refuse_coding=True)
    if length is not None or close:
        raise HeaderError('Content-Length and Connection are no hints')
    return lines


def encode_pair(name: str, value: str) -> tuple[bytes, bytes]:
    """Check a field; return name and value in Latin-1.

    Raises `HeaderError` for what may not be sent, `TypeError` for what is not str. A value with a
    blank around it may not be: a receiver removes the blank (RFC 9110 section 5.5), so what the
    application has checked is not what the client acts on. (`Location: ` and ` //evil.example`.)
    """
    try:
        raw_name, raw_value = name.encode('latin-1'), value.encode('latin-1')
    except (AttributeError, TypeError):
        if not isinstance(name, str):
            raise TypeError(f'the name of a header is str, not {type(name).__name__}'
                            f'{_decoded(name)}') from None
        raise TypeError(f'the value of header {name} is str, not {type(value).__name__}'
                        f'{_instead(value)}') from None
    except UnicodeEncodeError:
        if TOKEN_STR.fullmatch(name) is None:
            raise HeaderError(f'malformed header name: {shown(name)}') from None
        raise HeaderError(f'the value of header {name} is not Latin-1: {shown(value)}: write '
                          'urllib.parse.quote(value)') from None
    if raw_name not in known_names:
        check_name(raw_name)
    if len(raw_value.translate(None, CONTROLS)) != len(raw_value):
        find_fault([(raw_name, raw_value)])
    if value.strip(' \t') != value:
        raise HeaderError(f'the value of header {name} begins or ends with a blank: {shown(value)}'
                          ': write value.strip()')
    return raw_name, raw_value


def _instead(value: object) -> str:
    if value is None:
        return ': leave the header out'
    if isinstance(value, (list, tuple, set)):
        return ": write ', '.join(...), or call `add` for each"
    return _decoded(value) or f': write str({value!r:.64})'


def _decoded(value: object) -> str:
    return f': write {value.decode("latin-1")!r:.64}' if isinstance(value, bytes) else ''
