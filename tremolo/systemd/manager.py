"""Manager: what a service manager gives this process, and how it is told how we are (sd_notify(3)).

    READY=1        requests are answered: after the start, and after each renewal, good or not
    RELOADING=1    SIGHUP came; with the time, so that the manager can tell two of them apart
    STOPPING=1     the end has begun
    WATCHDOG=1     the loop turns: at READY, and then at half of the time that the unit allows

The process that the manager started tells all of it, also for its workers: their own signs of life
go to it. The watchdog is a timer of its loop, so a loop that stands still tells nothing. Nothing
ever waits for the manager; a READY that finds its queue full is sent again. Most processes have no
manager: then nothing is told.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

from ..loop import Reactor
from ..loop.timers import Timer
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .sockets import Given

_log = logging.getLogger('tremolo')

# What people are told (`systemctl status`).
SERVING, NOT_RENEWED = 'serving', 'serving; the last renewal failed (see the log)'

_AGAIN = 0.2    # Seconds until a READY that found the queue full is sent again.
_OF_SOCKETS = ('LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID')
_OF_MESSAGES = ('NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID')


class Manager:
    """The service manager that has started this process, or none.

    Its variables are removed from `environ`, as sd_notify(3) offers it: else a child would speak
    for us. `keep` puts those of messages back for the program that this process becomes.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Take what it says and gives. Raises `SettingError`, `ListenError`."""
        self._variables = {name: environ.pop(name) for name in _OF_MESSAGES if name in environ}
        self._address = self._variables.get('NOTIFY_SOCKET', '')
        # (One descriptor for all messages: later there may be none left.)
        self._socket: socket.socket | None = None
        self._timer: Timer | None = None
        self._again: Timer | None = None    # Sends READY again.
        self._stopping = False
        if self._address:
            self._open()
        # Seconds between two signs of life; 0: none.
        self._every = self._half_of_the_watchdog()
        self.given: Given = []    # The sockets that it has opened, and their addresses.
        if any(variable in environ for variable in _OF_SOCKETS):
            from .sockets import take  # (Late: few servers need it.)
            self.given = take(environ)

    def ready(self, reactor: Reactor, status: str = SERVING) -> None:
        """Tell that requests are answered, with a line for people, and begin the signs of life."""
        if self._stopping:
            return    # (The end of a renewal that a stop has overtaken.)
        self._forget_ready()
        if not self._send(f'READY=1\nSTATUS={status}\nMAINPID={os.getpid()}'):
            self._again = reactor.call_later(_AGAIN, self.ready, reactor, status)
        if self._every and self._timer is None:
            self._beat(reactor)

    def reloading(self) -> None:
        """Tell that a renewal has begun; `ready` tells its end."""
        self._forget_ready()
        # (The clock of the manager. The loop's own time is that of the beginning of its turn.)
        self._send(f'RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=renewing')

    def stopping(self, seconds: float = 0.0) -> None:
        """Tell, once, that the end has begun; with `seconds`, that it may take so long."""
        if not self._stopping:
            self._stopping = True
            extend = f'\nEXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}' if seconds else ''
            self._send('STOPPING=1\nSTATUS=stopping: finishing what is in flight' + extend)

    def keep(self, environ: MutableMapping[str, str]) -> None:
        """Put the variables back; the time until the next sign of life begins anew."""
        environ.update(self._variables)
        if self._timer is not None:
            self._send('WATCHDOG=1')

    def close(self) -> None:
        """Tell nothing any more: a worker does not speak for the server."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _forget_ready(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _open(self) -> None:
        # (Also `vsock:`, the address of a manager outside of a virtual machine, is not ours.)
        if self._address[0] not in '/@':
            _log.debug('NOTIFY_SOCKET is neither a path nor an abstract name: ignored')
            return
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        except OSError as error:
            _log.debug('the service manager cannot be told anything: %s', error.strerror)

    def _send(self, message: str) -> bool:
        """Send a message; return False if the manager's queue is full."""
        if self._socket is None:
            return True
        # (`@` stands for the zero byte of a name without a file: unix(7).)
        address = os.fsencode(self._address)
        if address[:1] == b'@':
            address = b'\0' + address[1:]
        try:
            self._socket.sendto(message.encode(), address)
        except OSError as error:
            _log.debug('the service manager was not told %s: %s', message.split('\n')[0],
                       error.strerror or error)
            return not isinstance(error, BlockingIOError)
        return True

    def _half_of_the_watchdog(self) -> float:
        """Return the seconds between two signs of life (sd_watchdog_enabled(3)); 0 without one."""
        interval = self._variables.get('WATCHDOG_USEC', '')
        pid = self._variables.get('WATCHDOG_PID', '')
        if self._socket is None or not interval or (pid and pid != str(os.getpid())):
            return 0.0
        if not (interval.isascii() and interval.isdigit() and len(interval) < 20):
            _log.debug('WATCHDOG_USEC is not a number: ignored')
            return 0.0
        # (0 is no watchdog, as it is with systemd.)
        return int(interval) / 2e6

    def _beat(self, reactor: Reactor) -> None:
        self._send('WATCHDOG=1')
        self._timer = reactor.call_later(self._every, self._beat, reactor)
