"""Process: a service as a process of its own: its workers, its signals, and its exit status.

`run` reads the options and decides: `supervise` starts workers, and each worker calls `work`;
without workers this process calls `work` itself. `work` binds, starts the application, and serves
in `run_until_signal`.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, NoReturn

from ..errors import SettingError, TremoloError
from ..loop import ListenError, Reactor
from ..server import Server, announce
from ..settings import Address, Settings
from .log import set_up_logging
from .monitor import watch
from .reactors import complete, make_reactor
from .system import command_line, keep_from_children, reserve_descriptors

if TYPE_CHECKING:
    from ..workers.slot import Slot
    from .service import Service

_log = logging.getLogger('tremolo')

_HUP = getattr(signal, 'SIGHUP', -1)    # Windows has no SIGHUP.


def run(service: Service, options: dict[str, Any]) -> None:
    """Serve until SIGTERM or SIGINT, with workers if an option says so (see `Service.run`)."""
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
        # (A worker never goes on with the program: only the process that the user started does.)
        raise SystemExit(status)


def work(service: Service, settings: Settings, slot: Slot | None = None) -> int:
    """Serve in this process until a signal (see `Service.work`)."""
    # Whether there is no supervisor. (After SIGHUP such a process has a slot with old sockets.)
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

        # On SIGHUP: our sockets, shared so that they stay open when the server closes its own.
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
    """Serve with workers; return the exit status, 1 if the system refuses an address.

    `work(slot)` serves in a worker. `program` is the command line that SIGHUP starts in new
    workers; without one new workers are forked.
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
    """Serve until a signal; return 0, or the number of the signal that forced the end.

    `ready` is called once the server accepts. With `renew` SIGHUP calls `renew`, ends gracefully,
    and its number is returned. A signal that comes after the return ends the process at once, so
    that cleaning up cannot hang.
    """
    ended = 0
    over = False    # Whether the server is closed; only the cleaning up is left.

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


def leave(error: Exception, status: int) -> NoReturn:
    """Print one line on stderr that says what is wrong, and raise `SystemExit(status)`."""
    print(f'tremolo: error: {error}', file=sys.stderr)
    raise SystemExit(status)
