"""Fronts: nginx and HAProxy in front of a server of a test, on sockets that listen already.

They inherit these, as nginx does in its own upgrades: no port can be taken by another in between,
and no client comes too early.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path


def nginx_config(folder: Path, http: str) -> str:
    """Return a configuration of nginx that writes to a folder alone; `http` is its block http."""
    temporary = '\n'.join(f'{kind}_temp_path {folder}/{kind};'
                          for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
    # (Else its worker is somebody who may not write there.)
    user = 'user root;' if os.geteuid() == 0 else ''
    return (f'error_log {folder}/error.log;\npid {folder}/nginx.pid;\n{user}\nworker_processes 1;\n'
            f'events {{ }}\nhttp {{\naccess_log off;\n{temporary}\n{http}\n}}\n')


@contextlib.contextmanager
def running(command: list[str], *listeners: socket.socket) -> Iterator[None]:
    """Run a program that inherits these sockets."""
    fds = [each.fileno() for each in listeners]
    process = subprocess.Popen(
        command, env={**os.environ, 'NGINX': ''.join(f'{fd};' for fd in fds)}, pass_fds=fds,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running_nginx(program: str, folder: Path, http: str,
                  *listeners: socket.socket) -> Iterator[None]:
    """Run nginx with this block http."""
    config = folder / 'nginx.conf'
    config.write_text(nginx_config(folder, http))
    with running([program, '-c', str(config), '-g', 'daemon off;'], *listeners):
        yield


@contextlib.contextmanager
def running_haproxy(program: str, folder: Path, text: str,
                    *listeners: socket.socket) -> Iterator[None]:
    """Run HAProxy with this configuration."""
    config = folder / 'haproxy.conf'
    config.write_text(text)
    with running([program, '-db', '-f', str(config)], *listeners):
        yield
