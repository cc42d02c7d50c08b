"""Call: one request of a WSGI application: the call on a thread, and the answer on the loop.

A thread calls the application and takes its answer apart; the loop alone has the connection. What
one has for the other goes through the pool:

    thread                                             loop
    `run`: application(environ, start_response)
       the answer is known whole                  -->  `_send_whole`: one write
       a chunk of an answer that goes on          -->  `_send_piece`
         more than `_AHEAD` bytes are not taken   <--  the client's buffer has room: `_took`
       a file                                     -->  `_send_file`; the thread is free meanwhile
       `wsgi.input` is read, and waits            -->  `_read`
                                                  <--  bytes have come
                                                  <--  `cancel`: the client is gone
    `close` of what the application returned

The answer goes out before `close`, which may take its time. Nothing of a call waits for ever: when
the client is gone, however that is found (a reset, a timeout of the server, its end), `cancel` wakes
the thread.
"""

from __future__ import annotations

import logging
import threading
from contextvars import Context
from functools import partial

from ..frames import place_in_thread
from ..http import ProtocolError
from ..loop import Future
from ..loop.done import DONE
from ..pages import send_failure
from ..server import HandlerError, Request, Response
from ..server.bodiless import BODILESS
from ..server.notices import shown_request
from ..typed import TYPE_CHECKING, Any, Callable
from .errors import ClientGone, client_gone, comes_from_us, no_answer, no_chunk
from .file_wrapper import Borrowed, FileWrapper, Found, regular
from .head import fields_of, status_of
from .input import Errors, input_of

if TYPE_CHECKING:
    from .application import Runner

_log = logging.getLogger('tremolo.error')

_AHEAD = 65536    # Bytes that a thread may be ahead of the client.
_SHORT = 65536    # A list of chunks, and a file, of so many bytes is sent at once.


