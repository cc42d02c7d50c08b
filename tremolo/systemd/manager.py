"""Manager: what a service manager gives this process, and how it is told how we are.

Most processes have no manager: then nothing is imported, and nothing is told.
"""

from __future__ import annotations

from collections.abc import MutableMapping

from ..loop import Reactor
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .notify import Notifier
    from .sockets import Given

_OF_SOCKETS = ('LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID')
_OF_MESSAGES = ('NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID')


class Manager:
    """The service manager that has started this process, or none."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Take what it says; its variables are removed. Raises `SettingError`, `ListenError`."""
        self.given: Given = []    # The sockets that it has opened, and their addresses.
        self._notifier: Notifier | None = None
        if any(variable in environ for variable in _OF_MESSAGES):
            from .notify import Notifier
            self._notifier = Notifier(environ)
        if any(variable in environ for variable in _OF_SOCKETS):
            from .sockets import take
            self.given = take(environ)

    def ready(self, reactor: Reactor, status: str) -> None:
        """Tell that requests are answered, with a line for people (see `Notifier`)."""
        if self._notifier is not None:
            self._notifier.ready(reactor, status)

    def reloading(self) -> None:
        """Tell that a renewal has begun."""
        if self._notifier is not None:
            self._notifier.reloading()

    def stopping(self) -> None:
        """Tell that the end has begun."""
        if self._notifier is not None:
            self._notifier.stopping()

    def keep(self, environ: MutableMapping[str, str]) -> None:
        """Leave its variables to the program that this process becomes."""
        if self._notifier is not None:
            self._notifier.keep(environ)

    def close(self) -> None:
        """Tell nothing any more: a worker does not speak for the server."""
        if self._notifier is not None:
            self._notifier.close()
