"""The TLS race: handshakes, requests and a download by TLS, and 1,000 connections that say nothing.

    python tests/benchmarks/race.py --install
    python tests/benchmarks/tls.py --rounds 5 --seconds 3
    python tests/benchmarks/tls.py --race full,resumed --servers tremolo-asgi,uvicorn
    python tests/benchmarks/tls.py --race full,resumed --tls 1.2

As in race.py: one core for the server, another for the client (tls_load.c), all servers up the
whole time, each round visits all of them, and a ratio is made within its round. All have the same
certificate, of an EC P-256 key.

`silent` is no race: new connections are made, handshake, request and all, at first alone, and then
while 1,000 others are open, half of which have said nothing and half a part of a ClientHello. Told
is how long the good ones took.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

import cpu
from echo_build import NoCompilerError, build_tls
from peers import ROOT, SERVERS, Server, default_folder, python_of, server_of
from race import race
from racer import Racer
from ranges import save
from table import Figures, report
from workloads import HEADERS3, HELLO, Asked, Workload

CERTIFICATES = ROOT / 'tests' / 'certificates'
DEFAULT = 'tremolo,tremolo-asgi,uvicorn,hypercorn,gunicorn,granian'
RACES = {
    'full': Workload(HELLO._replace(load='full', connections=16), HEADERS3,
                     'a full handshake and one request on each connection'),
    'resumed': Workload(HELLO._replace(load='resumed', connections=16), HEADERS3,
                        'a resumed handshake and one request on each connection'),
    'kept': Workload(HELLO._replace(load='kept'), HEADERS3, 'requests on kept connections'),
    'download': Workload(Asked('/download', 1 << 30, load='download', connections=1), HEADERS3,
                         '1 GiB in pieces of 64 KiB'),
}
# How each of them is told the certificate and its key.
FLAGS = {'granian': '--ssl-certificate {cert} --ssl-keyfile {key}',
         'hypercorn': '--certfile {cert} --keyfile {key}',
         'gunicorn': '--certfile {cert} --keyfile {key}',
         'uvicorn': '--ssl-certfile {cert} --ssl-keyfile {key}',
         '': '--ssl-certfile {cert} --ssl-keyfile {key}'}
SILENT = 1000
# Good connections at a time beside the silent ones: busy, and none has to wait for another.
GOOD = 2


def with_tls(name: str, certificate: str) -> Server:
    """A server of the race with a certificate."""
    server = server_of(name)
    if server.venv not in FLAGS or server.kind == 'floor':
        raise SystemExit(f'tls: {name} has no TLS here')
    cert, key = CERTIFICATES / f'{certificate}.pem', CERTIFICATES / f'{certificate}.key'
    more = FLAGS[server.venv].format(cert=cert, key=key)
    if server.venv == 'granian':
        # It takes TLS 1.3 alone unless it is told.
        more += ' --ssl-protocol-min tls1.2'
    return server._replace(command=f'{server.command} {more}')


class TlsRacer(Racer):
    """A racer that is asked by TLS."""

    def connect(self) -> socket.socket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(CERTIFICATES / 'ca.pem')
        return context.wrap_socket(super().connect(), server_hostname='a.example')

    def plainly(self) -> socket.socket:
        return super().connect()


class TlsLoad:
    """tls_load.c, pinned to its core unless the server may use all of them."""

    name = 'tls_load'

    def __init__(self, workload: Workload, program: Path, core: int,
                 options: argparse.Namespace) -> None:
        self.workload = workload
        self.connections = options.connections or workload.asked.connections
        self.requests = workload.requests()
        self._program = program
        self._core = core
        self._version = options.tls

    def run(self, port: int, seconds: float, pinned: bool = True) -> dict[str, float]:
        asked = self.workload.asked
        cores = {self._core} if pinned else os.sched_getaffinity(0)
        done = subprocess.run(
            [str(self._program), str(port), str(self.connections), str(seconds), asked.load,
             asked.path, self._version], capture_output=True, text=True, check=False,
            timeout=seconds + 300, preexec_fn=lambda: os.sched_setaffinity(0, cores))
        if done.returncode:
            raise SystemExit(f'tls: {(done.stderr or done.stdout).strip()[-500:]}')
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        if result['bytes'] < result['requests'] * asked.size:
            result['errors'] += 1
        # (The first handshake of each connection cannot be.)
        if asked.load == 'resumed' and result['resumed'] < result['requests'] * 0.9 - 64:
            raise SystemExit(f'tls: port {port} resumed {result["resumed"]} handshakes of '
                             f'{result["requests"]} only')
        return result


# -- 1,000 that say nothing -----------------------------------------------------------------------


class Beside(NamedTuple):
    """What the good connections of a round were like, in milliseconds."""

    rate: float
    p50: float
    p99: float
    most: float
    per_cpu: float

    @classmethod
    def of(cls, racer: TlsRacer, load: TlsLoad, seconds: float) -> Beside:
        before = cpu.of_family(racer.process.pid)
        found = load.run(racer.port, seconds)
        used = max(cpu.of_family(racer.process.pid) - before, 0.001)
        racer.errors += int(found['errors'])
        return cls(found['requests'] / found['seconds'], found['p50'], found['p99'],
                   found['max'], found['requests'] / used)


def begin_hello() -> bytes:
    """The first hundred bytes of a ClientHello."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname='a.example')
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read(100)


