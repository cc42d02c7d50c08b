"""Race servers against the floor: each on one core, the load generator on another.

    python tests/benchmarks/race.py --workload browser12 --rounds 5 --seconds 4

All servers are up the whole time, and each round visits all of them, one after the other: whatever
the machine does in that minute happens to all. A ratio is computed within its round, and the median
of the rounds is printed.

The headline is requests per CPU-second of the server: near the floor the load generator is at its
own limit, and requests per second no longer tell servers apart. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class Server(NamedTuple):
    """A server in the race: its name, its command (`{port}` is filled in), and what it needs."""

    name: str
    command: tuple[str, ...]
    setup: str = ''


SERVERS = {server.name: server for server in (
    Server('floor', (sys.executable, str(HERE / 'floor.py'), '{port}')),
    Server('tremolo', (
        sys.executable, '-m', 'tremolo', str(HERE / 'hello.py'), '--port', '{port}',
        '--log-level', 'warning')),
)}

# What the requests carry; {n} changes with each.
WORKLOADS = {
    'headers3': (
        ('Host', '127.0.0.1'), ('User-Agent', 'race'), ('Accept', '*/*'),
    ),
    'browser12': (
        ('Host', '127.0.0.1:8000'),
        ('Connection', 'keep-alive'),
        ('sec-ch-ua', '"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"'),
        ('sec-ch-ua-mobile', '?0'),
        ('sec-ch-ua-platform', '"Linux"'),
        ('User-Agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) '
                       'Chrome/130.0.0.0 Safari/537.36'),
        ('Accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,'
                   'image/apng,*/*;q=0.8'),
        ('Sec-Fetch-Site', 'none'),
        ('Sec-Fetch-Mode', 'navigate'),
        ('Accept-Encoding', 'gzip, deflate, br, zstd'),
        ('Accept-Language', 'en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7'),
        ('Cookie', 'theme=dark; _ga=GA1.1.840210217.1730000000; session={n:064x}'),
    ),
}

# wrk's Lua runs on the load generator's core: requests are made beforehand and only picked here,
# and no Lua runs at all for requests that are all the same.
LUA_SAME = 'wrk.headers = {%s}\n'
LUA_CYCLE = """
local requests, i = {%s}, 0
function request()
  i = i %% #requests + 1
  return requests[i]
