"""Process: a service as a process of its own: its workers, its signals, and its exit status.

`run` reads the options and decides: `supervise` starts workers, and each worker calls `work`;
without workers this process calls `work` itself. `work` binds, starts the application, serves in
`run_until_signal` (signals.py), and ends what it has started (ending.py).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Sequence

from ..errors import LogError, SettingError, TlsError, TremoloError
from ..loop import ListenError, Reactor
from ..output import complain
from ..server import Handle, Server, announce
from ..settings import Address, Settings
from ..systemd.manager import Manager
from ..typed import TYPE_CHECKING, Any, Callable, NoReturn
from .beginning import ended_by_sigterm, outlive_signals, served
from .ending import Ending, starting
from .log import check_logs, set_up_logging, tell_doubts
from .place import check_run
from .reactors import complete, make_reactor
from .release import command_line, launch
from .signals import HUP, hang_up_is_ignored, run_until_signal
from .system import keep_from_children, reserve_descriptors

if TYPE_CHECKING:
    from ..metrics.metered import Metered
    from ..workers.program import Beside
    from ..workers.slot import Slot
    from .service import Service

_log = logging.getLogger('tremolo')


def run(service: Service, options: dict[str, Any]) -> None:
    """Serve until SIGTERM or SIGINT, with workers if an option says so (see `Service.run`)."""
    check_run()
    service.check_free()
    try:
        settings = Settings.load(options, os.environ)
        manager, service.manager = service.manager or Manager(os.environ), None
    except (SettingError, ListenError) as error:
        leave(error)
    if 'TREMOLO_TRIAL' in os.environ:
        from .trial import end_trial
        end_trial(functools.partial(_try, settings, service))
    slot = None
    afresh = 'TREMOLO_INHERITED' in os.environ
    outlive_signals(afresh)
    if afresh:
        from ..workers.slot import Slot
        slot = Slot.inherited()
    with ended_by_sigterm(tell=_is_alone(slot)):
        if (settings.workers or settings.reload) and slot is None:
            worker = functools.partial(service.work, settings)
            program = None if settings.preload else command_line()
            addresses = service.addresses(settings, bool(manager.given))
            status = supervise(settings, addresses, worker, program, manager=manager,
                               answering_by=service.answering_by)
        else:
            set_up_logging(settings)
            if slot is None:
                tell_doubts(settings)
                if manager.given:
                    from ..workers.slot import Slot
                    slot = Slot(manager.given)
            status = work(service, settings, slot, manager)
    if status or not _is_alone(slot):
        # (A worker never goes on with the program: only the process that the user started does.)
        raise SystemExit(status)


def work(service: Service, settings: Settings, slot: Slot | None = None,
         manager: Manager | None = None) -> int:
    """Serve in this process until a signal (see `Service.work`), and tell a service manager."""
    manager = manager or Manager({})
    alone = _is_alone(slot)
    from .report import answer_to_signal
    before = set(threading.enumerate())
    with contextlib.ExitStack() as held, _reactor(settings, alone) as reactor:
        try:
            server = service.serve_on(reactor, settings, slot)
            metered = _meter(server, slot, held)
        except (ListenError, TlsError, LogError, SettingError) as error:
            leave(error)
        try:
            with starting(reactor), ended_by_sigterm(tell=alone):
                complete(reactor, service.startup(settings))
        except BaseException as error:
            server.close()
            if not isinstance(error, TremoloError):
                raise
            leave(error, 3)
        if settings.debug:
            from .monitor import watch  # Late: a server without `debug` starts faster.
            watch(reactor)
        answer_to_signal(server)

        # On SIGHUP: our sockets, shared so that they stay open when the server closes its own.
        kept: list[Slot] = []

        def keep() -> None:
            from ..workers.slot import Slot
            kept.append(Slot(service.share_sockets()))

        ending = Ending(server, before)
        # (`nohup` lets SIGHUP be ignored, and means it. `Slot.start_afresh` does so for a moment.)
        ignored = (slot is None or not slot.renewed) and hang_up_is_ignored()
        ended = run_until_signal(server, ending, functools.partial(_ready, server, slot, manager),
                                 keep if alone and not ignored else None,
                                 functools.partial(_discard, kept), manager, alone)
        if ended in (0, HUP):
            seconds = ending.for_shutdown
            complete(reactor, service.shutdown(seconds), seconds)
        ending.close(at_once=ended not in (0, HUP))
        if service.failure is not None:
            leave(service.failure, 3)
        if ended == HUP and kept and metered is not None:
            kept[0].kept = metered.leave()
    if ended == HUP:
        try:
            for each in kept:    # None, if SIGTERM has come since.
                manager.keep(os.environ)
                each.start_afresh(command_line())
        except OSError as error:
            leave(error)
        ended = 0
    _discard(kept)
    return 128 + ended if ended else 0


def _is_alone(slot: Slot | None) -> bool:
    """Return whether there is no supervisor. (Such a process may have a slot: after SIGHUP.)"""
    return slot is None or slot.channel_end is None


def _meter(server: Server, slot: Slot | None, held: contextlib.ExitStack) -> Metered | None:
    """Count for the metrics, if they are asked for. Raises `ListenError`."""
    alone = _is_alone(slot)
    kept = {} if slot is None else slot.kept
    if not (kept or (alone and server.settings.metrics is not None)):
        return None
    from ..metrics.metered import Metered
    try:
        metered = Metered(server, kept, 1 if slot is None else slot.number, alone)
    except ListenError:
        server.close()
        raise
    held.callback(metered.close)
    if metered.page is not None:
        keep_from_children(metered.page.reactor)
    return metered


def _ready(server: Server, slot: Slot | None, manager: Manager) -> None:
    """Tell all who wait for it that the server accepts."""
    if server.settings.reload:
        from ..reload.inside import served as tell
        tell()
    if slot is not None:
        slot.ready(server)
    if _is_alone(slot):
        if server.settings.max_requests or server.settings.limit_memory:
            from ..workers.renewal import renew_alone
            renew_alone(server)
        announce((each.address for each in server.listeners), os.getpid(), server.secure)
        manager.ready(server.reactor)


def _discard(kept: list[Slot]) -> None:
    """Forget the sockets for a new beginning: there will be none."""
    while kept:
        kept.pop().discard()


def _reactor(settings: Settings, alone: bool) -> Reactor:
    """Return the reactor of this process, which has descriptors enough; or leave with a line."""
    try:
        if alone:
            reserve_descriptors(settings.connections)
        return make_reactor(settings)
    except (SettingError, ListenError) as error:
        leave(error)


def supervise(settings: Settings, addresses: Sequence[tuple[Address, dict[str, Any]]],
              work: Callable[[Slot], int], program: list[str] | None = None,
              moved: Callable[[], bool] | None = None, manager: Manager | None = None,
              answering_by: Callable[[Handle], Service] | None = None) -> int:
    """Serve with workers; return the exit status, 1 if the system refuses an address.

    `work(slot)` serves in a worker. `program` is the command line that SIGHUP starts in new
    workers; without one new workers are forked, and likewise until `moved`, if that is given. Each
    address comes with its own options. `answering_by` makes what stands in for an application that
    does not run, under `reload`.
    """
    from ..workers.program import Program
    from ..workers.supervisor import Supervisor
    set_up_logging(settings)
    tell_doubts(settings)
    secure: list[Settings] = []
    try:
        check_logs(settings)
        given = [] if manager is None else [place for place, _ in manager.given]
        secure = secure_settings(settings, [*addresses, *(
            (place, {}) for place in given
            if not any(address.means(place) for address, _ in addresses))])
        prepare_tls(secure)
        reserve_descriptors(settings.connections)
        stand_in = None
        if settings.reload and answering_by is not None:
            from .reloaded import reloading
            stand_in = reloading(settings, work, answering_by, moved)
            # (The program may stand still in a debugger.)
            settings, work, program = settings.replace(worker_timeout=0), stand_in.work, None
        # A worker has a channel and a socket for each address; while it is replaced two channels.
        reserve_descriptors(settings.workers or 1, 'workers', len(addresses) + len(given) + 2)
        where = None if program is None else functools.partial(launch.where, program[0])
        run = Program(functools.partial(_work_in, settings, work), program, moved, where,
                      functools.partial(_renew, settings, secure), stand_in)
        beside = _beside(settings)
        if stand_in is not None:
            beside.append(stand_in)
        supervisor = Supervisor(
            settings, [address for address, _ in addresses], run, manager, beside)
        if stand_in is not None:
            stand_in.renew = supervisor.renew
        return supervisor.run()
    except (ListenError, TlsError, LogError, SettingError) as error:
        leave(error)
    finally:
        served()
        if secure:
            from ..tls.contexts import forget
            forget()


def _beside(settings: Settings) -> list[Beside]:
    """Return what options ask for on the reactor of the supervisor, beside the workers."""
    beside: list[Beside] = []
    if settings.access_logfile not in ('', '-'):
        from .rotation import Rotation
        beside.append(Rotation())
    if settings.metrics is not None:
        from ..metrics.metered import Shown
        beside.append(Shown(settings.metrics, settings.socket_mode))
    if settings.control:
        from ..workers.asking import Asking
        beside.append(Asking(settings.control))
    return beside


def _work_in(settings: Settings, work: Callable[[Slot], int], slot: Slot) -> int:
    """Work in a process that was forked."""
    if settings.log_config:
        set_up_logging(settings)
    return work(slot)


def _renew(settings: Settings, secure: Sequence[Settings]) -> None:
    """Read anew, at SIGHUP, what the supervisor has read for its workers."""
    if settings.log_config:
        from .log_config import configure_anew
        configure_anew(settings.log_config)
    prepare_tls(secure)


def secure_settings(settings: Settings,
                    addresses: Sequence[tuple[Address, dict[str, Any]]]) -> list[Settings]:
    """Return the settings of each address that speaks TLS. Raises `SettingError`."""
    parts = [settings.for_address(options) for _, options in addresses]
    return [part for part in parts if part.secure]


def prepare_tls(secure: Sequence[Settings]) -> None:
    """Make the contexts for these settings, anew at each call (see `prepare`)."""
    if secure:
        from ..tls.contexts import prepare  # (Late: `ssl` takes 10 ms.)
        prepare(secure)


def _try(settings: Settings, service: Service) -> None:
    """Leave with a line if the logs or the certificates cannot be used: in a trial."""
    set_up_logging(settings)
    # (The program that then serves warns of them.)
    logging.disable(logging.WARNING)
    try:
        check_logs(settings)
        prepare_tls(secure_settings(settings, service.addresses(settings)))
    except (TlsError, LogError, SettingError) as error:
        leave(error)


def leave(error: Exception, status: int = 0) -> NoReturn:
    """Print one line on stderr that says what is wrong, and raise `SystemExit(status)`.

    Without a status: 2 for an option, 1 for what the system refuses.
    """
    complain(f'tremolo: error: {error}')
    raise SystemExit(status or (2 if isinstance(error, SettingError) else 1))
