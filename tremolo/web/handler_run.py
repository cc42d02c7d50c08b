"""Handler run: makes a response of what a handler yields, returns or raises.

The chunks that a generator yields are collected until there is a reason to send them:

    it ends without ever waiting      one write, with Content-Length
    it waits, has yielded             the chunks so far are sent, chunked for HTTP/1.1, and the
    `buffer_size` bytes, or has used  generator is not resumed while the client's buffer is full
    up its time slice

What it returns is sent by returned.py, what it raises is answered by failure.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..http import HeaderError
from ..loop import Cancelled, Future, StreamClosed
from ..loop.stream import APART
from ..loop.task import awaited
from ..server import HandlerError, Request, Response
from ..server.notices import cancel
from .failure import fail, forget_frames, log_error
from .returned import BODY, send_returned, to_bytes

if TYPE_CHECKING:
    from .handlers import Handler


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
            if not isinstance(value, BODY):
                return awaited(value, HandlerError, ', bytes or str')
            value = to_bytes(self._handler, value)
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
                    cancel(task, 'the answer is complete')

    def _flush(self) -> Future | None:
        """Send the collected chunks; return a Future if the client's buffer is full."""
        response = self.response
        # (A long chunk is the last of them, and is not copied.)
        long = self._chunks.pop() if len(self._chunks[-1]) > APART else b''
        before = b''.join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if not response.live:
            # The client is gone, or an error was its answer: the task is being cancelled.
            return None
        try:
            wait = response.write_pieces(before, long)
        except (HandlerError, HeaderError) as error:
            raise HandlerError(f'{self._handler.name}: {error}') from error
        if response.framing == 'none':
            # The answer is complete: for HEAD, 204 and 304 the head is all of it.
            task = response.connection.task
            if task is not None:
                cancel(task, 'the answer is complete')
        return wait

    # -- the end --------------------------------------------------------------------------------

    def finished(self, task: Future) -> None:
        """Complete the answer when the task has ended, with a value or an error."""
        value, error = task.outcome()
        response = self.response
        if not response.live:
            if error is not None and not isinstance(error, (Cancelled, StreamClosed)):
                log_error(self._handler, self._request, error)
        elif error is None:
            self.complete(value)
        elif isinstance(error, Cancelled) and response.head_sent and response.framing == 'none':
            response.end()
        else:
            self.fail(error)
        if error is not None:
            forget_frames(error)

    def complete(self, value: Any) -> None:
        """Complete the answer of a handler that has returned `value`."""
        response = self.response
        try:
            if value is not None:
                if self._yielded or response.head_sent:
                    raise HandlerError(f'{self._handler.name} returned a value after it had '
                                       'yielded: it would be lost')
                send_returned(self._handler, response, value)
            elif response.head_sent:
                if self._chunks:
                    self._flush()
                response.end()
            elif self._yielded:
                response.send(b''.join(self._chunks))
            else:
                send_returned(self._handler, response, None)
        except Exception as problem:
            self.fail(problem)

    def fail(self, error: BaseException) -> None:
        """Answer an error; if the head was sent already, cut the connection."""
        self._chunks.clear()
        fail(self._handler, self._request, self.response, error)
