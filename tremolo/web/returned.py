"""Returned: makes the whole answer from the value that a handler returns.

    str, bytes, bytearray, memoryview    the body
    (body, encoding)                     the body, its encoding named in Content-Type
    dict, list                           JSON
    None                                 204, or the status that was set, without a body
    HTTPError                            that error's answer, as if it was raised
    a `FileAnswer`, of `send_file`       the file: it answers by itself
"""

from __future__ import annotations

import json
from os import PathLike
from types import MethodType

from ..http.charset import with_charset
from ..loop import Future
from ..pages import send_error
from ..server import HandlerError, HTTPError, Request, Response
from ..server.response_head import HTML
from ..typed import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .failure import Named

BYTES = (bytes, bytearray, memoryview)    # The types of a chunk, and of a body, beside str.


def send_returned(handler: Named, response: Response, value: Any) -> None:
    """Send a returned value as the whole answer. Raises `HandlerError` for any other value."""
    if isinstance(value, HTTPError):
        response.reset()
        send_error(response, value)
        return
    if isinstance(value, str):
        body = response.encode(value)
    elif isinstance(value, BYTES):
        body = bytes(value)
    elif value is None:
        body = b''
        if response.status == 200:
            response.status = 204
    elif isinstance(value, tuple):
        body = _encode_pair(handler, response, value)
    elif hasattr(value, 'answer'):
        value.answer(response)
        return
    elif isinstance(value, (dict, list)):
        if response.content_type is HTML:
            response.content_type = 'application/json'
        body = response.encode(json.dumps(value))
    else:
        raise HandlerError(f'{handler.name} returned {_shown(value)}, which is none of str, bytes, '
                           f'(body, encoding), dict, list, send_file(...), None{_instead(value)}')
    response.send_body(body)


def in_thread(call: Callable[[Request, Response], Any], request: Request, response: Response
              ) -> Any:
    """Call a handler on a thread. When it returns its client may have gone."""
    value = call(request, response)
    if not response.live:
        discard(value)
    return value


def discard(value: Any) -> None:
    """Close a file that is not sent."""
    if hasattr(value, 'answer'):
        value.close()


def _encode_pair(handler: Named, response: Response, pair: tuple[Any, ...]) -> bytes:
    """Encode `(body, encoding)`; the Content-Type names the encoding."""
    if len(pair) != 2 or not isinstance(pair[0], (str, bytes)) or not isinstance(pair[1], str):
        raise HandlerError(f'{handler.name} returned a tuple, not (body, encoding)'
                           f'{_instead_of_tuple(pair)}')
    body, encoding = pair
    own = response.headers.get('content-type')
    if own is not None:
        response.headers['Content-Type'] = with_charset(own, encoding)
    elif response.content_type:
        response.content_type = with_charset(response.content_type, encoding)
    try:
        return body.encode(encoding) if isinstance(body, str) else body
    except LookupError as error:
        raise HandlerError(f'{handler.name}: no encoding {encoding!r}') from error


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, (int, float)) else type(value).__name__


def _instead(value: Any) -> str:
    """Say what to write instead of a value that is no answer."""
    if isinstance(value, int) and not isinstance(value, bool) and 200 <= value <= 599:
        return f': write `response.status = {value}`, or `raise HTTPError({value})`'
    if isinstance(value, (int, float)):
        return ': write `return str(...)`'
    if isinstance(value, Response):
        return ': what is set in it is sent; return the body alone'
    if isinstance(value, (set, frozenset)):
        return ': write `return sorted(...)`'
    if isinstance(value, type) and issubclass(value, HTTPError):
        return f': write `return {value.__name__}()`, or raise it'
    if hasattr(value, 'instead'):
        return str(value.instead)    # What is read of a request, and read by parts.
    if isinstance(value, Future):
        return ': write `yield` before it, `await` in an `async def`, `.result()` in a thread'
    if _is_file(value):
        return ': write `return send_file(...)`'
    if isinstance(value, MethodType):
        return f': write {_call(value)}, which calls it'
    if hasattr(value, '__next__'):
        return ': write `yield` in the handler, which makes it a generator'
    return ''


def _call(method: MethodType) -> str:
    """Return the call of a method, mostly of the request, as a handler writes it."""
    return f'`yield {type(method.__self__).__name__.lower()}.{method.__name__}()`'


def _is_file(value: Any) -> bool:
    """Tell whether it is an open file, or a path."""
    return hasattr(value, 'readinto') or hasattr(value, 'readline') or isinstance(value, PathLike)


def _instead_of_tuple(pair: tuple[Any, ...]) -> str:
    """Say what to write instead of a body with a status, or with fields."""
    words = []
    for each in pair[1:]:
        if isinstance(each, int):
            words.append(f'`response.status = {each:d}`')
        elif isinstance(each, dict):
            words += [f'`response.headers[{name!r:.64}] = ...`' for name in list(each)[:1]]
    return f': write {" and ".join(words)}, and return the body alone' if words else ''


def instead_of_chunk(value: Any) -> str:
    """Say what to write instead of a yielded value that is no chunk."""
    if hasattr(value, 'answer'):
        return ': return it'
    if isinstance(value, HTTPError):
        return ': return it, or raise it'
    if isinstance(value, MethodType):
        return f': write {_call(value)}, which calls it'
    if _is_file(value):
        return ': write `return send_file(...)`'
    if isinstance(value, (dict, list, tuple)):
        return ': return it, or write `yield json.dumps(...)`'
    if isinstance(value, (int, float)):
        return ': write `yield str(...)`'
    return getattr(value, 'instead', '')    # (As above.)
