"""Importer: find the application that a name stands for, and say why when there is none.

    serve('example:app', app_dir='web', port=8080)

is what the command line and `tremolo.run` call. Exit statuses: 2 when an option, a module or a name
does not exist, 4 when the application's own code raised while it was imported or made;
`Service.run` adds its own. A mistake is told in one line on stderr. Only status 4 comes with a
traceback: the application's frames, from its first line to its last, without ours.
"""

from __future__ import annotations

import importlib
import itertools
import os
import re
import sys
import traceback
from collections.abc import Iterable
from types import ModuleType

from .errors import SettingError
from .loop import ListenError
from .output import complain
from .service import Service
from .service.beginning import ended_by_sigterm, outlive_signals
from .service.log import set_up_logging
from .service.place import check_run
from .service.process import supervise
from .service.release import command_line, launch
from .settings import Settings
from .systemd.manager import Manager
from .typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .workers.slot import Slot

INTERFACES = ('auto', 'native', 'asgi', 'wsgi')
_DEFAULT_NAMES = ('app', 'application')


class ImportFailed(Exception):
    """The application's own code raised. Arguments: what failed, as a text, and the error."""


def serve(
    app: Any, factory: bool = False, app_dir: str | os.PathLike[str] | None = None,
    interface: str = 'auto', **options: Any,
) -> int:
    """Find an application and run it; return the exit status: 0, 2 or 4.

    `options` are those of `Service.run`, which raises `SystemExit` with statuses of its own.
    """
    check_run()
    launch.watch(None if app_dir is None else os.fspath(app_dir))
    try:
        # A mistake in the options is told before any code of the application runs.
        settings = Settings.load(options, os.environ)
        # (Before that code, too: no child of it may get the sockets that are for us.)
        manager = Manager(os.environ)
    except (SettingError, ListenError) as error:
        complain(f'tremolo: error: {error}')
        return 2 if isinstance(error, SettingError) else 1

    afresh = 'TREMOLO_INHERITED' in os.environ    # (It has what the program before has left.)
    outlive_signals(afresh)

    def work(slot: Slot) -> int:
        with ended_by_sigterm(tell=False):
            found = found_or_status(app, factory, app_dir, interface)
            return found if isinstance(found, int) else found.work(settings, slot)

    alone = not settings.workers and not settings.reload
    if not (alone or settings.preload or afresh) and isinstance(app, str):
        # Each worker imports the application itself, so that SIGHUP brings new code. (From another
        # folder only a new interpreter brings it: this one has imported modules of the old one.)
        if settings.reload:
            from .web import application  # noqa: F401 (Once, and not in each worker again.)
        with ended_by_sigterm():
            return supervise(settings, settings.listens(bool(manager.given)), work,
                             command_line(), launch.moved, manager, Service.answering_by)
    set_up_logging(settings)
    with ended_by_sigterm():
        found = found_or_status(app, factory, app_dir, interface)
        if isinstance(found, int):
            return found
        found.manager = manager
        found.run(**options)
    return 0


def found_or_status(*what: Any, **more: Any) -> Service | int:
    """Do as `find_application`; if there is none, print why and return the exit status."""
    try:
        return find_application(*what, **more)
    except SettingError as error:
        complain(f'tremolo: error: {error}')
        _tell_reload(error)
        return 2
    except ImportFailed as failure:
        what_failed, cause = failure.args
        _tell_reload(cause)
        _print_traceback(cause)
        complain(f'tremolo: error: {what_failed} failed, see above')
        return 4


def _tell_reload(error: BaseException) -> None:
    """Let the page of `--reload` show the error, if this process is its worker."""
    inside = sys.modules.get(f'{__package__}.reload.inside')
    if inside is not None:
        inside.failed(error)


def find_application(
    app: Any, factory: bool = False, app_dir: str | os.PathLike[str] | None = None,
    interface: str = 'auto',
) -> Service:
    """Import `module:attr` or `path/to/file.py[:attr]`, or take the object that is given.

    With `factory` the object is a function: it is called without arguments and returns the
    application. Modules are looked for in `app_dir` instead of the current folder. Raises
    `SettingError` when there is no such application, `ImportFailed` when its own code raised.
    """
    if interface not in INTERFACES:
        raise SettingError(f'interface: {interface!r} is not {", ".join(INTERFACES)}')
    # Absolute: the application may change the current folder and import more after that.
    # And through no link: a link may be swapped for the next release, and what this process
    # imports later comes from the release that it began with.
    try:
        folder = os.path.realpath(app_dir or '')
    except FileNotFoundError:
        raise SettingError('the current folder was deleted') from None
    if not os.path.isdir(folder):
        near = [each for each in _beside(os.path.normpath(app_dir or '')) if os.path.isdir(each)]
        raise SettingError(f'{app_dir}: no such folder{suggest(str(app_dir), near)}')
    if app_dir is not None:
        sys.path.insert(0, folder)
    found, name = _imported(app, folder) if isinstance(app, str) else (app, 'app')
    if factory:
        found, name = _made(found, name), f'{name}()'
    return _checked(found, name, interface)


