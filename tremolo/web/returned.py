"""Returned: makes the whole answer from the value that a handler returns.

    str, bytes, bytearray, memoryview    the body
    (body, encoding)                     the body, its encoding named in Content-Type
    dict, list                           JSON
    None                                 204, or the status that was set, without a body
    HTTPError                            that error's answer
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..server import HandlerError, HTTPError, Response
from ..server.pages import send_error
from ..server.response import HTML

if TYPE_CHECKING:
    from .handlers import Handler

BODY = (str, bytes, bytearray, memoryview)    # The types of a chunk, and of a body.


def to_bytes(handler: Handler, value: Any) -> bytes:
    """Return a chunk as bytes, by the handler's encoding."""
    # A copy: the handler may use its buffer again.
    return value.encode(handler.encoding) if isinstance(value, str) else bytes(value)


def send_returned(handler: Handler, response: Response, value: Any) -> None:
    """Send a returned value as the whole answer. Raises `HandlerError` for any other value."""
    if isinstance(value, HTTPError):
        send_error(response, value)
        return
    if isinstance(value, BODY):
        body = to_bytes(handler, value)
    elif value is None:
        body = b''
        if response.status == 200:
            response.status = 204
    elif isinstance(value, tuple):
        body = _encode_pair(handler, response, value)
    elif isinstance(value, (dict, list)):
        body = json.dumps(value).encode('utf-8')
        if response.content_type is HTML:
            response.content_type = 'application/json'
    else:
        raise HandlerError(f'{handler.name} returned {type(value).__name__}, which is '
                           'none of str, bytes, (body, encoding), dict, list, None')
    response.send(body)


def _encode_pair(handler: Handler, response: Response, pair: tuple[Any, ...]) -> bytes:
    """Encode `(body, encoding)`; the Content-Type names the encoding."""
    if len(pair) != 2 or not isinstance(pair[0], (str, bytes)) or not isinstance(pair[1], str):
        raise HandlerError(f'{handler.name} returned a tuple, not (body, encoding)')
    body, encoding = pair
    if response.content_type is HTML:
        response.content_type = f'text/html; charset={encoding}'
    try:
        return body.encode(encoding) if isinstance(body, str) else body
    except LookupError as error:
        raise HandlerError(f'{handler.name}: no encoding {encoding!r}') from error
