"""The command line: arguments -> application and options -> `app.run`.

The options come from settings.py, so that nothing is said twice. Exit statuses: 2 for a request
that cannot be met as asked (an option, a module, an attribute), 4 when the application's own import
raised; `Application.run` adds those of a start and of a signal.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import os
import platform
import sys
import traceback
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from . import __version__
from .app import Application
from .errors import SettingError
from .settings import OPTIONS, Option

# Names that are tried when the application string gives none.
_DEFAULT_NAMES = ('app', 'application')

_EPILOG = '''\
examples:
  python3 -m tremolo                               a welcome page
  python3 -m tremolo example:app                   `app` of example.py or of a package
  python3 -m tremolo site/main.py --port 0         a file; any free port
  python3 -m tremolo --bind unix:/run/app.sock --bind [::1]:8000 example:app
'''


class AppError(Exception):
    """An application string that cannot be met; exit status 2."""


class AppImportError(Exception):
    """The application's own code raised while it was imported; exit status 4."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with one line, and name what was probably meant."""
        unknown = message.partition('unrecognized arguments: ')[2].split()
        if unknown and unknown[0].startswith('-'):
            known = [name for action in self._actions for name in action.option_strings]
            message = f'no such option {unknown[0].partition("=")[0]}{_near(unknown[0], known)}'
        self.exit(2, f'tremolo: error: {message}\n')


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status (`Application.run` may raise SystemExit)."""
    given = vars(_make_parser().parse_args(arguments))
    target = given.pop('application')
    try:
        for option in OPTIONS:
            if option.name in given:
                option.convert(given[option.name], f'--{option.name.replace("_", "-")}')
        app = load(target) if target else _welcome()
    except (AppError, SettingError) as error:
        print(f'tremolo: error: {error}', file=sys.stderr)
        return 2
    except AppImportError as error:
        print(f'tremolo: error: {error}', file=sys.stderr)
        return 4
    app.run(**given)
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog='python3 -m tremolo', usage='%(prog)s [options] [APPLICATION]', allow_abbrev=False,
        description='Serve an application, or a welcome page if none is named.',
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=_EPILOG,
        argument_default=argparse.SUPPRESS)
    parser.add_argument(
        'application', nargs='?', metavar='APPLICATION', default=None,
        help='module:attribute, or path/to/file.py[:attribute]; without an attribute '
             + ' or '.join(_DEFAULT_NAMES))
    version = (f'tremolo {__version__} ({platform.python_implementation()} '
               f'{platform.python_version()}, {sys.platform})')
    parser.add_argument('--version', action='version', version=version,
                        help='show the version and exit')
    groups: dict[str, Any] = {}
    for option in OPTIONS:
        group = groups.get(option.group)
        if group is None:
            group = groups[option.group] = parser.add_argument_group(option.group)
        _add_option(group, option)
    return parser


def _add_option(group: Any, option: Option) -> None:
    flag = '--' + option.name.replace('_', '-')
    text = f'{option.help} [{option.show(option.default) or "none"}; {option.variables[0]}]'
    keywords: dict[str, Any] = {'dest': option.name}
    if option.kind == 'flag':
        keywords.update(action='store_const', const=True)
    else:
        keywords['metavar'] = option.metavar
        if option.kind == 'binds':
            keywords['action'] = 'append'
    # A percent sign in a help text would be taken for a format.
    group.add_argument(flag, help=text.replace('%', '%%'), **keywords)
    for synonym in option.synonyms:
        group.add_argument('--' + synonym.replace('_', '-'), help=argparse.SUPPRESS, **keywords)


def _welcome() -> Application:
    from .welcome import app

    return app


# -- the application ----------------------------------------------------------------------------


def load(target: str) -> Application:
    """Import `module:attribute` or `path/to/file.py[:attribute]`.

    Raises `AppError`, or `AppImportError` after it has shown the application's own traceback.
    """
    path, _, attribute = target.partition(':')
    if path.endswith('.py') or os.sep in path:
        module = _load_file(path)
    else:
        module = _load_module(path)
    return _find(module, attribute, path)


def _load_file(path: str) -> ModuleType:
    folder, name = os.path.split(os.path.abspath(path))
    if not os.path.isfile(path):
        found = os.listdir(folder) if os.path.isdir(folder) else []
        raise AppError(f'no such file {path}{_near(name, found)}')
    # The file's own neighbours can be imported, as when it is run as a script.
    sys.path.insert(0, folder)
    module_name = name[:-3] if name.endswith('.py') else name
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise AppError(f'{path} is no Python file')
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        _show(error)
        raise AppImportError(f'{path} raised {type(error).__name__} when it was imported') from None
    return module


def _load_module(name: str) -> ModuleType:
    if '' not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A parent package that is missing is named in `error.name`; anything else is an import
        # inside the application.
        if error.name is not None and (name == error.name or name.startswith(error.name + '.')):
            beside = [entry.partition('.')[0] for entry in os.listdir()]
            raise AppError(f'no module named {name!r}{_near(name, beside)}') from None
        _show(error)
        raise AppImportError(f'{name} raised {type(error).__name__} when it was imported') from None
    except ValueError:
        raise AppError(f'{name!r} is no module name: write module:attribute') from None
    except (Exception, SystemExit) as error:
        _show(error)
        raise AppImportError(f'{name} raised {type(error).__name__} when it was imported') from None


def _find(module: ModuleType, attribute: str, where: str) -> Application:
    names = [attribute] if attribute else list(_DEFAULT_NAMES)
    for name in names:
        found: Any = module
        for part in name.split('.'):
            found = getattr(found, part, None)
        if found is not None:
            break
    else:
        raise AppError(f'{where} has no {" or ".join(map(repr, names))}{_near(names[0], dir(module))}')
    if isinstance(found, Application):
        return found
    if callable(found):
        raise AppError(f'{where}:{name} is a {type(found).__name__} and no tremolo.Application; '
                       'ASGI applications come with a later version')
    raise AppError(f'{where}:{name} is a {type(found).__name__} and no tremolo.Application')


def _near(name: str, known: list[str]) -> str:
    """Say what was probably meant, if something is near."""
    near = difflib.get_close_matches(name, [each for each in known if each[:1] != '_'], 2)
    return f', did you mean {" or ".join(near)}?' if near else ''


def _show(error: BaseException) -> None:
    """Show the application's traceback, without our frames and those of the import machinery."""
    frame: TracebackType | None = error.__traceback__
    while frame is not None and (
        frame.tb_frame.f_code.co_filename in (__file__, importlib.__file__)
        or frame.tb_frame.f_code.co_filename.startswith('<frozen importlib')
    ):
        frame = frame.tb_next
    traceback.print_exception(type(error), error, frame)
