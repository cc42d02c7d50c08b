"""Who may race: each server's packages, its command, and the cores it is given.

    python tests/benchmarks/race.py --install               # all of them, or --servers NAMES

makes a venv for each set of packages, with the Python that runs this, in the user's cache folder or
where `--venvs` says; never in the repository. A venv keeps the list of what it was made with, so a
changed pin is noticed.

Each command is what the server's own manual recommends for production, with everything that may be
turned off and that tremolo does not have turned off: one worker, no access log, no WebSocket but in
the echo race.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

from workloads import Workload

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
APPS = HERE / 'apps'

FASTAPI = ('fastapi==0.165.0', 'starlette==1.10.0', 'pydantic==2.14.3', 'anyio==4.16.0')

VENVS: dict[str, tuple[str, ...]] = {
    'fastapi': FASTAPI,
    'uvicorn': ('uvicorn==0.54.0', 'uvloop==0.23.0', 'httptools==0.9.0', 'h11==0.16.0',
                'websockets==17.4', 'wsproto==1.3.2', *FASTAPI),
    'granian': ('granian==2.8.7', 'uvloop==0.23.0', *FASTAPI),
    # With its parser in C; 27.0 asks for a newer one of these than can be had.
    'gunicorn': ('gunicorn==26.2.0', 'gunicorn_h1c==0.6.9', 'uvloop==0.23.0', *FASTAPI),
    'hypercorn': ('hypercorn==0.18.0', 'h11==0.16.0', 'uvloop==0.23.0', 'wsproto==1.3.2',
                  *FASTAPI),
    'tremolo-0.5.3': ('tremolo==0.5.3', *FASTAPI),
    # For uploads.py only.
    'uploads': ('uvicorn==0.54.0', 'uvloop==0.23.0', 'httptools==0.9.0', 'h11==0.16.0',
                'starlette==1.10.0', 'anyio==4.16.0', 'python-multipart==0.0.34'),
    # waitress races, too; bottle is for start.py only.
    'bottle': ('bottle==0.13.4', 'waitress==3.0.2'),
}


class Server(NamedTuple):
    """A server in the race.

    In its command, `{python}` is the Python of its venv, `{port}` the port, `{app}` the ASGI
    application as module:attr, `{wsgi}` the one for WSGI, `{native}` the module of the native one.
    """

    name: str
    kind: str                       # 'floor', 'native', 'asgi' or 'wsgi'
    command: str
    venv: str = ''                  # one of VENVS; empty: the Python that runs the race
    pinned: bool = True             # to one core; else all cores are free, for its load as well
    remark: str = ''
    echo: bool = False              # it takes part in the echo race, and in nothing else
    deflate: bool = True            # it can compress WebSocket messages
    python: str = ''                # another Python than that of the race; only for ours

    @property
    def ours(self) -> bool:
        return (self.name.partition('@')[0] in ('tremolo', 'tremolo-asgi', 'tremolo-wsgi')
                or self.name in LOGGED)

    def can(self, workload: Workload) -> bool:
        """Whether it has an answer to what is asked."""
        if self.kind == 'wsgi':
            return not workload.asked.fastapi and workload.asked.load != 'echo'
        if workload.asked.load == 'echo':
            return self.ours or (self.echo and (self.deflate or not workload.asked.deflate))
        if self.echo or (self.python and workload.asked.fastapi):
            return False
        if self.kind == 'floor':
            return workload.asked.path == '/'
        if self.name.startswith('tremolo-0.5.3') and workload.asked.load == 'download':
            return False
        return self.kind == 'asgi' or workload.asked.native


# Ours with an access log, in a file that is removed at the end.
LOGGED = ('tremolo-combined', 'tremolo-json', 'tremolo-asgi-combined', 'tremolo-asgi-json')
LOG = ' --access-logfile {log} --access-logformat '

UVICORN = ('{python} -m uvicorn {app} --port {port} --workers 1 --no-access-log '
           '--no-proxy-headers --log-level warning ')
GRANIAN = ('{python} -m granian {app} --port {port} --interface asgi --workers 1 --loop uvloop '
           '--http 1 --no-access-log --log-level warning ')
GUNICORN = ('{python} -m gunicorn {app} --bind 127.0.0.1:{port} --workers 1 --worker-class asgi '
            '--asgi-loop uvloop --http-parser fast --log-level warning')
HYPERCORN = ('{python} -m hypercorn {app} --bind 127.0.0.1:{port} --workers 1 '
             f'--worker-class uvloop --config file:{APPS}/hypercorn_config.py --log-level WARNING')

SERVERS = {server.name: server for server in (
    Server('floor', 'floor', f'{{python}} {HERE}/floor.py {{port}}'),
    Server('tremolo', 'native',
           f'{{python}} -m tremolo {APPS}/{{native}}.py --port {{port}} --log-level warning'),
    *(Server(name, 'native', f'{{python}} -m tremolo {APPS}/{{native}}.py --port {{port}} '
             f'--log-level warning{LOG}{name.split("-")[-1]}') for name in LOGGED[:2]),
    *(Server(name, 'asgi', '{python} -m tremolo {app} --port {port} '
             f'--log-level warning{LOG}{name.split("-")[-1]}') for name in LOGGED[2:]),
    Server('tremolo-0.5.3', 'native', f'{{python}} {APPS}/old_native.py {{port}}', 'tremolo-0.5.3'),
    Server('tremolo-asgi', 'asgi', '{python} -m tremolo {app} --port {port} --log-level warning'),
    Server('uvicorn', 'asgi', UVICORN + '--ws none --loop uvloop --http httptools', 'uvicorn',
           remark='uvloop, httptools'),
    Server('uvicorn-h11', 'asgi', UVICORN + '--ws none --loop asyncio --http h11', 'uvicorn',
           remark='asyncio, h11'),
    Server('granian', 'asgi', GRANIAN + '--no-ws', 'granian', remark='its threads share one core'),
    Server('granian-free', 'asgi', GRANIAN + '--no-ws', 'granian', pinned=False,
           remark='all cores free for its threads, and for its load'),
    Server('gunicorn', 'asgi', GUNICORN, 'gunicorn',
           remark='its own asgi worker, uvloop, parser in C'),
    Server('hypercorn', 'asgi', HYPERCORN, 'hypercorn', remark='uvloop, h11'),
    Server('tremolo-wsgi', 'wsgi',
           '{python} -m tremolo {wsgi} --port {port} --log-level warning'),
    # Their manuals say that four threads are enough for one core. (With ours there may be 32.)
    Server('waitress', 'wsgi', '{python} -m waitress --listen 127.0.0.1:{port} --threads 4 {wsgi}',
           'bottle', remark='4 threads'),
    Server('gunicorn-gthread', 'wsgi', '{python} -m gunicorn {wsgi} --bind 127.0.0.1:{port} '
           '--workers 1 --worker-class gthread --threads 4 --log-level warning', 'gunicorn',
           remark='4 threads'),
    # Its rates and its queue: see apps/old_native.py.
    Server('tremolo-0.5.3-asgi', 'asgi',
           '{python} -m tremolo --port {port} --log-level WARNING --download-rate 1000000000000 '
           '--upload-rate 1000000000000 --max-queue-size 4096 {app}', 'tremolo-0.5.3'),
    *(Server(f'uvicorn-{ws}', 'asgi', f'{UVICORN}--ws {ws} --loop uvloop --http httptools',
             'uvicorn', remark=remark, echo=True)
      for ws, remark in (('websockets-sansio', 'masks in C'), ('websockets', 'masks in C'),
                         ('wsproto', 'masks in Python'))),
    Server('granian-ws', 'asgi', GRANIAN + '--ws', 'granian', remark='in Rust', echo=True,
           deflate=False),
    Server('gunicorn-ws', 'asgi', GUNICORN, 'gunicorn', remark='masks in Python', echo=True,
           deflate=False),
    Server('hypercorn-ws', 'asgi', HYPERCORN, 'hypercorn', remark='masks in Python', echo=True),
)}

GROUPS = {
    'native': tuple(server.name for server in SERVERS.values()
                    if server.kind in ('floor', 'native') and server.name not in LOGGED),
    'asgi': tuple(server.name for server in SERVERS.values()
                  if server.kind == 'asgi' and server.name not in LOGGED),
    'log': ('tremolo', *LOGGED[:2], 'tremolo-asgi', *LOGGED[2:]),
    'wsgi': tuple(server.name for server in SERVERS.values() if server.kind == 'wsgi'),
    'all': tuple(name for name in SERVERS if name not in LOGGED),
}


def server_of(name: str) -> Server:
    """The server of a name; `tremolo@pypy3` and `tremolo-asgi@PATH` are ours on another Python."""
    plain, _, python = name.partition('@')
    server = SERVERS.get(plain)
    if server is None or (python and not server.ours):
        raise SystemExit(f'race: no such server: {name}; there are {", ".join(SERVERS)}, and the '
                         f'groups {", ".join(GROUPS)}')
    if not python:
        return server
    found = shutil.which(python)
    if found is None:
        raise SystemExit(f'race: no such Python: {python}')
    return server._replace(name=name, python=found, remark=f'on {found}')


def default_folder() -> Path:
    """Where the venvs are, unless `--venvs` says otherwise."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'tremolo-race'


