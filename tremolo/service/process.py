"""Process: a service as a process of its own: its workers, its signals, and its exit status."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NoReturn

from ..errors import SettingError, TremoloError
from ..loop import ListenError, Reactor
from ..server import Server, announce
from ..settings import Address, Settings
from .log import set_up_logging
from .monitor import watch
from .reactors import complete, make_reactor

if TYPE_CHECKING:
    from ..workers.slot import Slot
    from .service import Service

_log = logging.getLogger('tremolo')

_HUP = getattr(signal, 'SIGHUP', -1)

try:
    _FOLDER = os.getcwd()
except OSError:    # It is not there any more.
    _FOLDER = os.sep
# Descriptors that are not connections, and then some for the application.
_OWN_DESCRIPTORS = 64


def run(service: Service, options: dict[str, Any]) -> None:
    """Serve until SIGTERM or SIGINT, with workers if they are asked for (see `Service.run`)."""
    try:
        settings = Settings.load(options, os.environ)
    except SettingError as error:
        leave(error, 2)
    slot = None
    if 'TREMOLO_INHERITED' in os.environ:
        from ..workers.slot import Slot
        slot = Slot.inherited()
    if settings.workers and slot is None:
        work = functools.partial(service.work, settings)
        program = None if settings.preload else command_line()
        addresses = [address for address, _ in service.addresses(settings)]
        status = supervise(settings, addresses, work, program)
    else:
        set_up_logging(settings)
        status = service.work(settings, slot)
    if status or (slot is not None and slot.channel_end is not None):
        # (What the program does afterwards is for the process that its user started.)
        raise SystemExit(status)


def work(service: Service, settings: Settings, slot: Slot | None = None) -> int:
    """Serve in this process until a signal (see `Service.work`)."""
    alone = slot is None or slot.channel_end is None
    try:
        if alone:
            reserve_descriptors(settings.connections)
        made = make_reactor(settings)
    except SettingError as error:
        leave(error, 2)
    except ListenError as error:
        leave(error, 1)
    from .report import answer_to_signal
    with made as reactor:
        try:
            server = service.serve_on(reactor, settings, slot)
        except ListenError as error:
            leave(error, 1)
        try:
            complete(reactor, service.startup(settings))
        except TremoloError as error:
            server.close()
            leave(error, 3)
        watch(reactor, settings)
        answer_to_signal(server)

        def ready() -> None:
            if slot is not None:
                slot.ready(server)
            if alone:
                announce(each.address for each in server.listeners)

        kept: list[Slot] = []

        def keep() -> None:
            from ..workers.slot import Slot
            kept.append(Slot(service.share_sockets()))

        ended = run_until_signal(reactor, server, ready, keep if alone else None)
        if ended in (0, _HUP):
            complete(reactor, service.shutdown())
    if kept and ended == _HUP:
        try:
            kept[0].start_afresh(command_line())
        except OSError as error:
            leave(error, 1)
    for each in kept:
        each.discard()
    return 128 + ended if ended else 0


def supervise(settings: Settings, addresses: Iterable[Address], work: Callable[[Slot], int],
              program: list[str] | None = None) -> int:
    """Serve with workers; return the exit status, 1 for what the system refuses.

    `program` is what SIGHUP starts afresh in new workers; without it they are forked.
    """
    from ..workers.supervisor import Supervisor
    set_up_logging(settings)
    try:
        reserve_descriptors(settings.connections)
        return Supervisor(settings, addresses, work, program).run()
    except ListenError as error:
        leave(error, 1)


def run_until_signal(reactor: Reactor, server: Server, ready: Callable[[], None],
                     renew: Callable[[], None] | None = None) -> int:
    """Serve until a signal; return 0, or the number of the one that forced the end.

    `ready` is called when it accepts. With `renew` SIGHUP calls that, ends gracefully, and is
    returned. What is cleaned up afterwards a further signal ends.
    """
    ended = 0
    over = False

    def stop(signum: int) -> None:
        nonlocal ended
        if over:
            os._exit(128 + signum)
        again = server.draining and ended != _HUP
        if signum == signal.SIGQUIT or (signum == signal.SIGINT and again):
            ended = signum
            reactor.stop()
            return
        if signum != _HUP:
            ended = 0
        elif renew is not None and not server.draining:
            ended = signum
            renew()
        if not server.draining:
            _log.info('stopping: finishing what is in flight')
        server.drain()

    for name in ('SIGTERM', 'SIGINT', 'SIGQUIT', *(('SIGHUP',) if renew else ())):
        signum = getattr(signal, name, None)
        if signum is not None:
            reactor.add_signal(signum, functools.partial(stop, signum))
    keep_from_children(reactor)
    server.start()
    server.stopped.add_done_callback(lambda _: None if over else reactor.stop())
    ready()
    reactor.run()
    over = True
    server.close()
    return ended


def reserve_descriptors(connections: int) -> None:
    """Let this process have as many as so many connections need. Raises `ListenError`."""
    try:
        import resource
    except ImportError:    # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _OWN_DESCRIPTORS
    if connections and needed > soft != resource.RLIM_INFINITY:
        if needed > hard != resource.RLIM_INFINITY:
            raise ListenError(f'connections: {connections} need {needed} file descriptors, and the '
                              f'system allows {hard} (ulimit -n)')
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def command_line() -> list[str]:
    """Return in which folder and by which command this program was started."""
    arguments = getattr(sys, 'orig_argv', None)
    if arguments is None:    # before Python 3.10
        try:
            arguments = Path('/proc/self/cmdline').read_bytes()[:-1].split(b'\0')
        except OSError:
            arguments = ['', *sys.argv]
    return [_FOLDER, sys.executable, *map(os.fsdecode, arguments[1:])]


def keep_from_children(reactor: Reactor) -> None:
    """Let processes that the application forks have none of our signals and open sockets."""
    this = weakref.ref(reactor)    # (What is to be done at a fork cannot be taken back.)

    def leave() -> None:
        reactor = this()
        if reactor is None or reactor.closed:
            return
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # The numbers stay taken: objects of that process still have them.
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in list(reactor.watchers):
            os.dup2(nothing, fd, inheritable=False)
        os.close(nothing)

    if hasattr(os, 'register_at_fork'):
        os.register_at_fork(after_in_child=leave)


def leave(error: Exception, status: int) -> NoReturn:
    """Say in one line what is wrong, and end with an exit status."""
    print(f'tremolo: error: {error}', file=sys.stderr)
    raise SystemExit(status)
