"""A racer: a server that runs, that was seen to answer rightly, and what was measured of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from http.client import HTTPException, HTTPResponse
from pathlib import Path

import cpu
from drive import Load
from peers import APPS, Server, command_of, environment_of, log_of
from workloads import Workload

# How long a server may take to start, in seconds.
PATIENCE = 30


class Racer:
    """A running server: its process, its port, and what was measured in each round."""

    def __init__(self, server: Server, workload: Workload, folder: Path, core: int) -> None:
        self.server = server
        self.name = server.name
        self.workload = workload
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            self.port = probe.getsockname()[1]
        command = command_of(server, workload, folder, self.port)
        self.written = log_of(folder, self.port)
        cores = {core} if server.pinned else os.sched_getaffinity(0)
        # Its standard error; without a name, so that it goes when it is closed.
        self.log = tempfile.TemporaryFile()     # noqa: SIM115 (closed in `close`)
        # `python -m` looks in the current folder first, which must not be that of our tremolo. A
        # session of its own: whatever it starts can be ended with it.
        self.process = subprocess.Popen(
            command, cwd=APPS, env=environment_of(server), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.log, start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores))
        self.rates: list[float] = []
        self.per_cpu: list[float] = []
        # Cores used by the server, by its load, and by whatever else runs on this machine.
        self.busy: list[float] = []
        self.load: list[float] = []
        self.others: list[float] = []
        self.p50: list[float] = []
        self.p99: list[float] = []
        self.errors = 0

    def said(self) -> list[str]:
        """The lines that the server wrote to its standard error."""
        self.log.seek(0)
        return self.log.read().decode(errors='replace').splitlines()

    def wait_until_it_answers(self, request: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._accepts():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = '\n'.join(self.said()[-9:])
                raise SystemExit(f'race: {self.name} does not start\n{said}')
            time.sleep(0.02)
        try:
            self.check(request)
        except (OSError, HTTPException) as error:
            raise SystemExit(f'race: {self.name} does not answer: {error!r}') from error

    def _accepts(self) -> bool:
        try:
            socket.create_connection(('127.0.0.1', self.port), timeout=5).close()
        except ConnectionRefusedError:
            return False
        return True

    def connect(self) -> socket.socket:
        return socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE)

    def check(self, request: str) -> None:
        """Ask twice on one connection: the answer is right, and the connection is kept.

        The load of an echo looks at each byte, and ends the race at the first wrong one.
        """
        asked = self.workload.asked
        if asked.load == 'echo':
            return
        with self.connect() as client:
            for _ in range(1 if asked.load == 'download' else 2):
                client.sendall(request.encode())
                with HTTPResponse(client, method=asked.method) as answer:
                    answer.begin()
                    body, size = b'', 0
                    while data := answer.read(1 << 20):
                        body, size = body or data, size + len(data)
                    right = answer.status == 200 and size == asked.size and not answer.will_close
                    if not right or asked.text not in (None, body):
                        raise SystemExit(
                            f'race: {self.name} answered {answer.status} with {size} bytes '
                            f'({asked.size} are right) of {body[:64]!r}, '
                            f'{"closes" if answer.will_close else "keeps"} the connection')

    def settle(self) -> None:
        """Wait until it does nothing: answers to a load that has gone may still be under way."""
        deadline = time.monotonic() + PATIENCE
        before = -1.0
        while (now := cpu.of_family(self.process.pid)) - before > 0.03:
            if time.monotonic() > deadline:
                break
            before = now
            time.sleep(0.2)

    def race(self, load: Load, seconds: float) -> None:
        start = time.perf_counter()
        before = cpu.of_family(self.process.pid), cpu.of_ended_children(), cpu.of_machine()
        result = load.run(self.port, seconds, self.server.pinned)
        used = max(cpu.of_family(self.process.pid) - before[0], 0.001)
        took = time.perf_counter() - start
        loads = cpu.of_ended_children() - before[1]
        done = result['requests']
        if self.workload.unit == 'MiB':
            done = result['bytes'] / (1 << 20)
        self.rates.append(done / result['seconds'])
        self.per_cpu.append(done / used)
        self.busy.append(used / took)
        self.load.append(loads / took)
        self.others.append(max(0.0, cpu.of_machine() - before[2] - used - loads) / took)
        self.p50.append(result['p50'])
        self.p99.append(result['p99'])
        self.errors += int(result['errors'])
        self.settle()

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()
        self.written.unlink(missing_ok=True)
