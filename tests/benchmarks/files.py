"""The same file by `send_file`, by nginx and by uvicorn, one after the other.

    python tests/benchmarks/files.py                         # 1 GiB, one client, 3 rounds
    python tests/benchmarks/files.py --size 1000 --connections 8
    python tests/benchmarks/files.py --servers tremolo,nginx

Each server has one core, and the reader (download.py) another. Told are the MiB a second, the MiB
for each CPU second of the server, and both beside nginx: each is the median of the rounds. The file
is sparse: no disk is measured. nginx has `sendfile on`, and one worker. uvicorn sends Starlette's
`FileResponse`, with uvloop and httptools (its venv is that of race.py).
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import cpu
from peers import APPS, HERE, ROOT, default_folder

NGINX = '''
error_log {folder}/error.log;
pid {folder}/nginx.pid;
{user}
daemon off;
worker_processes 1;
events {{ }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location = /file {{ alias {folder}/file; }}
    }}
}}
'''


def command(name: str, port: int, folder: Path) -> list[str]:
    if name == 'nginx':
        user = 'user root;' if os.geteuid() == 0 else ''
        (folder / 'nginx.conf').write_text(NGINX.format(folder=folder, port=port, user=user))
        return ['nginx', '-c', str(folder / 'nginx.conf')]
    if name == 'uvicorn':
        python = default_folder() / 'uvicorn' / 'bin' / 'python'
        return [str(python), '-m', 'uvicorn', 'files_asgi:app', '--app-dir', str(APPS), '--port',
                str(port), '--no-access-log', '--log-level', 'warning', '--loop', 'uvloop',
                '--http', 'httptools']
    return [sys.executable, '-m', 'tremolo', str(APPS / 'files_native.py'), '--port', str(port),
            '--log-level', 'warning']


@contextmanager
def serving(name: str, folder: Path) -> Iterator[tuple[int, int]]:
    """Start a server on a core of its own; give its process and its port."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    environ = {**os.environ, 'PYTHONPATH': str(ROOT), 'BENCHMARK_FILE': str(folder / 'file')}
    process = subprocess.Popen(['taskset', '-c', '0', *command(name, port, folder)], env=environ,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(('127.0.0.1', port)).close()
                break
            except OSError:
                if time.monotonic() > end or process.poll() is not None:
                    raise SystemExit(f'files: {name} does not come up') from None
                time.sleep(0.05)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(30)


def measure(name: str, folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Return the MiB a second, and the MiB for a CPU second."""
    request = json.dumps(['GET /file HTTP/1.1\r\nHost: a\r\n\r\n'])
    with serving(name, folder) as (pid, port):
        before = cpu.of_family(pid)
        done = subprocess.run(
            ['taskset', '-c', '1', sys.executable, str(HERE / 'download.py'), str(port),
             str(options.connections), str(options.seconds)],
            input=request, capture_output=True, text=True, check=True)
        used = cpu.of_family(pid) - before
    found = json.loads(done.stdout.splitlines()[-1])
    size = found['bytes'] / (1 << 20)
    return size / found['seconds'], size / max(used, 0.001)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--size', type=int, default=1 << 30, help='bytes of the file')
    parser.add_argument('--connections', type=int, default=1)
    parser.add_argument('--seconds', type=float, default=3)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--servers', default='tremolo,nginx,uvicorn')
    options = parser.parse_args()
    names = options.servers.split(',')
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with (folder / 'file').open('wb') as file:
            file.truncate(options.size)
        for _ in range(options.rounds):
            for name in names:
                rounds[name].append(measure(name, folder, options))
    figures = {name: [median(each) for each in zip(*found)] for name, found in rounds.items()}
    print(f'{options.size:,} bytes, {options.connections} connections, median of {options.rounds}')
    for name, (rate, per_cpu) in figures.items():
        beside = ''
        if 'nginx' in figures:
            other = figures['nginx']
            beside = f'  {rate / other[0]:6.2f} {per_cpu / other[1]:6.2f} of nginx'
        print(f'{name:10} {rate:9,.0f} MiB/s {per_cpu:9,.0f} MiB per CPU second{beside}')


if __name__ == '__main__':
    main()