def is_open(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return bool(sock.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


def beside_silence(racers: list[TlsRacer], load: TlsLoad, options: argparse.Namespace) -> None:
    """Measure and print the rows of `silent`."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    hello = begin_hello()
    alone: dict[str, list[Beside]] = {racer.name: [] for racer in racers}
    beside: dict[str, list[Beside]] = {racer.name: [] for racer in racers}
    left = {racer.name: SILENT for racer in racers}
    for number in range(options.rounds):
        for step in range(len(racers)):
            racer = racers[(number + step) % len(racers)]
            alone[racer.name].append(Beside.of(racer, load, options.seconds))
            with contextlib.ExitStack() as stack:
                silent = [stack.enter_context(racer.plainly()) for _ in range(SILENT)]
                for sock in silent[::2]:
                    sock.sendall(hello)
                racer.settle()
                beside[racer.name].append(Beside.of(racer, load, options.seconds))
                left[racer.name] = min(left[racer.name], sum(map(is_open, silent)))
            racer.settle()
    print(f'silent ({SILENT:,} connections without a handshake): {GOOD} good connections at a '
          f'time, {options.rounds} rounds of {options.seconds:g} s, the median of the rounds')
    print(f'{"":19}{"new/s":>9}{"beside":>9}{"p50 ms":>9}{"beside":>9}{"p99 ms":>9}{"beside":>9}'
          f'{"most ms":>9}{"beside":>9}{"per CPU-s":>11}{"beside":>9}{"still open":>12}'
          f'{"errors":>8}')
    for racer in racers:
        line = ''
        for field, wide in zip(Beside._fields, (9, 9, 9, 9, 11)):
            for rounds, width in ((alone, wide), (beside, 9)):
                value = median(getattr(each, field) for each in rounds[racer.name])
                line += f'{value:{width},.{0 if field in ("rate", "per_cpu") else 2}f}'
        print(f'{racer.name:19}{line}{left[racer.name]:12}{racer.errors:8}', flush=True)


# -- the race -------------------------------------------------------------------------------------


def run(name: str, program: Path, options: argparse.Namespace) -> Figures:
    """One race: print its table and return its figures; none of `silent`, which has its own."""
    workload = RACES['full' if name == 'silent' else name]
    cores = sorted(os.sched_getaffinity(0))
    load = TlsLoad(workload, program, cores[-1], options)
    if name == 'silent':
        load.connections = GOOD
    racers: list[TlsRacer] = []
    try:
        for each in options.servers.split(','):
            server = with_tls(each, options.certificate)
            python_of(server, workload, options.venvs)
            racers.append(TlsRacer(server, workload, options.venvs, cores[0]))
            racers[-1].wait_until_it_answers(load.requests[0])
        if name == 'silent':
            beside_silence(racers, load, options)
            return {}
        race(racers, load, options)         # type: ignore[arg-type]
        print(f'{name} ({workload.about}): TLS {options.tls}, {load.connections} connections, '
              f'{load.name}, {options.rounds} rounds of {options.seconds:g} s', flush=True)
        return report(racers, workload.unit)        # type: ignore[arg-type]
    finally:
        for racer in racers:
            racer.close()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--race', default=','.join((*RACES, 'silent')), help='(%(default)s)')
    parser.add_argument('--servers', default=DEFAULT, help=f'of {", ".join(SERVERS)} '
                        '(%(default)s)')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=3, help='of each server in each round; '
                        'less than 8 for `silent`: whoever is silent for long is closed')
    parser.add_argument('--warm', type=float, default=1, metavar='SECONDS',
                        help='how long each server is asked before the first round (%(default)s)')
    parser.add_argument('--connections', type=int, default=0,
                        help='16 for handshakes, 64 kept, 1 for the download')
    parser.add_argument('--tls', choices=('1.2', '1.3'), default='1.3')
    parser.add_argument('--certificate', default='a', help='its name in tests/certificates')
    parser.add_argument('--save', type=Path, metavar='FILE', help='add what was measured to a file')
    parser.add_argument('--json', action='store_true', help='a JSON line at the end')
    parser.add_argument('--venvs', type=lambda text: Path(text).absolute(),
                        default=default_folder(), help='where they are (%(default)s)')
    return parser.parse_args()


def main() -> int:
    options = arguments()
    names = options.race.split(',')
    if unknown := [name for name in names if name not in (*RACES, 'silent')]:
        raise SystemExit(f'tls: no such race: {unknown[0]}; there are {", ".join(RACES)}, silent')
    errors = False
    with tempfile.TemporaryDirectory(prefix='race') as folder:
        try:
            program = build_tls(Path(folder))
        except NoCompilerError as error:
            raise SystemExit(f'tls: {error}') from None
        for name in names:
            figures = run(name, program, options)
            errors = errors or any(line['errors'] for line in figures.values())
            if figures and options.json:
                print(json.dumps({'workload': f'tls-{name}', 'servers': figures}), flush=True)
            if figures and options.save:
                save(options.save, f'tls-{name}', figures, options)
    return 1 if errors else 0


if __name__ == '__main__':
    raise SystemExit(main())
