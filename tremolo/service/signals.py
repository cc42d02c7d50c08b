"""Signals: serve until a signal, and what each signal does.

    SIGTERM, SIGINT           the end, gracefully (ending.py tells its parts); after SIGTERM it
                              begins when `drain_delay` is over (nobody waits so after Ctrl-C)
    SIGHUP                    the same, and the program begins anew (only without a supervisor);
                              if the terminal has gone away: the end, gracefully
    SIGQUIT, second SIGINT    the end, at once

A signal may come twice: a terminal sends SIGINT to workers and supervisor, which sends SIGTERM to
the workers; some hosts send SIGTERM to each process. So a SIGTERM or SIGHUP more changes nothing,
also while the application shuts down; its time is bounded. A SIGTERM after SIGHUP counts: nothing
begins anew.
"""

from __future__ import annotations

import functools
import logging
import os
import signal

from ..errors import TremoloError
from ..loop import Reactor
from ..loop.signals import is_ignored
from ..server import Server
from ..systemd.manager import NOT_RENEWED, Manager
from ..typed import TYPE_CHECKING, Any, Callable
from ..workers.terminal import Terminal
from .beginning import hup_came, served
from .ending import CLEANUP, SHUTDOWN, Ending
from .release import command_line, launch
from .system import keep_from_children

if TYPE_CHECKING:
    from .trial import Trial

_log = logging.getLogger('tremolo')

# Seconds by which a worker leaves later than its supervisor tells it to, if that does not.
_LATER = 2.0

HUP = getattr(signal, 'SIGHUP', -1)    # Windows has no SIGHUP.


def hang_up_is_ignored() -> bool:
    """Return whether this process was started with SIGHUP ignored."""
    return HUP > 0 and is_ignored(HUP)


def run_until_signal(server: Server, ending: Ending, ready: Callable[[], None],
                     renew: Callable[[], None] | None = None,
                     forget: Callable[[], None] = lambda: None,
                     manager: Manager | None = None, alone: bool = True) -> int:
    """Serve until a signal; return 0, or the number of the signal that forced the end.

    When this returns, the answers are finished, and what they left running. `ready` is called once
    the server accepts. With `renew` SIGHUP calls `renew`, ends gracefully, and its number is
    returned. After the return, SIGTERM or SIGINT after SIGHUP calls `forget`; a second SIGINT or
    SIGQUIT ends the process at once. The service manager is told when a renewal or the end begins.
    If it is not `alone`, a supervisor tells the log of the delay after SIGTERM.
    """
    serving = _Serving(server, ending, renew, forget, manager or Manager({}), alone)
    for name in ('SIGTERM', 'SIGINT', 'SIGQUIT', *(('SIGHUP',) if renew else ())):
        signum = getattr(signal, name, None)
        if signum is not None:
            server.reactor.add_signal(signum, functools.partial(serving.signalled, signum))
    keep_from_children(server.reactor, server)
    server.start()
    ready()
    if hup_came() and renew:
        server.reactor.call_soon(serving.signalled, HUP)
    ended = serving.run()
    served()
    return ended


