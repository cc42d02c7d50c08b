"""Bodies: what `json`, `data` and `files` of a request become on the wire."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlencode

from ..typed import Any, NamedTuple

_READ_SIZE = 65536
_FORM = 'application/x-www-form-urlencoded'
# How a name stands between quotes (https://html.spec.whatwg.org/#multipart-form-data).
_QUOTED = str.maketrans({'"': '%22', '\r': '%0D', '\n': '%0A'})


class Body(NamedTuple):
    """A body: its type, if it says one, and its pieces. With `size` None it goes in chunks."""

    type: str | None
    size: int | None
    pieces: Iterable[bytes]


def body_of(data: Any = None, json_value: Any = None, files: Any = None) -> Body | None:
    """Return the body for the three arguments of a request; None for none.

    Raises `TypeError` for what is no body, and for two at once.
    """
    if json_value is not None:
        if data is not None or files is not None:
            raise TypeError('a request has one body: json, or data and files')
        text = json.dumps(json_value, ensure_ascii=False, allow_nan=False).encode()
        return Body('application/json', len(text), [text])
    if files is not None:
        return _multipart(data, files)
    if data is None:
        return None
    if isinstance(data, Mapping):
        return _bytes(form(data).encode('ascii'), _FORM)
    if isinstance(data, str):
        return _bytes(data.encode(), None)
    if isinstance(data, (bytes, bytearray, memoryview)):
        return _bytes(bytes(data), None)
    if isinstance(data, list) and data and isinstance(data[0], tuple):
        return _bytes(form(data).encode('ascii'), _FORM)
    if hasattr(data, 'read'):
        return Body(None, _size_of(data), _pieces_of(data))
    if isinstance(data, Iterable):
        return Body(None, None, _encoded(data))
    raise TypeError(f'data is a dictionary of fields, bytes, str, an open file or an iterable of '
                    f'bytes, not {type(data).__name__}')


def form(fields: Any) -> str:
    """Return the urlencoded form of a dictionary, or of pairs; a value may be a list of values."""
    return urlencode([(name, each) for name, each in _pairs(fields, 'a field')])


def _bytes(data: bytes, kind: str | None) -> Body:
    return Body(kind, len(data), [data])


def _pairs(fields: Any, what: str) -> Iterator[tuple[str, Any]]:
    """Return each name with each of its values, as str or bytes."""
    for name, value in fields.items() if isinstance(fields, Mapping) else fields:
        for each in value if isinstance(value, (list, tuple)) else (value,):
            if each is None or isinstance(each, Mapping):
                raise TypeError(f'{what} {name!r} is text, not {each!r:.64}: leave it out, or '
                                'send json=...')
            yield name, each if isinstance(each, (str, bytes)) else str(each)


# Files

def _multipart(data: Any, files: Any) -> Body:
    """Return a multipart/form-data body (RFC 7578): the fields, and the files behind them."""
    boundary = f'----tremolo-{os.urandom(12).hex()}'
    parts: list[tuple[bytes, Any, int]] = []    # The head of each part, its content and its size.
    if data is not None and not isinstance(data, (Mapping, list)):
        raise TypeError(f'data beside files is a dictionary of fields, not {type(data).__name__}')
    for name, value in _pairs(data or {}, 'a field'):
        content = value.encode() if isinstance(value, str) else value
        parts.append((_part_head(boundary, name), content, len(content)))
    for name, value in files.items() if isinstance(files, Mapping) else files:
        for each in value if isinstance(value, list) else (value,):
            filename, content, kind = _file(name, each)
            size = len(content) if isinstance(content, bytes) else _size_of(content)
            parts.append((_part_head(boundary, name, filename, kind), content, size))
    end = f'--{boundary}--\r\n'.encode()
    total = sum(len(head) + size + 2 for head, _, size in parts) + len(end)
    return Body(f'multipart/form-data; boundary={boundary}', total, _joined(parts, end))


def _file(name: str, value: Any) -> tuple[str, Any, str]:
    """Return the file's name, its content (bytes or an open file) and its type."""
    kind = None
    filename = name
    if isinstance(value, tuple):
        if len(value) not in (2, 3):
            raise TypeError(f'file {name!r}: write (filename, content) or (filename, content, '
                            'type)')
        filename, value, kind = (*value, None)[:3]
    elif hasattr(value, 'read'):
        opened = getattr(value, 'name', None)
        filename = os.path.basename(opened) if isinstance(opened, str) else name
    if isinstance(value, str):
        value = value.encode()
    elif isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    elif not isinstance(value, bytes) and not hasattr(value, 'read'):
        raise TypeError(f'file {name!r} is bytes, an open file or (filename, content), not '
                        f'{type(value).__name__}')
    if kind is None:
        from mimetypes import guess_type
        kind = guess_type(filename)[0] or 'application/octet-stream'
    return filename, value, kind


def _part_head(boundary: str, name: str, filename: str | None = None,
               kind: str | None = None) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name.translate(_QUOTED)}"'
    if filename is not None:
        head += f'; filename="{filename.translate(_QUOTED)}"\r\nContent-Type: {kind}'
    return f'{head}\r\n\r\n'.encode()


def _joined(parts: list[tuple[bytes, Any, int]], end: bytes) -> Iterator[bytes]:
    for head, content, _ in parts:
        yield head
        if isinstance(content, bytes):
            yield content
        else:
            yield from _pieces_of(content)
        yield b'\r\n'
    yield end


def _size_of(file: Any) -> int:
    """Return how many bytes a file has from where it stands."""
    place = file.tell()
    size = file.seek(0, os.SEEK_END) - place
    file.seek(place)
    return int(size)


def _pieces_of(file: Any) -> Iterator[bytes]:
    while data := file.read(_READ_SIZE):
        if not isinstance(data, bytes):
            raise TypeError("the file is open for text: open it with mode 'rb'")
        yield data


def _encoded(pieces: Iterable[Any]) -> Iterator[bytes]:
    for piece in pieces:
        if not isinstance(piece, (str, bytes, bytearray, memoryview)):
            raise TypeError(f'a piece of data is bytes or str, not {type(piece).__name__}')
        yield piece.encode() if isinstance(piece, str) else bytes(piece)
