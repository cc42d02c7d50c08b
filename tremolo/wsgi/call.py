"""Call: the thread's half of one request: it calls the application and takes its answer apart.

    `run`    application(environ, start_response)
             an answer that is known whole: posted at once
             else each chunk is posted before the next is taken
    then     `close` of what the application returned, whatever happened; the answer is out already

The loop has the connection, and does what is posted here: sending.py.
"""

from __future__ import annotations

import logging
import threading

from ..errors import readable
from ..server import HandlerError, Request, Response
from ..server.notices import about, shown_request
from ..server.request_body import LONG
from ..typed import TYPE_CHECKING, Any, Callable
from .errors import client_gone, comes_from_us, no_answer, no_chunk, no_exc_info, not_started
from .file_wrapper import FileWrapper, Found, regular
from .head import fields_of, status_of
from .input import Errors, input_of
from .sending import Sending

if TYPE_CHECKING:
    from .application import Runner

_log = logging.getLogger('tremolo.error')

_AHEAD = 65536    # Bytes that a thread may be ahead of the client.
_SHORT = 65536    # Chunks of a list, and a file, of so many bytes are sent at once.


class Call(Sending):
    """One request, its answer, and the call of the application for it."""

    __slots__ = ()

    @staticmethod
    def of(runner: Runner, request: Request, response: Response) -> Call:
        """Make the call of a request. Hot. (CPython 3.11 does not inline an `__init__`.)"""
        call = Call()
        call.runner = runner
        call.request = request
        call.response = response
        connection = request.connection
        # A copy of the context after the start: nothing leaks from one request into the next.
        new_context = connection.server.new_context
        wrapped: Any = response
        call.context = wrapped.context.copy() if response.layers else new_context()
        call._addresses = (
            request.forwarded or connection.known_addresses or connection.addresses)
        call._began = call._ended = call._gone = call._told = call._parked = call._dropped = False
        call._head = call._left = call._result = call.body = call.leave = None
        call._posted = call._taken = call.thread = 0
        call._events = []
        if request.has_body:
            length, inbox = request.content_length, request.inbox
            if inbox is not None and inbox.eof:
                call.body = inbox.read().result()    # It was waited for.
            elif (length and length <= connection.parser.buffered and length < LONG
                    and not request.expect_continue):
                # All of it is here already: no thread has to wait for it.
                read = request.read(length)
                if read.done() and read.exception() is None:
                    call.body = read.result()
        return call

    def run(self) -> None:
        """Call the application, or `close` after a file was sent. Raises nothing."""
        self.thread = threading.get_ident()
        parked = False
        if self._result is None:
            parked = self.context.run(self._run)
        else:
            # (A copy: the thread that was here before may still be at its last line.)
            result, self._result = self._result, None
            self.context.copy().run(self._close, result)
        self.thread = 0
        if self.leave is not None and not parked:
            self.runner.pool.post_last(self.leave, self)

    def _run(self) -> bool:
        """Call the application; return True if a thread has to call `close` later."""
        if self._gone or not self.response.live:
            return False    # The client left before a thread was free.
        runner, result, errors, parked = self.runner, None, Errors(), False
        try:
            app, environ_of = runner.app, runner.environ.of
            environ = environ_of(self.request, self._addresses)
            environ['wsgi.input'] = input_of(self.request, self.body, self.fetch)
            environ['wsgi.errors'] = errors
            result = app(environ, self.start_response)
            runner.pool.end_child()
            del environ
            parked = self._answer(result)
        except BaseException as error:
            # Even SystemExit: no error of an application may end a thread.
            self._fail(readable(error))
        if not parked and hasattr(result, 'close'):
            runner.pool.tell_soon()    # (`close` may take its time.)
            self._close(result)
        if errors.line:
            errors.flush()
        return parked

    def _close(self, result: Any) -> None:
        try:
            result.close()
        except BaseException as error:
            self._fail(readable(error))

    def _fail(self, error: BaseException) -> None:
        """Log an error of the application; it is the answer if nothing was sent."""
        self.runner.pool.end_child(error)
        known = comes_from_us(error) and (self._gone or not self.response.live)
        if not known and (self._ended or not self.response.layers):
            _log.error('the WSGI application failed on %s', shown_request(self.request),
                       exc_info=error, extra=about(self.request))
        if not self._ended:
            self._ended = True
            # (Middleware around it may take the error, which is not logged then.)
            self.runner.pool.post(self.throw if self.response.layers else self.send_failure, error)

    # -- what the application calls -------------------------------------------------------------

    def start_response(self, status: str, headers: list[tuple[str, str]],
                       exc_info: Any = None) -> Callable[[bytes], None]:
        """Take the status and the fields of the answer; return `write`.

        Raises `HandlerError` and `HeaderError`, and the error of `exc_info` if the head is sent.
        """
        if exc_info is not None:
            try:
                if self._began or self._ended:
                    if not (isinstance(exc_info, tuple) and len(exc_info) == 3
                            and isinstance(exc_info[1], BaseException)):
                        raise no_exc_info(exc_info)
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None    # (The traceback refers to this frame.)
        elif self._head is not None:
            raise HandlerError('start_response was called before: to answer an error instead, call '
                               'start_response(status, headers, sys.exc_info())')
        self._head = status_of(status), fields_of(headers)
        return self.write

    def write(self, data: bytes) -> None:
        """Send a piece of the body. Raises `ClientGone`, `HandlerError` for what is no bytes."""
        if type(data) is not bytes:
            raise no_chunk(data)
        if self._bodiless:
            self._dropped = True
        elif data:
            self._piece(data)

    def fetch(self, size: int) -> bytes:
        """Return 1 to `size` bytes of the request's body, b'' at its end; wait for them.

        Raises `ClientGone`.
        """
        box: list[Any] = []
        self.runner.pool.post(self.read, (size, box))
        self._wait(lambda: bool(box))
        data, error = box[0]
        if error is not None:
            raise error
        return data    # type: ignore[no-any-return]

    def _wait(self, done: Callable[[], bool]) -> None:
        """Wait until something is done. Raises `ClientGone` when the client is gone."""
        while not done():
            event = threading.Event()
            self._events.append(event)
            # (First the event is there, then this looks: what sets it looks in the other order.)
            if not (done() or self._gone or self.runner.pool.closed):
                self.runner.pool.waits.wait(event)
            self._events.remove(event)
            if not done() and (self._gone or self.runner.pool.closed):
                raise client_gone(self.response)

    # -- the answer -----------------------------------------------------------------------------

    def _answer(self, result: Any) -> bool:
        """Send what the application has returned; return whether `close` has to wait for it."""
        kind = type(result)
        if kind is list or kind is tuple:
            for chunk in result:
                if type(chunk) is not bytes:
                    raise no_chunk(chunk)
            size = sum(map(len, result))
            if len(result) == 1:
                self._whole(result[0])
            elif size <= _SHORT:
                self._whole(b''.join(result))
            else:
                self._know(size)
                self._iterate(result)
        elif kind is FileWrapper and not self._began and (found := regular(result.filelike)):
            return self._file(found, result)
        elif isinstance(result, (str, bytes, bytearray, memoryview)) or not (
                hasattr(kind, '__iter__') or hasattr(kind, '__getitem__')):
            raise no_answer(result)
        else:
            self._iterate(result)
        return False

    def _iterate(self, result: Any) -> None:
        """Send chunks, each before the next is taken."""
        whole = _size_of(result) == 1
        for chunk in result:
            if type(chunk) is not bytes:
                raise no_chunk(chunk)
            if not chunk:
                continue
            if self._ended:
                return self._tell_excess(len(chunk))
            if not self._began:
                if self._head is None:
                    raise not_started()
                if self._bodiless:
                    return self._without_body(chunk)
                if whole or self._head[1][1] == len(chunk):
                    self._whole(chunk)
                    self.runner.pool.tell_soon()
                    continue
            self._piece(chunk)
            if self._told:
                break
        return self._end()

    def _whole(self, body: bytes) -> None:
        """Post an answer that is known whole, and has not begun."""
        if self._head is None:
            raise not_started()
        length = self._head[1][1]
        if self._bodiless:
            if self._dropped or not body:
                return self._without_body(body)
        elif self._began or (length is not None and length != len(body)):
            self._piece(body)
            return self._end()
        self._ended = True
        return self.runner.pool.post_last(self.send_whole, body)

    def _without_body(self, body: bytes) -> None:
        """Post an answer that has no body, and whose length is known to the application alone."""
        self._ended = True
        self.runner.pool.post_last(self.send_head, body)

    def _piece(self, data: bytes) -> None:
        """Post a piece of the body, and wait while the client takes no more."""
        if self._gone or not self.response.live:
            raise client_gone(self.response)
        if self._head is None:
            raise not_started()
        if not self._began:
            self._began = True
            self._left = self._head[1][1]
        if self._left is not None:
            if len(data) > self._left:
                self._tell_excess(len(data) - self._left)
                data = data[:self._left]
            self._left -= len(data)
        self._posted += len(data)
        self.runner.pool.post(self.send_piece, data)
        if self._posted - self._taken > _AHEAD:
            self._wait(lambda: self._posted - self._taken <= _AHEAD)

    def _tell_excess(self, size: int) -> None:
        """Log that the body is longer than its Content-Length; what is too much is not sent."""
        if not self._told:
            self._told = True
            _log.error('the WSGI application answers %s with a body that is longer than its '
                       'Content-Length: %d bytes or more are left out',
                       shown_request(self.request), size)

    def _end(self) -> None:
        """End the answer, when the application has given all of it."""
        if self._ended:
            return None
        if not self._began:
            return self._whole(b'')
        self._ended = True
        if self._left:
            return self.runner.pool.post(self.cut, self._left)
        return self.runner.pool.post(self.finish, None)

    def _know(self, size: int) -> int:
        """Return the Content-Length; it is this size if the application has not set any."""
        if self._head is None:
            raise not_started()
        status, fields = self._head
        if fields[1] is None:
            self._head = status, (fields[0], size, *fields[2:])
        length: int = self._head[1][1]
        return length

    def _file(self, found: Found, result: FileWrapper) -> bool:
        """Post a file; return True if a thread has to call `close` when it is sent."""
        length = self._know(found.size)
        size = min(found.size, length)
        if self._bodiless:
            self._without_body(b'')
        elif size <= _SHORT:
            data = b''
            while len(data) < size and (more := found.file.read(size - len(data))):
                data += more
            self._whole(data)
        else:
            self._began = self._ended = self._parked = True
            self._left = length - size
            self._result = result
            self.runner.pool.post_last(self.send_file, found.part(size))
            return True
        return False


def _size_of(result: Any) -> int | None:
    try:
        return len(result)
    except Exception:    # (It may be anybody's object.)
        return None


# (As `answer_to` of the response.)
call_of = Call.of
