"""Sending: the loop's half of a call: it has the connection, and does what the thread posts.

    the thread posts                      and waits for
    `send_whole`   an answer known whole
    `send_head`    one without a body
    `send_piece`   a chunk                `took`, when it is more than `AHEAD` bytes ahead
    `finish`, `cut`, `send_failure`
    `send_file`                           nothing: `unpark` gives the call to a thread again
    `read`         for `wsgi.input`       bytes, in the list that it gives

What is posted when the answer has ended has no effect. `cancel` wakes the thread, whatever it waits
for: the connection calls it when the client is gone, however that was found.
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
from ..server import Request, Response
from ..server.bodiless import BODILESS
from ..server.notices import about, shown_request
from ..typed import TYPE_CHECKING, Any, Callable
from .errors import ClientGone, client_gone, comes_from_us
from .file_wrapper import Borrowed, Found

if TYPE_CHECKING:
    from .application import Runner

_log = logging.getLogger('tremolo.error')


class Sending:
    """What the loop does for a call."""

    __slots__ = ('_addresses', '_began', '_dropped', '_ended', '_events', '_gone', '_head',
                 '_left', '_parked', '_posted', '_result', '_taken', '_told', 'body', 'context',
                 'leave', 'request', 'response', 'runner', 'thread')

    runner: Runner
    request: Request
    response: Response
    context: Context    # The application runs in it.
    # Gives back the request's place, once; None: requests have none (room places).
    leave: Callable[[object], None] | None
    thread: int    # The number of the thread that runs it; 0 before and after.
    _addresses: Any
    body: bytes | None    # The request's body, if all of it had come with the head.
    # What `start_response` said: the status and the fields; None before it was called.
    _head: Any
    _began: bool    # Whether the thread has posted a piece of the body.
    _ended: bool    # Whether it has posted the end of the answer, or an error instead.
    _left: int | None    # Bytes that are still to come; None if that is not known.
    _dropped: bool    # Whether a piece was not sent, because the answer has no body.
    _told: bool    # Whether the log was told of a body that is too long.
    _gone: bool    # Whether the client is gone; the loop sets it.
    _posted: int    # Bytes of pieces that the thread has posted.
    _taken: int    # Bytes of these that the client's buffer had room for; the loop counts them.
    _events: list[threading.Event]    # On these the thread waits.
    _parked: bool    # Whether a file is sent, and no thread has the call.
    _result: Any    # Then what the application returned, whose `close` is to be called.

    # -- for the connection, and for reports ----------------------------------------------------

    def cancel(self) -> None:
        """Wake the thread: the client is gone, or nobody takes the answer."""
        self._gone = True
        self._wake()
        call: Any = self
        if not self.thread and self._result is None and self.runner.pool.withdraw(call) \
                and self.leave is not None:
            self.leave(self)

    def where(self) -> str:
        """Return file:line at which the thread stands, or what the call waits for."""
        if self._parked:
            return 'sending a file'
        return place_in_thread(self.thread) or 'waiting for a thread'

    @property
    def what(self) -> str:
        """What it is, for the log."""
        return f'the WSGI call for {shown_request(self.request)}'

    def _wake(self) -> None:
        for event in tuple(self._events):
            event.set()

    # -- the request's body ---------------------------------------------------------------------

    def read(self, asked: tuple[int, list[Any]]) -> None:
        """Read at most so many bytes of the body, and put them, or an error, into a list."""
        size, box = asked
        try:
            self.request.read(size).add_done_callback(partial(self._have_read, box))
        except Exception as error:
            box.append((b'', error))
            self._wake()

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

    # -- the answer -----------------------------------------------------------------------------

    @property
    def _bodiless(self) -> bool:
        """Whether the answer has no body: for HEAD, or by its status."""
        status = self._head[0] if self._head is not None else 200
        return self.request.method == 'HEAD' or (
            status[0] if type(status) is tuple else status) in BODILESS

    def _begin(self) -> Response:
        response = self.response
        if not response.head_sent:
            response.set_encoded(*self._head)
        return response

    def send_whole(self, body: bytes) -> None:
        """Send an answer that is known whole. Hot: once per request."""
        response = self.response
        if response.live:
            try:
                status, fields = self._head
                response.set_encoded(status, fields)
                response.send_body(body)
            except Exception as error:
                self._lost(error)

    def send_head(self, body: bytes) -> None:
        """Send an answer without a body, whose length is not known; the `body` is left out."""
        if self.response.live:
            try:
                self._begin().write_pieces(b'', body)
                self.response.finish()
            except Exception as error:
                self._lost(error)

    def send_piece(self, data: bytes) -> None:
        """Send a piece of the body, and the head before the first."""
        if not self.response.live:
            self.cancel()
            return
        try:
            wait = self._begin().write_pieces(b'', data)
        except Exception as error:
            self._lost(error)
            return
        if wait is None:
            self._took(len(data))
        else:
            wait.add_done_callback(lambda _: self._took(len(data)))

    def _took(self, size: int) -> None:
        self._taken += size
        if self._events:
            self._wake()

    def finish(self, _: object = None) -> None:
        """End the answer."""
        if self.response.live:
            try:
                self.response.finish()
            except Exception as error:
                self._lost(error)

    def cut(self, missing: int) -> None:
        """Cut the connection: nobody may take an answer that is too short for the whole."""
        _log.error('the WSGI application answers %s with a body that is %d bytes shorter than its '
                   'Content-Length: the connection is cut', shown_request(self.request), missing)
        if self.response.live:
            self.response.connection.abort('failed')

    def send_failure(self, error: BaseException) -> None:
        """Answer an error, or cut the connection if the head was sent."""
        if self.response.live:
            try:
                send_failure(self.response, error)
            except Exception as problem:
                _log.error('no answer is possible for %s', shown_request(self.request),
                           exc_info=problem)
                self.response.connection.abort('failed')

    def throw(self, error: BaseException) -> None:
        """Give an error to what stands around the answer; log it if that is too late."""
        response: Any = self.response
        if response.live and response.layers and not response.head_sent:
            response.throw(self.runner, error)    # (It logs what nobody takes.)
        else:
            if not comes_from_us(error) or response.live:
                _log.error('the WSGI application failed on %s', shown_request(self.request),
                           exc_info=error, extra=about(self.request))
            self.send_failure(error)

    def _lost(self, error: Exception) -> None:
        """Answer a mistake that only the framing finds."""
        if self.response.live:
            _log.error('the WSGI application failed on %s', shown_request(self.request),
                       exc_info=error, extra=about(self.request))
            self.send_failure(error)
        self.cancel()

    # -- a file ---------------------------------------------------------------------------------

    def send_file(self, found: Found) -> None:
        """Send a file; a thread goes on with `close` when it is sent, or cannot be."""
        response = self.response
        if not response.live:
            self._unpark()
            return
        piece: Any = Borrowed(found, self._file_failed, self._unpark)
        try:
            wait = self._begin().write_pieces(b'', piece)
        except Exception as error:
            self._lost(error)
            self._unpark()
            return
        if response.connection.stream.closed:
            self._unpark()    # (It has kept nothing.)
        (wait or DONE).add_done_callback(self._file_taken)

    def _file_taken(self, wait: Future) -> None:
        """End the answer when nearly all of a file is sent; a stream that has ended is known."""
        if wait.outcome()[1] is None:
            if self._left:
                self.cut(self._left)
            else:
                self.finish()

    def _file_failed(self, why: str) -> None:
        _log.error('%s: the file could not be sent to its end, and the connection is cut: %s',
                   shown_request(self.request), why)
        self.response.connection.abort('failed', reset=True)

    def _unpark(self) -> None:
        """Give the call to a thread again, once."""
        if self._parked:
            self._parked = False
            self.runner.pool.submit(self)    # type: ignore[arg-type]
