"""The entry of `python -m tremolo.top`: a live table of a running server's connections.

    python -m tremolo.top /run/shop.ctl          the table, until q or Ctrl-C
    python -m tremolo.top --once                 one table, of TREMOLO_CONTROL
    python -m tremolo.top --once --json PATH     a JSON object for each connection

The server has to be started with `--control PATH`. The exit status is 0; 1 if nothing could be
seen; 2 for arguments that cannot be understood.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence

from .control.look import Look, LookFailed, look
from .control.rates import with_rates
from .control.screen import Screen
from .control.table import SORTS, table
from .escaped import plain
from .output import complain
from .typed import Any

_USAGE = 'usage: python -m tremolo.top [--once] [--json] [PATH]'
_HELP = f"""{_USAGE}

A live table of what a server is doing: each connection, what it asks for, where its handler
stands, and what it waits for. PATH is what the server was given as --control; without it, the
variable TREMOLO_CONTROL is taken.

  --once    print one table, and end
  --json    with --once: print an object for each connection, one a line

In the table: q ends, s sorts by age or by rate."""

_EVERY = 1.0    # Seconds between two looks.
_TWICE = 0.5    # Seconds between the two looks of --once: rates are differences.
_WIDTH = 160    # Columns where no terminal tells how wide it is.

Row = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Show what goes on; return the exit status."""
    flags = [each for each in arguments if each.startswith('-')]
    paths = [each for each in arguments if not each.startswith('-')]
    wrong = [each for each in flags if each not in ('--once', '--json', '--help', '-h')]
    if '--help' in flags or '-h' in flags:
        print(_HELP)
        return 0
    path = ''.join(paths[:1]) or os.environ.get('TREMOLO_CONTROL', '')
    if wrong:
        return _refuse(f'{plain(wrong[0])}: no such option')
    if len(paths) > 1:
        return _refuse('one PATH, please')
    if not path or '\0' in path:
        return _refuse('which server? write the PATH that it was given as --control, or set '
                       'TREMOLO_CONTROL')
    if '--json' in flags and '--once' not in flags:
        return _refuse('--json: is for --once')
    try:
        if '--once' in flags or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return _once(path, '--json' in flags)
        with Screen() as screen:
            return _Live(path, screen).run()
    except KeyboardInterrupt:
        return 130
    except LookFailed as error:
        complain(f'tremolo.top: {error}')
        return 1
    except OSError as error:
        complain(f'tremolo.top: {error.strerror or error}')
        return 1


def _refuse(why: str) -> int:
    complain(f'tremolo.top: error: {why}')
    return 2


def _once(path: str, as_json: bool) -> int:
    """Print one table, or an object for each connection."""
    before = look(path)
    time.sleep(_TWICE)
    rows = with_rates(look(path), before)
    if as_json:
        for row in rows:
            if row['row'] == 'connection':
                print(json.dumps({name: value for name, value in row.items() if name != 'row'}))
            elif row['row'] == 'worker' and 'connections' not in row:
                complain(f'tremolo.top: worker {row["worker"]} {plain(str(row["state"]))}')
    else:
        width = os.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
        print('\n'.join(table(rows, width)))
    sys.stdout.flush()
    return 0


class _Live:
    """The table that is renewed each second."""

    def __init__(self, path: str, screen: Screen) -> None:
        self._path = path
        self._screen = screen
        self._sort = SORTS[0]
        self._rows: list[Row] = []
        self._look: Look | None = None
        self._next = 0.0    # When to look again.
        self._trouble = ''    # Why there is nothing to see.

    def run(self) -> int:
        """Show the table until a key ends it."""
        while True:
            if self._look is None and time.monotonic() >= self._next:
                self._guarded(self._begin)
            self._show()
            going = self._look
            until = self._next if going is None else going.late
            key, readable = self._screen.wait(
                until - time.monotonic(), *(() if going is None else (going,)))
            if key in ('q', 'Q'):
                return 0
            if key == 's':
                self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
            if going is not None:
                self._guarded(going.readable if readable else going.check)
                self._take(going)

    def _begin(self) -> None:
        self._look = Look(self._path)

    def _guarded(self, step: Any) -> None:
        """Take a step of a look; when it fails, say so, and look again in a second."""
        try:
            step()
        except LookFailed as error:
            self._trouble = str(error)
            self._rows = []
            self._look = None
            self._next = time.monotonic() + _EVERY

    def _take(self, going: Look) -> None:
        if going.rows is not None and self._look is going:
            self._rows = with_rates(going.rows, self._rows)
            self._trouble = ''
            self._look = None
            self._next = time.monotonic() + _EVERY

    def _show(self) -> None:
        width, height = self._screen.size
        head = f'tremolo.top {self._path}  by {self._sort} (s), q ends  {time.strftime("%H:%M:%S")}'
        lines = [plain(head)[:width]]
        if self._trouble:
            text = plain(f'looking again: {self._trouble}')
            lines += [text[at:at + width] for at in range(0, len(text), width)][:height - 1]
        elif self._rows:
            lines += table(self._rows, width, height - 1, self._sort)
        self._screen.show(lines)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
