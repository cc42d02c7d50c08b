"""Head: the meaning of the head of a request (RFC 9112 sections 3, 6.3 and 9, RFC 9110).

`read_head` is given a well-formed head. It returns a `RequestHead`, or refuses a head with a wrong
meaning: a target that does not fit the method, no host or two hosts, a body whose size is in doubt.
Requests are smuggled past a proxy by heads that two servers understand differently (RFC 9112
section 11.2), so nothing is guessed. If there are several faults, the first in this order counts:

    the form of the target 400, CONNECT 501; a repeated field 400 (repeated.py); Host 400; framing
    400 or 501; Expect 417

`read_head` looks only at the fields that FRAMING finds. All fields are split into a list when
`fields` is read for the first time: that takes half the time of `read_head`, and most handlers
never read it.
"""

from __future__ import annotations

import re

from .authority import hosts, read_authority, read_host
from .errors import ProtocolError, shown
from .faults import refuse_coding
from .fields import split_fields
from .grammar import CONTENT_LENGTH, FRAMING, LISTS
from .repeated import keep_first

_find = FRAMING.findall
_known_host = hosts.get


class RequestHead:
    """The request line and header fields of one request, and what they say about the body."""

    # (`read_head` sets the attributes: an `__init__` would take 0.1 us for each request.)
    __slots__ = ('authority', 'block', 'chunked', 'content_length', 'expect_continue', 'has_body',
                 'keep_alive', 'method', 'minor', 'target', 'upgrade')

    method: str                   # as sent: methods are case-sensitive
    target: bytes                 # as sent, not decoded
    minor: int                    # the minor version: HTTP/1.0 or HTTP/1.1
    keep_alive: bool              # the client allows another request (RFC 9112 section 9.3)
    # Host and port in lower case: from the target if it has them, else from the Host field (RFC
    # 9112 section 3.2.2). None if a request of HTTP/1.0 has neither.
    authority: bytes | None
    content_length: int | None
    chunked: bool
    has_body: bool                # the body is chunked, or its size is not 0
    expect_continue: bool         # the client waits for 100 Continue before it sends the body
    upgrade: bytes | None         # the protocols that the client offers instead, in lower case
    # The fields as they were sent, from the LF before the first to the LF of the last; the list
    # of them, once `fields` was read.
    block: bytes | list[tuple[bytes, bytes]]

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.method} {self.target!r} HTTP/1.{self.minor}>'

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The fields in the order in which they were sent: names in lower case, values trimmed."""
        block = self.block
        if isinstance(block, bytes):
            block = self.block = split_fields(block)
        return block


def read_head(match: re.Match[bytes], make: type[RequestHead]) -> RequestHead:
    """Return an object of `make` for a head that `grammar.head` matched. Hot: once per request.

    Raises `ProtocolError`.
    """
    method, target, version, block = match.groups()
    # One search finds the few fields that matter here. A value cannot be taken for a field, because
    # each match begins with an LF, and every LF of the block begins a well-formed line.
    found = _find(block.lower())
    head = make()
    head.method = name_of_method = method.decode('ascii')
    # (Most targets are paths, and CONNECT is rare. Python compares str faster than bytes.)
    authority = None
    if target[0] != 0x2f or name_of_method == 'CONNECT':
        authority = read_authority(method, target)
    head.target = target
    head.minor = minor = 1 if version == b'1' else 0
    head.content_length = head.upgrade = None
    head.chunked = head.has_body = head.expect_continue = False
    head.block = block
    # Most requests have only Host and Connection of these fields, and need no dictionary (measured:
    # 0.3 us less).
    host = connection = fields = None
    for name, value in found:
        if name == b'host' and host is None:
            host = value
        elif name == b'connection' and connection is None:
            connection = value
        else:
            fields = _merge(head, found)
            host, connection = fields.get(b'host'), fields.get(b'connection')
            break
    if host is not None:
        host = _known_host(host) or read_host(host)
    elif minor:
        raise ProtocolError(400, 'the Host field is missing')
    head.authority = authority or host
    if connection is None:
        head.keep_alive = minor == 1
    else:
        head.keep_alive = connection == b' keep-alive' or _keeps_alive(connection, minor)
    if fields is not None:
        _note_rest(head, fields)
    return head


def _note_rest(head: RequestHead, fields: dict[bytes, bytes]) -> None:
    """Record in `head` the framing of the body (RFC 9112 section 6.3), Expect and Upgrade.

    Raises `ProtocolError`, also for a framing that two servers may understand differently.
    """
    length, coding = fields.get(b'content-length'), fields.get(b'transfer-encoding')
    if length is not None:
        if coding is not None:
            raise ProtocolError(400, 'there are both Content-Length and Transfer-Encoding')
        if CONTENT_LENGTH.fullmatch(length) is None:
            raise ProtocolError(400, 'Content-Length is no number', shown(length))
        head.content_length = int(length)
        head.has_body = head.content_length > 0
    elif coding is not None:
        if not head.minor:
            raise ProtocolError(400, 'HTTP/1.0 has no Transfer-Encoding')
        if coding != b'chunked':
            refuse_coding(coding)
        head.chunked = head.has_body = True
    if head.minor:
        expect = fields.get(b'expect')
        if expect is not None:
            # (No other expectation is defined: RFC 9110 section 10.1.1. It may be there twice.)
            if set(_elements(expect)) != {b'100-continue'}:
                raise ProtocolError(417, 'the only expectation is 100-continue', shown(expect))
            head.expect_continue = True
        if b'upgrade' in fields and b'upgrade' in _elements(fields.get(b'connection', b'')):
            head.upgrade = fields[b'upgrade']


def _merge(head: RequestHead, found: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the trimmed values by name; the values of a list are joined (RFC 9110 section 5.3).

    Of another field that is there twice the first line is kept. Raises `ProtocolError` if that is
    not safe.
    """
    lines: dict[bytes, list[bytes]] = {}
    for name, value in found:
        lines.setdefault(name, []).append(value.strip(b' \t'))
    for name, values in lines.items():
        if len(values) > 1 and name not in LISTS:
            keep_first(head, name)
    return {name: b', '.join(values) for name, values in lines.items()}


def _elements(value: bytes) -> list[bytes]:
    """Return the elements of a list, trimmed (RFC 9110 section 5.6.1)."""
    return [element.strip(b' \t') for element in value.split(b',')]


def _keeps_alive(connection: bytes, minor: int) -> bool:
    """Return whether the client allows another request (RFC 9112 section 9.3); `close` wins."""
    options = _elements(connection)
    return b'close' not in options and (minor == 1 or b'keep-alive' in options)
