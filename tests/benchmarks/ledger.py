"""The ledger: what a request costs, in two trees, by counting and not by the clock.

    python tests/benchmarks/ledger.py                       # the working tree beside the base
    python tests/benchmarks/ledger.py HEAD~3                # the working tree beside a commit
    python tests/benchmarks/ledger.py HEAD~9 ../other       # a commit or a folder for each
    python tests/benchmarks/ledger.py --rows native-12,asgi-12 --json

The base is the commit in `ledger_base.txt`. Of a tree only the package `tremolo` is taken; the load
and the applications are those of this checkout. The exit status is 1 when a request takes more
instructions than it may: 3 per cent above the base, or `--most`. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Callable

from ledger_count import TOOLS, Tool
from ledger_echo import ECHOES
from ledger_run import IDLE, Run, fix_addresses, idle_bytes
from ledger_run import ROWS as REQUESTS
from ledger_start import COUNTER, STARTS, start_instructions
from ledger_tls import TLS
from ledger_trees import ROOT, base_of_file, copy_package

# The figures of a row: what is counted -> the figures of the base and of the head.
Figures = dict[str, tuple[float, float]]
BYTES = 'bytes'
# Instructions are large numbers; of the others the fractions count as well.
DIGITS = {'instructions': 0, 'allocations': 2, 'calls': 3, BYTES: 0}
ROWS = {**REQUESTS, **ECHOES, **TLS}
NAMES = (*ROWS, *IDLE, *STARTS)
# The figure of a tree that cannot run a row.
NONE = 0.0


def change(pair: tuple[float, float]) -> float:
    """How much more the head needs, in per cent; nothing where there is nothing to compare with."""
    base, head = pair
    return (head / base - 1) * 100 if base and head else 0.0


def cells(pair: tuple[float, float], digits: int) -> str:
    """A pair and its change, as text; a row that only one of the trees can run is new, or gone."""
    base, head = (f'{each:12,.{digits}f}' if each else f'{"-":>12}' for each in pair)
    changed = f'{change(pair):+8.2f} %' if all(pair) else f'{"new" if pair[1] else "gone":>10}'
    return base + head + changed


def table(figures: dict[str, Figures], counted: list[str]) -> str:
    """The rows that have these figures, as text."""
    lines = [f'{"":15}' + ''.join(f'{name:^34}' for name in counted),
             f'{"":15}' + f'{"base":>12}{"head":>12}{"change":>10}' * len(counted)]
    for row, found in figures.items():
        if counted[0] in found:
            lines.append(f'{row:15}' + ''.join(
                cells(found[name], DIGITS[name]) for name in counted))
    return '\n'.join(lines)


def only(rows: Collection[str], figures: dict[str, Figures]) -> dict[str, Figures]:
    """The figures of these rows."""
    return {name: found for name, found in figures.items() if name in rows}


def rows_of(text: str) -> list[str]:
    """The rows named; a group is a part of names: native, asgi, 12, idle."""
    names: list[str] = []
    for part in text.split(','):
        found = [name for name in NAMES if part in (name, 'all', *name.split('-'))]
        if not found:
            raise SystemExit(f'ledger: no such row: {part}; there are {", ".join(NAMES)}')
        names += found
    return list(dict.fromkeys(names))


def can_run(name: str, tree: Path) -> bool:
    return name not in ROWS or (tree / 'tremolo' / ROWS[name].needs).exists()


def none(tree: Path) -> float:
    return NONE


def measure(trees: tuple[Path, Path], names: list[str], tools: list[Tool],
            options: argparse.Namespace) -> dict[str, Figures]:
    """Count everything, as many at a time as there are cores: counts do not mind."""
    rounds = (options.warm, options.warm + options.rounds)
    jobs: list[tuple[str, str, Callable[[Path], float]]] = []
    for name in names:
        if name in IDLE:
            jobs.append((name, BYTES, partial(idle_bytes, IDLE[name], options.idle)))
        elif name in STARTS:
            jobs += [(name, tool.counts, partial(start_instructions, STARTS[name]))
                     for tool in tools if tool is COUNTER]
        else:
            jobs += [(name, tool.counts, partial(tool.per_request, ROWS[name], rounds))
                     for tool in tools]
    figures: dict[str, Figures] = {name: {} for name in names}
    pool = ThreadPoolExecutor(options.jobs)
    try:
        futures = [[pool.submit(job if can_run(name, tree) else none, tree) for tree in trees]
                   for name, _, job in jobs]
        for (name, counted, _), (base, head) in zip(jobs, futures):
            figures[name][counted] = (base.result(), head.result())
    finally:
        pool.shutdown(cancel_futures=True)
    return figures


def program(name: str) -> str:
    """The path of a program."""
    found = shutil.which(name)
    if found is None:
        raise argparse.ArgumentTypeError(f'there is no {name}')
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='What a request costs, in two trees: instructions, allocations, system calls.')
    parser.add_argument('base', nargs='?', default='',
                        help='a commit or a folder; if not given, the commit in ledger_base.txt')
    parser.add_argument('head', nargs='?', default=str(ROOT),
                        help='a commit or a folder; if not given, the working tree')
    parser.add_argument('--rows', default='all',
                        help=f'of {", ".join(NAMES)}; a part of a name stands for all '
                        'that have it')
    parser.add_argument('--most', type=float, default=3.0, metavar='PERCENT',
                        help='how many more instructions a request may take (%(default)s)')
    parser.add_argument('--warm', type=int, default=10,
                        help='rounds of the short run, 64 requests each (%(default)s)')
    parser.add_argument('--rounds', type=int, default=100,
                        help='rounds that the long run has more (%(default)s)')
    parser.add_argument('--idle', type=int, default=5000,
                        help='idle connections of the rows that count memory (%(default)s)')
    parser.add_argument('--jobs', type=int, default=len(os.sched_getaffinity(0)),
                        help='servers that run at a time (%(default)s)')
    parser.add_argument('--python', type=program, default=sys.executable, metavar='PATH',
                        help='the CPython that runs the servers, itself and no script that '
                        'starts it (%(default)s)')
    parser.add_argument('--json', action='store_true', help='a JSON line at the end')
    return parser.parse_args()


def main() -> int:
    options = arguments()
    names = rows_of(options.rows)
    Run.python = options.python
    fix_addresses()
    tools = [tool for tool in TOOLS if tool.works()]
    missing = [tool for tool in TOOLS if tool not in tools]
    base, reason = (options.base, '') if options.base else base_of_file()
    with tempfile.TemporaryDirectory(prefix='ledger') as folder:
        trees = Path(folder) / 'base', Path(folder) / 'head'
        called = [copy_package(what, tree, Run.python)
                  for what, tree in zip((base, options.head), trees)]
        print(f'base: {called[0]}{f" ({reason})" if reason else ""}; head: {called[1]}', flush=True)
        figures = measure(trees, names, tools, options)
    for tool in missing:
        print(f'ledger: no {tool.counts} are counted: {tool.needs} is missing or does not work')
    if tools and any(name in ROWS for name in names):
        print(f'\neach request, of {options.rounds * 64:,}:')
        print(table(only(ROWS, figures), [tool.counts for tool in tools]))
    if any(name in IDLE for name in names):
        print(f'\neach idle connection, of {options.idle:,}:')
        print(table(figures, [BYTES]))
    if COUNTER in tools and any(name in STARTS for name in names):
        print('\neach start, a program that does nothing taken off:')
        print(table(only(STARTS, figures), [COUNTER.counts]))
    above = [name for name in names if 'instructions' in figures[name]
             and change(figures[name]['instructions']) > options.most]
    if above:
        print(f'\nledger: more than {options.most:g} % above the base: {", ".join(above)}')
    if options.json:
        print(json.dumps({'base': called[0], 'head': called[1], 'figures': figures,
                          'missing': [tool.counts for tool in missing], 'above': above}))
    return 1 if above else 0


if __name__ == '__main__':
    raise SystemExit(main())