end
"""
LUA_DONE = """
function done(summary, latency)
  local e = summary.errors
  print(string.format('\\n{"requests": %d, "seconds": %f, "errors": %d, "p50": %f, "p99": %f}',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


def requests_of(workload: str) -> list[str]:
    """1,000 requests when something in them changes, else one."""
    fields = WORKLOADS[workload]
    head = 'GET / HTTP/1.1\r\n' + ''.join(f'{name}: {value}\r\n' for name, value in fields) + '\r\n'
    return [head.replace('{n:064x}', f'{n * 0x9E3779B97F4A7C15 % 2 ** 64:064x}')
            for n in range(1000 if '{n' in head else 1)]


class Load:
    """Runs wrk, or load.py when there is none, pinned to its core."""

    def __init__(self, workload: str, connections: int, core: int, builtin: bool) -> None:
        self.connections = connections
        self.core = core
        self.requests = requests_of(workload)
        self.wrk = None if builtin else shutil.which('wrk')
        self.name = 'wrk' if self.wrk else 'load.py'
        self.script = ''
        if self.wrk:
            lua = LUA_CYCLE % ','.join(map(json.dumps, self.requests))
            if len(self.requests) == 1:
                lua = LUA_SAME % ','.join(f'[{json.dumps(name)}]={json.dumps(value)}'
                                          for name, value in WORKLOADS[workload])
            with tempfile.NamedTemporaryFile('w', suffix='.lua', delete=False) as file:
                file.write(lua + LUA_DONE)
            self.script = file.name

    def run(self, port: int, seconds: float) -> dict[str, float]:
        """Load the server; return requests, seconds, errors, p50 and p99 (milliseconds)."""
        command = [sys.executable, str(HERE / 'load.py'), str(port), str(self.connections),
                   str(seconds)]
        if self.wrk:
            command = [self.wrk, '-t1', f'-c{self.connections}', f'-d{max(1, round(seconds))}s',
                       '-s', self.script, f'http://127.0.0.1:{port}/']
        done = subprocess.run(
            command, input=json.dumps(self.requests), capture_output=True, text=True, check=True,
            timeout=seconds + 60, preexec_fn=lambda: os.sched_setaffinity(0, {self.core}))
        return json.loads(done.stdout.splitlines()[-1])

    def close(self) -> None:
        if self.script:
            os.unlink(self.script)


class Racer:
    """A running server: its process, its port, and what was measured in each round."""

    def __init__(self, server: Server, core: int) -> None:
        self.name = server.name
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            self.port = probe.getsockname()[1]
        command = [part.replace('{port}', str(self.port)) for part in server.command]
        if shutil.which(command[0]) is None:
            raise SystemExit(f'race: {self.name}: {command[0]} is not here; {server.setup}')
        environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
        self.process = subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        self.rates: list[float] = []
        self.per_cpu: list[float] = []
        self.p50: list[float] = []
        self.p99: list[float] = []
        self.errors = 0

    def wait_until_it_answers(self, request: str) -> None:
        deadline = time.monotonic() + 30
        while not self.answers(request):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f'race: {self.name} does not start')
            time.sleep(0.02)

    def answers(self, request: str) -> bool:
        try:
            client = socket.create_connection(('127.0.0.1', self.port), timeout=5)
        except ConnectionRefusedError:
            return False
        with client:
            client.sendall(request.encode())
            answer = b''
            while not answer.endswith(b'Hello world!'):
                data = client.recv(65536)
                if not data:
                    raise SystemExit(f'race: {self.name} answered {answer!r}')
                answer += data
        return True

    def cpu_seconds(self) -> float:
        """CPU time of the server and of its children, in user and kernel."""
        ticks, family = 0, {self.process.pid}
        for stat in sorted(Path('/proc').glob('[0-9]*/stat'), key=lambda path: int(path.parts[2])):
            try:
                fields = stat.read_text().rpartition(')')[2].split()
            except OSError:
                continue
            pid, parent = int(stat.parts[2]), int(fields[1])
            if pid in family or parent in family:
                family.add(pid)
                ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf('SC_CLK_TCK')

    def race(self, load: Load, seconds: float) -> None:
        before = self.cpu_seconds()
        result = load.run(self.port, seconds)
        used = max(self.cpu_seconds() - before, 0.001)
        self.rates.append(result['requests'] / result['seconds'])
        self.per_cpu.append(result['requests'] / used)
        self.p50.append(result['p50'])
        self.p99.append(result['p99'])
        self.errors += int(result['errors'])

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def ratio(mine: list[float], floor: list[float]) -> float:
    return median(a / b for a, b in zip(mine, floor))


def report(racers: list[Racer]) -> dict[str, dict[str, float]]:
    """Print the table; return the same figures."""
    figures = {}
    print(f'{"":12}{"requests/s":>12}{"per CPU-s":>12}{"p50 ms":>9}{"p99 ms":>9}'
          f'{"of floor: /s":>15}{"per CPU-s":>11}{"errors":>8}')
    floor = next((racer for racer in racers if racer.name == 'floor'), None)
    for racer in racers:
        line = {
            'rate': median(racer.rates), 'per_cpu': median(racer.per_cpu),
            'p50': median(racer.p50), 'p99': median(racer.p99), 'errors': racer.errors}
        text = (f'{racer.name:12}{line["rate"]:12,.0f}{line["per_cpu"]:12,.0f}'
                f'{line["p50"]:9.2f}{line["p99"]:9.2f}')
        if floor:
            line['rate_ratio'] = ratio(racer.rates, floor.rates)
            line['per_cpu_ratio'] = ratio(racer.per_cpu, floor.per_cpu)
            text += f'{line["rate_ratio"]:15.2f}{line["per_cpu_ratio"]:11.2f}'
        print(text + f'{racer.errors:{8 if floor else 34}}')
        figures[racer.name] = {key: round(value, 4) for key, value in line.items()}
    return figures


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Race servers against the floor.')
    parser.add_argument('--workload', choices=WORKLOADS, default='browser12')
    parser.add_argument('--servers', default='floor,tremolo', help=', '.join(SERVERS))
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=4, help='of each server in each round')
    parser.add_argument('--connections', type=int, default=64)
    parser.add_argument('--builtin', action='store_true', help='load.py even where wrk is')
    parser.add_argument('--json', action='store_true', help='a JSON line at the end')
    options = parser.parse_args()
    unknown = set(options.servers.split(',')) - set(SERVERS)
    if unknown:
        parser.error(f'no such server: {", ".join(sorted(unknown))}')
    return options


def main() -> int:
    options = arguments()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print('race: one core only; the load generator takes its share of what is measured')
    racers: list[Racer] = []
    load = Load(options.workload, options.connections, cores[-1], options.builtin)
    try:
        for name in options.servers.split(','):
            racers.append(Racer(SERVERS[name], cores[0]))
            racers[-1].wait_until_it_answers(load.requests[0])
        for racer in racers:
            load.run(racer.port, 1)
        for number in range(options.rounds):
            # Who comes first changes, lest one always meets a cold or a hot machine.
            for step in range(len(racers)):
                racers[(number + step) % len(racers)].race(load, options.seconds)
        size = len(load.requests[0])
        print(f'{options.workload}: {size} bytes a request, {options.connections} connections, '
              f'{load.name}, {options.rounds} rounds of {options.seconds:g} s')
        figures = report(racers)
    finally:
        load.close()
        for racer in racers:
            racer.close()
    if options.json:
        print(json.dumps({'workload': options.workload, 'load': load.name, 'servers': figures}))
    return 1 if any(racer.errors for racer in racers) else 0


if __name__ == '__main__':
    raise SystemExit(main())