def suggest(wrong: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the known words that are near to a mistyped one."""
    near = _near(wrong, known, 2)
    return f', did you mean {" or ".join(near)}?' if near else ''


def _near(wrong: str, known: Iterable[str], most: int) -> list[str]:
    # Late: only a mistake needs it.
    import difflib
    return difflib.get_close_matches(wrong, sorted(set(known)), most)


def _beside(path: str) -> list[str]:
    """Return the paths of what lies in the same folder."""
    folder = os.path.dirname(path)
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder or '.')]
    except OSError:
        return []


# -- by its name ------------------------------------------------------------------------------

def _imported(name: str, folder: str) -> tuple[Any, str]:
    """Return the object that a name stands for, and its full name; modules are in `folder`."""
    place, attr = name, ''
    if not name.endswith('.py') and ':' in name:
        place, _, attr = name.rpartition(':')
        if not place or not attr:
            raise SettingError(f'{name}: not module:attr or path/to/file.py:attr')
    module = _import_file(place) if place.endswith('.py') else _import_module(place, folder)
    tried = (attr,) if attr else _DEFAULT_NAMES
    for path in tried:
        found: Any = module
        try:
            for part in path.split('.'):
                found = getattr(found, part, None)
        except Exception as error:
            # Reading an attribute may run code: a property, or the `__getattr__` of a module.
            raise ImportFailed(f'{place}: reading {path}', error) from error
        if found is not None:
            return found, f'{place}:{path}'
    ours = [key for key, value in vars(module).items() if isinstance(value, Service)]
    if re.fullmatch(r'\w+\(\)', attr) and callable(getattr(module, attr[:-2], None)):
        raise SettingError(f'{name}: a function that makes the application is written '
                           f'--factory {name[:-2]}')
    makes = next((key for key in ('create_app', 'make_app') if hasattr(module, key)), None)
    if not attr and makes and not ours:
        raise SettingError(f'{place}: has no {" or ".join(tried)}, and makes one: write --factory '
                           f'{place}:{makes}')
    inside = [each for folder in getattr(module, '__path__', ()) for each in ('wsgi', 'asgi')
              if os.path.isfile(os.path.join(folder, f'{each}.py'))]
    if not attr and inside and not ours:
        raise SettingError(f'{place}: has no {" or ".join(tried)}, did you mean '
                           f'{place}.{inside[0]}?')
    near = _near(attr, [key for key in vars(module) if key[0] != '_'], 1)
    hint = ''.join(f', did you mean {place}:{key}?' for key in (near or ours)[:1])
    raise SettingError(f'{place}: has no {" or ".join(tried)}{hint}')


def _import_file(path: str) -> ModuleType:
    if not os.path.isfile(path):
        files = [each for each in _beside(path) if each.endswith('.py')]
        raise SettingError(f'{path}: no such file{suggest(path, files)}')
    # Late: most applications are named as modules.
    import importlib.util
    path = os.path.realpath(path)
    sys.path.insert(0, os.path.dirname(path))
    # People do call their first file tremolo.py. It must not replace a module that is in use.
    stem = os.path.basename(path)[:-len('.py')]
    name = stem if stem not in sys.modules else f'{stem}_application'
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SettingError(f'{path}: not a Python file')
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ImportFailed(f'{os.path.basename(path)}: its import', error) from error
    return module


def _import_module(name: str, folder: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split('.')):
        raise SettingError(f'{name}: not the name of a module{_near_module(name, folder)}')
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except Exception as error:
        # If none of the application's code has run, the module itself was not found.
        if isinstance(error, ModuleNotFoundError) and not _their_frames(
                traceback.extract_tb(error.__traceback__)):
            raise SettingError(f'{name}: no such module{_near_module(name, folder)}') from None
        raise ImportFailed(f'{name}: its import', error) from error


def _near_module(name: str, folder: str) -> str:
    if os.path.isfile(f'{name}.py'):
        return f', did you mean {name}.py?'
    parent, dot, last = name.rpartition('.')
    folder = os.path.join(folder, *parent.split('.'))
    if dot and os.path.isfile(f'{folder}.py'):
        return f', did you mean {parent}:{last}?'
    beside = _beside(os.path.join(folder, ''))
    modules = [each for each in beside if os.path.isfile(os.path.join(each, '__init__.py'))]
    modules += [each[:-len('.py')] for each in beside if each.endswith('.py')]
    return suggest(name, [f'{parent}{dot}{os.path.basename(each)}' for each in modules])


# -- what was found ---------------------------------------------------------------------------

def _made(factory: Any, name: str) -> Any:
    """Call a factory, if it can be called without arguments."""
    if not callable(factory):
        raise SettingError(f'{name}: is of type {type(factory).__name__}, not a factory: a function'
                           ' that returns the application')
    import inspect
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        # Some functions that are written in C have no signature.
        parameters = []
    needs = [each.name for each in parameters if each.default is each.empty
             and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    if needs:
        raise SettingError(f'{name}: a factory is called without arguments, and this one needs '
                           f'{", ".join(needs)}')
    try:
        made = factory()
    except Exception as error:
        raise ImportFailed(f'{name}: the factory', error) from error
    if inspect.iscoroutine(made):
        # (None of its code has run yet.)
        made.close()
        raise SettingError(f'{name}: is an async def, and a factory is a plain function')
    return made


def _checked(found: Any, name: str, interface: str) -> Service:
    """Return what was found as a Service, as `interface` allows. Raises `SettingError`."""
    if isinstance(found, Service) and interface in ('auto', 'native'):
        return found
    # Late: a process without asyncio, or without threads, starts faster and stays smaller.
    from .service.kinds import kind_of
    kind = kind_of(found)
    if interface in ('auto', kind, 'asgi', 'wsgi'):
        if kind == 'native':
            from .asgi.application import AsgiApplication
            from .wsgi.application import WsgiApplication
            if isinstance(found, (AsgiApplication, WsgiApplication)):
                return found
        elif kind in ('asgi', 'wsgi') and interface not in ('auto', kind):
            raise _other_kind(name, kind, interface)
        elif 'wsgi' in (interface, kind) and callable(found):
            from .wsgi.application import WsgiApplication
            return WsgiApplication(found)
        elif 'asgi' in (interface, kind) and callable(found):
            from .asgi.application import AsgiApplication
            return AsgiApplication(found)
    elif kind == 'wsgi':
        raise _other_kind(name, kind, interface)
    wanted = {
        'auto': 'neither a tremolo.Application nor an ASGI or WSGI application',
        'native': 'not a tremolo.Application (--interface native)',
        'asgi': 'not an ASGI application (--interface asgi)',
        'wsgi': 'not a WSGI application (--interface wsgi)',
    }[interface]
    if interface == 'auto' and callable(found):
        wanted += (', unless you say that it is one (--interface asgi or wsgi) or makes one '
                   '(--factory)')
    raise SettingError(f'{name}: is of type {type(found).__name__}, {wanted}')


def _other_kind(name: str, kind: str, interface: str) -> SettingError:
    article = 'an ASGI' if kind == 'asgi' else 'a WSGI'
    return SettingError(f'{name}: is {article} application, and not {interface}: leave out '
                        f'--interface {interface}')


# -- the application's traceback --------------------------------------------------------------

def _their_frames(frames: Iterable[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Return the application's frames, from its first to its last.

    Left out are our frames before and after, and those of the import machinery in between.
    """
    # The folder of the package. (With its slash: a neighbour tremolo_site/ is not ours.)
    ours = os.path.join(os.path.dirname(__file__), '')
    machinery = (os.path.dirname(importlib.__file__), '<frozen importlib',
                 '<builtin>/frozen importlib')
    begun = itertools.dropwhile(lambda each: each.filename.startswith((ours, *machinery)), frames)
    theirs = itertools.takewhile(lambda each: not each.filename.startswith(ours), begun)
    return [each for each in theirs if not each.filename.startswith(machinery)]


def _print_traceback(error: BaseException) -> None:
    """Print an error and its causes on stderr, with the application's frames alone."""
    whole = traceback.TracebackException.from_exception(error)
    link: traceback.TracebackException | None = whole
    while link is not None:
        link.stack = traceback.StackSummary.from_list(_their_frames(link.stack))
        link = link.__cause__ or link.__context__
    complain(''.join(whole.format()), end='')