def made_of(name: str) -> str:
    """What a venv must have been made of: the version of Python and the packages, one a line."""
    return '\n'.join(('python ' + sys.version.split()[0], *VENVS[name])) + '\n'


def venv_of(server: Server, workload: Workload) -> str:
    """The name of the venv that a server needs, or nothing."""
    if server.name == 'tremolo-asgi' and workload.asked.fastapi:
        return 'fastapi'
    return server.venv


def python_of(server: Server, workload: Workload, folder: Path) -> Path:
    """The Python that runs a server; SystemExit when its venv is not there as it should be."""
    name = venv_of(server, workload)
    if not name:
        return Path(server.python or sys.executable)
    packages = folder / name / 'packages.txt'
    if not packages.exists() or packages.read_text() != made_of(name):
        state = 'is of other versions' if packages.exists() else 'is not installed'
        elsewhere = '' if folder == default_folder() else f' --venvs {folder}'
        raise SystemExit(
            f'race: {server.name} {state}: python {HERE.relative_to(ROOT)}/race.py --install'
            f'{elsewhere} --servers {server.name}')
    return folder / name / 'bin' / 'python'


def install(names: list[str], folder: Path) -> None:
    """Make the venvs of these servers, leaving alone those that are as they should be."""
    make_venvs({SERVERS[name].venv or 'fastapi' for name in names
                if SERVERS[name].kind != 'floor'}, folder)


