"""Ranges: several races at different times, as the tables of README.

    python tests/benchmarks/ranges.py FILE --runs 5 --pause 600     # measure, save, print
    python tests/benchmarks/ranges.py FILE                          # print what is saved

A run is all that README tells: the races with the peers, ours on other Pythons, and the open loop.
Its figure is the median of its rounds. Printed is the median of the runs, with the worst and the
best of them. Runs are added to the file, so they may be made on different days, or by `--save` of
race.py and openloop.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

from peers import HERE, ROOT, SERVERS, VENVS
from table import Figures
from workloads import WORKLOADS

PEERS = 'tremolo-asgi,uvicorn,granian'
# The packages whose versions are told beside the figures: servers, loops and parsers.
SHOWN = {*VENVS, 'uvloop', 'httptools', 'gunicorn_h1c'} - {'fastapi'}
# A line of a file: when, on what, which workload, and the figures of each server.
Run = dict[str, Any]


# -- measuring ----------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> None:
    """Make a run, and add it to the file."""
    rounds = ['--rounds', str(options.rounds), '--seconds', str(options.seconds)]
    start(options, 'race.py', '--workload', options.workload, '--servers', PEERS, *rounds)
    if options.pythons:
        servers = ','.join(f'{name}@{python}' for name in ('tremolo', 'tremolo-asgi')
                           for python in options.pythons.split(','))
        start(options, 'race.py', '--workload', 'headers3,browser12', '--warm', '10',
              '--servers', f'tremolo,tremolo-asgi,{servers}', *rounds)
    start(options, 'openloop.py', '--servers', f'tremolo,{PEERS}', '--rate', '500', *rounds)


def start(options: argparse.Namespace, program: str, *words: str) -> None:
    command = [sys.executable, str(HERE / program), *words, '--save', str(options.file)]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f'ranges: {program} failed; what was measured before is in {options.file}')


def save(file: Path, workload: str, figures: Figures, options: argparse.Namespace) -> None:
    """Add what was measured to a file, as a line of JSON."""
    servers = {}
    for name, line in figures.items():
        plain, _, python = name.partition('@')
        servers[f'{plain}@{version_of(python)}' if python else name] = line
    with file.open('a') as out:
        print(json.dumps({
            'time': time.strftime('%Y-%m-%d %H:%M', time.gmtime()), 'workload': workload,
            'machine': machine(), 'python': version_of(sys.executable), 'commit': commit(),
            'rounds': options.rounds, 'seconds': options.seconds, 'servers': servers}), file=out)


@lru_cache(None)
def version_of(python: str) -> str:
    """What a Python calls itself, as CPython 3.11.7."""
    code = 'import platform as p; print(p.python_implementation(), p.python_version())'
    return subprocess.run([python, '-c', code], capture_output=True, text=True,
                          check=True).stdout.strip()


def machine() -> str:
    """What it is measured on: the processor, and how many cores there are."""
    models = [line.partition(':')[2].strip() for line in
              Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('model name')]
    return f'{models[0] if models else os.uname().machine}, {os.cpu_count()} cores'


def commit() -> str:
    """The last commit that changed the package, with a `+` if it was changed since."""
    git = ['git', '-C', str(ROOT)]
    name = subprocess.run([*git, 'log', '-1', '--format=%h', '--', 'tremolo'],
                          capture_output=True, text=True, check=False).stdout.strip()
    changed = subprocess.run([*git, 'diff', '--quiet', 'HEAD', '--', 'tremolo'],
                             check=False).returncode
    return f'{name}+' if changed else name


# -- printing -----------------------------------------------------------------------------------


def ratio(values: list[float]) -> str:
    """The median, the worst and the best: the worst ratio is the least."""
    return f'{median(values):.2f} ({min(values):.2f} to {max(values):.2f})' if values else ''


def waited(values: list[float]) -> str:
    """The median and the worst: the worst wait is the longest."""
    digits = 2 if median(values) < 1 else 1
    return f'{median(values):.{digits}f} ({max(values):.{digits}f})'


def tables(runs: list[Run]) -> str:
    """The tables of what there is."""
    def having(key: str, python: bool) -> list[Run]:
        return [run for run in runs if any(
            key in line and python == ('@' in name) for name, line in run['servers'].items())]
    found = [beside_peers(having('ahead_per_cpu', False)),
             on_pythons(having('ahead_per_cpu', True)), open_loop(having('ratio_p99', False))]
    return '\n\n'.join(each for each in found if each)


def markdown(head: list[str], runs: list[Run], row: Any) -> str:
    """A table with a row for each workload, made of the figures of its runs."""
    if not runs:
        return ''
    lines = [head, ['---'] * len(head)]
    for workload in dict.fromkeys(run['workload'] for run in runs):
        found = [run['servers'] for run in runs if run['workload'] == workload]
        about = WORKLOADS[workload].about if workload in WORKLOADS else workload
        lines.append([about, str(len(found)), *row(found)])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def names_in(runs: list[Run], key: str) -> list[str]:
    return list(dict.fromkeys(
        name for run in runs for name, line in run['servers'].items() if key in line))


def values(found: list[Figures], name: str, key: str) -> list[float]:
    return [each[name][key] for each in found if key in each.get(name, {})]


def beside_peers(runs: list[Run]) -> str:
    peers, all_names = names_in(runs, 'ahead_per_cpu'), names_in(runs, 'p99')
    return markdown(
        ['asked for', 'runs', *(f'to {name}' for name in peers),
         *(f'p99 in ms: {name}' for name in all_names)], runs,
        lambda found: [*(ratio(values(found, name, 'ahead_per_cpu')) for name in peers),
                       *(waited(values(found, name, 'p99')) for name in all_names)])


def on_pythons(runs: list[Run]) -> str:
    """How many times as much ours does on another Python."""
    others = [name for name in names_in(runs, 'ahead_per_cpu') if '@' in name]
    return markdown(
        [f'to {each_of(runs, "python")}', 'runs', *others], runs,
        lambda found: [ratio([1 / each for each in values(found, name, 'ahead_per_cpu')])
                       for name in others])


def open_loop(runs: list[Run]) -> str:
    names = names_in(runs, 'ratio_p99')
    return markdown(
        ['fast requests', 'runs', *(f'{key} in ms: {name}' for key in ('p50', 'p99')
                                    for name in names)], runs,
        lambda found: [waited(values(found, name, key)) for key in ('p50', 'p99')
                       for name in names])


def about(runs: list[Run]) -> str:
    """When, of which versions, on what, and how busy that was."""
    times = sorted(run['time'] for run in runs)
    venvs = sorted({SERVERS[name].venv for run in runs for name in run['servers']
                    if name in SERVERS and SERVERS[name].venv})
    packages = dict.fromkeys(package.replace('==', ' ') for venv in venvs
                             for package in VENVS[venv] if package.partition('==')[0] in SHOWN)
    lines = [line for run in runs for line in run['servers'].values()]
    others = [line['others'] for line in lines if 'others' in line]
    late = [line['late'] for line in lines if 'late' in line]
    busy = f'; others used {min(others):.1f} to {max(others):.1f} cores' if others else ''
    busy += f'; the client of the open loop was {waited(late)} ms late' if late else ''
    rounds = ', '.join(dict.fromkeys(
        f'{run["rounds"]} rounds of {run["seconds"]:g} s' for run in runs))
    return (f'{times[0]} to {times[-1]} UTC, commit {each_of(runs, "commit")}, '
            f'{each_of(runs, "python")}, {", ".join(packages)}; {each_of(runs, "machine")}{busy}; '
            f'{rounds} a run')


def each_of(runs: list[Run], key: str) -> str:
    return ' and '.join(dict.fromkeys(run[key] for run in runs))


def main() -> None:
    parser = argparse.ArgumentParser(description='Several races, as the tables of README.')
    parser.add_argument('file', type=Path, help='where the runs are kept, a line of JSON for each')
    parser.add_argument('--runs', type=int, default=0, help='so many more are made (%(default)s)')
    parser.add_argument('--pause', type=float, default=600, metavar='SECONDS',
                        help='between two runs: another time is another machine (%(default)s)')
    parser.add_argument('--workload', default='headers3,browser12,json,upload,stream,download',
                        help='of the races with the peers (%(default)s)')
    parser.add_argument('--pythons', default='pypy3', help='on which ours runs as well, with a '
                        'comma between (%(default)s); none if empty')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--seconds', type=float, default=2, help='of each server in each round')
    options = parser.parse_args()
    for number in range(options.runs):
        if number:
            time.sleep(options.pause)
        measure(options)
    runs = [json.loads(line) for line in options.file.read_text().splitlines()]
    print(f'\n{tables(runs)}\n\n{about(runs)}')


if __name__ == '__main__':
    main()
