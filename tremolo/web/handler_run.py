"""Handler run: what a handler has yielded or returned becomes a response, and so does its failure.

What a generator yields is collected until it is worth sending:

    it ends without ever waiting      one write, with Content-Length
    it waits, has yielded             what is collected is sent, chunked for HTTP/1.1, and the
    `buffer_size` bytes, or has used  generator is not resumed while the client's buffer is full
    up its time slice

Whose mistake it is decides what the client and the log get: an `HTTPError` is an answer; an error
of the peer's (`ProtocolError`) is answered with its status; anything else is the application's
fault: 500 and a traceback in the log, or, when the head is out already, a connection that is cut
so that the client knows.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from ..http import HeaderError, ProtocolError
from ..loop import Cancelled, Future, StreamClosed
from ..loop.stream import APART
from ..loop.task import awaited
from ..server import HandlerError, HTTPError, Request, Response
from ..server.pages import send_error, send_failure
from ..server.response import HTML

if TYPE_CHECKING:
    from .handlers import Handler

_log = logging.getLogger('tremolo.error')
_BODY = (str, bytes, bytearray, memoryview)    # what a piece of a body may be


class HandlerRun:
    """One handler's answer on its way: the owner of its task."""

    __slots__ = ('_chunks', '_handler', '_request', '_size', '_yielded', 'response')

    def __init__(
        self, handler: Handler, request: Request, response: Response, chunks: list[bytes]
    ) -> None:
        self._handler = handler
        self._request = request
        self.response = response
        self._chunks = chunks                 # what was yielded and is not sent yet
        self._size = sum(map(len, chunks))    # its size in bytes
        self._yielded = bool(chunks)

    # -- called by the task ---------------------------------------------------------------------

    def emit(self, value: Any) -> Future | None:
        """Take a chunk; return a Future while the client takes no more. Hot: once per chunk."""
        if type(value) is str:
            value = value.encode(self._handler.encoding)
        elif type(value) is not bytes:
            if not isinstance(value, _BODY):
                return awaited(value, HandlerError, ', bytes or str')
            value = self._to_bytes(value)
        self._yielded = True
        if value:
            self._chunks.append(value)
            self._size += len(value)
            if self._handler.stream or self._size >= self._handler.buffer_size:
                return self._flush()
        return None

    def pausing(self) -> None:
        """Send what is collected: the handler waits, or others get a turn."""
        if self._chunks:
            try:
                self._flush()
            except Exception as error:
                task = self.response.connection.task
                self.fail(error)
                if task is not None:
                    task.cancel()

    def _to_bytes(self, value: Any) -> bytes:
        # A copy: the generator may go on using its buffer.
        return value.encode(self._handler.encoding) if isinstance(value, str) else bytes(value)

    def _flush(self) -> Future | None:
        response = self.response
        # (A long one is the last, and is not copied.)
        long = self._chunks.pop() if len(self._chunks[-1]) > APART else b''
        data = b''.join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if not response.live:
            # The client is gone, or has had an error's answer: the task meets its end soon.
            return None
        try:
            wait = response.write(long, data) if long else response.write(data)
        except (HandlerError, HeaderError) as error:
            raise HandlerError(f'{self._handler.name}: {error}') from error
        if response.framing == 'none':
            # The head was all that HEAD asked for; the handler need not go on.
            task = response.connection.task
            if task is not None:
                task.cancel()
        return wait

    # -- the end --------------------------------------------------------------------------------

    def finished(self, task: Future) -> None:
        """Complete the answer when the task has ended, well or not."""
        value, error = task.outcome()
        response = self.response
        if not response.live:
            if error is not None and not isinstance(error, (Cancelled, StreamClosed)):
                self._log_error(error)
        elif error is None:
            self.complete(value)
        elif isinstance(error, Cancelled) and response.head_sent and response.framing == 'none':
            response.end()
        else:
            self.fail(error)
        _forget_frames(error)

    def complete(self, value: Any) -> None:
        """Send what is left, now that the generator has returned `value`."""
        response = self.response
        try:
            if value is not None:
                if self._yielded or response.head_sent:
                    raise HandlerError(f'{self._handler.name} returned a value after it had '
                                       'yielded: it would be lost')
                self._whole(value)
            elif response.head_sent:
                if self._chunks:
                    self._flush()
                response.end()
            elif self._yielded:
                response.send(b''.join(self._chunks))
            else:
                self._whole(None)
        except Exception as problem:
            self.fail(problem)

    def _whole(self, value: Any) -> None:
        """Make the whole answer of a returned value."""
        response = self.response
        if isinstance(value, HTTPError):
            send_error(response, value)
            return
        if isinstance(value, _BODY):
            body = self._to_bytes(value)
        elif value is None:
            body = b''
            if response.status == 200:
                response.status = 204
        elif isinstance(value, tuple):
            body = self._encode_pair(value)
        elif isinstance(value, (dict, list)):
            body = json.dumps(value).encode('utf-8')
            if response.content_type is HTML:
                response.content_type = 'application/json'
        else:
            raise HandlerError(f'{self._handler.name} returned {type(value).__name__}, which is '
                               'none of str, bytes, (body, encoding), dict, list, None')
        response.send(body)

    def _encode_pair(self, pair: tuple[Any, ...]) -> bytes:
        """Encode `(body, encoding)`; the Content-Type names the encoding."""
        if len(pair) != 2 or not isinstance(pair[0], (str, bytes)) or not isinstance(pair[1], str):
            raise HandlerError(f'{self._handler.name} returned a tuple, not (body, encoding)')
        body, encoding = pair
        if self.response.content_type is HTML:
            self.response.content_type = f'text/html; charset={encoding}'
        try:
            return body.encode(encoding) if isinstance(body, str) else body
        except LookupError as error:
            raise HandlerError(f'{self._handler.name}: no encoding {encoding!r}') from error

    # -- errors ---------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """Answer an error, or cut the connection when it is too late for an answer."""
        response = self.response
        connection = response.connection
        gone = not response.live
        # A client that is gone ends the handler in one of these ways.
        if not isinstance(error, (HTTPError, ProtocolError, StreamClosed, Cancelled)) or (
                not gone and isinstance(error, (StreamClosed, Cancelled))):
            self._log_error(error)
        if gone:
            return
        self._chunks.clear()
        try:
            self._answer_error(error)
        except Exception as problem:
            # The handler has ended the stream itself.
            self._log_error(problem)
            connection.abort('failed')

    def _answer_error(self, error: BaseException) -> None:
        response = self.response
        if isinstance(error, HTTPError) and response.head_sent:
            _log.error('%s raised %s after the head was sent', self._handler.name, error)
        elif isinstance(error, HTTPError):
            response.reset()
            try:
                return send_error(response, error)
            except Exception as problem:
                # The error's own headers were bad.
                self._log_error(problem)
                error = problem
        return send_failure(response, error)

    def _log_error(self, error: BaseException) -> None:
        request = self._request
        _log.error('%s failed on %s %a', self._handler.name, request.method,
                   request.target[:200].decode('latin-1'), exc_info=error)


def _forget_frames(error: BaseException | None) -> None:
    """Drop the tracebacks of an error that has been told.

    From Python 3.12 on the last frame of a generator refers to those that resumed it: to its task,
    which refers to the error.
    """
    left = [error]
    while left:
        error = left.pop()
        if error is not None and error.__traceback__ is not None:
            error.__traceback__ = None
            left += (error.__cause__, error.__context__)
