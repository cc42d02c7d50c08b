"""Open loop: how long fast requests take while a slow handler runs beside them.

    python tests/benchmarks/openloop.py                         # tremolo alone, in both ways
    python tests/benchmarks/openloop.py --servers tremolo,tremolo-asgi,uvicorn,granian

A closed-loop client (wrk, load.py) sends a request when the answer before has come: while a server
stands still it asks nothing, and the wait is counted once. This client has a timetable: request
number n is due n / rate seconds after the start, whatever happened before, and its latency counts
from that moment. Each request gets a connection of its own if all others wait. So every request
that would have been sent while the server stood still is in the figures.

All servers are up the whole time, each on one core, the client on another. In each round all of
them are visited in turn, and a ratio is made within a round. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from peers import default_folder, python_of, server_of
from race import names_of
from racer import Racer
from ranges import save
from workloads import WORKLOADS

# What runs beside the fast requests: a page, and how many of it in a second.
BESIDE = {
    'alone': ('', 0.0),
    'sleep': ('/sleep', 50.0),       # waits 0.2 s: ten of them at a time
    'compute': ('/compute', 10.0),   # holds up the loop for 20 ms: a fifth of the time
}
PATIENCE = 30.0
# More milliseconds of the client's own delay, and the run should be repeated on a quiet machine.
NOISE = 1.0


@dataclass
class Page:
    """One page, its timetable, the connections to it, and what was measured."""

    path: str
    rate: float
    size: int = 0                   # of the whole answer
    sent: int = 0
    free: list[socket.socket] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def request(self) -> bytes:
        return f'GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n'.encode()

    def due(self, number: int) -> float:
        """Return when a request has to be sent, in seconds after the start."""
        return number / self.rate


@dataclass
class Waiting:
    """A connection that waits for an answer: since when it should, and what has come."""

    sock: socket.socket
    page: Page
    since: float
    received: int = 0
    good: bool = True


class Client:
    """Sends the requests of some pages at their times, in one thread."""

    def __init__(self, port: int, pages: list[Page]) -> None:
        self.port = port
        self.pages = pages
        self.poll = select.epoll()
        self.waiting: dict[int, Waiting] = {}
        self.errors = 0
        self.late: list[float] = []    # How much later than due each request was sent.
        self.most = 0    # Connections that were needed at the same time.
        for page in pages:
            page.size = self.size_of(page)

    def connect(self) -> socket.socket:
        sock = socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def size_of(self, page: Page) -> int:
        """Ask once, and return the size of the answer: it is the same for all."""
        with self.connect() as sock:
            sock.sendall(page.request)
            data = b''
            while b'\r\n\r\n' not in data:
                data += sock.recv(65536)
        head, _, _ = data.partition(b'\r\n\r\n')
        return len(head) + 4 + int(head.lower().split(b'content-length:')[1].split(b'\r\n')[0])

    def run(self, seconds: float) -> None:
        """Send all that is due in so many seconds, and wait for the answers."""
        start = time.perf_counter()
        while True:
            now = time.perf_counter() - start
            coming = []
            for page in self.pages:
                while page.due(page.sent) < min(now, seconds):
                    self.send(page, start + page.due(page.sent))
                    page.sent += 1
                coming.append(page.due(page.sent))
            if now >= seconds and (not self.waiting or now > seconds + PATIENCE):
                break
            pause = max(0.0, min(coming) - now) if now < seconds else 0.1
            # (Epoll itself waits for whole milliseconds.)
            select.select([self.poll], [], [], pause)
            for fd, _ in self.poll.poll(0):
                self.read(self.waiting[fd])
        self.errors += len(self.waiting)
        for each in self.waiting.values():
            each.sock.close()
        for page in self.pages:
            for sock in page.free:
                sock.close()
        self.poll.close()

    def send(self, page: Page, since: float) -> None:
        sock = page.free.pop() if page.free else self.connect()
        self.waiting[sock.fileno()] = Waiting(sock, page, since)
        self.most = max(self.most, len(self.waiting))
        self.poll.register(sock, select.EPOLLIN)
        self.late.append(time.perf_counter() - since)
        sock.sendall(page.request)

    def read(self, waiting: Waiting) -> None:
        try:
            data = waiting.sock.recv(65536)
        except OSError:
            data = b''
        if not waiting.received:
            waiting.good = data.startswith(b'HTTP/1.1 200')
        waiting.received += len(data)
        if data and waiting.received < waiting.page.size:
            return
        self.poll.unregister(waiting.sock)
        del self.waiting[waiting.sock.fileno()]
        if waiting.good and waiting.received == waiting.page.size:
            waiting.page.latencies.append(time.perf_counter() - waiting.since)
            waiting.page.free.append(waiting.sock)
        else:
            self.errors += 1
            waiting.sock.close()


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


@dataclass
class Row:
    """What one server did in one round beside one thing, in milliseconds."""

    p50: float
    p99: float
    most: float
    slow: float                     # The median of the slow page.
    late: float                     # The client's own delay, 99 % of the requests.
    errors: int


def measure(racer: Racer, beside: str, rate: float, seconds: float) -> Row:
    path, slow_rate = BESIDE[beside]
    pages = [Page('/', rate), *([Page(path, slow_rate)] if path else [])]
    client = Client(racer.port, pages)
    client.run(seconds)
    racer.settle()
    fast = [1000 * each for each in pages[0].latencies]
    slow = [1000 * each for each in pages[-1].latencies] if path else [0.0]
    return Row(percentile(fast, 0.5), percentile(fast, 0.99), max(fast), median(slow),
               1000 * percentile(client.late, 0.99), client.errors)


def report(beside: str, rows: dict[str, list[Row]]) -> dict[str, dict[str, float]]:
    """Print the medians of the rounds, and the ratios; return them."""
    path, rate = BESIDE[beside]
    print(f'\nbeside {rate:g} requests/s of {path}' if path else '\nnothing beside')
    ours = rows.get('tremolo-asgi') or rows.get('tremolo')
    print(f'{"":19}{"p50 ms":>9}{"p99 ms":>9}{"max ms":>9}{"slow ms":>9}{"late ms":>9}'
          f'{"ratio: p50":>12}{"p99":>7}{"errors":>8}')
    figures = {}
    for name, found in rows.items():
        line = {key: median(getattr(each, key) for each in found)
                for key in ('p50', 'p99', 'most', 'slow', 'late')}
        for key in ('p50', 'p99'):
            line[f'ratio_{key}'] = median(
                getattr(each, key) / getattr(mine, key) for each, mine in zip(found, ours or ()))
        line['errors'] = sum(each.errors for each in found)
        print(f'{name:19}{line["p50"]:9.2f}{line["p99"]:9.2f}{line["most"]:9.2f}'
              f'{line["slow"]:9.2f}{line["late"]:9.2f}{line["ratio_p50"]:12.2f}'
              f'{line["ratio_p99"]:7.2f}{line["errors"]:8.0f}')
        figures[name] = {key: round(value, 4) for key, value in line.items()}
    return figures


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Time fast requests beside a slow handler, by a fixed timetable.')
    parser.add_argument('--servers', default='tremolo,tremolo-asgi',
                        help='names and groups of peers.py, with a comma between (%(default)s)')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=4, help='of each server in each round')
    parser.add_argument('--beside', default=','.join(BESIDE), help='what runs beside (%(default)s)')
    parser.add_argument('--rate', type=float, default=1000, help='fast requests per second')
    parser.add_argument('--save', type=Path, metavar='FILE', help='add what was measured to a '
                        'file, of which ranges.py makes the tables of README')
    parser.add_argument('--json', action='store_true', help='a JSON line at the end')
    parser.add_argument('--venvs', type=lambda text: Path(text).absolute(),
                        default=default_folder(), help='where they are (%(default)s)')
    return parser.parse_args()


def main() -> int:
    options = arguments()
    workload = WORKLOADS['headers3']
    names = names_of(options.servers, workload)
    if not {'tremolo', 'tremolo-asgi'} & set(names):
        raise SystemExit('openloop: the ratios need tremolo or tremolo-asgi among the servers')
    for name in names:
        python_of(server_of(name), workload, options.venvs)
    cores = sorted(os.sched_getaffinity(0))
    racers: list[Racer] = []
    figures = {}
    try:
        for name in names:
            racers.append(Racer(server_of(name), workload, options.venvs, cores[0]))
            racers[-1].wait_until_it_answers(workload.requests()[0])
        os.sched_setaffinity(0, {cores[-1]})
        for racer in racers:
            measure(racer, 'alone', options.rate, 1)
        print(f'{options.rate:g} fast requests/s, {options.rounds} rounds of '
              f'{options.seconds:g} s; latencies from the time when a request was due')
        for beside in options.beside.split(','):
            rows: dict[str, list[Row]] = {name: [] for name in names}
            for number in range(options.rounds):
                # Who comes first changes, lest one always meets a cold or a hot machine.
                for step in range(len(racers)):
                    racer = racers[(number + step) % len(racers)]
                    rows[racer.name].append(
                        measure(racer, beside, options.rate, options.seconds))
            figures[beside] = report(beside, rows)
            if options.save:
                slow = '{1:g}/s of {0}'.format(*BESIDE[beside]) if BESIDE[beside][0] else 'nothing'
                save(options.save, f'{options.rate:g}/s beside {slow}', figures[beside], options)
        print('\nratio: how many times as long it takes as with tremolo-asgi, in the same round')
        if max(line['late'] for each in figures.values() for line in each.values()) > NOISE:
            print('the machine was not quiet (late): p99 and max say little')
    finally:
        for racer in racers:
            racer.close()
    if options.json:
        print(json.dumps({'rate': options.rate, 'beside': figures}))
    return 1 if any(line['errors'] for each in figures.values() for line in each.values()) else 0


if __name__ == '__main__':
    raise SystemExit(main())
