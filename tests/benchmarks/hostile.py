"""Hostile: what good clients keep of their requests while hostile ones take what they can.

    python tests/benchmarks/hostile.py                                   # ours, native and ASGI
    python tests/benchmarks/hostile.py --kinds chunks,json --rounds 5
    python tests/benchmarks/hostile.py --servers tremolo,tremolo-asgi,uvicorn,granian,gunicorn

64 good clients ask for a short page, each for the next when it has the last, and 20 hostile ones of
one kind (hostile_clients.py) do their worst on the same server (40 for the kind `uploads`). In each
round the good ones are measured alone and then beside the hostile ones, for each kind and server; a
ratio is made within a round, and the median of the rounds is printed beside the worst. The server
has one core, all clients the other; the hostile ones have less of it than the good ones.

`kept` is how much of their requests the good ones keep; `p99` is that of the good ones, beside the
hostile ones. `grew` is by how much the memory of the server grew at most, and `bound`, for ours,
what the formula of `--check` allows for so many clients, with what the pages answer. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from drive import LUA_DONE
from peers import HERE, ROOT, Server, default_folder, python_of, server_of
from racer import Racer
from tls import TlsRacer, with_tls
from workloads import WORKLOADS

GOOD = 64
# How many there are of each kind; 20 where nothing is said.
COUNT = {'uploads': 40, 'nonreaders': 100}
KINDS = ('chunks', 'json', 'patterns', 'fields', 'pipelining', 'computing', 'downloads', 'messages',
         'uploads', 'nonreaders', 'resetters', 'handshakes')
# What the good ones ask for: where threads are taken, another page on a thread.
PAGES = {'uploads': '/quick'}
# Only our own router has patterns; and WebSockets are off in the race's peers.
OURS = 'patterns', 'messages'
MOST_KEPT = 8 << 20    # Bytes of the longest answer.
JSON_SIZE, VALUE = 256 << 10, 13 << 20    # Bytes of a JSON, and of the lists that it becomes.


class Beside(NamedTuple):
    """What the good ones had: alone, and beside the hostile ones."""

    alone: float    # requests/s
    rate: float
    p99: float      # ms
    errors: int
    grew: int       # bytes


def good(port: int, path: str, seconds: float, core: int, secure: bool) -> dict[str, float]:
    """Let the good clients ask, by wrk."""
    url = f'http{"s" * secure}://127.0.0.1:{port}{path}'
    done = subprocess.run(
        ['wrk', '-t1', f'-c{GOOD}', f'-d{max(1, round(seconds))}s', '--timeout', '20s',
         '-s', '/dev/stdin', url], input=LUA_DONE, capture_output=True, text=True, check=False,
        timeout=seconds + 60, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    if done.returncode:
        raise SystemExit(f'hostile: wrk: {(done.stderr or done.stdout).strip()[-500:]}')
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def memory_of(pid: int, line: str) -> int:
    """Bytes of a process and of its children: resident now (VmRSS), or at most so far (VmHWM)."""
    family, total = {pid}, 0
    for stat in sorted(Path('/proc').glob('[0-9]*/stat'), key=lambda path: int(path.parts[2])):
        try:
            fields = stat.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        each = int(stat.parts[2])
        if each in family or int(fields[1]) in family:
            family.add(each)
            found = re.search(rf'{line}:\s+(\d+) kB', stat.with_name('status').read_text())
            total += int(found[1]) << 10 if found else 0
    return total


def server_for(name: str, kind: str) -> Server:
    server = with_tls(name, 'a') if kind == 'handshakes' else server_of(name)
    command = server.command.replace('{native}', 'hostile_native').replace(
        '{app}', 'hostile_asgi:app')
    return server._replace(command=command)


def bound_of(kind: str, native: bool) -> int:
    """Return what the formula of `--check` allows for these clients."""
    sys.path.insert(0, str(ROOT))
    from tremolo.settings import Settings
    from tremolo.settings.limits import memory_of as formula
    count = GOOD + COUNT.get(kind, 20)
    memory = formula([Settings()], 'native' if native else 'asgi', kind == 'messages')
    # What the applications hold themselves: the answers, and the bodies and a value made of one.
    own = COUNT[kind] * MOST_KEPT if kind == 'nonreaders' else 0
    if kind == 'json' and not native:
        own = 20 * 2 * JSON_SIZE + VALUE
    return memory.total(count, count) + own


def measure(racer: Racer, kind: str, seconds: float, core: int) -> Beside:
    """Measure the good ones alone, and then beside the hostile ones."""
    path, secure = PAGES.get(kind, '/'), kind == 'handshakes'
    alone = good(racer.port, path, seconds, core, secure)
    before = memory_of(racer.process.pid, 'VmRSS')
    hostile = subprocess.Popen(
        [sys.executable, str(HERE / 'hostile_clients.py'), str(racer.port), kind,
         str(COUNT.get(kind, 20))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    try:
        assert hostile.stdout is not None
        if hostile.stdout.readline() != 'ready\n':
            raise SystemExit(f'hostile: the clients of kind {kind} did not begin')
        time.sleep(0.5)
        beside = good(racer.port, path, seconds, core, secure)
        grew = max(0, memory_of(racer.process.pid, 'VmHWM') - before)
    finally:
        hostile.kill()
        hostile.communicate()
    racer.settle()
    return Beside(alone['requests'] / alone['seconds'], beside['requests'] / beside['seconds'],
                  beside['p99'], int(alone['errors'] + beside['errors']), grew)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Good clients beside hostile ones.')
    parser.add_argument('--servers', default='tremolo,tremolo-asgi')
    parser.add_argument('--kinds', default=','.join(KINDS))
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=float, default=3)
    parser.add_argument('--json', action='store_true', help='a JSON line at the end')
    parser.add_argument('--venvs', type=lambda text: Path(text).absolute(),
                        default=default_folder(), help='where the peers are (%(default)s)')
    return parser.parse_args()


def main() -> int:
    options = arguments()
    names, kinds = options.servers.split(','), options.kinds.split(',')
    cores = sorted(os.sched_getaffinity(0))
    workload = WORKLOADS['headers3']
    found: dict[str, dict[str, list[Beside]]] = {}
    bad = False
    print(f'{"":12}{"":16}{"alone/s":>9}{"beside/s":>9}{"kept":>7}{"worst":>7}{"p99 ms":>9}'
          f'{"worst":>9}{"errors":>8}{"grew MiB":>10}{"bound":>7}')
    for kind in kinds:
        ours = [name for name in names if server_of(name).ours]
        racing = ours if kind in OURS else names
        if kind == 'patterns':
            racing = [name for name in racing if server_of(name).kind == 'native']
        results: dict[str, list[Beside]] = {name: [] for name in racing}
        for number in range(options.rounds):
            for step in range(len(racing)):
                name = racing[(number + step) % len(racing)]
                server = server_for(name, kind)
                python_of(server, workload, options.venvs)
                racer = (TlsRacer if kind == 'handshakes' else Racer)(
                    server, workload, options.venvs, cores[0])
                try:
                    racer.wait_until_it_answers(workload.requests()[0])
                    results[name].append(measure(racer, kind, options.seconds, cores[-1]))
                finally:
                    racer.close()
        for name, rounds in results.items():
            kept = [each.rate / each.alone for each in rounds]
            p99 = [each.p99 for each in rounds]
            grew = max(each.grew for each in rounds) / (1 << 20)
            server = server_of(name)
            bound = bound_of(kind, server.kind == 'native') / (1 << 20) if server.ours else 0
            missed = server.ours and (
                median(kept) < 0.5 or median(p99) > 100 or grew > bound)
            bad = bad or missed
            print(f'{kind:12}{name:16}{median(each.alone for each in rounds):9,.0f}'
                  f'{median(each.rate for each in rounds):9,.0f}{median(kept):7.2f}{min(kept):7.2f}'
                  f'{median(p99):9.1f}{max(p99):9.1f}{sum(each.errors for each in rounds):8}'
                  f'{grew:10.0f}' + (f'{bound:7.0f}' if server.ours else f'{"":7}')
                  + ('  MISSED' if missed else ''), flush=True)
        found[kind] = results
    if options.json:
        print(json.dumps(found))
    return 1 if bad else 0


if __name__ == '__main__':
    raise SystemExit(main())
