"""Request: what a caller asks for, as the bytes of a request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, urlsplit

from ..http import Headers
from ..typed import Any, Optional, Union
from .bodies import Body, body_of, form
from .cookies import Cookies

# What stands as it is in a target (RFC 3986 section 3.3, and 3.4); `%` begins an escape.
_PATH = "/%:@!$&'()*+,;=~-._"
_QUERY = _PATH + '?'
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

GivenHeaders = Union[Mapping[str, Any], Iterable['tuple[str, Any]'], None]


class Url:
    """An address: scheme, host and port; `authority` has the two as they are written."""

    scheme: str
    authority: str

    def __init__(self, url: str, base: Optional[Url] = None, params: Any = None) -> None:
        """Read it; without a scheme it belongs to `base`. Raises `ValueError`."""
        # (`/` first: `//name` is a path of this application, and no host.)
        own = base is not None and (url == '*' or not re.match(r'(?i)https?://', url))
        if own and url != '*' and not url.startswith('/'):
            raise ValueError(f'{url!r:.64} begins with / or is http://..., for another host')
        if not own and not urlsplit(url).hostname:
            raise ValueError(f'{url!r:.64} is no address: write http://localhost')
        rest = url
        if base is not None and own:
            self.scheme, self.authority = base.scheme, base.authority
        else:
            parts = urlsplit(url)
            self.scheme, self.authority = parts.scheme.lower(), parts.netloc.rpartition('@')[2]
            rest = f'{parts.path or "/"}{f"?{parts.query}" if parts.query else ""}'
        split = urlsplit(f'//{self.authority}')
        self.host = (split.hostname or '').lower()
        self.port = split.port or (443 if self.scheme == 'https' else 80)
        path, mark, query = rest.partition('#')[0].partition('?')
        self.path = quote(path, _PATH) or '/'
        if params:
            query = '&'.join(filter(None, (
                query, params if isinstance(params, str) else form(params))))
        query = quote(query, _QUERY)
        self.target = f'{self.path}?{query}' if query or mark else self.path

    def joined(self, location: str) -> Url:
        """Return where a Location leads to (RFC 9110 section 10.2.2)."""
        from urllib.parse import urljoin
        return Url(urljoin(f'{self.scheme}://{self.authority}{self.target}', location))

    def __str__(self) -> str:
        return f'{self.scheme}://{self.authority}{self.target}'


class Request:
    """A request that can be sent, and sent again to where an answer leads."""

    def __init__(self, method: str, url: Url, headers: Headers, body: Body | None = None,
                 cookies: Mapping[str, str] | None = None,
                 without: frozenset[str] = frozenset()) -> None:
        if not isinstance(method, str) or _METHOD.fullmatch(method) is None:
            raise ValueError(f'{method!r:.64} is no method')
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.cookies = dict(cookies or {})    # For this request alone.
        self.without = without    # The fields, in lower case, that are not added.

    def head(self, jar: Cookies) -> bytes:
        """Return the head, with the cookies of the jar."""
        url, body = self.url, self.body
        added = [('Host', url.authority), ('Accept', '*/*'), ('User-Agent', 'tremolo-client')]
        if cookie := jar.header(url.scheme, url.host, url.path, self.cookies):
            # (As browsers send it: UTF-8. `Headers` refuses what would be another line.)
            added += Headers([('Cookie', cookie.encode().decode('latin-1'))]).items()
        if body is not None:
            if body.type is not None:
                added.append(('Content-Type', body.type))
            if self.chunked:
                added.append(('Transfer-Encoding', 'chunked'))
            elif body.size is not None:
                added.append(('Content-Length', str(body.size)))
        elif self.method in ('POST', 'PUT', 'PATCH'):
            added.append(('Content-Length', '0'))
        given = self.headers.items()
        left_out = self.without.union(name.lower() for name, _ in given)
        lines = [*(each for each in added if each[0].lower() not in left_out), *given]
        text = ''.join(f'{name}: {value}\r\n' for name, value in lines)
        return f'{self.method} {url.target} HTTP/1.1\r\n{text}\r\n'.encode('latin-1')

    @property
    def chunked(self) -> bool:
        """Whether the body is sent in chunks."""
        if 'transfer-encoding' in self.headers:
            return True
        return self.body is not None and self.body.size is None \
            and 'content-length' not in self.headers

    def pieces(self) -> Iterator[bytes]:
        """Return the body as it is sent: framed in chunks if its size is not known."""
        if self.body is None:
            return
        chunked = self.chunked
        for piece in self.body.pieces:
            if piece:
                yield b'%x\r\n%b\r\n' % (len(piece), piece) if chunked else piece
        if chunked:
            yield b'0\r\n\r\n'


def request_of(method: str, url: Url, common: Headers, *, json: Any = None, data: Any = None,
               files: Any = None, headers: GivenHeaders = None,
               cookies: Mapping[str, str] | None = None) -> Request:
    """Return the request for the arguments of a call; its headers replace the common ones.

    Raises `TypeError`, `ValueError` and `HeaderError`.
    """
    own, without = headers_of(headers)
    merged = Headers(common.items())
    for name in (*own, *without):
        merged.pop(name)
    for name, value in own.items():
        merged.add(name, value)
    return Request(method, url, merged, body_of(data, json, files), cookies, without)


def headers_of(given: GivenHeaders) -> tuple[Headers, frozenset[str]]:
    """Return header fields as they were given, and the names of those that are to be left out.

    They are a dictionary, or pairs. The value None leaves a field out that the client would send.
    """
    pairs = list(given.items() if isinstance(given, (Mapping, Headers)) else given or ())
    without = frozenset(name.lower() for name, value in pairs if value is None)
    return Headers((name, value) for name, value in pairs if value is not None), without
