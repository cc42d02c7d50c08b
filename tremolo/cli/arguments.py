"""Arguments: the command line, as the arguments of `serve` (importer.py).

The options come from the table in settings/: each has its flag, its help and its group from there.
Here are only the few arguments that say how the application is found.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Iterable

from .. import SettingError, __version__
from ..importer import INTERFACES, serve, suggest
from ..output import complain
from ..settings import OPTIONS, Option
from ..settings.kinds import KINDS
from ..settings.option import SHORT
from ..settings.options import BY_NAME
from ..typed import Any, NoReturn

__all__ = ['main']

# These say how the application is found, and whether it is served. They are no options of the
# server that runs it.
_FINDING: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ('--factory', 'APP is a function: called without arguments, it returns the application',
     {'action': 'store_true'}),
    ('--app-dir', 'look for modules in DIR first, and not in the current folder',
     {'metavar': 'DIR'}),
    ('--interface', 'what APP is; asgi and wsgi take any callable; default: auto, see what it is',
     {'choices': INTERFACES}),
    ('--show-config', 'print each option with its value and where that came from, and exit',
     {'action': 'store_true'}),
    ('--check', 'import APP, load certificates and logs, print each limit with the attack that it '
     'answers and the worst-case memory, and exit', {'action': 'store_true'}),
)

# Kinds of options that are on unless they are turned off.
_SWITCHES = ('switch', 'websocket')

_EXAMPLES = """\
examples:
  python3 -m tremolo                         a welcome page, to see it work
  python3 -m tremolo hello:app               `app` of the module hello
  python3 -m tremolo web/hello.py --port 0   `app` of a file, on a free port
  python3 -m tremolo hello:app --bind :80 --bind unix:/run/hello.sock
  python3 -m tremolo hello:app --body-size 64MiB --idle-timeout 5m
  python3 -m tremolo --factory --app-dir src hello:create
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status (0, 2 or 4) unless the server sets its own."""
    try:
        options = _parse(sys.argv[1:] if argv is None else argv)
    except SettingError as error:
        complain(f'tremolo: error: {error}')
        return 2
    show, check = options.pop('show_config', False), options.pop('check', False)
    if not (show or check):
        return serve(**options)
    from . import checking  # (Late: serving does not need it.)
    app = options.pop('app')
    finding = {name: options.pop(name) for name in ('factory', 'app_dir', 'interface')
               if name in options}
    status = checking.show_config(options) if show else 0
    return checking.check(app, options, **finding) if check and not status else status


class _Parser(argparse.ArgumentParser):
    """Raises `SettingError` where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        # `argument -b/--bind: expected one argument`. (gunicorn's --proxy-protocol has no value.)
        name = message.partition(':')[0].rpartition('--')[2].replace('-', '_')
        if message.endswith(' expected one argument') and name in BY_NAME:
            message += f': {KINDS[BY_NAME[name].kind].accepts}'
        raise SettingError(message)


