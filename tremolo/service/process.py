"""Process: a service as a process of its own: its workers, its signals, and its exit status.

`run` reads the options and decides: `supervise` starts workers, and each worker calls `work`;
without workers this process calls `work` itself. `work` binds, starts the application, serves in
`run_until_signal` (signals.py), and ends what it has started (ending.py).
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, NoReturn

from ..errors import SettingError, TremoloError
from ..loop import ListenError
from ..server import announce
from ..settings import Address, Settings
from .ending import Ending, starting
from .log import set_up_logging
from .monitor import watch
from .reactors import complete, make_reactor
from .signals import HUP, run_until_signal
from .system import command_line, reserve_descriptors

if TYPE_CHECKING:
    from ..workers.slot import Slot
    from .service import Service

_log = logging.getLogger('tremolo')


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
    before = set(threading.enumerate())
    with made as reactor:
        try:
            server = service.serve_on(reactor, settings, slot)
        except ListenError as error:
            leave(error, 1)
        try:
            with starting(reactor):
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

        ending = Ending(server, before)
        ended = run_until_signal(server, ending, ready, keep if alone else None,
                                 functools.partial(_discard, kept))
        if ended in (0, HUP):
            seconds = ending.for_shutdown
            complete(reactor, service.shutdown(seconds), seconds)
        ending.close(at_once=ended not in (0, HUP))
        if service.failure is not None:
            leave(service.failure, 3)
    if ended == HUP:
        try:
            for each in kept:    # None, if SIGTERM has come since.
                each.start_afresh(command_line())
        except OSError as error:
            leave(error, 1)
        ended = 0
    _discard(kept)
    return 128 + ended if ended else 0


def _discard(kept: list[Slot]) -> None:
    """Forget the sockets for a new beginning: there will be none."""
    while kept:
        kept.pop().discard()


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


def leave(error: Exception, status: int) -> NoReturn:
    """Print one line on stderr that says what is wrong, and raise `SystemExit(status)`."""
    print(f'tremolo: error: {error}', file=sys.stderr)
    raise SystemExit(status)
