"""Race servers: each on one core, the load generator on another.

    python tests/benchmarks/race.py --workload browser12 --rounds 5 --seconds 4
    python tests/benchmarks/race.py --install
    python tests/benchmarks/race.py --workload browser12 --servers asgi
    python tests/benchmarks/race.py --workload headers3,browser12 --save FILE

All servers are up the whole time, and each round visits all of them, one after the other: whatever
the machine does in that minute happens to all. A ratio is computed within its round, and the median
of the rounds is printed.

Near the floor the load generator is at its own limit, and requests per second no longer tell
servers apart: there, requests per CPU-second of the server do. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from drive import Load
from echo_build import NoCompilerError
from peers import GROUPS, SERVERS, default_folder, install, python_of, server_of
from racer import Racer
from ranges import save
from table import Figures, report
from workloads import WORKLOADS, Workload


def names_of(text: str, workload: Workload | None) -> list[str]:
    """The servers named, and those of the groups named that can do the workload."""
    names: list[str] = []
    for part in text.split(','):
        if part in GROUPS:
            names += [name for name in GROUPS[part]
                      if workload is None or SERVERS[name].can(workload)]
        elif workload and not server_of(part).can(workload):
            raise SystemExit(f'race: {part} has no {workload.about}')
        else:
            names.append(server_of(part).name)
    return list(dict.fromkeys(names))


def race(racers: list[Racer], load: Load, options: argparse.Namespace) -> None:
    for racer in racers:
        load.run(racer.port, options.warm, racer.server.pinned)
        racer.settle()
    for number in range(options.rounds):
        # Who comes first changes, lest one always meets a cold or a hot machine.
        for step in range(len(racers)):
            racers[(number + step) % len(racers)].race(load, options.seconds)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Race servers, each on one core, the load generator on another.')
    parser.add_argument('--workload', default='browser12', help='one, or several with a comma '
                        'between: ' + '; '.join(
                            f'{name}: {workload.about}' for name, workload in WORKLOADS.items()))
    parser.add_argument('--servers', default='', help=f'of {", ".join(SERVERS)}; the groups are '
                        f'{", ".join(GROUPS)}; if not given, floor,tremolo or asgi; '
                        'tremolo@pypy3 is ours on another Python')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=4, help='of each server in each round')
    parser.add_argument('--warm', type=float, default=1, metavar='SECONDS',
                        help='how long each server is asked before the first round (%(default)s); '
                        'PyPy needs 10')
    parser.add_argument('--save', type=Path, metavar='FILE', help='add what was measured to a '
                        'file, of which ranges.py makes the tables of README')
    parser.add_argument('--connections', type=int, default=0, help='64, or 1 for the download')
    parser.add_argument('--builtin', action='store_true', help='load.py even where wrk is')
    parser.add_argument('--json', action='store_true', help='a JSON line at the end')
    parser.add_argument('--install', action='store_true',
                        help='make the venvs of --servers (all), with the packages, and end')
    parser.add_argument('--venvs', type=lambda text: Path(text).absolute(),
                        default=default_folder(), help='where they are (%(default)s)')
    return parser.parse_args()


def run(name: str, options: argparse.Namespace) -> Figures | None:
    """One race: print its table and return its figures; None where it cannot be run here."""
    workload = WORKLOADS[name]
    default = 'floor,tremolo' if SERVERS['floor'].can(workload) else 'asgi'
    if workload.asked.load == 'echo':
        default = 'tremolo,asgi'
    servers = [server_of(each) for each in names_of(options.servers or default, workload)]
    for server in servers:
        python_of(server, workload, options.venvs)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print('race: one core only; the load generator takes its share of what is measured')
    racers: list[Racer] = []
    try:
        load = Load(workload, options.connections, cores[-1], options.builtin)
    except NoCompilerError as error:
        print(f'race: {name} is left out: {error}')
        return None
    try:
        for server in servers:
            racers.append(Racer(server, workload, options.venvs, cores[0]))
            racers[-1].wait_until_it_answers(load.requests[0])
        race(racers, load, options)
        size = f'{len(load.requests[0])} bytes a request, ' * (load.name != 'echo_load')
        print(f'{name} ({workload.about}): {size}{load.connections} connections, '
              f'{load.name}, {options.rounds} rounds of {options.seconds:g} s', flush=True)
        return report(racers, workload.unit)
    finally:
        load.close()
        for racer in racers:
            racer.close()


def main() -> int:
    options = arguments()
    if options.install:
        install(names_of(options.servers or 'all', None), options.venvs)
        return 0
    names = options.workload.split(',')
    if unknown := [name for name in names if name not in WORKLOADS]:
        raise SystemExit(f'race: no such workload: {unknown[0]}; there are {", ".join(WORKLOADS)}')
    errors = False
    for name in names:
        figures = run(name, options)
        if figures is None:
            continue
        errors = errors or any(line['errors'] for line in figures.values())
        if options.json:
            print(json.dumps({'workload': name, 'servers': figures}), flush=True)
        if options.save:
            save(options.save, name, figures, options)
    return 1 if errors else 0


if __name__ == '__main__':
    raise SystemExit(main())
