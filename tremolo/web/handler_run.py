"""Handler run: makes a response of what a handler yields, returns or raises.

The chunks that a generator yields are collected until there is a reason to send them:

    it ends without ever waiting      one write, with Content-Length
    it waits, has yielded             the chunks so far are sent, chunked for HTTP/1.1, and the
    `buffer_size` bytes, or has used  generator is not resumed while the client's buffer is full
    up its time slice

What it returns is sent by returned.py, what it raises is answered by failure.py.
"""

from __future__ import annotations

from ..http import HeaderError, ProtocolError
from ..loop import Cancelled, Future, StreamClosed
from ..loop.foreign import awaited
from ..loop.signals import caught
from ..loop.stream import APART
from ..server import HandlerError, HTTPError, Request, Response
from ..server.notices import cancel
from ..typed import TYPE_CHECKING, Any
from .failure import fail, forget_frames, log_error
from .lost import lost
from .returned import BYTES, discard, instead_of_chunk, send_returned

if TYPE_CHECKING:
    from .handlers import Handler


class HandlerRun:
    """One run of a handler, and the answer it becomes. It is the owner of the handler's task."""

    __slots__ = ('_chunks', '_handler', '_request', '_size', '_yielded', 'failed', 'response')

    def __init__(
        self, handler: Handler, request: Request, response: Response, chunks: list[bytes]
    ) -> None:
        self._handler = handler
        self._request = request
        self.response = response
        self._chunks = chunks                 # The chunks that are not sent yet.
        self._size = sum(map(len, chunks))    # Their size in bytes.
        self._yielded = bool(chunks)          # Whether there was a chunk, even an empty one.
        self.failed = False                   # Whether an error was answered.

    # -- called by the task ---------------------------------------------------------------------

    def emit(self, value: Any) -> Future | None:
        """Take a chunk; return a Future if the client's buffer is full. Hot: once per chunk.

        Raises `HandlerError` for a value that is no chunk.
        """
        if type(value) is not bytes:
            if isinstance(value, str):
                value = self.response.encode(value)
            elif not isinstance(value, BYTES):
                discard(value)
                return awaited(value, HandlerError, f', bytes or str{instead_of_chunk(value)}')
            value = bytes(value)    # A copy: the handler may use its buffer again.
        self._yielded = True
        if self._handler.stream:
            return self._send_now(value)
        if value:
            self._chunks.append(value)
            self._size += len(value)
            if self._size >= self._handler.buffer_size:
                return self._flush()
        return None

    def _send_now(self, value: bytes) -> Future | None:
        """Send a chunk before the handler goes on: it may block. An empty one sends the head."""
        wait = None
        if value or not self.response.head_sent:
            self._chunks.append(value)
            wait = self._flush()
            self.response.connection.stream.push()
        return wait

    def pausing(self) -> None:
        """Send the collected chunks: the handler is about to wait, or to give others a turn."""
        if self._chunks:
            try:
                self._flush()
            except BaseException as error:
                # (After the answer it may be the task of the next request.)
                task = self.response.connection.task if self.response.live else None
                self.fail(caught(error))
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
        if not response.live or response.yielded is not self._chunks:
            # The client is gone, or an error was its answer: the task is being cancelled.
            if response.ended and not self.failed:
                raise lost(self._handler, response, None, True)
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
        if not response.live or response.yielded is not self._chunks:
            # (Or an error handler answers, instead of this one.)
            if error is None and (value is not None or self._chunks) and not self.failed:
                error = lost(self._handler, response, value, self._yielded)
            if error is not None and not isinstance(error, (Cancelled, StreamClosed)) and (
                    # (The client has gone before it could be told what it did wrong.)
                    response.ended or not isinstance(error, (HTTPError, ProtocolError))):
                log_error(self._handler, self._request, error)
        elif error is None:
            self.complete(value)
        elif isinstance(error, Cancelled) and response.head_sent and response.framing == 'none':
            response.finish()
        else:
            self.fail(error)
        if error is not None and not response.live:    # (Or an error handler still looks at it.)
            forget_frames(error)

    def complete(self, value: Any) -> None:
        """Complete the answer of a handler that has returned `value`."""
        response = self.response
        try:
            if value is not None:
                if self._yielded or response.head_sent:
                    raise lost(self._handler, response, value, self._yielded)
                send_returned(self._handler, response, value)
            elif response.head_sent:
                if self._chunks:
                    self._flush()
                response.finish()
            elif self._yielded:
                response.send_body(b''.join(self._chunks))
            else:
                send_returned(self._handler, response, None)
        except BaseException as problem:
            self.fail(caught(problem))

    def fail(self, error: BaseException) -> None:
        """Answer an error; if the head was sent already, cut the connection."""
        self._chunks.clear()
        self.failed = True
        fail(self._handler, self._request, self.response, error)
