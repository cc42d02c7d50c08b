"""What the tests of forms and uploads share: bodies of forms, and requests with them."""

from __future__ import annotations

from server_support import request

BOUNDARY = 'simple-boundary'
TYPE = f'Content-Type: multipart/form-data; boundary={BOUNDARY}'
URLENCODED = 'Content-Type: application/x-www-form-urlencoded'


def part(name: str, content: bytes | str = b'', filename: str | None = None, *lines: str) -> bytes:
    """Make a part, without its delimiter; `lines` are further lines of its head."""
    data = content.encode() if isinstance(content, str) else content
    shown = '' if filename is None else f'; filename="{filename}"'
    head = [f'Content-Disposition: form-data; name="{name}"{shown}', *lines, '', '']
    return '\r\n'.join(head).encode() + data


def body_of(*parts: bytes) -> bytes:
    """Make the body of a form."""
    begin = f'--{BOUNDARY}\r\n'.encode()
    return b''.join(begin + each + b'\r\n' for each in parts) + f'--{BOUNDARY}--\r\n'.encode()


def upload(path: str, *parts: bytes, lines: tuple[str, ...] = (), kind: str = TYPE) -> bytes:
    """Make a request with a form of these parts."""
    return request(path, 'POST', kind, *lines, body=body_of(*parts))


def urlencoded(path: str, body: bytes, *lines: str, kind: str = URLENCODED) -> bytes:
    return request(path, 'POST', kind, *lines, body=body)
