"""RequestFacts: what the head of a request says, and its connection; the lower half of `Request`.

What people read is str, and what is on the wire is bytes. Each property is worked out when it is
asked for: most handlers look at very few.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from ..http import Headers, RequestHead
from ..typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..tls.facts import TlsFacts
    from .addresses import Addresses
    from .connection import Connection


class RequestFacts(RequestHead):
    """What a handler asks of a request before it reads the body."""

    __slots__ = ('_headers', '_path', 'connection', 'forwarded', 'mark')

    connection: Connection
    # The addresses that a trusted proxy names for this request; None: those of the connection.
    forwarded: Addresses | None
    # The field line X-Request-ID of the answer; None without the option `request_id` (room access).
    mark: bytes | None
    _headers: Headers | None
    _path: str | None

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

    def marked(self, answer: bytes) -> bytes:
        """Return an answer to it, or the head of one, with the `mark`, unless it has such a field.

        (An application may answer with an X-Request-ID of its own.)
        """
        if self.mark is None:
            return answer
        name = b'\r\n' + self.mark[:self.mark.find(b':') + 1].lower()
        if name in answer[:answer.find(b'\r\n\r\n')].lower():
            return answer
        first = answer.find(b'\r\n') + 2
        return answer[:first] + self.mark + answer[first:]
