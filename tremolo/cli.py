"""The command line: arguments to options, a name to an application, and then `Application.run`.

Exit statuses: 2 when what was asked cannot be met (an option, a module or a name that is not
there), 4 when the application's own code raised while it was imported; `Application.run` adds its
own. A mistake is one line on stderr; only status 4 comes with a traceback, which is the
application's, from its first line to its last, without our frames.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import importlib
import importlib.util
import inspect
import itertools
import os
import platform
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from . import Application, SettingError, __version__
from .settings import OPTIONS, Option, Settings

__all__ = ['find_application', 'main']

_DEFAULT_NAMES = ('app', 'application')

_EXAMPLES = """\
examples:
  python3 -m tremolo                         a welcome page, to see it work
  python3 -m tremolo hello:app               `app` of the module hello
  python3 -m tremolo web/hello.py --port 0   `app` of a file, on a free port
  python3 -m tremolo hello:app --bind :80 --bind unix:/run/hello.sock
  python3 -m tremolo hello:app --body-size 64MiB --idle-timeout 5m
"""


class ImportFailed(Exception):
    """The application's own code raised `error`."""

    def __init__(self, place: object, error: Exception) -> None:
        super().__init__(f'{place}: its import failed, see above')
        self.error = error


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status (0, 2 or 4) unless the server sets its own."""
    try:
        name, options = _parse(sys.argv[1:] if argv is None else argv)
        # All that can be wrong with the options is said before any code of the application runs.
        Settings.load(options, os.environ)
        app = find_application(name)
    except SettingError as error:
        print(f'tremolo: error: {error}', file=sys.stderr)
        return 2
    except ImportFailed as failure:
        _print_traceback(failure.error)
        print(f'tremolo: error: {failure}', file=sys.stderr)
        return 4
    app.run(**options)
    return 0


# Arguments

class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingError(message)


def _parse(argv: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the application's name and the options that were given, converted."""
    parser = _Parser(
        prog='python3 -m tremolo', usage='%(prog)s [options] [APP]', allow_abbrev=False,
        epilog=_EXAMPLES,
        description='Serve an application, or a welcome page when none is named.',
        formatter_class=functools.partial(argparse.RawDescriptionHelpFormatter, width=79))
    parser.add_argument(
        'application', metavar='APP', nargs='?', default='tremolo.welcome:app',
        help='module:attr or path/to/file.py[:attr]; attr is app or application if not given')
    parser.add_argument(
        '--version', action='version', help='show the version and exit',
        version=f'tremolo {__version__} ({platform.python_implementation()} '
                f'{platform.python_version()}, {sys.platform})')
    groups: dict[str, Any] = {}
    for option in OPTIONS:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        _add(groups[option.group], option)
    namespace, rest = parser.parse_known_args(argv)
    if rest:
        # An unknown option comes first: what follows it may only be its value.
        wrong = next((each for each in rest if each.startswith('-')), rest[0]).split('=')[0]
        if not wrong.startswith('-'):
            raise SettingError(f'{wrong}: one application is served, and another is named already')
        known = ['--help', '--version']
        known += [_flag(name) for each in OPTIONS for name in (each.name, *each.synonyms)]
        raise SettingError(f'{wrong}: no such option{_hint(wrong, known)}')
    options = vars(namespace)
    return options.pop('application'), options


def _flag(name: str) -> str:
    return '--' + name.replace('_', '-')


def _add(group: Any, option: Option) -> None:
    default = option.show(option.default) or 'none'
    text = f'{option.help} [env: {", ".join(option.variables)}; default: {default}]'
    for name in (option.name, *option.synonyms):
        given: dict[str, Any] = {'dest': option.name, 'default': argparse.SUPPRESS}
        if option.kind == 'flag':
            given['action'] = 'store_true'
        else:
            given['type'] = functools.partial(option.convert, label=_flag(name))
            given['metavar'] = option.metavar
        if option.kind == 'binds':
            # Repeating does here what commas do in a variable.
            given['type'] = functools.partial(_one_bind, option)
            given['action'] = 'extend'
        given['help'] = text.replace('%', '%%') if name == option.name else argparse.SUPPRESS
        group.add_argument(_flag(name), **given)


def _one_bind(option: Option, text: str) -> Any:
    return option.convert([text], '--bind')


