"""What the ledger counts, and the tools that count it.

Each tool counts over the whole life of a server. A short and a long run differ in nothing but the
number of rounds: the difference, divided by the requests that the long run had more, is what one
request costs. The start and the end of the server cancel out.

    instructions   cachegrind, a tool of valgrind: what the processor executes outside of the kernel
    allocations    `libmemusage.so`, a part of the GNU C library: calls of malloc, calloc and
                   realloc; Python hands each allocation to them (`PYTHONMALLOC=malloc`), but what
                   Python takes from its free lists is no allocation
    calls          strace: system calls
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Callable, NamedTuple

from ledger_run import Row, Run, environment


class Tool(NamedTuple):
    """A tool: how the server is started under it, and how its count is read.

    In its command, `{file}` is a file that it writes.
    """

    counts: str
    needs: str
    command: tuple[str, ...]
    environment: dict[str, str]
    read: Callable[[str, str], int]     # of its file, and of the errors of the server

    def works(self) -> bool:
        """Whether it can count what the program `true` does."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / 'counts'
            command = [part.format(file=file) for part in (*self.command, 'true')]
            try:
                done = subprocess.run(command, env={**environment(), **self.environment},
                                      capture_output=True, text=True, check=False)
                self.read(file.read_text() if file.exists() else '', done.stderr)
            except (OSError, ValueError):
                return False
            return done.returncode == 0

    def per_request(self, row: Row, rounds: tuple[int, int], tree: Path) -> float:
        """Tell what a request costs: the difference of a short and a long run."""
        short, long = (self._count(row, each, tree) for each in rounds)
        return (long - short) / ((rounds[1] - rounds[0]) * (row.run or Run).requests_a_round)

    def _count(self, row: Row, rounds: int, tree: Path) -> int:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / 'counts'
            command = tuple(part.format(file=file) for part in self.command)
            with (row.run or Run)(tree, row, command, self.environment) as run:
                run.start()
                run.load(rounds)
                said = run.stop()
            return self.read(file.read_text() if file.exists() else '', said)


def instructions(file: str, said: str) -> int:
    found = re.search(r'^summary: (\d+)', file, re.MULTILINE)
    if found is None:
        raise ValueError('cachegrind gave no summary')
    return int(found[1])


def allocations(file: str, said: str) -> int:
    # A coloured table, with a line of each function.
    found = re.findall(r'(malloc|calloc|realloc)\|(?:\x1b\[[\d;]*m)?\s+(\d+)', said)
    if not found:
        raise ValueError('libmemusage.so gave no summary')
    return sum(int(calls) for _, calls in found)


def calls(file: str, said: str) -> int:
    # Per cent, seconds, microseconds for each, calls, errors if there were any, name.
    found = re.findall(r'^ *[\d.]+ +[\d.]+ +\d+ +(\d+) (?: *\d+)? *(?!total)\w+$', file,
                       re.MULTILINE)
    if not found:
        raise ValueError('strace gave no summary')
    return sum(map(int, found))


TOOLS = (
    Tool('instructions', 'valgrind', (
        'valgrind', '--tool=cachegrind', '--cache-sim=no', '--vgdb=no', '--quiet',
        '--cachegrind-out-file={file}'), {}, instructions),
    Tool('allocations', 'libmemusage.so of the GNU C library', (),
         {'LD_PRELOAD': 'libmemusage.so', 'PYTHONMALLOC': 'malloc'}, allocations),
    Tool('calls', 'strace', ('strace', '-f', '-c', '-o', '{file}'), {}, calls),
)
