"""Socket run: makes of what a handler of a WebSocket returns or raises what its client sees.

    before accept   an `HTTPError` is the answer; any other error is 500, and the end is 403
    after accept    the end closes with 1000; an error, a value that is returned and a chunk that is
                    yielded are mistakes, and close with 1011

A handler learns that its socket has ended from the next `receive`, `send` or `ping`, which raise
`WebSocketClosed`. A handler that waits for something else would not, so the socket cancels what
runs it, `connection.task`, a moment later (closing.py of the room `websocket`).
"""

from __future__ import annotations

import logging

from ..loop import Cancelled, Future, StreamClosed
from ..loop.foreign import awaited
from ..pages import tell_client
from ..server import HandlerError, HTTPError, Response
from ..server.errors import Forbidden
from ..typed import TYPE_CHECKING, Any
from ..websocket import WebSocket, WebSocketClosed
from ..websocket.closing import GRACE
from .failure import fail, forget_frames, log_error
from .returned import BYTES, discard

if TYPE_CHECKING:
    from .handlers import Handler

_log = logging.getLogger('tremolo.error')

_INSTEAD = 'write `yield websocket.send(...)`'


class SocketRun:
    """One run of a handler of WebSockets. It is the owner of the handler's task."""

    __slots__ = ('_handler', '_task', '_websocket')

    def __init__(self, handler: Handler, websocket: WebSocket) -> None:
        self._handler = handler
        self._websocket = websocket
        self._task: Any = None    # What runs the handler, until it has ended.

    # -- called by the task -----------------------------------------------------------------------

    def emit(self, value: Any) -> Future | None:
        """Take what the handler yields: nothing but an awaitable of asyncio is meant."""
        name = self._handler.name
        if isinstance(value, Future):
            raise HandlerError(f'{name} is an `async def` and yielded a Future: write `await`')
        if isinstance(value, (str, *BYTES)):
            raise HandlerError(f'{name} yielded {type(value).__name__}, and a WebSocket has no '
                               f'body: {_INSTEAD}')
        return awaited(value, HandlerError)

    def pausing(self) -> None:
        """Do nothing: no chunks are collected."""

    # -- the handler ------------------------------------------------------------------------------

    def follow(self, task: Future) -> None:
        """Take the outcome of a task that runs the handler; it may have ended already."""
        if task.done():
            self.finished(task)
            return
        self._task = task
        task.add_done_callback(self.finished)
        places = self._websocket.connection.server.places
        if places is not None and self._websocket.state == 'handshake':
            places.keep(self._websocket.request, task)    # (Until its 101, at most.)
        websocket, runs = self._websocket, self if self._handler.thread else task
        if websocket.state == 'closed':
            # (It was over before it could know what to stop.)
            websocket.reactor.call_later(GRACE, runs.cancel)
        elif websocket.state != 'handshake' or self._response is not None:
            websocket.connection.task = runs

    def finished(self, task: Future) -> None:
        """Take the outcome of a task that has ended."""
        self._task = None
        connection = self._websocket.connection
        if connection.task is task or connection.task is self:
            connection.task = None
        value, error = task.outcome()
        if error is None:
            self.returned(value)
        else:
            self.raised(error)

    def cancel(self) -> None:
        """Cancel a handler in a thread that has not begun. (No thread can be stopped.)"""
        if self._task is not None and not self._task.thread:
            self._task.cancel()

    def where(self) -> str:
        """Return where a handler in a thread stands, for reports."""
        return self._task.where() if self._task is not None else 'ended'

    def returned(self, value: Any) -> None:
        """Take what the handler has returned, or None for its end."""
        websocket, name = self._websocket, self._handler.name
        discard(value)
        if websocket.state != 'handshake':
            if value is not None:
                _log.error('%s returned %s, and a WebSocket has no answer: %s before the end', name,
                           type(value).__name__, _INSTEAD)
            self._close(1000 if value is None else 1011)
        elif (response := self._response) is None:
            pass    # The handler has sent an answer of its own, or its client has left.
        elif response.head_sent:
            response.finish()
        else:
            if not isinstance(value, HTTPError):
                _log.error('%s ended without `websocket.accept()`: its client gets a 403; to '
                           'refuse one, write `raise Forbidden()`', name)
                value = Forbidden()
            fail(self._handler, websocket.request, response, value)

    def raised(self, error: BaseException) -> None:
        """Take the error that the handler has raised."""
        websocket, handler, response = self._websocket, self._handler, self._response
        ended = websocket.state in ('closing', 'closed') or (
            websocket.state == 'handshake' and response is None)
        if ended and isinstance(error, (WebSocketClosed, Cancelled, StreamClosed)):
            pass    # That is how a handler ends whose socket has ended.
        elif response is not None:
            fail(handler, websocket.request, response, error)
        elif isinstance(error, HTTPError) and websocket.state != 'handshake':
            _log.error('%s raised %s after websocket.accept(), which was the answer: write '
                       '`yield websocket.close(code, reason)`', handler.name, error)
        elif isinstance(error, WebSocketClosed):
            _log.error('%s was ended by the WebSocketClosed of another socket (%s): catch it where '
                       'that one is used', handler.name, error)
        else:
            log_error(handler, websocket.request, error)
            tell_client(websocket.connection, error)
        self._close(1011)
        forget_frames(error)

    @property
    def _response(self) -> Response | None:
        """The answer to the handshake, as long as it is not complete."""
        response = self._websocket.connection.response
        # (After an answer by hand another request may be in hand.)
        mine = response is not None and response.request is self._websocket.request
        return response if mine else None

    def _close(self, code: int) -> None:
        """Close the socket, unless it is closed or was never accepted."""
        if self._websocket.state == 'open':
            # (With a callback its error counts as seen: that the client has left is no fault.)
            self._websocket.close(code).add_done_callback(id)
