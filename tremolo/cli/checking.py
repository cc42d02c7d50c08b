"""Checking: `--show-config` and `--check`: what a start would do, and nothing is started.

`--check` goes as far as a start does before it opens a port: it imports the application, binds its
handlers, and loads certificates and what the logs need. Then it prints each limit with the attack
that it answers, and the worst-case memory. No hook and no lifespan runs. The statuses are those of
a start: 2 for an option, a module or a name that does not exist, 4 when the application's own code
has failed, 1 for what the system refuses.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence

from ..errors import LogError, SettingError, TlsError
from ..importer import found_or_status
from ..loop import ListenError
from ..machine import resident_memory
from ..output import complain, say
from ..service import Service
from ..service.log import check_logs, set_up_logging
from ..service.place import only_checked
from ..service.process import prepare_tls, secure_settings
from ..service.reactors import make_reactor
from ..service.system import reserve_descriptors
from ..settings import Settings
from ..settings.doubts import doubts
from ..settings.limits import limit_lines, memory_lines
from ..settings.shown import shown_lines
from ..typed import Any, Callable
from ..workers.renewal import doubt_of

_LONGEST = 107    # Bytes of the path of a UNIX socket: unix(7).

_BESIDES = """\
Not in these numbers: what the application keeps, and what a handler gives at once; a third more
that Python's allocator may keep; the sockets of the kernel (tcp_rmem, tcp_wmem). To lower them set
connections and limit_concurrency. limit_memory renews a worker that has grown."""


def show_config(options: dict[str, Any]) -> int:
    """Print each option, its value, and where that came from; return the exit status."""
    def show() -> int:
        lines = shown_lines(options, os.environ)
        say('\n'.join(lines))
        _tell_doubts(Settings.load(options, os.environ))
        return 0

    return _status_of(show)


def check(app: str, options: dict[str, Any], **finding: Any) -> int:
    """Do what a start does before it listens, and print what follows; return the exit status.

    `finding` says how the application is found: the arguments of `find_application`.
    """
    return _status_of(lambda: _check(app, options, finding))


def _status_of(act: Callable[[], int]) -> int:
    try:
        return act()
    except (SettingError, ListenError, LogError, TlsError) as error:
        complain(f'tremolo: error: {error}')
        return 2 if isinstance(error, SettingError) else 1


def _tell_doubts(settings: Settings) -> None:
    """Print what a start warns of."""
    for line in doubts(settings, os.environ):
        complain(f'tremolo: warning: {line}')


def _check(app: str, options: dict[str, Any], finding: dict[str, Any]) -> int:
    settings = Settings.load(options, os.environ)
    _tell_doubts(settings)
    set_up_logging(settings, made=False)
    _check_files(settings)
    reserve_descriptors(settings.connections)
    with only_checked():
        service = found_or_status(app, **finding)
    if isinstance(service, int):
        return service
    addresses = service.addresses(settings)
    _check_processes(settings, addresses)
    parts = [settings.for_address(options) for _, options in addresses]
    prepare_tls(secure_settings(settings, addresses))
    _bind(service, settings)
    if settings.limit_memory and (line := doubt_of(settings.limit_memory, resident_memory())):
        complain(f'tremolo: warning: {line}')    # (As a start does, and as much is imported here.)
    kind, websockets = _kind_of(service)
    say(f'{app}: {kind}, {_where(settings, addresses)}; nothing was started\n')
    say('\n'.join(limit_lines(settings)))
    for (address, own), part in zip(addresses, parts):
        for line in limit_lines(part):
            if line.split()[0] in own:
                say(f'{line} (at {address})')
    say('\nThe most memory that clients can make it use:')
    say('\n'.join(memory_lines(parts, kind, websockets and settings.websocket)))
    say(_BESIDES)
    return 0


def _bind(service: Service, settings: Settings) -> None:
    """Bind the handlers, as a start does, to a server that listens nowhere."""
    # (Without what writes files, or speaks to others.)
    quiet = settings.replace(**dict.fromkeys(('access_logfile', 'metrics', 'control')),
                             access_log=False)
    with make_reactor(settings) as reactor:
        service.serve_on(reactor, quiet, listen=False).close()


def _kind_of(service: Service) -> tuple[str, bool]:
    """Return what kind of application it is, and whether it may have WebSockets."""
    name = type(service).__name__
    if name in ('AsgiApplication', 'WsgiApplication'):
        return name[:4].upper(), name == 'AsgiApplication'
    # (The first handler of a WebSocket imports that room, and so does an application for ASGI.)
    return 'native', 'tremolo.websocket.websocket' in sys.modules


def _where(settings: Settings, addresses: Sequence[tuple[Any, Any]]) -> str:
    where = ', '.join(str(address) for address, _ in addresses)
    workers = f' with {settings.workers} workers' if settings.workers else ''
    return f'for {where}{workers}'


def _check_files(settings: Settings) -> None:
    """Raise `LogError` or `ListenError` for what could not be opened; nothing is made.

    (Who checks may be another user than who serves: a log that is made would be his.)
    """
    log, metrics = settings.access_logfile, settings.metrics
    if os.path.exists(log):
        check_logs(settings)
    elif log not in ('', '-') and (why := _refused(log)):
        raise LogError(f'access_logfile: {log}: {why}')
    for name, path in (('control', settings.control), ('metrics', metrics and metrics.path)):
        _check_socket(name, path)


def _check_processes(settings: Settings, addresses: Sequence[tuple[Any, Any]]) -> None:
    """Raise what a start raises of the addresses, and of what workers and `reload` need."""
    for address, _ in addresses:
        _check_socket('bind', address.path)
    if settings.workers:
        reserve_descriptors(settings.workers, 'workers', len(addresses) + 2)
    if settings.reload:
        from ..reload.files import check_folders
        check_folders(settings.reload_dir)


def _check_socket(name: str, path: str | None) -> None:
    """Raise `ListenError` if no UNIX socket can be opened at a path."""
    if not path or path.startswith('@'):
        return
    why = _refused(path)
    if len(os.fsencode(path)) > _LONGEST:
        why = f'a UNIX socket has a path of {_LONGEST} bytes, at most'
    elif not why and os.path.lexists(path) and not stat.S_ISSOCK(os.lstat(path).st_mode):
        why = 'something that is no socket is there'
    if why:
        raise ListenError(f'{name}: {path}: {why}')


def _refused(path: str) -> str:
    """Return why no file or socket can be made there; '' if one can."""
    folder = os.path.dirname(path) or '.'
    if os.path.isdir(path):
        return 'it is a folder'
    if not os.path.isdir(folder):
        return f'{folder} is no folder'
    return '' if os.access(folder, os.W_OK | os.X_OK) else f'{folder} may not be written'
