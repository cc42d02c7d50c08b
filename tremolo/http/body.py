"""Body: the machine of a request's body with an announced size (RFC 9112 section 6).

A machine keeps no bytes. Its method `take(data, pos)` is given the parser's buffer and the place
where the unread bytes begin. It returns an event and the place where it stopped. The event is a
piece of the body, `EndOfBody` when the body is whole, or None when more bytes are needed. After a
`ProtocolError` the machine must not be used again. The machine of a body in
chunks is in chunked.py.
"""

from __future__ import annotations

from ..typed import NamedTuple, Union


class Limits(NamedTuple):
    """The limits of one message; sizes in bytes."""

    head_size: int = 32768          # of a head, from the request line to the empty line included
    field_count: int = 128          # fields in a head, and in a trailer section
    body_size: int | None = None    # of a body without its framing; None: no limit
    chunk_overhead: int = 65536     # of chunked framing, beyond as many bytes as the body has
    trailer_size: int = 8192        # of the fields after a chunked body, without the empty line


class EndOfBody(NamedTuple):
    """The body is whole; `trailers` are the fields that followed it."""

    trailers: list[tuple[bytes, bytes]]


# What `take` returns: an event, and the place where it stopped.
Step = tuple[Union[bytes, EndOfBody, None], int]


class SizedBody:
    """A body whose size the head announced."""

    __slots__ = ('_left',)

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, data: bytes, pos: int) -> Step:
        """Return what has arrived of the body."""
        left = self._left
        if not left:
            return EndOfBody([]), pos
        # (A slice of a whole bytes object is the object itself, so a large upload is not copied.)
        piece = data[pos:pos + left]
        self._left = left - len(piece)
        return piece or None, pos + len(piece)
