"""Programs that are forked by `fork_server.py`, with what the tests use of `subprocess.Popen`."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


class ForkServer:
    """The process that forks them, with modules that it has imported too. It ends with `close`."""

    def __init__(self, *modules: str) -> None:
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**os.environ, 'PYTHONPATH': str(FOLDER.parent)}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(FOLDER / 'fork_server.py'), str(theirs.fileno()), *modules],
                env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()])

    def start(self, command, folder, environment, stderr, stdout=None, given=()) -> Forked:
        """Fork `-m MODULE ...` or `-c PROGRAM ...`, in a folder and with an environment.

        It writes to these descriptors, or to a pipe that can be read from `Forked.stdout`. What is
        `given` gets the descriptors from 3 on.
        """
        reading, writing = os.pipe() if stdout is None else (None, None)
        status, theirs = os.pipe()
        request = json.dumps([list(command), str(folder), environment]).encode()
        socket.send_fds(self._sock, [request],
                        [writing if stdout is None else stdout, stderr, theirs, *given])
        if writing is not None:
            os.close(writing)
        os.close(theirs)
        return Forked(None if reading is None else open(reading), open(status))

    def close(self) -> None:
        self._sock.close()
        self._process.wait()


def start(server: ForkServer | None, command, folder, environment, stderr):
    """Fork a program; without a server, start an interpreter. Its stdout is a pipe."""
    if server is not None:
        return server.start(command, folder, environment, stderr)
    return subprocess.Popen([sys.executable, *command], cwd=folder, env=environment,
                            stdout=subprocess.PIPE, stderr=stderr, text=True)


class Forked:
    """A program that was forked."""

    def __init__(self, stdout, status) -> None:
        self.stdout = stdout
        self.returncode: int | None = None
        self._status = status
        self.pid = int(status.readline())

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        if self.stdout is not None:
            self.stdout.close()
        self.wait()

    def poll(self) -> int | None:
        """Return the status, as `Popen` has it; None as long as it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return the status. Raises `subprocess.TimeoutExpired`."""
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return status

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
