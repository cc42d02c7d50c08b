"""Head: what the head of a request says (RFC 9112 sections 3, 6.3 and 9, RFC 9110).

`read_head` is given a head that is well-formed, and makes a `RequestHead` of it or refuses what it
means: a target that does not fit its method, no host or two, a body whose size is not beyond doubt.
What two servers understand differently is how requests are smuggled (RFC 9112 section 11.2), so
nothing is guessed. The first of these faults counts:

    the target's form 400, CONNECT 501; a repeated field 400; Host 400; framing 400 or 501;
    Expect 417

Only those that matter here are looked at. All become a list when somebody asks for `fields`: half
as much work again, and most handlers never ask.
"""

from __future__ import annotations

import re
from typing import NoReturn

from .errors import ProtocolError, shown
from .fields import split_fields
from .grammar import ABSOLUTE, AUTHORITY, CODING, CONTENT_LENGTH, FRAMING, HOST, LISTS

_HOST_SIZE = 255 + 6    # the longest name that DNS and RFC 3986 section 3.2.2 know, and a port
# Well-formed hosts as they were sent, and trimmed: a server receives the same few again and again.
# Nothing else is in it. At most 256 hosts of at most `_HOST_SIZE` bytes, with the spaces around
# them; a full dictionary starts again.
_MOST_HOSTS = 256
_hosts: dict[bytes, bytes] = {}
_find = FRAMING.findall


class RequestHead:
    """The request line and header fields of one request, and what they say about its body."""

    # (An `__init__` would cost 0.1 us, which is much for one request.)
    __slots__ = ('authority', 'block', 'chunked', 'content_length', 'expect_continue', 'has_body',
                 'keep_alive', 'method', 'minor', 'target', 'upgrade')

    method: str                   # as sent: methods are case-sensitive
    target: bytes                 # as sent, not decoded
    minor: int                    # the minor version: HTTP/1.0 or HTTP/1.1
    keep_alive: bool              # whether the client wants to go on (RFC 9112 section 9.3)
    # Host and port in lower case, of the target if it names them, else of the Host field
    # (RFC 9112 section 3.2.2). None if HTTP/1.0 sent neither.
    authority: bytes | None
    content_length: int | None
    chunked: bool
    has_body: bool                # it is chunked, or not of size 0
    expect_continue: bool         # the client waits for 100 Continue before it sends the body
    upgrade: bytes | None         # what the client would like to speak instead, in lower case
    # The fields, from the line feed before the first to the last one's; a list once asked for.
    block: bytes | list[tuple[bytes, bytes]]

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.method} {self.target!r} HTTP/1.{self.minor}>'

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The fields in the order in which they came: names in lower case, values trimmed."""
        block = self.block
        if isinstance(block, bytes):
            block = self.block = split_fields(block)
        return block


def read_head(match: re.Match[bytes], make: type[RequestHead]) -> RequestHead:
    """Make a request of a whole head, which `grammar.head` matched. Hot: once per request."""
    method, target, version, block = match.groups()
    # One search in lower-case text finds the few fields that matter here; it cannot be fooled,
    # because each line is known to be a field. The block starts with a line feed.
    found = _find(block.lower())
    # Other forms than a path are rare, and so is CONNECT.
    authority = None
    if target[0] != 0x2f or method == b'CONNECT':
        authority = _authority(method, target)
    head = make()
    head.method = method.decode('ascii')
    head.target = target
    head.minor = minor = 1 if version == b'1' else 0
    head.content_length = head.upgrade = None
    head.chunked = head.has_body = head.expect_continue = False
    head.block = block
    # Host and Connection are all that most requests have of these: no dictionary for two
    # (measured: 0.3 us).
    host = connection = fields = None
    for name, value in found:
        if name == b'host' and host is None:
            host = value
        elif name == b'connection' and connection is None:
            connection = value
        else:
            fields = _merge(found)
            host, connection = fields.get(b'host'), fields.get(b'connection')
            break
    if host is not None:
        host = _hosts.get(host) or _host(host)
    elif minor:
        raise ProtocolError(400, 'no Host in HTTP/1.1')
    head.authority = authority or host
    if connection is None:
        head.keep_alive = minor == 1
    else:
        head.keep_alive = connection == b' keep-alive' or _keeps_alive(connection, minor)
    if fields is not None:
        _note_rest(head, fields)
    return head


def _note_rest(head: RequestHead, fields: dict[bytes, bytes]) -> None:
    """Take note of the body's framing (RFC 9112 section 6.3), of Expect and of Upgrade.

    A framing that is not beyond doubt is refused.
    """
    length, coding = fields.get(b'content-length'), fields.get(b'transfer-encoding')
    if length is not None:
        if coding is not None:
            raise ProtocolError(400, 'both Content-Length and Transfer-Encoding')
        if CONTENT_LENGTH.fullmatch(length) is None:
            raise ProtocolError(400, f'malformed Content-Length: {shown(length)}')
        head.content_length = int(length)
        head.has_body = head.content_length > 0
    elif coding is not None:
        if not head.minor:
            raise ProtocolError(400, 'Transfer-Encoding in HTTP/1.0')
        if coding != b'chunked':
            _refuse_coding(coding)
        head.chunked = head.has_body = True
    if head.minor:
        expect = fields.get(b'expect')
        if expect is not None:
            # The one expectation that exists (RFC 9110 section 10.1.1).
            if expect != b'100-continue':
                raise ProtocolError(417, f'unknown expectation: {shown(expect)}')
            head.expect_continue = True
        if b'upgrade' in fields and b'upgrade' in _options(fields.get(b'connection', b'')):
            head.upgrade = fields[b'upgrade']


def _merge(found: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Trim all, and join lists; anything else may be there once (RFC 9110 section 5.3)."""
    lines: dict[bytes, list[bytes]] = {}
    for name, value in found:
        lines.setdefault(name, []).append(value.strip(b' \t'))
    for name, values in lines.items():
        if len(values) > 1 and name not in LISTS:
            raise ProtocolError(400, f'repeated header field: {shown(name)}')
    return {name: b', '.join(values) for name, values in lines.items()}