def make_venvs(wanted: set[str], folder: Path) -> None:
    """Make these of VENVS, leaving alone those that are as they should be."""
    for name in sorted(wanted):
        path = folder / name
        packages = path / 'packages.txt'
        if packages.exists() and packages.read_text() == made_of(name):
            print(f'{name}: {path} is there')
            continue
        shutil.rmtree(path, ignore_errors=True)
        print(f'{name}: {path}: {", ".join(VENVS[name])}', flush=True)
        venv.create(path, with_pip=True)
        done = subprocess.run([path / 'bin' / 'python', '-m', 'pip', 'install', '--quiet',
                               '--disable-pip-version-check', *VENVS[name]], check=False)
        if done.returncode:
            raise SystemExit(f'race: {name} could not be installed')
        packages.write_text(made_of(name))


def command_of(server: Server, workload: Workload, folder: Path, port: int) -> list[str]:
    native, asgi = workload.modules
    return [part.format(python=python_of(server, workload, folder), port=port, native=native,
                        app=f'{asgi}:app', wsgi='wsgi_app:app', log=log_of(folder, port))
            for part in server.command.split()]


def log_of(folder: Path, port: int) -> Path:
    """The access log of the server on this port, if it has one."""
    return folder / f'access-{port}.log'


def environment_of(server: Server) -> dict[str, str]:
    """Ours comes from this checkout; a peer sees the applications and nothing else of it."""
    paths = [str(ROOT), str(APPS)] if server.ours else [str(APPS)]
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}
