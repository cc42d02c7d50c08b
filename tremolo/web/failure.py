"""Failure: what the client and the log get when a handler raises.

    HTTPError         it is the answer
    ProtocolError     the client's fault: answered with the error's status
    any other error   the application's fault: 500, and a traceback in the log; if the head was sent
                      already, the connection is cut, so that the client knows
"""

from __future__ import annotations

import logging
from contextlib import suppress

from ..http import ProtocolError
from ..loop import Cancelled, StreamClosed
from ..pages import send_error, send_failure
from ..server import HTTPError, Request, Response
from ..server.notices import about, shown_request
from ..typed import Any, Protocol


class Named(Protocol):
    """Who has failed: a handler, for example."""

    name: str


_log = logging.getLogger('tremolo.error')


def fail(handler: Named, request: Request, response: Response, error: BaseException) -> None:
    """Answer an error; if the head was sent already, cut the connection."""
    gone = not response.live
    if response.layers and not (gone or response.head_sent):
        wrapped: Any = response
        wrapped.throw(handler, error)    # (It calls this again for what nobody has caught.)
        return
    # These errors are no faults of the application. StreamClosed and Cancelled mean that the client
    # is gone; if it is still there, the application has raised them itself.
    if not isinstance(error, (HTTPError, ProtocolError, StreamClosed, Cancelled)) or (
            not gone and isinstance(error, (StreamClosed, Cancelled))):
        log_error(handler, request, error)
    if gone:
        return
    try:
        _answer(handler, request, response, error)
    except Exception as problem:
        # No answer is possible: the handler has closed the stream itself.
        log_error(handler, request, problem)
        response.connection.abort('failed')


def _answer(handler: Named, request: Request, response: Response, error: BaseException) -> None:
    """Send the answer to an error; if the head was sent already, cut the connection."""
    if isinstance(error, HTTPError) and response.head_sent:
        _log.error('%s raised %s after the head was sent', handler.name, error)
    elif isinstance(error, HTTPError):
        response.reset()
        try:
            return send_error(response, error)
        except Exception as problem:
            # The headers of the HTTPError may not be sent.
            log_error(handler, request, problem)
            error = problem
    return send_failure(response, error, handler.name)


def log_error(handler: Named, request: Request, error: BaseException) -> None:
    """Log an error with its traceback, the handler that raised it, and the request."""
    if isinstance(error, (AttributeError, TypeError, RuntimeError)):
        # Late: most programs never need it. Where no descriptor is left, nothing is advised.
        with suppress(ImportError, OSError):
            from ..mistakes.habits import advise
            advise(error)
    _log.error('%s failed on %s', handler.name, shown_request(request), exc_info=error,
               extra=about(request))


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of an error, and of its causes, once it was answered and logged.

    They would be part of a reference cycle: from Python 3.12 on the last frame of a generator
    refers to the frames that resumed it, so to its task, and the task refers to the error.
    """
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None and each.__traceback__ is not None:
            each.with_traceback(None)    # (To set the attribute fails in a frozen dataclass.)
            left += (each.__cause__, each.__context__)