def _authority(method: bytes, target: bytes) -> bytes | None:
    """Check a target that is no path, and return the authority that it names (RFC 9112 3.2)."""
    if method == b'CONNECT':
        if AUTHORITY.fullmatch(target):
            raise ProtocolError(501, 'CONNECT is not for this server')
    elif target == b'*':
        if method == b'OPTIONS':
            return None
    else:
        absolute = ABSOLUTE.fullmatch(target)
        # An http URI without a host is invalid (RFC 9110 section 4.2.1).
        if absolute is not None and not absolute[1].startswith(b':'):
            return _host(absolute[1].lower())
    raise ProtocolError(400, f'the form of the target {shown(target)} does not fit {shown(method)}')


def _host(value: bytes) -> bytes:
    """Trim and check a host with an optional port (RFC 9110 section 7.2). It may be empty."""
    host = _hosts.get(value)
    if host is None:
        host = value.strip(b' \t')
        if len(host) > _HOST_SIZE or HOST.fullmatch(host) is None:
            raise ProtocolError(400, f'malformed host: {shown(host)}')
        if len(value) <= _HOST_SIZE:
            # (`>=`: reactors in several threads may each add a host at once.)
            if len(_hosts) >= _MOST_HOSTS:
                _hosts.clear()
            _hosts[value] = host
    return host


def _options(connection: bytes) -> list[bytes]:
    return [option.strip(b' \t') for option in connection.split(b',')]


def _keeps_alive(connection: bytes, minor: int) -> bool:
    """Whether Connection asks to go on (RFC 9112 section 9.3); close wins."""
    options = _options(connection)
    return b'close' not in options and (minor == 1 or b'keep-alive' in options)


def _refuse_coding(value: bytes) -> NoReturn:
    """Tell codings that we do not know, with chunked last, from framing that cannot be trusted."""
    codings = [CODING.fullmatch(coding.strip(b' \t')) for coding in value.split(b',')]
    names = [coding[1] for coding in codings if coding is not None]
    if len(names) == len(codings) and names.count(b'chunked') == 1 and value.endswith(b'chunked'):
        raise ProtocolError(501, f'unknown transfer coding: {shown(value)}')
    raise ProtocolError(400, f'malformed Transfer-Encoding: {shown(value)}')
