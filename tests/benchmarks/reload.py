"""Reload: how soon a save is served, whether one is missed or stale, and what idle watching costs.

    python tests/benchmarks/reload.py [SAVES] [FILES]

saves a module so often in each of four ways, and prints the times until its answer has changed;
then an application of so many files is watched for ten seconds, and the processor time of the
process that watches is read from /proc.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WAYS = ('in place', 'renamed', 'same second', 'older')
APPLICATION = '''
import tremolo
import part
{more}

app = tremolo.Tremolo()

@app.route('/')
def index():
    return part.NAME
'''


@contextlib.contextmanager
def served(folder: Path, more: str = '') -> Iterator[tuple[str, int]]:
    """Serve an application in a folder; give its URL and the process that watches."""
    (folder / 'shop.py').write_text(APPLICATION.format(more=more))
    (folder / 'part.py').write_text("NAME = 'first'\n")
    process = subprocess.Popen(
        [sys.executable, '-m', 'tremolo', 'shop:app', '--reload', '--port', '0'], cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[2], process.pid
    finally:
        process.terminate()
        process.wait()


def save(path: Path, text: str, way: str) -> None:
    """Save a file: as an editor does, or a tool, or by a quick hand."""
    if way == 'renamed':
        beside = path.with_suffix('.tmp')
        beside.write_text(text)
        os.replace(beside, path)
        return
    before = path.stat().st_mtime_ns
    path.write_text(text)
    if way == 'same second':
        second = before // 10**9 * 10**9
        moved = second + (before + 1_000_003) % 10**9
        os.utime(path, ns=(moved, moved))
    elif way == 'older':
        os.utime(path, ns=(before - 10**10, before - 10**10))


def one(url: str, path: Path, text: str, way: str) -> float:
    """Save, and ask until the answer is new; return the seconds, or 10 for a save that is lost."""
    save(path, f'NAME = {text!r}\n', way)
    began = time.monotonic()
    while time.monotonic() - began < 10:
        if urllib.request.urlopen(url).read().decode() == text:
            return time.monotonic() - began
        time.sleep(0.005)
    return 10.0


def seconds_of(pid: int) -> float:
    """Return the processor time of a process."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def main(saves: int = 100, files: int = 1000) -> None:
    """Measure both, and print."""
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as (url, _):
        for way in WAYS:
            took = sorted(one(url, Path(name, 'part.py'), f'{way} {number:04}', way)
                          for number in range(saves))
            print(f'{way:12} {saves} saves: lost or stale {took.count(10.0)}, median '
                  f'{took[len(took) // 2]:.2f} s, longest {took[-1]:.2f} s', flush=True)
    with tempfile.TemporaryDirectory() as name:
        for number in range(files):
            Path(name, f'module_{number}.py').touch()
        imports = '\n'.join(f'import module_{number}' for number in range(files))
        with served(Path(name), imports) as (url, pid):
            urllib.request.urlopen(url).read()
            time.sleep(1)
            before = seconds_of(pid)
            time.sleep(10)
            print(f'{files} files: {(seconds_of(pid) - before) * 10:.2f} % of a processor')


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
