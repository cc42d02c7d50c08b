"""Heads: what the heads of all answers have in common, made once a second.

Within a second the Date is the same in every answer. So the beginning of an ordinary head is the
same too: status line, Content-Type, Date and Server. Only the length and the body follow.
"""

from __future__ import annotations

from ..http import http_date
from ..loop import Reactor
from .response import head_start
from .response_head import OK

# The number of content types whose heads are kept for a second.
_MOST_STARTS = 256


class AnswerHeads:
    """The starts of answers' heads, for all connections of a server."""

    def __init__(self, reactor: Reactor, server_name: str) -> None:
        self._reactor = reactor
        # X-Request-ID of the answer that refuses the request in hand (room access), as a line.
        self.refused = b''
        self._date_until = -1.0    # The time at which the Date changes.
        self._date = self._common = b''    # The Date field; the Date and the Server field.
        self._starts: dict[str, bytes] = {}    # The heads of this second, by Content-Type.
        name = server_name.encode('ascii')
        self._name = b'Server: %s\r\n' % name if name else b''
        # (The first call imports a module. Later no file descriptor may be free for that.)
        self._make_date()

    def start(self, line: tuple[int, str | None], content_type: str) -> bytes:
        """Return the head of an ordinary answer, up to the number of its length. Hot.

        Raises `HeaderError` for a content type that cannot be sent.
        """
        if self._reactor.now >= self._date_until:
            self._make_date()
        start = self._starts.get(content_type) if line is OK else None
        if start is None:
            start = head_start(line, content_type) + self._common + b'Content-Length: '
            if line is OK and len(self._starts) < _MOST_STARTS:
                self._starts[content_type] = start
        return start

    def common_fields(self, date: bool = True, server: bool = True) -> bytes:
        """Return the Date and Server fields."""
        if self._reactor.now >= self._date_until:
            self._make_date()
        if date and server:
            return self._common
        return (self._date if date else b'') + (self._name if server else b'')

    def _make_date(self) -> None:
        """Format the Date: once a second, and only when an answer needs it."""
        wall = self._reactor.wall_clock()
        self._date = b'Date: %s\r\n' % http_date(wall).encode('ascii')
        self._common = self._date + self._name
        self._starts.clear()
        self._date_until = self._reactor.now + 1.0 - wall % 1.0
