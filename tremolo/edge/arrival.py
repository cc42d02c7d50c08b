"""Arrival: from a socket that was accepted to a connection, step by step.

Usually nothing comes between: `Server.admit` makes a connection of what a listener accepts. Where
a proxy first says who its client is (PROXY), or where a handshake comes first (TLS), these are
steps, in this order:

    accept --> Arrival --> the header of PROXY --> the handshake of TLS --> Server.admit

A step is a generator that the reactor resumes, so the steps are read from top to bottom, and none
holds up the loop. It takes a transport and the addresses that are known, and returns both. It ends
an arrival by `Refused`; it has to bound its own time.
"""

from __future__ import annotations

import logging
from collections.abc import Generator

from ..loop import Cancelled, Task
from ..server.addresses import Addresses, told
from ..typed import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..loop.transport import Transport
    from ..server import Server

_log = logging.getLogger('tremolo.server')

# What is known of an arrival: where its bytes go, and its addresses, if not those of the socket.
Known = tuple['Transport', 'Addresses | None']
Step = Callable[['Arrival', 'Transport', 'Addresses | None'], Generator[Any, Any, Known]]


class Refused(Exception):
    """An arrival that becomes no connection; `reason` is one of the server's `REASONS`."""

    def __init__(self, reason: str, why: str = '') -> None:
        super().__init__(why)
        self.reason = reason


class Arrival:
    """One socket, from accept until its connection begins or it is closed."""

    def __init__(self, server: Server, sock: Any, steps: list[Step]) -> None:
        self.server = server
        self.reactor = server.reactor
        self._transport: Transport = sock
        self._known: Addresses | None = None
        self._reason = 'shutdown'    # Why it ended, if it was cancelled.
        server.arriving.add(self)
        server.pause_if_full()
        # (It may end at once: then its connection has begun.)
        self._task = Task(self._arrive(sock, steps), reactor=self.reactor)

    def abort(self, reason: str) -> None:
        """Close it now."""
        self._reason = reason
        self._task.cancel()

    def _arrive(self, transport: Transport, steps: list[Step]) -> Generator[Any, Any, None]:
        server, known = self.server, None
        try:
            for step in steps:
                transport, known = yield from step(self, transport, known)
                self._transport, self._known = transport, known
            server.arriving.discard(self)
            server.admit(transport, None, known)
        except BaseException as error:
            self._end(error)
            if not isinstance(error, (Refused, OSError, Cancelled)):
                _log.exception('a new connection could not be taken')

    def _addresses(self) -> Addresses:
        """Return the addresses as far as they are known, for the log."""
        transport = self._transport
        return self._known or told(transport.getpeername(), transport.getsockname())

    def _end(self, error: BaseException) -> None:
        """Close the socket, count the reason, and make room."""
        reason = error.reason if isinstance(error, Refused) else (
            'reset' if isinstance(error, OSError) else self._reason)
        if isinstance(error, Refused):
            self.server.notices.turned_away(self._addresses, reason, str(error.args[0]))
        self.reactor.remove_fd(self._transport.fileno())
        self._transport.close()
        self.server.closed[reason] += 1
        self.server.arrived(self)
