"""A program that is written while it is served with --reload: saves files, and asks for answers."""

from __future__ import annotations

import http.client
import os
import time
from pathlib import Path

from worker_group import Group, wait_until

# The command line with shorter waits; the real ones are tested where they matter.
QUICK = '''
import asyncio
from tremolo.reload import inside
inside.LONG = 0.4
from tremolo.reload import reloading
reloading._LOOK = reloading._RARELY = 0.03
reloading._SETTLE = 0.01
from tremolo.cli import run_and_leave
run_and_leave()
'''


class Written(Group):
    """A server with --reload, and the folder of what it serves."""

    def __init__(self, folder: Path, *arguments: str, command=None):
        super().__init__(folder, *arguments, command=command or ('-c', QUICK, '--reload'))

    def save(self, name: str, text: str, way: str = 'in place') -> None:
        """Save a file as editors and tools do."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if way == 'renamed':
            beside = path.with_name(f'.{path.name}.tmp')
            beside.write_text(text)
            os.replace(beside, path)
            return
        before = path.stat() if path.exists() else None
        path.write_text(text)
        if before is not None and way == 'same second':
            second = before.st_mtime_ns // 10**9 * 10**9
            moved = (before.st_mtime_ns - second + 1_000_003) % 10**9
            os.utime(path, ns=(second + moved, second + moved))
        elif before is not None and way == 'older':
            os.utime(path, ns=(before.st_mtime_ns - 10**10, before.st_mtime_ns - 10**10))

    def waits_for(self, text: str, path: str = '/') -> float:
        """Wait until that is in an answer; return the seconds."""
        began = time.monotonic()
        self.answer_with(text, path)
        return time.monotonic() - began

    def answer_with(self, text: str, path: str = '/', accept: str = '*/*') -> str:
        """Wait until that is in an answer; return the answer."""
        answer = ''

        def answered() -> bool:
            nonlocal answer
            answer = self.get(path, accept)
            return text in answer

        wait_until(answered)
        return answer

    def tells(self, text: str, times: int = 1) -> None:
        """Wait until that is in the log so often."""
        wait_until(lambda: self.log.count(text) >= times)

    def get(self, path: str = '/', accept: str = '*/*') -> str:
        """Return the answer on a new connection, as curl gets it; '' if there is none."""
        connection = self.connection()
        try:
            connection.request('GET', path, headers={'Accept': accept})
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return ''
        finally:
            connection.close()

    def connection(self) -> http.client.HTTPConnection:
        host, port = self.address.split('//')[1].split(':')
        return http.client.HTTPConnection(host, int(port), timeout=60)
