"""Bodies: what `json`, `data` and `files` of a request become on the wire."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlencode

from ..typed import Any, NamedTuple

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
        text = json.dumps(json_value, ensure_ascii=False, allow_nan=False)
        return _whole(text.encode(), 'application/json')
    if files is not None:
        return _multipart(data, files)
    if data is None:
        return None
    if isinstance(data, Mapping) or (isinstance(data, list) and data
                                     and isinstance(data[0], tuple)):
        return _whole(form(data).encode('ascii'), 'application/x-www-form-urlencoded')
    content = _content(data)
    if content is not None:
        return _whole(content)
    if isinstance(data, Iterable):
        return Body(None, None, _encoded(data))
    raise TypeError(f'data is a dictionary of fields, bytes, str, an open file or an iterable of '
                    f'bytes, not {type(data).__name__}')


def form(fields: Any) -> str:
    """Return the urlencoded form of a dictionary, or of pairs; a value may be a list of values."""
    return urlencode(list(_fields(fields)))


def _whole(data: bytes, kind: str | None = None) -> Body:
    return Body(kind, len(data), [data])


def _content(value: Any) -> bytes | None:
    """Return text, bytes, or what is left of an open file, as bytes; None for anything else."""
    if hasattr(value, 'read'):
        value = value.read()
        if isinstance(value, str):
            raise TypeError("the file is open for text: open it with mode 'rb'")
    if isinstance(value, str):
        return value.encode()
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else None


def _encoded(pieces: Iterable[Any]) -> Iterator[bytes]:
    for piece in pieces:
        content = _content(piece)
        if content is None:
            raise TypeError(f'a piece of data is bytes or str, not {type(piece).__name__}')
        yield content


def _fields(fields: Any) -> Iterator[tuple[str, Any]]:
    """Return each name of a form with each of its values, as str or bytes."""
    for name, value in fields.items() if isinstance(fields, Mapping) else fields:
        for each in value if isinstance(value, (list, tuple)) else (value,):
            if each is None or isinstance(each, Mapping):
                raise TypeError(f'a field {name!r} is text, not {each!r:.64}: leave it out, or '
                                'send json=...')
            yield name, each if isinstance(each, (str, bytes)) else str(each)


# Files

def _multipart(data: Any, files: Any) -> Body:
    """Return a multipart/form-data body (RFC 7578): the fields, and the files behind them."""
    if data is not None and not isinstance(data, (Mapping, list)):
        raise TypeError(f'data beside files is a dictionary of fields, not {type(data).__name__}')
    boundary = f'----tremolo-{os.urandom(12).hex()}'
    parts = [(name, '', _content(value)) for name, value in _fields(data or {})]
    for name, value in files.items() if isinstance(files, Mapping) else files:
        parts += [_file(name, each) for each in (value if isinstance(value, list) else (value,))]
    lines = [part for name, more, content in parts for part in (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name.translate(_QUOTED)}"{more}'
        '\r\n\r\n'.encode(), content or b'', b'\r\n')]
    return _whole(b''.join([*lines, f'--{boundary}--\r\n'.encode()]),
                  f'multipart/form-data; boundary={boundary}')


def _file(name: str, value: Any) -> tuple[str, str, bytes]:
    """Return a part: its name, what else its head says, and its content."""
    from mimetypes import guess_type
    opened = getattr(value, 'name', None)
    filename, kind = os.path.basename(opened) if isinstance(opened, str) else name, None
    if isinstance(value, tuple):
        if len(value) not in (2, 3):
            raise TypeError(f'file {name!r}: write (filename, content) or (filename, content, '
                            'type)')
        filename, value, kind = (*value, None)[:3]
    content = _content(value)
    if content is None:
        raise TypeError(f'file {name!r} is bytes, an open file or (filename, content), not '
                        f'{type(value).__name__}')
    kind = kind or guess_type(filename)[0] or 'application/octet-stream'
    return name, f'; filename="{filename.translate(_QUOTED)}"\r\nContent-Type: {kind}', content