class _Serving:
    """A server that serves until a signal."""

    def __init__(self, server: Server, ending: Ending, renew: Callable[[], None] | None,
                 forget: Callable[[], None], manager: Manager, alone: bool) -> None:
        self._server = server
        self._alone = alone
        self._manager = manager
        self._reactor: Reactor = server.reactor
        self._ending = ending
        self._renew = renew
        self._terminal = Terminal(self._reactor) if renew is not None else None
        self._trial: Trial | None = None    # Of the new program, after SIGHUP.
        self._forget = forget
        self._asked = False    # Whether SIGTERM or SIGINT has come.
        self._ended = 0    # What `run_until_signal` returns.
        self._renewing = False    # Whether the end is that of a renewal, which is put off no more.
        self._over = False    # Whether the server is closed; only the cleaning up is left.

    def run(self) -> int:
        """Serve; return what `run_until_signal` returns."""
        # (Not only a signal ends it: `app.stop` does, too.)
        self._server.stopping.add_done_callback(lambda _: self._tell_manager())
        self._ending.then(lambda: None if self._over else self._reactor.stop())
        self._reactor.run()
        self._over = True
        if self._trial is not None:
            self._trial.close()
        self._server.close()
        return self._ended

    def signalled(self, signum: int) -> None:
        """Do what a signal says."""
        again, self._asked = self._asked, self._asked or signum != HUP
        at_once = signum == signal.SIGQUIT or (signum == signal.SIGINT and again)
        if self._over:
            if at_once or self._ended not in (0, HUP):
                os._exit(128 + signum)
            if signum != HUP:
                self._forget()
                self._manager.stopping()
        elif at_once:
            self._ended = signum
            self._tell_manager()
            self._reactor.stop()
        elif signum != HUP or (self._terminal is not None and self._terminal.hung_up()):
            self._ended = 0
            if signum == signal.SIGTERM and self._delay():
                return
            self._stop('the terminal is gone: stopping' if signum == HUP else 'stopping',
                       '; a second Ctrl-C ends it at once' if signum == signal.SIGINT else '')
        elif self._ended == HUP:
            self._manager.reloading()
        elif not (self._server.draining or self._server.leaving):
            self._manager.reloading()
            self._try()

    def _tell_manager(self) -> None:
        if self._ended != HUP or not self._renewing:
            self._manager.stopping()

    def _try(self) -> None:
        """Try the new program in a child: this process could not come back from it."""
        folder, *_ = program = command_line()
        try:
            _log.info('the new program starts in %s', launch.where(folder))
        except TremoloError as error:
            _log.error('no renewal: %s', error)
            self._not_renewed()
            return
        if self._trial is not None:
            self._trial.close()
            self._trial = None
        try:
            from .trial import Trial
            self._trial = Trial(self._reactor, program, self._tried)
        except (OSError, ImportError) as error:    # (The folder that we are in may be deleted.)
            _log.error('no renewal: the new program cannot be tried: %s', error)
            self._not_renewed()

    def _not_renewed(self) -> None:
        self._manager.ready(self._reactor, NOT_RENEWED)

    def _tried(self, status: int | None) -> None:
        self._trial = None
        if self._terminal is not None and self._terminal.hung_up():
            # (The shell that sent SIGHUP has ended meanwhile.)
            self.signalled(HUP)
        elif status is not None:
            _log.error('no renewal, the old program goes on: the new one, tried beside it, ended '
                       'with status %d before it served', status)
            self._not_renewed()
        elif not (self._server.draining or self._server.leaving):
            self._ended = HUP
            # Until then it serves: nobody else accepts from its sockets.
            if self._ending.finish_first(self._begin_anew):
                self._tell('renewing: serving goes on, until what takes long has ended')

    def _begin_anew(self) -> None:
        if self._ended == HUP and not self._server.draining and self._renew is not None:
            self._renewing = True
            self._renew()
            self._stop('renewing', renewed=True)

    def _delay(self) -> bool:
        """Serve on for `drain_delay` after SIGTERM; return whether the stop waits for that.

        (Who sends SIGTERM takes the server out of a load balancer, or an orchestrator does so at
        the same time. Until that is known everywhere, new clients come here.)
        """
        server, seconds = self._server, self._server.settings.drain_delay
        if not seconds or server.delayed or server.draining:
            return False
        if not server.leaving:
            _begin_to_leave(server)
            self._manager.stopping(seconds + server.settings.shutdown_timeout + CLEANUP + SHUTDOWN)
            if self._alone:
                _log.info('stopping: everything is served for %g s more (drain_delay)', seconds)
            # (A supervisor says when, and closes its copies of the sockets first: a client that
            # comes after our last `accept` would be reset with them.)
            self._reactor.call_later(seconds + (0 if self._alone else _LATER), self._stop,
                                     'stopping')
        return True

    def _stop(self, what: str, more: str = '', renewed: bool = False) -> None:
        self._tell_manager()
        if not self._server.draining:
            self._tell(what, more)
        self._server.drain(renewed)

    def _tell(self, what: str, more: str = '') -> None:
        """Tell in one line for what the end waits, and for how long."""
        waits_for: Any = self._ending.waits_for()
        if waits_for:
            _log.info('%s: waiting for %s, for at most %g s%s', what, waits_for,
                      self._server.settings.shutdown_timeout, more)
        else:
            _log.info('%s: nothing is in flight', what)


def _begin_to_leave(server: Server) -> None:
    """Let a server that serves on tell its clients to go elsewhere.

    Health says so, and each answer ends its connection. A kept connection that were closed while it
    is idle could have a request on its way; a client that is told sends none.
    """
    server.leaving = True
    for part in {server, *server.parts.values()}:
        part.keep_alive = False