class Call:
    """One request, its answer, and the call of the application for it."""

    __slots__ = ('_addresses', '_began', '_ended', '_events', '_gone', '_head', '_left', '_parked',
                 '_posted', '_result', '_taken', '_told', 'context', 'request', 'response',
                 'runner', 'thread')

    runner: Runner
    request: Request
    response: Response
    context: Context    # The application runs in it.
    thread: int    # The number of the thread that runs it; 0 before and after.
    _addresses: Any
    # What `start_response` said: the status and the fields; None before it was called.
    _head: Any
    _began: bool    # Whether the thread has handed over a piece of the body.
    _ended: bool    # Whether it has handed over the end of the answer, or an error instead.
    _left: int | None    # Bytes that are still to come; None if that is not known.
    _told: bool    # Whether the log was told of a body that is too long.
    _gone: bool    # Whether the client is gone; the loop sets it.
    _posted: int    # Bytes of pieces that the thread has handed over.
    _taken: int    # Bytes of these that the client's buffer had room for; the loop counts them.
    _events: list[threading.Event]    # On these the thread waits.
    # What the application returned, as long as it has a `close` that is to be called; a file that is
    # sent keeps it beyond the end of `run`.
    _result: Any
    _parked: bool

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
        call.context = new_context()
        call._addresses = connection.known_addresses or connection.addresses
        call._began = call._ended = call._gone = call._told = call._parked = False
        call._head = call._left = call._result = None
        call._posted = call._taken = call.thread = 0
        call._events = []
        return call

    # -- for the connection, and for reports ----------------------------------------------------

    def cancel(self) -> None:
        """Wake the thread: the client is gone."""
        self._gone = True
        for event in tuple(self._events):
            event.set()

    def where(self) -> str:
        """Return file:line at which the thread stands, or what the call waits for."""
        if self._parked:
            return 'sending a file'
        return place_in_thread(self.thread) or 'waiting for a thread'

    @property
    def what(self) -> str:
        """What it is, for the log."""
        return f'the WSGI call for {shown_request(self.request)}'

    # -- on a thread ----------------------------------------------------------------------------

    def run(self) -> None:
        """Call the application, or go on after a file was sent. Raises nothing."""
        self.thread = threading.get_ident()
        self.context.run(self._run if self._result is None else self._close)
        self.thread = 0

    def _run(self) -> None:
        if self._gone or not self.response.live:
            return    # The client left before a thread was free.
        runner, result, errors = self.runner, None, Errors()
        try:
            app, environ_of = runner.app, runner.environ.of
            environ = environ_of(self.request, self._addresses)
            environ['wsgi.input'] = input_of(self)
            environ['wsgi.errors'] = errors
            result = app(environ, self.start_response)
            del environ
            self._answer(result)
        except BaseException as error:
            # Even SystemExit: no error of an application may end a thread.
            self._fail(error)
        if hasattr(result, 'close'):
            self._result = result
            if not self._parked:
                del result
                self._close()
        if errors._line:
            errors.flush()

    def _close(self) -> None:
        result, self._result = self._result, None
        try:
            result.close()
        except BaseException as error:
            self._fail(error)

    def start_response(self, status: str, headers: list[tuple[str, str]],
                       exc_info: Any = None) -> Callable[[bytes], None]:
        """Take the status and the fields of the answer; return `write`.

        Raises `HandlerError` and `HeaderError`, and the error of `exc_info` if the head is sent.
        """
        if exc_info is not None:
            try:
                if self._began or self._ended:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None    # (The traceback refers to this frame.)
        elif self._head is not None:
            raise HandlerError('start_response was called before: to answer an error instead, call '
                               'start_response(status, headers, sys.exc_info())')
        self._head = status_of(status), fields_of(headers)
        return self.write

    def write(self, data: bytes) -> None:
        """Send a piece of the body. Raises `ClientGone`, and `HandlerError` for what is no bytes."""
        if type(data) is not bytes:
            raise no_chunk(data)
        if data and not self._bodiless:
            self._piece(data)

    def _answer(self, result: Any) -> None:
        """Send what the application has returned."""
        kind = type(result)
        if kind is list or kind is tuple:
            if len(result) == 1 and type(result[0]) is bytes:
                return self._whole(result[0])
            if sum(map(len, self._checked(result))) <= _SHORT:
                return self._whole(b''.join(result))
        elif kind is FileWrapper:
            found = regular(result.filelike)
            if found is not None:
                return self._file(found)
        elif isinstance(result, (str, bytes, bytearray, memoryview)) or not hasattr(
                kind, '__iter__') and not hasattr(kind, '__getitem__'):
            raise no_answer(result)
        return self._iterate(result)

    @staticmethod
    def _checked(chunks: Any) -> Any:
        for chunk in chunks:
            if type(chunk) is not bytes:
                raise no_chunk(chunk)
        return chunks

    @property
    def _bodiless(self) -> bool:
        """Whether the answer has no body: HEAD, or by its status."""
        status = self._head[0] if self._head is not None else 200
        return self.request.method == 'HEAD' or status in BODILESS or (
            type(status) is tuple and status[0] in BODILESS)

    def _iterate(self, result: Any) -> None:
        """Send chunks, each before the next is taken."""
        whole = _size_of(result) == 1
        for chunk in result:
            if type(chunk) is not bytes:
                raise no_chunk(chunk)
            if not chunk:
                continue
            if self._ended:
                if not self._told:
                    self._tell_excess(len(chunk))
                return
            if self._began:
                self._piece(chunk)
            elif self._bodiless:
                return self._whole(chunk, False)
            elif whole or (self._head is not None and self._head[1][1] == len(chunk)):
                self._whole(chunk)
            else:
                self._piece(chunk)
        self._end()

    def _end(self) -> None:
        """End the answer, when the application has given all of it."""
        if self._ended:
            return
        if not self._began:
            return self._whole(b'', False)
        self._ended = True
        if self._left:
            return self._cut_short()
        self.runner.pool.post(self._finish, None)

    def _whole(self, body: bytes, is_all: bool = True) -> None:
        """Hand over an answer that is known whole; of HEAD its length may be unknown."""
        head = self._head
        if head is None:
            raise self._not_started()
        length = head[1][1]
        if self._began:
            if body:
                self._piece(body)
            return self._end()
        if length is not None and length != len(body) and not self._bodiless:
            if body:
                self._piece(body)
                return self._end()
            self._began = True
            self._left = length
            self.runner.pool.post(self._send_piece, b'')
            return self._end()
        self._ended = True
        self.runner.pool.post(self._send_whole if is_all else self._send_head, body)

    def _not_started(self) -> HandlerError:
        return HandlerError('the WSGI application has not called start_response: write '
                            "`start_response('200 OK', headers)` before the first chunk")

    def _piece(self, data: bytes) -> None:
        """Hand over a piece of the body, and wait while the client takes no more."""
        if self._gone or not self.response.live:
            raise client_gone(self.response)
        if self._head is None:
            raise self._not_started()
        if not self._began:
            self._began = True
            self._left = self._head[1][1]
        if self._left is not None:
            if len(data) > self._left:
                if not self._told:
                    self._tell_excess(len(data) - self._left)
                data = data[:self._left]
            self._left -= len(data)
        if data:
            self._posted += len(data)
            self.runner.pool.post(self._send_piece, data)
            if self._posted - self._taken > _AHEAD:
                self._wait(lambda: self._posted - self._taken <= _AHEAD)

    def _tell_excess(self, size: int) -> None:
        """Log that the body is longer than its Content-Length; what is too much is not sent."""
        self._told = True
        _log.error('the WSGI application answers %s with a body that is longer than its '
                   'Content-Length: %d bytes or more are left out', shown_request(self.request),
                   size)

    def _cut_short(self) -> None:
        """Log that the body is too short, and cut the connection: nobody may take it for whole."""
        _log.error('the WSGI application answers %s with a body that is %d bytes shorter than its '
                   'Content-Length: the connection is cut', shown_request(self.request), self._left)
        self.runner.pool.post(self._cut, None)

    def _file(self, found: Found) -> None:
        """Hand over a file; `close` is called by a thread when it is sent."""
        if self._head is None:
            raise self._not_started()
        if self._began:
            return self._iterate(self._result)
        status, fields = self._head
        size = found.size if fields[1] is None else min(found.size, fields[1])
        if fields[1] is None:
            self._head = status, (fields[0], size, *fields[2:])
        if self._bodiless:
            self._whole(b'', False)
        elif size <= _SHORT:
            data = b''
            while len(data) < size and (more := found.file.read(size - len(data))):
                data += more
            self._whole(data)
        else:
            self._began = self._ended = self._parked = True
            self._left = self._head[1][1] - size
            self.runner.pool.post(self._send_file, found._replace(size=size))

    def _wait(self, done: Callable[[], bool]) -> None:
        """Wait until something is done. Raises `ClientGone` when the client is gone."""
        while not done():
            event = threading.Event()
            self._events.append(event)
            # (First the event is there, then this looks: what sets it looks in the other order.)
            if not (done() or self._gone or self.runner.pool.closed):
                event.wait()
            self._events.remove(event)
            if self._gone or self.runner.pool.closed:
                raise client_gone(self.response)

    def fetch(self, size: int) -> bytes:
        """Return 1 to `size` bytes of the request's body, b'' at its end; wait for them.

        Raises `ClientGone`.
        """
        box: list[Any] = []
        self.runner.pool.post(self._read, (size, box))
        self._wait(lambda: bool(box))
        data, error = box[0]
        if error is not None:
            raise error
        return data    # type: ignore[no-any-return]

    def _fail(self, error: BaseException) -> None:
        """Log an error of the application; it is the answer if nothing was sent."""
        gone = self._gone or not self.response.live
        if not (gone and comes_from_us(error)):
            _log.error('the WSGI application failed on %s', shown_request(self.request),
                       exc_info=error)
        if not self._ended:
            self._ended = True
            self.runner.pool.post(self._send_failure, error)

    # -- on the loop ----------------------------------------------------------------------------

    def _read(self, asked: tuple[int, list[Any]]) -> None:
        """Read some of the request's body, for `fetch`."""
        size, box = asked
        self.request.read(size).add_done_callback(partial(self._have_read, box))

    def _have_read(self, box: list[Any], future: Future) -> None:
        data, error = future.outcome()
        if isinstance(error, ProtocolError):
            # The client's mistake has its own answer, which no framework knows.
            refused = ClientGone(f'the client is refused: {error}')
            if self.response.live:
                send_failure(self.response, error)
            error = refused
        elif error is not None:
            error = client_gone(self.response)
        box.append((data, error))
        self._wake()

    def _wake(self) -> None:
        for event in tuple(self._events):
            event.set()

    def _send_whole(self, body: bytes) -> None:
        """Send an answer that is known whole. Hot: once per request."""
        response = self.response
        if response.live:
            try:
                response.set_encoded(*self._head)
                if body or self.request.method != 'HEAD':
                    response.send_body(body)
                else:
                    self._send_head(body)
            except Exception as error:
                self._lost(error)

    def _send_head(self, body: bytes) -> None:
        """Send an answer without a body, whose length is not known; `body` is left out."""
        response = self.response
        if response.live:
            try:
                if self._bodiless:
                    self._begin().write_pieces(b'', body)
                    response.finish()
                else:
                    self._begin().send_body(body)
            except Exception as error:
                self._lost(error)

    def _begin(self) -> Response:
        if not self.response.head_sent:
            self.response.set_encoded(*self._head)
        return self.response

    def _send_piece(self, data: bytes) -> None:
        if not self.response.live:
            return
        try:
            wait = self._begin().write_pieces(b'', data)
        except Exception as error:
            return self._lost(error)
        if wait is None:
            self._took(len(data))
        else:
            wait.add_done_callback(lambda _: self._took(len(data)))

    def _took(self, size: int) -> None:
        self._taken += size
        if self._events:
            self._wake()

    def _finish(self, _: None) -> None:
        if self.response.live:
            try:
                self.response.finish()
            except Exception as error:
                self._lost(error)

    def _send_file(self, found: Found) -> None:
        """Send a file; the thread goes on with `close` when the file is sent, or cannot be."""
        response = self.response
        if not response.live:
            return self._unpark()
        piece = Borrowed(found, found.size, self._file_failed, self._unpark)
        try:
            wait = self._begin().write_pieces(b'', piece)    # type: ignore[arg-type]
        except Exception as error:
            self._unpark()
            return self._lost(error)
        if response.connection.stream.closed:
            self._unpark()    # (It has kept nothing.)
        (wait or DONE).add_done_callback(self._file_taken)

    def _file_taken(self, wait: Future) -> None:
        """End the answer when nearly all of a file is sent; a stream that has ended is known."""
        if wait.outcome()[1] is None:
            (self._cut_short if self._left else partial(self._finish, None))()

    def _file_failed(self, why: str) -> None:
        _log.error('%s: the file could not be sent to its end, and the connection is cut: %s',
                   shown_request(self.request), why)
        self.response.connection.abort('failed', reset=True)

    def _unpark(self) -> None:
        """Let a thread call `close`, once."""
        if self._parked:
            self._parked = False
            if self._result is not None:
                self.runner.pool.submit(self)

    def _cut(self, _: None) -> None:
        if self.response.live:
            self.response.connection.abort('failed')

    def _send_failure(self, error: BaseException) -> None:
        if self.response.live:
            try:
                send_failure(self.response, error)
            except Exception as problem:
                _log.error('no answer is possible for %s', shown_request(self.request),
                           exc_info=problem)
                self.response.connection.abort('failed')

    def _lost(self, error: Exception) -> None:
        """Answer a mistake that only the framing finds."""
        if self.response.live:
            _log.error('the WSGI application failed on %s', shown_request(self.request),
                       exc_info=error)
            self._send_failure(error)


def _size_of(result: Any) -> int | None:
    try:
        return len(result)
    except Exception:    # (It may be anybody's object.)
        return None


# (As `answer_to` of the response.)
call_of = Call.of
