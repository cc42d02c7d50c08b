"""Workers: what a second one costs.

    python tests/benchmarks/workers.py

One server has one worker, another has two; both are up the whole time, and wrk visits them by
turns. Printed are the requests for each second of CPU time that the server with all its processes
used, and the ratio of both within a round. See README.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
from statistics import median

import cpu
from drive import Load
from peers import APPS, ROOT
from workloads import WORKLOADS

# Requests for each CPU second with two workers, as a share of what they are with one.
TARGET = 0.85
PATIENCE = 30


class Workers:
    """A server with so many workers: its port, and what was measured in each round."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.rates: list[float] = []
        self.per_cpu: list[float] = []
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'tremolo', 'native:app', '--workers', str(count), '--port', '0',
             '--log-level', 'warning'],
            cwd=APPS, env={**os.environ, 'PYTHONPATH': str(ROOT)}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True, start_new_session=True)
        found = re.search(r':(\d+) ', self.process.stdout.readline())
        if found is None:
            raise SystemExit(f'workers: the server with {count} does not start')
        self.port = int(found[1])

    def visit(self, load: Load, seconds: float) -> None:
        before = cpu.of_family(self.process.pid)
        result = load.run(self.port, seconds, pinned=False)
        used = cpu.of_family(self.process.pid) - before
        if result['errors']:
            raise SystemExit(f'workers: {result["errors"]} errors with {self.count}')
        self.rates.append(result['requests'] / result['seconds'])
        self.per_cpu.append(result['requests'] / used)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()


def main() -> int:
    parser = argparse.ArgumentParser(description='What a second worker costs.')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=4, help='of each server in each round')
    options = parser.parse_args()
    if not shutil.which('wrk'):
        raise SystemExit('workers: wrk is not installed')
    load = Load(WORKLOADS['browser12'], 0, 0, False)
    servers: list[Workers] = []
    try:
        for count in (1, 2):
            servers.append(Workers(count))
            load.run(servers[-1].port, 1, pinned=False)
        for number in range(options.rounds):
            for server in servers if number % 2 else servers[::-1]:
                server.visit(load, options.seconds)
    finally:
        load.close()
        for server in servers:
            server.close()
    for server in servers:
        print(f'{server.count} worker{"s"[:server.count - 1]}: {median(server.rates):.0f} '
              f'requests/s, {median(server.per_cpu):.0f} for each CPU second')
    one, two = servers
    ratios = [after / before for before, after in zip(one.per_cpu, two.per_cpu)]
    print(f'for each CPU second 2 do {median(ratios):.2f} of what 1 does (at least {TARGET}; '
          f'{min(ratios):.2f} to {max(ratios):.2f} in {options.rounds} rounds)')
    return 0 if median(ratios) >= TARGET else 1


if __name__ == '__main__':
    raise SystemExit(main())
