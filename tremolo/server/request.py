"""Request: what a handler reads: what its head says (request_facts.py), and its body."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from types import MappingProxyType

from ..loop import Future, Inbox, LimitExceeded, Task
from ..loop.shared_future import SharedFuture
from ..typed import TYPE_CHECKING, Any
from .context import Context
from .errors import PayloadTooLarge
from .request_body import open_inbox
from .request_facts import RequestFacts

if TYPE_CHECKING:
    from .connection import Connection

# Shared by all requests: most have no groups, and a dictionary for each would cost time.
_NONE: Mapping[str, Any] = MappingProxyType({})


class Request(RequestFacts):
    """One request. Body reads are Futures: `data = yield request.read(65536)`."""

    __slots__ = ('__weakref__', 'context', 'groups', 'inbox', 'kept', 'received', 'trailers')

    inbox: Inbox | None    # Where the body waits; None as long as nobody has read.
    received: int    # Bytes of the body that have come; set when it is whole, or is read no more.
    groups: Mapping[str, Any]    # The named groups of the route's path.
    context: Context    # Lives as long as this request; made when its handler is known.
    # Fields after a chunked body, once the body has been read to its end (RFC 9112 section 7.1.2).
    trailers: Sequence[tuple[bytes, bytes]]
    # The body, and what is worked out of the head, once they were asked for (most handlers ask for
    # none, and a slot for each would make every request larger); 'reader' while the body is read.
    kept: dict[str, Any] | None

    def begin(self, connection: Connection) -> None:
        """Set up a request that came on this connection. Hot."""
        self.connection = connection
        self.inbox = self._headers = self._path = self.kept = self.forwarded = self.mark = None
        self.groups = _NONE
        self.trailers = ()

    def read(self, size: int = -1) -> Future:
        """Read what has arrived of the body, at most `size` bytes; b'' at its end.

        The Future raises `ProtocolError` when the body is malformed, too large or too slow, and
        `StreamClosed` when the client is gone.
        """
        if self.connection.stream.reactor.in_loop_thread():
            return self._inbox().read(size)
        return self._task(self._read(size))

    def body(self) -> Future:
        """Read the whole body; the same bytes each time, also at the same time.

        Raises `PayloadTooLarge` beyond the option `body_buffer_size`.
        """
        return self._task(self._body())

    def _inbox(self) -> Inbox:
        self.inbox = self.inbox or open_inbox(self)
        return self.inbox

    def _read(self, size: int) -> Generator[Future, Any, Any]:
        return (yield self._inbox().read(size))

    def _body(self, option: str = 'body_buffer_size') -> Generator[Future, Any, Any]:
        kept = self.kept = {} if self.kept is None else self.kept
        while 'reader' in kept:    # (If that one is cancelled, this one reads on.)
            if kept['reader'] is None:
                kept['reader'] = SharedFuture(self.connection.stream.reactor)
            yield kept['reader']
        if 'body' in kept:
            return kept['body']
        limit = getattr(self.connection.server.settings, option)
        if (self.content_length or 0) > limit:
            raise PayloadTooLarge(f'the body exceeds {limit} bytes ({option})')
        kept['reader'] = None
        try:
            body = kept['body'] = yield self._inbox().read_all(limit)
            return body
        except LimitExceeded as error:
            raise PayloadTooLarge(f'the body exceeds {limit} bytes ({option})') from error
        finally:
            reader = kept.pop('reader')
            if reader is not None:
                reader.set_result()

    def _task(self, reading: Generator[Future, Any, Any]) -> Future:
        """Read on the reactor's thread: the handler may run on another."""
        reactor = self.connection.stream.reactor
        return Task(reading, reactor=reactor, later=not reactor.in_loop_thread())