def _hint(wrong: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(wrong, sorted(set(known)), 2)
    return f', did you mean {" or ".join(near)}?' if near else ''


# The application

def find_application(name: str) -> Application:
    """Import `module:attr` or `path/to/file.py[:attr]`.

    Raises `SettingError` when there is no such thing, `ImportFailed` when its own code raised.
    """
    place, attr = name, ''
    if not name.endswith('.py') and ':' in name:
        place, _, attr = name.rpartition(':')
        if not place or not attr:
            raise SettingError(f'{name}: not module:attr or path/to/file.py:attr')
    module = _import_file(Path(place)) if place.endswith('.py') else _import_module(place)
    tried = (attr,) if attr else _DEFAULT_NAMES
    for path in tried:
        found: Any = module
        for part in path.split('.'):
            found = getattr(found, part, None)
        if found is not None:
            return _checked(found, f'{place}:{path}')
    ours = [key for key, value in vars(module).items() if isinstance(value, Application)]
    near = difflib.get_close_matches(attr, [key for key in vars(module) if key[0] != '_'], 1)
    hint = ''.join(f', did you mean {place}:{key}?' for key in (near or ours)[:1])
    raise SettingError(f'{place}: has no {" or ".join(tried)}{hint}')


def _checked(found: Any, name: str) -> Application:
    if isinstance(found, Application):
        return found
    if callable(found) and any(map(inspect.iscoroutinefunction, (found, type(found).__call__))):
        # Asyncio is imported when something needs it, and not before.
        from .asgi_app import AsgiApplication
        return AsgiApplication(found)
    raise SettingError(f'{name}: is of type {type(found).__name__}, neither a tremolo.Application '
                       'nor an ASGI application')


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        files = [str(each) for each in path.parent.glob('*.py')]
        raise SettingError(f'{path}: no such file{_hint(str(path), files)}')
    path = path.resolve()
    sys.path.insert(0, str(path.parent))
    # People do call their first file tremolo.py; it must not hide a module that is in use.
    name = path.stem if path.stem not in sys.modules else f'{path.stem}_application'
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SettingError(f'{path}: not a Python file')
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ImportFailed(path.name, error) from error
    return module


def _import_module(name: str) -> ModuleType:
    folder = Path.cwd()
    if not all(part.isidentifier() for part in name.split('.')):
        raise SettingError(f'{name}: not the name of a module{_near_module(name, folder)}')
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except Exception as error:
        # Without a single frame of theirs no code of theirs has run: it was not found.
        if isinstance(error, ModuleNotFoundError) and not _their_frames(
                traceback.extract_tb(error.__traceback__)):
            raise SettingError(f'{name}: no such module{_near_module(name, folder)}') from None
        raise ImportFailed(name, error) from error


def _near_module(name: str, folder: Path) -> str:
    if Path(f'{name}.py').is_file():
        return f', did you mean {name}.py?'
    parent, dot, last = name.rpartition('.')
    folder = folder.joinpath(*parent.split('.'))
    if dot and folder.with_suffix('.py').is_file():
        return f', did you mean {parent}:{last}?'
    modules = {each.stem for each in folder.glob('*.py')}
    modules |= {each.parent.name for each in folder.glob('*/__init__.py')}
    return _hint(name, [f'{parent}{dot}{each}' for each in modules])


# Their traceback

def _their_frames(frames: Iterable[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """The frames from their first line to their last, without the import machinery's."""
    ours = str(Path(__file__).parent)
    machinery = (str(Path(importlib.__file__).parent), '<frozen importlib',
                 '<builtin>/frozen importlib')
    begun = itertools.dropwhile(lambda each: each.filename.startswith((ours, *machinery)), frames)
    theirs = itertools.takewhile(lambda each: not each.filename.startswith(ours), begun)
    return [each for each in theirs if not each.filename.startswith(machinery)]


def _print_traceback(error: BaseException) -> None:
    whole = traceback.TracebackException.from_exception(error)
    link: traceback.TracebackException | None = whole
    while link is not None:
        link.stack = traceback.StackSummary.from_list(_their_frames(link.stack))
        link = link.__cause__ or link.__context__
    print(*whole.format(), sep='', end='', file=sys.stderr)
