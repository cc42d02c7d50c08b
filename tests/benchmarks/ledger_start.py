"""The rows of the start: what `import tremolo` costs, and a server up to its first answer.

Counted are the instructions of a whole program, less those of `python -c pass`. All modules have
their bytecode: that of a tree is made when it is copied, and each program runs once before.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from ledger_count import TOOLS
from ledger_run import APPS, PATIENCE, PORT, environment

COUNTER, = (tool for tool in TOOLS if tool.counts == 'instructions')
SERVE = ('--port', '0', '--log-level', 'warning')
STARTS: dict[str, tuple[str, ...]] = {
    'import': ('-c', 'import tremolo'),
    # What most programs begin with; before there were late names it was the same.
    'import-app': ('-c', 'from tremolo import Tremolo'),
    'native-start': ('-m', 'tremolo', 'start_native:app', *SERVE),
    'asgi-start': ('-m', 'tremolo', 'start_asgi:app', *SERVE),
}
NOTHING = ('-c', 'pass')
REQUEST = b'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'


def start_instructions(arguments: tuple[str, ...], tree: Path) -> float:
    """Tell what a program costs above one that does nothing; a server is asked once."""
    _run(arguments, tree)
    return _count(arguments, tree) - _count(NOTHING, tree)


def _count(arguments: tuple[str, ...], tree: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'counts'
        _run(arguments, tree, [part.format(file=file) for part in COUNTER.command])
        return COUNTER.read(file.read_text(), '')


def _run(arguments: tuple[str, ...], tree: Path, instrument: list[str] | None = None) -> None:
    # Without `site`: no other tremolo can come before that of the tree.
    process = subprocess.Popen(
        [*(instrument or []), sys.executable, '-S', *arguments], cwd=APPS,
        env={**environment(), 'PYTHONPATH': os.pathsep.join((str(tree), str(APPS)))},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True)
    try:
        if SERVE[0] in arguments:
            _ask(process)
            process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE)[1]
        if process.returncode:
            raise SystemExit(f'ledger: {" ".join(arguments)} failed\n{said.decode()}')
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _ask(process: subprocess.Popen[bytes]) -> None:
    line = process.stdout.readline()    # `running on http://127.0.0.1:40123 (process …)`
    found = re.search(PORT, line)
    answer = b''
    if found is not None:
        with contextlib.suppress(OSError), \
                socket.create_connection(('127.0.0.1', int(found[1])), PATIENCE) as client:
            client.sendall(REQUEST)
            while data := client.recv(65536):
                answer += data
    if not answer.endswith(b'Hello world!'):
        os.killpg(process.pid, signal.SIGKILL)
        said = process.communicate()[1].decode()
        raise SystemExit(f'ledger: a server said {line!r} and answered {answer!r}\n{said}')
