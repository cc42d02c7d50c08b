"""Exchange: one request on a wire, and its answer.

The request's body is sent by a task of its own, so an answer that comes before all of it was sent
is read at once: the server may refuse the rest.
"""

from __future__ import annotations

from collections.abc import Generator

from ..loop import Cancelled, Future, Task
from ..typed import Any, Optional, Union
from .cookies import Cookies
from .errors import AnswerError
from .parser import AnswerHead, EndOfAnswer, Fields
from .request import Request
from .wire import Wire

Waited = Optional[Future]    # What a task yields: None is a turn for others.
Waiting = Generator[Waited, Any, None]
# So many turns an application that has answered 500 gets, to raise its error.
_TURNS = 5


class Exchange:
    """One request and its answer; what waits is a generator for a `Task`."""

    head: AnswerHead
    until: float | None    # When the timeout is over.

    def __init__(self, wire: Wire, request: Request, seconds: float | None, raise_errors: bool,
                 until: float | None = None) -> None:
        """Prepare. The timeout counts from now, or is over at the time `until`."""
        self.wire = wire
        self.request = request
        self.interim: list[AnswerHead] = []    # The answers of 1xx before it.
        self.trailers: Fields = []
        self.ended = False    # Whether the answer is complete.
        self.seconds = seconds    # Of the timeout; None: without end.
        self._raise_errors = raise_errors
        self._reactor = wire.server.reactor
        self.renew()
        self.until = self.until if until is None else until
        self._sending: Task | None = None

    def renew(self) -> None:
        """Count the timeout from now."""
        self.until = None if self.seconds is None else self._reactor.time() + self.seconds

    @property
    def reusable(self) -> bool:
        """Whether the wire can have another request: both messages are complete."""
        return (self.ended and self.wire.parser.keep_alive
                and (self._sending is None or self._sending.done()))

    def begin(self, jar: Cookies) -> Waiting:
        """Send the request, and wait for the head of the answer; 1xx are passed over.

        Raises what the handler raised, `AnswerError` and `TimeoutError`.
        """
        wire, request = self.wire, self.request
        wire.parser.expect(request.method)
        wire.server.failures.put_aside(wire.connection)    # Of the request before.
        head = request.head(jar)
        if request.body is None:
            wire.send(head)
        else:
            self._sending = Task(self._send(head), reactor=self._reactor, later=True)
            self._sending.add_done_callback(self._sent)
        while True:
            event = yield from self._event()
            if not isinstance(event, AnswerHead):
                raise AnswerError('an answer has no head')
            if event.status != 101 and event.status < 200:
                self.interim.append(event)
            else:
                self.head = event
                return

    def _send(self, head: bytes) -> Waiting:
        """Send the body, with the head before it."""
        for piece in self.request.pieces():
            if not (yield self.wire.send(head + piece)):
                return
            head = b''
        if head:
            yield self.wire.send(head)

    def _sent(self, sending: Task) -> None:
        """Tell the caller that the iterable of its body has raised."""
        error = sending.exception()
        if error is not None and not isinstance(error, Cancelled):
            self.wire.fail(error)

    def read(self) -> Generator[Waited, Any, bytes]:
        """Return the next piece of the body; b'' at its end. Raises as `begin` does."""
        if self.head.status == 101:
            self.ended = True    # (What follows is no HTTP.)
        if self.ended:
            return b''
        event = yield from self._event()
        if isinstance(event, bytes):
            return event
        if isinstance(event, EndOfAnswer):
            self.trailers = event.trailers
            self.ended = True
            if self.head.status == 500:
                # (A framework answers an error by itself, and raises it some steps later.)
                for _ in range(_TURNS):
                    yield None
                    self.raise_failure(late=True)
        return b''

    def read_all(self) -> Generator[Waited, Any, bytes]:
        """Return what is left of the body."""
        pieces = []
        while piece := (yield from self.read()):
            pieces.append(piece)
        return b''.join(pieces)

    def _event(self) -> Generator[Future, Any, Union[AnswerHead, EndOfAnswer, bytes]]:
        """Wait for the next event. Raises the handler's error if this comes instead."""
        wire, parser = self.wire, self.wire.parser
        try:
            while (event := parser.next_event()) is None:
                data = yield wire.receive(self.until, self.seconds)
                if data:
                    parser.feed(data)
                else:
                    parser.feed_eof()
        except AnswerError:
            self.raise_failure()
            raise
        if not isinstance(event, bytes):
            self.raise_failure()
        return event

    def raise_failure(self, late: bool = False) -> None:
        """Raise what the handler of this request has raised; with `late` also after its answer."""
        error = self.wire.server.failures.pop(self.wire.connection, late)
        if error is not None and self._raise_errors:
            try:
                raise error
            finally:
                del error    # (The traceback leads to this frame.)

    def close(self) -> None:
        """Send no more, and close the wire."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
        self.wire.close()
