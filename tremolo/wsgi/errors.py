"""Errors: what an application is told when nobody takes its answer, or that it made a mistake."""

from __future__ import annotations

from ..server import HandlerError, Response
from ..server.notices import why
from ..typed import Any


class ClientGone(OSError):
    """The client is gone, or was refused: nothing more comes from it, and nobody takes the answer.

    It is raised where the application reads `wsgi.input`, and by `write`. (Frameworks know an
    `OSError` of the input as the end of an upload.)
    """


def client_gone(response: Response) -> ClientGone:
    """Return the error that says why nobody takes this answer any more."""
    reason = response.connection.reason
    if not reason and response.ended:
        return ClientGone('the answer is complete: nothing more is read or sent')
    return ClientGone(f'the client is gone: {why(reason)}' if reason else 'the client is gone')


def comes_from_us(error: BaseException) -> bool:
    """Tell whether an error says that the client is gone, or was raised because of that."""
    link: BaseException | None = error
    seen: set[int] = set()
    # (`raise error from error` makes a chain without an end.)
    while link is not None and id(link) not in seen:
        if isinstance(link, ClientGone):
            return True
        seen.add(id(link))
        link = link.__cause__ or link.__context__
    return False


def no_chunk(chunk: Any) -> HandlerError:
    """Return the error of an answer with a chunk that is not bytes."""
    instead = ''
    if isinstance(chunk, str):
        instead = ": write `text.encode('utf-8')`"
    elif isinstance(chunk, (bytes, bytearray, memoryview)):
        instead = ': write `bytes(chunk)`'
    elif isinstance(chunk, int):
        instead = ': write `yield b"..."`, or `return [b"..."]`'
    return HandlerError(f'a WSGI application answers with bytes, and this chunk is '
                        f'{type(chunk).__name__}{instead}')


def no_answer(result: Any) -> HandlerError:
    """Return the error of an application that has returned nothing that can be an answer."""
    if isinstance(result, str):
        what = "str: write `return [text.encode('utf-8')]`"
    elif isinstance(result, (bytes, bytearray, memoryview)):
        what = f'{type(result).__name__}, which would be sent byte by byte: write `return [body]`'
    elif result is None:
        what = "None: write `return [b'...']`, or `return []` for no body"
    elif hasattr(result, '__await__'):
        what = 'a coroutine: it is no WSGI application; serve it as ASGI (--interface asgi)'
    else:
        what = f"{type(result).__name__}, which cannot be iterated: write `return [b'...']`"
    return HandlerError(f'the WSGI application returned {what}')


def no_exc_info(given: Any) -> HandlerError:
    """Return the error of an `exc_info` without an exception, where the head is sent."""
    return HandlerError('start_response was called when the answer had begun, and exc_info has no '
                        f'exception to raise ({given!r:.64}): call it with sys.exc_info() in an '
                        '`except`, or before the first chunk')


def not_started() -> HandlerError:
    """Return the error of an answer whose status is not known."""
    return HandlerError('the WSGI application has not called start_response: write '
                        "`start_response('200 OK', headers)` before the first chunk")
