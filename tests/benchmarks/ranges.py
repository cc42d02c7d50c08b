"""Ranges: what several races saved, as the tables of README.

    python tests/benchmarks/race.py --workload headers3,browser12 --runs 5 --pause 60 \\
        --servers tremolo-asgi,uvicorn,granian --save FILE
    python tests/benchmarks/ranges.py FILE...

A run's figure is the median of its rounds. Printed is the median of the runs, and in brackets the
worst and the best of them: never the rounds that pleased.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from peers import ROOT, SERVERS, VENVS
from table import Figures
from workloads import WORKLOADS

# The packages whose versions are told beside the figures: servers, loops and parsers.
SHOWN = {*VENVS, 'uvloop', 'httptools', 'gunicorn_h1c'} - {'fastapi'}


def machine() -> str:
    """What it is measured on: the processor, and how many cores there are."""
    models = [line.partition(':')[2].strip() for line in
              Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('model name')]
    return f'{models[0] if models else os.uname().machine}, {len(os.sched_getaffinity(0))} cores'


def commit() -> str:
    """The commit that is measured, with a `+` if the package was changed since."""
    name = subprocess.run(['git', '-C', str(ROOT), 'describe', '--always'],
                          capture_output=True, text=True, check=False).stdout.strip()
    changed = subprocess.run(['git', '-C', str(ROOT), 'diff', '--quiet', 'HEAD', '--', 'tremolo'],
                             check=False).returncode
    return f'{name}+' if changed else name


def save(file: Path, name: str, figures: Figures, options: argparse.Namespace) -> None:
    """Add a run to a file, as a line of JSON."""
    with file.open('a') as out:
        print(json.dumps({
            'time': time.strftime('%Y-%m-%d %H:%M', time.gmtime()), 'workload': name,
            'machine': machine(), 'python': python(), 'commit': commit(),
            'rounds': options.rounds, 'seconds': options.seconds, 'servers': figures}), file=out)


def python() -> str:
    return f'{sys.implementation.name.replace("cp", "CP")} {sys.version.split()[0]}'


def spread(values: list[float]) -> str:
    """The median, the worst and the best. (A ratio is worst when it is small.)"""
    if len(values) < 2:
        return ''.join(f'{each:.2f}' for each in values)
    return f'{median(values):.2f} ({min(values):.2f} to {max(values):.2f})'


def waited(values: list[float]) -> str:
    return f'{median(values):.1f} ({max(values):.1f})'


def table(runs: list[dict[str, Any]]) -> str:
    """A line for each workload, a column for each server: ratios first, and then p99."""
    names = list(dict.fromkeys(name for run in runs for name in run['servers']))
    peers = [name for name in names
             if any('ahead_per_cpu' in run['servers'].get(name, {}) for run in runs)]
    columns = ['asked for', 'runs', *(f'to {name}' for name in peers),
               f'p99 in ms: {", ".join(names)}']
    lines = [columns, ['---'] * len(columns)]
    for workload in dict.fromkeys(run['workload'] for run in runs):
        found = [run['servers'] for run in runs if run['workload'] == workload]
        ahead = [spread([each[name]['ahead_per_cpu'] for each in found if name in each])
                 for name in peers]
        p99 = [waited([each[name]['p99'] for each in found if name in each])
               for name in names if any(name in each for each in found)]
        lines.append([WORKLOADS[workload].about, str(len(found)), *ahead, ', '.join(p99)])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def about(runs: list[dict[str, Any]]) -> str:
    """When, on what and of which versions."""
    times = sorted(run['time'] for run in runs)
    venvs = sorted({SERVERS[name].venv for run in runs for name in run['servers']
                    if name in SERVERS and SERVERS[name].venv})
    packages = dict.fromkeys(package for venv in venvs for package in VENVS[venv]
                             if package.partition('==')[0] in SHOWN)
    versions = ', '.join(package.replace('==', ' ') for package in packages)
    rounds = sorted({f'{run["rounds"]} rounds of {run["seconds"]:g} s' for run in runs})
    return (f'{times[0]} to {times[-1]} UTC, commit {each_of(runs, "commit")}, '
            f'{each_of(runs, "python")}, {versions}; {each_of(runs, "machine")}; '
            f'{", ".join(rounds)} a run')


def each_of(runs: list[dict[str, Any]], key: str) -> str:
    return ' and '.join(dict.fromkeys(run[key] for run in runs))


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit('usage: ranges.py FILE...: what race.py --save has written')
    runs = [json.loads(line) for name in sys.argv[1:]
            for line in Path(name).read_text().splitlines()]
    print(table(runs))
    print()
    print(about(runs))


if __name__ == '__main__':
    main()
