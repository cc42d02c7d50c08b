"""Backlog: messages that came before anybody wanted them, or those who wait for messages to come.

    websocket.waiting    the receiver that gets the next message, without this object
    Backlog.messages     what waits for a receiver: at most `ws_queue` messages, and no more once
                         they have `ws_message_size` bytes together
    Backlog.line         who waits behind `websocket.waiting`

Mostly a handler waits for the next message, and there is nothing to keep. So there is a backlog
only as long as it is needed.
"""

from __future__ import annotations

from collections import deque

from ..typed import TYPE_CHECKING, Any, Union
from .message import NextMessage

if TYPE_CHECKING:
    from ..settings import Settings

Message = Union[str, bytes]


class Backlog:
    """The messages of one socket that nobody has received, or the receivers that stand in line."""

    __slots__ = ('_most', '_most_bytes', '_size', 'line', 'messages')

    def __init__(self, settings: Settings) -> None:
        self._most = settings.ws_queue
        self._most_bytes = settings.ws_message_size
        self._size = 0    # Bytes of all messages.
        self.messages: deque[Message] = deque()
        self.line: deque[NextMessage] = deque()

    @property
    def full(self) -> bool:
        """Whether no more is to be parsed."""
        return len(self.messages) >= self._most or self._size >= self._most_bytes

    def put(self, message: Message) -> None:
        """Keep a message."""
        self.messages.append(message)
        self._size += size_of(message)

    def put_back(self, message: Message) -> None:
        """Keep a message whose receiver did not take it: it is the first again."""
        self.messages.appendleft(message)
        self._size += size_of(message)

    def take(self) -> Message:
        """Return the oldest message."""
        message = self.messages.popleft()
        self._size -= size_of(message)
        return message

    def stand_in_line(self, future: NextMessage) -> None:
        """Let a receiver wait behind the others. (Those that gave up are forgotten.)"""
        self.line = deque(each for each in self.line if not each.done())
        self.line.append(future)

    def next_in_line(self) -> NextMessage | None:
        """Return the next receiver that still waits."""
        while self.line:
            future = self.line.popleft()
            if not future.done():
                return future
        return None


def size_of(message: Any) -> int:
    """Return the bytes of a message as it came; str is counted as UTF-8."""
    if isinstance(message, str) and not message.isascii():
        return len(message.encode())
    return len(message)
