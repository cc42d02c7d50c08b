"""Group: WebSockets that get the same messages.

    room = app.group('room')
    room.add(websocket)                    # after `accept`; the end of a socket takes it out
    room.send('hello')                     # returns at once: nobody waits for the slowest

A message is framed once for all that share its form. The form is the opcode and, for those that
take compressed messages, the window: within it the message is compressed once, referring to nothing
that was sent before, since each socket has got something else. A socket that gets such a message
compresses its next one afresh, because its client's window now holds what its own compressor has
not seen (RFC 7692 section 7.1.1).

A client that takes nothing must not fill our memory. Who has more than `SLOW` bytes kept is slow:
it is left out, or closed with 1013.

A group lives as long as somebody is in it or holds it, since each socket knows its groups. It
belongs to one process: README.md says what to use across workers.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from weakref import WeakValueDictionary

from ..loop import Future
from ..loop.done import DONE
from ..loop.threads import call_on_loop
from ..server import HandlerError
from ..typed import TYPE_CHECKING
from ..ws.parser import frame
from .websocket import as_message

if TYPE_CHECKING:
    from ..loop import Reactor
    from .websocket import WebSocket

SLOW = 1 << 20    # A socket that keeps more bytes than this is slow.
_PLAIN = 0    # The form of a message that is not compressed, instead of the window.
_Framed = tuple[bytes, bool]    # A whole frame, and whether it is compressed.


class Group:
    """Sockets by a name; `len`, `in` and a loop over it tell which. Each may be in many groups."""

    __slots__ = ('__weakref__', '_members', '_reactor', 'name')

    def __init__(self, name: Hashable) -> None:
        self.name = name
        # (As the keys of a dictionary: so they keep their order.)
        self._members: dict[WebSocket, None] = {}
        self._reactor: Reactor | None = None    # That of the members, once there was one.

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[WebSocket]:
        return iter(list(self._members))    # (A copy: one that is told something may leave.)

    def __contains__(self, websocket: object) -> bool:
        return websocket in self._members

    def __repr__(self) -> str:
        return f'<Group {self.name!r}: {len(self._members)}>'

    def add(self, websocket: WebSocket) -> None:
        """Add a socket, unless it is in the group or has ended.

        Raises `HandlerError` before `accept`.
        """
        call_on_loop(websocket.reactor, self._add, websocket)

    def _add(self, websocket: WebSocket) -> None:
        if websocket.state == 'handshake':
            raise HandlerError('a WebSocket that is not accepted is in no group: write `yield '
                               'websocket.accept()` before `group.add(websocket)`')
        if websocket.state == 'open' and websocket not in self._members:
            self._reactor = websocket.reactor
            self._members[websocket] = None
            websocket.groups += (self,)

    def discard(self, websocket: WebSocket) -> None:
        """Take a socket out, if it is in the group."""
        call_on_loop(websocket.reactor, self._discard, websocket)

    def _discard(self, websocket: WebSocket) -> None:
        if websocket in self._members:
            self.left(websocket)
            websocket.groups = tuple(each for each in websocket.groups if each is not self)

    def left(self, websocket: WebSocket) -> None:
        """Forget a socket: it has ended, and calls this."""
        self._members.pop(websocket, None)

    def send(self, message: str | bytes, slow: str = 'skip') -> Future:
        """Send a message to all, and return at once, with a Future that is done.

        `slow` says what becomes of a socket that keeps more than 1 MiB: with 'skip' it does not get
        this message, with 'drop' it is closed with 1013.
        """
        if slow not in ('skip', 'drop'):
            raise ValueError(f"slow is 'skip' or 'drop', not {slow!r:.64}")
        opcode, payload = as_message(message)
        if self._members and self._reactor is not None:
            call_on_loop(self._reactor, self._send, opcode, payload, slow)
        return DONE

    def _send(self, opcode: int, payload: bytes, slow: str) -> None:
        frames: dict[int, _Framed] = {}    # By form.
        for websocket in list(self._members):
            if websocket.kept > SLOW:
                if slow == 'drop' and websocket.state == 'open':
                    websocket.close(1013, 'too slow').add_done_callback(id)
                continue
            deflater = websocket.deflater
            form = _PLAIN if deflater is None else deflater.window
            data, compressed = frames.get(form) or _framed(opcode, payload, form, frames)
            # (One that has ended meanwhile takes nothing.)
            websocket.deliver(data, compressed)


def _framed(opcode: int, payload: bytes, form: int, frames: dict[int, _Framed]) -> _Framed:
    """Frame a message in a form, and keep it in `frames`."""
    small = None
    if form != _PLAIN:
        # Late: zlib is needed only now. (And fresh: it refers to this message alone.)
        from ..ws.deflate import Deflater
        small = Deflater(form, False).compress(payload)
    if small is not None:
        framed = frame(opcode, small, True), True
    else:
        framed = frames.get(_PLAIN) or (frame(opcode, payload), False)
        frames[_PLAIN] = framed
    frames[form] = framed
    return framed


class Groups:
    """The groups of one application by name; one that nobody holds is forgotten."""

    def __init__(self) -> None:
        self._named: WeakValueDictionary[Hashable, Group] = WeakValueDictionary()
        self._lock = threading.Lock()    # Handlers in threads ask, too.

    def named(self, name: Hashable) -> Group:
        """Return the group with this name, a new one if there is none."""
        with self._lock:
            group = self._named.get(name)
            if group is None:
                group = self._named[name] = Group(name)
            return group

    def __len__(self) -> int:
        return len(self._named)
