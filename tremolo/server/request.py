"""Request: what a handler reads.

What people read is str, and what is on the wire is bytes. Each property is worked out when it is
asked for: most handlers look at very few.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from ..http import Headers, RequestHead
from ..loop import Future, Inbox, LimitExceeded, Task
from ..loop.shared_future import SharedFuture
from ..typed import TYPE_CHECKING, Any
from .context import Context
from .errors import PayloadTooLarge
from .request_body import open_inbox

if TYPE_CHECKING:
    from ..tls.facts import TlsFacts
    from .addresses import Addresses
    from .connection import Connection

# Shared by all requests: most have no groups, and a dictionary for each would cost time.
_NONE: Mapping[str, Any] = MappingProxyType({})


class Request(RequestHead):
    """One request. Body reads are Futures: `data = yield request.read(65536)`."""

    __slots__ = ('__weakref__', '_headers', '_path', 'connection', 'context', 'forwarded', 'groups',
                 'inbox', 'kept', 'mark', 'received', 'trailers')

    connection: Connection
    # The addresses that a trusted proxy names for this request; None: those of the connection.
    forwarded: Addresses | None
    inbox: Inbox | None    # Where the body waits; None as long as nobody has read.
    received: int    # Bytes of the body that have come; set when it is whole, or is read no more.
    groups: Mapping[str, Any]    # The named groups of the route's path.
    context: Context    # Lives as long as this request; made when its handler is known.
    # Fields after a chunked body, once the body has been read to its end (RFC 9112 section 7.1.2).
    trailers: Sequence[tuple[bytes, bytes]]
    # The field line X-Request-ID of the answer; None without the option `request_id` (room access).
    mark: bytes | None
    _headers: Headers | None
    _path: str | None
    # The body, and what is worked out of the head, once they were asked for (most handlers ask for
    # none, and a slot for each would make every request larger); 'reader' while the body is read.
    kept: dict[str, Any] | None

    def begin(self, connection: Connection) -> None:
        """Set up a request that came on this connection. Hot."""
        self.connection = connection
        self.inbox = self._headers = self._path = self.kept = self.forwarded = self.mark = None
        self.groups = _NONE
        self.trailers = ()

    # -- the head -------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        """'1.1' or '1.0'."""
        return f'1.{self.minor}'

    @property
    def raw_path(self) -> bytes:
        """The path as it came, without the query; of a target in absolute form only the path."""
        path = self.target.partition(b'?')[0]
        if path[:1] != b'/' and b'://' in path:
            _, slash, path = path.partition(b'://')[2].partition(b'/')
            return slash + path or b'/'
        return path

    @property
    def path(self) -> str:
        """The path, percent-decoded as UTF-8; other bytes become U+FFFD."""
        if self._path is None:
            self._path = unquote_to_bytes(self.raw_path).decode('utf-8', 'replace')
        return self._path

    @property
    def query_string(self) -> bytes:
        """The bytes after the first '?', as they came."""
        return self.target.partition(b'?')[2]

    @property
    def headers(self) -> Headers:
        """The header fields: names case-insensitive, values str (Latin-1)."""
        if self._headers is None:
            self._headers = Headers.from_wire(self.fields)
        return self._headers

    @property
    def host(self) -> str:
        """The host that the client asks for, with its port if given; '' if it named no host.

        The host of a target in absolute form wins over the Host field (RFC 9112 section 3.2.2).
        """
        return (self.authority or b'').decode('ascii')

    @property
    def content_type(self) -> str:
        """The Content-Type field; '' if there is none."""
        return self.headers.get('content-type') or ''

    @property
    def client(self) -> Any:
        """The client's address, `(host, port)`; None on a UNIX socket."""
        return self.addresses[0]

    @property
    def addresses(self) -> Addresses:
        """The client's end, our own, and the scheme that the client used."""
        return self.forwarded or self.connection.addresses

    @property
    def scheme(self) -> str:
        """'https' if the client's bytes are encrypted on their way, else 'http'."""
        return self.addresses[2]

    @property
    def is_secure(self) -> bool:
        """Whether the scheme is https."""
        return self.scheme == 'https'

    @property
    def tls(self) -> TlsFacts | None:
        """What is known of the encrypted connection, and of its client; None of another."""
        stream = self.connection.stream
        if not stream.secure:
            return None
        from ..tls.facts import facts_of  # (Who listens with TLS has imported it.)
        return facts_of(stream)

    @property
    def id(self) -> str:
        """The id of this request, which its answer and the logs have; '' without `request_id`."""
        # (Behind `X-Request-ID: `.)
        return (self.mark or b'')[14:-2].decode('ascii')

    @property
    def signer(self) -> Any:
        """What signs the cookies of the application; None without keys."""
        return self.connection.server.signer

    # -- the body -------------------------------------------------------------------------------

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

    def _body(self) -> Generator[Future, Any, Any]:
        kept = self.kept = {} if self.kept is None else self.kept
        while 'reader' in kept:    # (If that one is cancelled, this one reads on.)
            if kept['reader'] is None:
                kept['reader'] = SharedFuture(self.connection.stream.reactor)
            yield kept['reader']
        if 'body' in kept:
            return kept['body']
        limit = self.connection.server.settings.body_buffer_size
        if (self.content_length or 0) > limit:
            raise PayloadTooLarge(f'the body exceeds {limit} bytes (body_buffer_size)')
        kept['reader'] = None
        try:
            body = kept['body'] = yield self._inbox().read_all(limit)
            return body
        except LimitExceeded as error:
            raise PayloadTooLarge(f'the body exceeds {limit} bytes (body_buffer_size)') from error
        finally:
            reader = kept.pop('reader')
            if reader is not None:
                reader.set_result()

    def _task(self, reading: Generator[Future, Any, Any]) -> Future:
        """Read on the reactor's thread: the handler may run on another."""
        reactor = self.connection.stream.reactor
        return Task(reading, reactor=reactor, later=not reactor.in_loop_thread())
