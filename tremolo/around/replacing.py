"""Replacing: sends what replaces the body of an answer that goes on, as its chunks come.

While the client takes no more, nothing is asked of what replaces it, and the handler waits: so
nothing is kept but what the handler has sent meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Generator

from ..loop import Cancelled, Future, StreamClosed, Task
from ..loop.shared_future import SharedFuture
from ..loop.signals import caught
from ..server import Response
from ..server.sending import too_late
from ..sockets.outbox import PieceFailed
from ..typed import TYPE_CHECKING, Any
from .flow import Chunks, Flow, Replaced, Taken
from .middleware import Middleware

if TYPE_CHECKING:
    from .response import WrappedResponse

_log = logging.getLogger('tremolo.error')


class ReplacedBody:
    """The body of an answer, on its way through the iterables of middleware."""

    name = 'a middleware'    # For the log.

    def __init__(self, response: WrappedResponse) -> None:
        self._response = response
        self._flow = Flow()
        self.replaced: list[Replaced] = []    # The innermost first.
        self._over = False    # Whether the outermost has ended: what still comes is not sent.
        # Done when the client takes more, and all that has come is sent.
        self._full: SharedFuture | None = None
        self._trailers = b''

    # -- what replaces it -------------------------------------------------------------------------

    def chunks_for(self, name: str) -> Chunks:
        """Return the chunks as the next middleware outside gets them."""
        return Chunks(name, self._flow, self.replaced[-1] if self.replaced else None)

    def replace(self, name: str, value: Any, taken: Taken) -> None:
        """Put a value in the place of chunks; with None those that were taken are put back.

        Raises `HandlerError` for what is no iterable.
        """
        encode = self._response.encode
        # (Their errors, too, are answered by error handlers, as long as the head was not sent.)
        outside = [each for each in self._response.layers if not isinstance(each[0], Middleware)]
        if value is not None:
            self.replaced.append(Replaced(name, value, taken.keep(), self._flow, encode,
                                          outside))
        elif taken.put_back():
            chunks = taken.keep()
            self.replaced.append(Replaced(name, chunks, chunks, self._flow, encode, outside))

    @property
    def unchanged(self) -> bool:
        """Whether chunks were only looked at, and put back."""
        return all(each.unchanged for each in self.replaced)

    # -- the chunks -------------------------------------------------------------------------------

    def add(self, before: bytes, data: bytes) -> None:
        """Add what the handler sends. Raises `HandlerError` after the end."""
        if self._flow.ended:
            raise too_late(self._response)
        self._flow.add(before, data)
        if self._over:
            self._flow.close()

    def end(self, trailers: bytes) -> None:
        """Finish the answer when all is sent: the handler sends no more."""
        if self._flow.ended:
            return    # What it has sent is still on its way.
        self._trailers = trailers
        self._flow.ended, self._flow.dry = True, False
        if self._over:
            Response.finish(self._response, trailers)
        else:
            self.send()

    def send(self) -> Future | None:
        """Send what has come; return a Future if the client takes no more at present."""
        if self._full is None:
            sending = self._sending()
            wait = next(sending, None)
            if wait is not None:
                reactor = self._response.connection.stream.reactor
                self._full = full = SharedFuture(reactor)
                task = Task(sending, reactor=reactor, yielded=wait)
                task.add_done_callback(lambda _: full.set_result())
        return self._full

    def _sending(self) -> Generator[Future, Any, None]:
        """Ask the outermost for more, until it was told that no more has come."""
        flow, response = self._flow, self._response
        try:
            while not (self._over or flow.dry):
                body = self.replaced[-1]
                body.chunks.told = False
                while not body.chunks.told:
                    chunk = next(body, None)
                    if chunk is None:
                        self.close()
                        break
                    if chunk:
                        wait = Response.write_pieces(response, b'', chunk)
                        if wait is not None:
                            yield wait
            self._full = None
            if flow.ended and self._over:
                if not response.head_sent:
                    Response.write_pieces(response, b'', b'')
                Response.finish(response, self._trailers)
        except PieceFailed as error:
            self.close()
            error.piece.failed(str(error))
        except BaseException as error:
            error = caught(error)
            self._full = None
            self.close()
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """Answer the error of an iterable; if the head was sent, cut the connection."""
        response = self._response
        if not response.live and isinstance(error, (Cancelled, StreamClosed)):
            return    # The client is gone.
        who: Any = self._flow.who or self
        if response.live and not response.head_sent:
            response.layers = getattr(who, 'outside', [])
            response.break_off(who, error)
            return
        response.log_error(who, error)
        if response.live:
            response.connection.abort('failed')

    def close(self) -> None:
        """Let go of what is not sent; what stands in a `finally` of a generator runs."""
        self._over = True
        self._flow.close()
        while self.replaced:
            try:
                self.replaced.pop().close()
            except BaseException as error:
                _log.error('a middleware failed while its chunks were closed',
                           exc_info=caught(error))
