"""Release: the program as it was started, for a new start: through a link that was swapped, too.

    /srv/current -> /srv/releases/1      cd /srv/current && python -m tremolo shop:app

A new release is another folder, and a link that is swapped (`ln -sfn`, `mv -T`). The kernel knows
the folder of a process by its inode, so a process goes on in the old one, even if that is deleted.
But a shell tells in `$PWD` by which path it came there. If that names the folder in which we were
started, a new start goes by that path; `--app-dir` and the path of a script are links as well.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from ..errors import TremoloError


class Launch:
    """Where this process was started, as it was then."""

    def __init__(self) -> None:
        try:
            self.here = os.getcwd()
        except OSError:    # The folder was deleted.
            self.here = os.sep
        path = os.environ.get('PWD', '')
        self._link = path if os.path.isabs(path) else ''
        self._real = os.path.realpath(path) if self._link else '?'
        self._app_dir: str | None = None
        self._were: list[str] = []    # Where the folders that may be links led to.

    def folder(self, path: str) -> str:
        """Return the path of a folder, or `$PWD` if that names the same."""
        return self._link if path == self._real else path

    def inside(self, path: str) -> str:
        """Return a path, by `$PWD` if it is in the folder that this names."""
        real = os.path.join(self._real, '')
        return os.path.join(self._link, path[len(real):]) if path.startswith(real) else path

    def watch(self, app_dir: str | None) -> None:
        """Remember where modules come from, for `moved` and `where`."""
        self._app_dir = app_dir
        self._were = list(map(os.path.realpath, self._links()))

    def _links(self) -> Iterator[str]:
        """Give the folders that decide which code runs, as they were named."""
        if self._app_dir is not None:
            yield os.path.join(self.folder(self.here), self._app_dir)
        yield os.path.dirname(_interpreter(_words()[0]))

    def moved(self) -> bool:
        """Return whether the code is in another folder now, under the same names."""
        try:
            # (The old folder may be deleted, and even its inode may be that of the new one: but not
            # while we are in it.)
            if not os.path.samefile(self.folder(self.here), os.curdir):
                return True
        except OSError:
            return False    # There is nothing to go to.
        return self._were != list(map(os.path.realpath, self._links()))

    def where(self, folder: str) -> str:
        """Tell in words where a new start finds its code; `folder` is where it starts.

        Raises `TremoloError` if that is a link that leads nowhere.
        """
        if folder != self.here and not os.path.isdir(folder):
            # (We are in the old folder, so the old code would begin anew, as if it were new.)
            raise TremoloError(f'{folder} is not there')
        told = [_shown(folder)]
        if self._app_dir is not None:
            told.append(f'--app-dir {_shown(os.path.join(folder, self._app_dir))}')
        return ', '.join(told)


launch = Launch()


def command_line() -> list[str]:
    """Return the folder in which this program was started, the interpreter, and its arguments."""
    words = _words()
    return [_folder(words), _interpreter(words[0]), *words[1:]]


def _words() -> list[str]:
    arguments = getattr(sys, 'orig_argv', None)
    if arguments is None:    # before Python 3.10
        try:
            with open('/proc/self/cmdline', 'rb') as file:
                arguments = file.read()[:-1].split(b'\0')
        except OSError:
            arguments = [sys.executable, *sys.argv]
    return list(map(os.fsdecode, arguments))


def _interpreter(word: str) -> str:
    """Return the path of the interpreter, which was named `word` on the command line.

    (`venv/bin/python` was looked for in the folder that may be another one now. What the next
    release does not have is taken from this one.)
    """
    if os.sep in word and not os.path.isabs(word):
        path = launch.inside(sys.executable)
        if os.access(path, os.X_OK):
            return path
    return sys.executable


def _folder(words: list[str]) -> str:
    """Return the folder in which the program was started, with these words.

    A program that daemonises itself may have left it before it imported us. Since Python 3.9 the
    path of the main file is absolute: it is that folder and the argument.
    """
    path = getattr(sys.modules.get('__main__'), '__file__', None) or ''
    for word in words[1:]:
        end = os.sep + word.removeprefix('./')
        if path.endswith(end) and os.path.isabs(path) and not os.path.isabs(word):
            return launch.folder(path[:-len(end)] or os.sep)
    return launch.folder(launch.here)


def _shown(path: str) -> str:
    real = os.path.realpath(path)
    return path if real == path else f'{path} -> {real}'
