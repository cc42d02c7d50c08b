"""Sending: what an application calls to send an answer by itself, instead of yielding it.

    yield response.write(b'a piece')    # in a generator; `await` in an `async def`
    response.write(b'a piece').result()    # in a thread

Whatever is called returns a Future: `DONE`, if there is nothing to wait for. The bytes go out in
the order of the application's words: first what it has yielded before. A call on another thread is
done on the loop's thread, and the caller waits until it is done.

The server itself calls the methods below these, which wait for nobody and check nothing twice:
`Response.send_body`, `write_pieces`, `finish`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..http import HeaderError, encode_fields
from ..http.chunked import may_come_last
from ..http.text_fields import encode_hints
from ..loop import Future, StreamClosed
from ..loop.done import DONE
from ..typed import TYPE_CHECKING, Any
from .errors import HandlerError
from .notices import gone

if TYPE_CHECKING:
    from .response import Response


def send_whole(response: Response, body: bytes | str) -> Future:
    """Send the whole answer."""
    if response.live and not response.head_sent and _take_yielded(response):
        raise HandlerError('response.send is the whole answer, and something was yielded before: '
                           'yield the rest, or call response.write')
    response.send_body(_as_bytes(response, body))
    return DONE


def write(response: Response, data: bytes | str) -> Future:
    """Send a piece of the body, after what was yielded before."""
    piece = _as_bytes(response, data)
    wait = response.write_pieces(_take_yielded(response), piece)
    if wait is None:
        return DONE
    # (With a callback its error counts as seen: that a client left is no fault of the handler.)
    wait.add_done_callback(id)
    return wait


def end(response: Response, data: bytes | str, trailers: Any) -> Future:
    """End the body after a last piece; an answer that has not begun is sent whole."""
    last = _as_bytes(response, data)
    if trailers:
        lines = _trailers(trailers, response.headers.get_all('trailer'))
        if not response.chunked or 'content-length' in response.headers:
            raise HandlerError('trailers follow a body in chunks alone: leave out Content-Length, '
                               'and chunked=False')
        write(response, last)
        response.finish(lines)
    elif response.live and not response.ended:
        last = _take_yielded(response) + last
        if not response.head_sent:
            response.send_body(last)
        else:
            if last:
                write(response, last)
            response.finish()
    elif last:
        response.write_pieces(b'', last)    # It raises the error of sending too late.
    return DONE


def hint(response: Response, fields: Iterable[tuple[str, str]] | Mapping[str, str]) -> Future:
    """Send 103 Early Hints with these fields."""
    response.send_hint(encode_hints(fields))
    return DONE


def too_late(response: Response) -> Exception:
    """Return the error of sending when nothing can be sent any more.

    Bytes after an answer would be taken for the next answer.
    """
    if response.framing == 'upgraded' and response.ended:
        return HandlerError('a WebSocket is accepted, and its answer was 101: write '
                            '`websocket.send(...)`')
    if response.ended or response.live:
        return HandlerError('the answer is sent already')
    return StreamClosed(gone(response.connection))


def _trailers(fields: Mapping[str, str] | Iterable[tuple[str, str]], declared: list[str]) -> bytes:
    """Encode trailer fields; `declared` are the values of the field Trailer.

    Raises `HeaderError` for a field that may not be sent, that was not declared, or that comes too
    late behind the body (RFC 9110 section 6.5.1), `TypeError` for what is no pair of str.
    """
    pairs = list(fields.items() if isinstance(fields, Mapping) else fields)
    lines = encode_fields(pairs)
    names = {name.strip().lower() for value in declared for name in value.split(',')}
    for name, _ in pairs:
        if not may_come_last(name.lower().encode()):
            raise HeaderError(f'{name} cannot come as a trailer: set it before the body')
        if name.lower() not in names:
            raise HeaderError(f'the trailer {name} is not declared: name it in '
                              "response.headers['Trailer'] before the first piece")
    return lines


def _take_yielded(response: Response) -> bytes:
    """Take what the handler has yielded and what waits to be sent; b'' if there is nothing."""
    # (An answer of another kind of application has no such list.)
    chunks: list[bytes] | None = getattr(response, 'yielded', None)
    if not chunks:
        return b''
    taken = b''.join(chunks)
    chunks.clear()
    return taken


def _as_bytes(response: Response, data: Any) -> bytes:
    if isinstance(data, str):
        return response.encode(data)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise HandlerError(f'a body is bytes or str, not {type(data).__name__}')
    return data if type(data) is bytes else bytes(data)