def _parse(argv: list[str]) -> dict[str, Any]:
    """Return the arguments for `serve`: the application's name and the options that were given."""
    plain: dict[str, Any] = {}
    if sys.version_info[:2] == (3, 14) and getattr(sys.stdout, 'closed', False):
        plain = {'color': False}    # (3.14 would ask it whether it shows colours, and fail.)
    parser = _Parser(
        prog='python3 -m tremolo', usage='%(prog)s [options] [APP]', allow_abbrev=False,
        epilog=_EXAMPLES,
        description='Serve an application, or a welcome page when none is named.',
        formatter_class=functools.partial(argparse.RawDescriptionHelpFormatter, width=79, **plain),
        **plain)
    parser.add_argument(
        'app', metavar='APP', nargs='?', default='tremolo.welcome:app',
        help='module:attr or path/to/file.py[:attr]; attr is app or application if not given')
    parser.add_argument(
        '--version', action='version', help='show the version and exit',
        version=f'tremolo {__version__} ({_python()}, {sys.platform})')
    # (Only those that are named, unless help is asked for: argparse takes 3 ms for all options, a
    # twentieth of a start.)
    words = {*(word.split('=')[0] for word in argv), *(word[:2] for word in argv)}
    helps, named = not words.isdisjoint(('-h', '--help')), _names(words)
    group = parser.add_argument_group('application')
    for flag, help, given in _FINDING:
        if helps or flag in words:
            group.add_argument(flag, default=argparse.SUPPRESS, help=help, **given)
    groups: dict[str, Any] = {}
    for name, option in BY_NAME.items():
        if (helps or name in named) and (flags := _flags(option, name)):
            if option.group not in groups:
                groups[option.group] = parser.add_argument_group(option.group)
            _add(groups[option.group], option, name, flags)
    namespace, rest = parser.parse_known_args(argv)
    if rest:
        # Complain of an option rather than of a word: the word may be the option's value.
        wrong = next((each for each in rest if each[:1] == '-' != each), rest[0]).split('=')[0]
        if wrong == '-' or not wrong.startswith('-'):
            if '--access-log' in argv:    # (Some have a path behind it.)
                raise SettingError('--access-log: takes no value, and writes to stdout; write '
                                   '--access-logfile PATH for a file')
            raise SettingError(f'{wrong}: one application is served, and another is named already')
        from ..settings.habits import told  # (Late: a start that succeeds does without.)
        if here := told(wrong, as_flag=True):
            raise SettingError(f'{wrong}: {here}')
        known = ['--help', '--version', *(name for name, _, _ in _FINDING)]
        known += [_flag(name) for each in OPTIONS for name in each.names if each.main_variables]
        raise SettingError(f'{wrong}: no such option{suggest(wrong, known)}')
    given = vars(namespace)
    first: dict[str, str] = {}    # The own name to the flag that was given.
    for name in [name for name in BY_NAME if name in given]:
        flag = first.setdefault(BY_NAME[name].name, _flag(name))
        if flag != _flag(name):
            raise SettingError(f'{flag}: given twice, also as {_flag(name)}')
    return given


def _names(words: Iterable[str]) -> set[str]:
    """Return the names that these flags may be of."""
    names = {word[2:].replace('-', '_') for word in words}
    return {*names, *(name.removeprefix('no_') for name in names),
            *(long for letter, long in SHORT.items() if f'-{letter}' in words)}


def _python() -> str:
    """Return the interpreter and its version. (To import `platform` for it takes 2 ms.)"""
    name = sys.implementation.name.replace('cp', 'CP').replace('pypy', 'PyPy')
    return f'{name} {sys.version.split()[0]}'


def _flag(name: str) -> str:
    return '--' + name.replace('_', '-')


def _flags(option: Option, name: str) -> list[str]:
    """Return the flags of an option by one of its names; the last one of a switch turns it off."""
    if not option.main_variables:
        return []    # (It is an object of Python: `ssl_context`.)
    flags = [*(f'-{letter}' for letter, long in SHORT.items() if long == name), _flag(name)]
    if option.kind in (*_SWITCHES, 'flag'):
        flags.append(_flag(f'no_{name}'))    # (tremolo 0.5 and others have `--no-ws`.)
    return flags


def _add(group: Any, option: Option, name: str, flags: list[str]) -> None:
    """Add an option by one of its names; the help does not show synonyms."""
    default = option.show(option.default) or 'none'
    text = f'{option.help} [env: {", ".join(option.main_variables)}; default: {default}]'
    given: dict[str, Any] = {'dest': name, 'default': argparse.SUPPRESS}
    if option.kind == 'flag':
        given['action'] = 'store_true'
    else:
        given['type'] = functools.partial(option.convert, label=_flag(name))
        given['metavar'] = option.metavar
    if option.kind in ('binds', 'paths', 'networks'):
        # `--bind A --bind B` is here what `A,B` is in an environment variable.
        given['type'] = functools.partial(_one, option, label=_flag(name))
        given['action'] = 'extend'
    if option.kind in (*_SWITCHES, 'flag'):
        group.add_argument(flags.pop(), dest=name, default=argparse.SUPPRESS, action='store_false',
                           help=argparse.SUPPRESS)
    given['help'] = text.replace('%', '%%') if name == option.name else argparse.SUPPRESS
    group.add_argument(*flags, **given)


def _one(option: Option, text: str, label: str) -> Any:
    # (`--ssl-certfile off` takes away what a variable has set; a file `off` is `./off`.)
    may_be_off = option.kind != 'binds' and text.lower() in ('off', 'none')
    return option.convert(text if may_be_off else [text], label)
