"""Handler run: makes a response of what a handler yields, returns or raises.

The chunks that a generator yields are collected until there is a reason to send them:

    it ends without ever waiting      one write, with Content-Length
    it waits, has yielded             the chunks so far are sent, chunked for HTTP/1.1, and the
    `buffer_size` bytes, or has used  generator is not resumed while the client's buffer is full
    up its time slice

The kind of an error decides what the client and the log get:

    HTTPError         it is the answer
    ProtocolError     the client's fault: answered with the error's status
    any other error   the application's fault: 500, and a traceback in the log; if the head was sent
                      already, the connection is cut, so that the client knows
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
_BODY = (str, bytes, bytearray, memoryview)    # The types of a chunk.


class HandlerRun:
    """One run of a handler, and the answer it becomes. It is the owner of the handler's task."""

    __slots__ = ('_chunks', '_handler', '_request', '_size', '_yielded', 'response')

    def __init__(
        self, handler: Handler, request: Request, response: Response, chunks: list[bytes]
    ) -> None:
        self._handler = handler
        self._request = request
        self.response = response
        self._chunks = chunks                 # The chunks that are not sent yet.
        self._size = sum(map(len, chunks))    # Their size in bytes.
        self._yielded = bool(chunks)          # Whether there was a chunk, even an empty one.

    # -- called by the task ---------------------------------------------------------------------

    def emit(self, value: Any) -> Future | None:
        """Take a chunk; return a Future if the client's buffer is full. Hot: once per chunk.

        Raises `HandlerError` for a value that is no chunk.
        """
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
        """Send the collected chunks: the handler is about to wait, or to give others a turn."""
        if self._chunks:
            try:
                self._flush()
            except Exception as error:
                task = self.response.connection.task
                self.fail(error)
                if task is not None:
                    task.cancel()

    def _to_bytes(self, value: Any) -> bytes:
        # A copy: the generator may use its buffer again.
        return value.encode(self._handler.encoding) if isinstance(value, str) else bytes(value)

    def _flush(self) -> Future | None:
        """Send the collected chunks; return a Future if the client's buffer is full."""
        response = self.response
        # (If the last chunk is long it is passed on apart, so that it is not copied.)
        long = self._chunks.pop() if len(self._chunks[-1]) > APART else b''
        data = b''.join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if not response.live:
            # The client is gone, or an error was its answer: the task is being cancelled.
            return None
        try:
            wait = response.write(long, data) if long else response.write(data)
        except (HandlerError, HeaderError) as error:
            raise HandlerError(f'{self._handler.name}: {error}') from error
        if response.framing == 'none':
            # The answer is complete: for HEAD, 204 and 304 the head is all of it.
            task = response.connection.task
            if task is not None:
                task.cancel()
        return wait

    # -- the end --------------------------------------------------------------------------------

    def finished(self, task: Future) -> None:
        """Complete the answer when the task has ended, with a value or an error."""
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
        """Complete the answer of a handler that has returned `value`."""
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
        """Send a returned value as the whole answer."""
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
        """Answer an error; if the head was sent already, cut the connection."""
        response = self.response
        connection = response.connection
        gone = not response.live
        # These errors are no faults of the application. The last two mean that the client is gone;
        # if it is not, the application has raised them itself.
        if not isinstance(error, (HTTPError, ProtocolError, StreamClosed, Cancelled)) or (
                not gone and isinstance(error, (StreamClosed, Cancelled))):
            self._log_error(error)
        if gone:
            return
        self._chunks.clear()
        try:
            self._answer_error(error)
        except Exception as problem:
            # No answer is possible: the handler has closed the stream itself.
            self._log_error(problem)
            connection.abort('failed')

    def _answer_error(self, error: BaseException) -> None:
        """Send the answer to an error; if the head was sent already, cut the connection."""
        response = self.response
        if isinstance(error, HTTPError) and response.head_sent:
            _log.error('%s raised %s after the head was sent', self._handler.name, error)
        elif isinstance(error, HTTPError):
            response.reset()
            try:
                return send_error(response, error)
            except Exception as problem:
                # The headers of the HTTPError may not be sent.
                self._log_error(problem)
                error = problem
        return send_failure(response, error)

    def _log_error(self, error: BaseException) -> None:
        request = self._request
        _log.error('%s failed on %s %a', self._handler.name, request.method,
                   request.target[:200].decode('latin-1'), exc_info=error)


def _forget_frames(error: BaseException | None) -> None:
    """Drop the tracebacks of an error, and of its causes, once it was answered and logged.

    They would be part of a reference cycle: from Python 3.12 on the last frame of a generator
    refers to the frames that resumed it, so to its task, and the task refers to the error.
    """
    left = [error]
    while left:
        error = left.pop()
        if error is not None and error.__traceback__ is not None:
            error.__traceback__ = None
            left += (error.__cause__, error.__context__)
