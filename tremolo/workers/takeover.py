"""Takeover: the heir's side of a handover: it says how much it can take, and what it has taken.

handover.py tells how. A connection is taken if its descriptor has arrived (the kernel drops it
silently where a process has no number left for it), and if the server has room: for as many
`connections` as it may have, and for as many as its descriptors allow. Everything else is refused,
and stays with the worker before.
"""

from __future__ import annotations

import contextlib
import logging
import socket

from ..rates.scarcity import room_for
from ..server import Server
from .channel import CONNECTION, FULL, NAMED, REFUSED, ROOM, TAKEN, Channel
from .handover import unpacked

_log = logging.getLogger('tremolo')

# Connections that are on their way at most. The clients of these wait while our loop is held up;
# and so many descriptors, which count for the user as long as nobody has received them (unix(7)).
_WINDOW = 32


class Takeover:
    """What comes from one worker, on the line `sock`."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server = server
        self._line = Channel(server.reactor, sock, self._heard, self.close)
        room = min(self._room, _WINDOW)
        for _ in range(room):
            self._line.send(ROOM)
        if room < 1:
            self._line.send(FULL)

    def close(self) -> None:
        """End the line; what was not taken stays with the other worker."""
        self._line.close()

    def finish(self) -> None:
        """Take what has come, and end the line: this worker ends, too."""
        if not self._line.closed:
            self._line.finish()

    @property
    def closed(self) -> bool:
        """Whether the line has ended."""
        return self._line.closed

    @property
    def _room(self) -> int:
        server = self._server
        return (room_for(server.settings.connections)
                - len(server.connections) - len(server.arriving))

    def _heard(self, kind: bytes, sock: socket.socket | None, carried: bytes = b'') -> None:
        if kind not in (CONNECTION, NAMED):
            if sock is not None:
                sock.close()
        elif sock is None or self._room < 1:
            if sock is not None:
                sock.close()
            self._line.send(REFUSED)
        else:
            # (Told before the first byte is read here: nobody else goes on with it from now on.)
            self._line.send(TAKEN if take(self._server, sock, kind, carried) else REFUSED)


def take(server: Server, sock: socket.socket, kind: bytes, carried: bytes) -> bool:
    """Go on with a connection that has come; return False, and close this descriptor, if not."""
    try:
        known = unpacked(carried) if kind == NAMED else None
        server.part_at(sock.getsockname()).take(sock, known)
    except ValueError:
        # (A program of another version. Nobody is taken for somebody else.)
        _log.error('a connection is not taken: the worker before told its addresses in another way')
    except OSError as error:
        _log.error('a connection is not taken: %s', error.strerror or error)
    else:
        return True
    with contextlib.suppress(OSError):
        sock.close()
    return False
