"""The start: how long it takes from `python -m ...` to the first answer.

    python tests/benchmarks/start.py --install          # once: the peers, each in a venv of its own
    python tests/benchmarks/start.py --rounds 20

In each round each server is started, asked until it answers, and ended, one after the other, so
that a busy machine is busy for all. `wall` is the time until the answer is there, in milliseconds,
and `CPU` the time that the server, with all its processes and threads, had a core until then: this
one says more on a busy machine. Each says hello and nothing else; see README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import peers

REQUEST = b'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
PATIENCE = 60    # How long a server may take to start, in seconds.
LOOK = 0.001     # Seconds between two attempts to connect.


class Starter(NamedTuple):
    """A server to start; in its command `{python}` and `{port}` are filled in."""

    command: str
    venv: str = ''    # One of peers.VENVS; empty: ours.


SERVERS = {
    'tremolo': Starter('{python} -m tremolo start_native:app --port {port} --log-level warning'),
    'tremolo-asgi': Starter(
        '{python} -m tremolo start_asgi:app --port {port} --log-level warning'),
    'uvicorn': Starter(f'{peers.UVICORN}--ws none --loop uvloop --http httptools'
                       .replace('{app}', 'start_asgi:app'), 'uvicorn'),
    'uvicorn-h11': Starter(f'{peers.UVICORN}--ws none --loop asyncio --http h11'
                           .replace('{app}', 'start_asgi:app'), 'uvicorn'),
    'granian': Starter(f'{peers.GRANIAN}--no-ws'.replace('{app}', 'start_asgi:app'), 'granian'),
    'bottle-waitress': Starter('{python} start_bottle.py {port}', 'bottle'),
}


class Started(NamedTuple):
    wall: float    # Milliseconds until the first answer.
    cpu: float     # Milliseconds on a core until then.


def start(name: str, folder: Path) -> Started:
    """Start a server, ask until it answers, end it."""
    server = SERVERS[name]
    python = folder / server.venv / 'bin' / 'python' if server.venv else Path(sys.executable)
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    command = [part.format(python=python, port=port) for part in server.command.split()]
    paths = [str(peers.APPS)] if server.venv else [str(peers.ROOT), str(peers.APPS)]
    # (Bytecode may be written, and is there from the first start on.)
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}
    environment.pop('PYTHONDONTWRITEBYTECODE', None)
    with tempfile.TemporaryFile() as log:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=peers.APPS, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)
        try:
            answer = ask(port, process)
            took = time.perf_counter() - begun
            used = cpu_of(process.pid)
            if not answer.endswith(b'Hello world!'):
                log.seek(0)
                raise SystemExit(f'start: {name} answered {answer!r}\n{log.read().decode()}')
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return Started(took * 1000, used * 1000)


def ask(port: int, process: subprocess.Popen[bytes]) -> bytes:
    """Connect as soon as it is possible, and return the first answer; b'' if there is none."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            client = socket.create_connection(('127.0.0.1', port), PATIENCE)
        except ConnectionRefusedError:
            time.sleep(LOOK)
            continue
        with client:
            client.sendall(REQUEST)
            answer = b''
            while not answer.endswith(b'Hello world!') and (data := client.recv(65536)):
                answer += data
            return answer
    return b''


def cpu_of(ancestor: int) -> float:
    """The seconds that the threads of a process and of its children had a core, exactly."""
    family, used = {ancestor}, 0
    for folder in sorted(Path('/proc').glob('[0-9]*'), key=lambda path: int(path.name)):
        try:
            parent = int((folder / 'stat').read_text().rpartition(')')[2].split()[1])
            if parent in family or int(folder.name) in family:
                family.add(int(folder.name))
                used += sum(int(each.read_text().split()[0])
                            for each in folder.glob('task/*/schedstat'))
        except OSError:
            continue    # It has ended.
    return used / 1e9


def report(results: dict[str, list[Started]]) -> dict[str, dict[str, float]]:
    """Print the table: the median and the worst, in milliseconds; return the same figures."""
    figures = {}
    print(f'{"":18}{"wall: median":>14}{"worst":>9}{"CPU: median":>14}{"worst":>9}'
          f'{"of tremolo":>12}')
    ours = results.get('tremolo') or next(iter(results.values()))
    for name, started in results.items():
        walls, cpus = [each.wall for each in started], [each.cpu for each in started]
        ratio = median(one.cpu / other.cpu for one, other in zip(started, ours))
        figures[name] = {'wall': median(walls), 'wall_worst': max(walls), 'cpu': median(cpus),
                         'cpu_worst': max(cpus), 'cpu_ratio': ratio}
        print(f'{name:18}{median(walls):14.1f}{max(walls):9.1f}{median(cpus):14.1f}'
              f'{max(cpus):9.1f}{ratio:12.2f}')
    print('of tremolo: how many times as much CPU time as tremolo in the same round, the median')
    return figures


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='How long it takes from a start to an answer.')
    parser.add_argument('--servers', default=','.join(SERVERS), help='(%(default)s)')
    parser.add_argument('--rounds', type=int, default=15, help='(%(default)s)')
    parser.add_argument('--venvs', type=Path, default=peers.default_folder())
    parser.add_argument('--install', action='store_true', help='make the venvs of the peers')
    parser.add_argument('--json', action='store_true', help='a JSON line at the end')
    return parser.parse_args()


def main() -> int:
    options = arguments()
    names = options.servers.split(',')
    unknown = set(names) - set(SERVERS)
    if unknown:
        raise SystemExit(f'start: no such server: {", ".join(unknown)}; there are '
                         f'{", ".join(SERVERS)}')
    venvs = {SERVERS[name].venv for name in names} - {''}
    if options.install:
        peers.make_venvs(venvs, options.venvs)
        return 0
    missing = [name for name in venvs if not (options.venvs / name / 'packages.txt').exists()]
    if missing:
        raise SystemExit(f'start: {", ".join(missing)} missing: start.py --install')
    results: dict[str, list[Started]] = {name: [] for name in names}
    for name in names:
        start(name, options.venvs)    # Once before: its bytecode is there, and its files are read.
    for _ in range(options.rounds):
        for name in names:
            results[name].append(start(name, options.venvs))
    figures = report(results)
    if options.json:
        print(json.dumps({'rounds': options.rounds, 'figures': figures}))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
