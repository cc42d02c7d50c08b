"""Safe open: a file below a folder, and never one outside, whatever the names and links are.

    with walk_in(b'/srv/site') as walk:
        walk.enter([b'css'])
        fd = walk.open(b'main.css')

The system would follow a link anywhere, and what was looked at before may be another file when it
is opened. So the way is walked here, name by name: each is opened relative to the folder before it
with O_NOFOLLOW, and what is opened in the end is what `os.fstat` then looks at. A link is read and
walked likewise, at most 40 of them (as Linux does): `..` leads no higher than the folder where the
walk began, and an absolute target has to begin with that folder's own path. The folder itself may
be a link, which is read anew by each walk.

A system without `dir_fd` (Windows) has `ByPath` instead: it compares real paths, and a link
that is changed in between is not noticed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from ..late import expression
from .opening import FLAGS

WALKS = {os.open, os.readlink} <= os.supports_dir_fd and hasattr(os, 'O_NOFOLLOW')

_MOST_LINKS = 40
MOST_FOLDERS = 200    # On the way; each is an open descriptor.
_NOFOLLOW = getattr(os, 'O_NOFOLLOW', 0)
# (With O_PATH a folder on the way needs no permission to be listed, as for the system itself.)
_FOLDER = (os.O_RDONLY | getattr(os, 'O_PATH', 0) | getattr(os, 'O_DIRECTORY', 0)
           | getattr(os, 'O_CLOEXEC', 0))
# What a link is told with; a folder on the way that is none has ENOTDIR, too.
_MAY_BE_LINK = frozenset((errno.ELOOP, errno.ENOTDIR, errno.EMLINK, getattr(errno, 'EFTYPE', 0)))

# What Windows reads as another name, or as no file (a device, a drive, a stream of a file).
_FOREIGN = expression(
    rb'(?is).*[\x00-\x1f\\/:*?"<>|].*|.*[. ]|'
    rb'(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt).)(?:\..*)?')


class Walk:
    """A walk through one folder. What it opens on its way, it closes at its end."""

    def __init__(self, folder: bytes) -> None:
        self._path = folder
        self._trail = [os.open(folder, _FOLDER)]    # From the folder to where the walk stands.
        self._opened = self._trail.copy()    # All that it has to close.

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._opened:
            os.close(fd)

    def enter(self, names: Sequence[bytes]) -> None:
        """Go on into a folder. Raises `OSError`."""
        self._trail = self._follow(names, last=False)[0]

    def open(self, name: bytes) -> int:
        """Return a descriptor of what has this name here, for the caller to close.

        Raises `OSError`, also for what leads out of the folder of the walk (ENOENT).
        """
        trail, fd = self._follow([name], last=True)
        # (A link to `.` or `..` ends in a folder of the way.)
        return fd if fd >= 0 else os.open(b'.', FLAGS, dir_fd=trail[-1])

    def _follow(self, names: Sequence[bytes], last: bool) -> tuple[list[int], int]:
        """Walk; return the folders to where it leads, and with `last` what the last name is."""
        trail, left, links = self._trail.copy(), list(reversed(names)), 0
        while left:
            name = left.pop()
            if name in (b'', b'.'):
                continue
            if name == b'..':
                trail.pop()
                if not trail:
                    raise OSError(errno.ENOENT, 'it leads out of the folder')
                continue
            is_last = last and not left
            try:
                fd = os.open(name, (FLAGS if is_last else _FOLDER) | _NOFOLLOW, dir_fd=trail[-1])
            except OSError as error:
                target = _target(name, trail[-1], error)
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, 'too many links') from error
                if target[:1] == b'/':
                    target = self._inside(target)
                    trail = trail[:1]
                left += reversed(target.split(b'/'))
                continue
            if is_last:
                return trail, fd
            self._opened.append(fd)
            if len(self._opened) > MOST_FOLDERS:
                raise OSError(errno.ELOOP, 'too many folders')
            trail.append(fd)
        return trail, -1

    def _inside(self, target: bytes) -> bytes:
        """Return an absolute target as it is seen from the folder; raise `OSError` if outside."""
        for folder in self._path, os.path.realpath(self._path):
            start = folder.rstrip(b'/') + b'/'
            if (target + b'/').startswith(start):
                return target[len(start):]
        raise OSError(errno.ENOENT, 'it leads out of the folder')


def _target(name: bytes, folder: int, error: OSError) -> bytes:
    """Return the target of what may be a link; raise the error if it is none."""
    if error.errno in _MAY_BE_LINK:
        try:
            return os.readlink(name, dir_fd=folder)
        except OSError:
            raise error from None
    raise error


class ByPath:
    """Does what `Walk` does where the system cannot, if nobody changes links meanwhile."""

    def __init__(self, folder: bytes) -> None:
        self._root = self._here = os.path.realpath(folder)

    def __enter__(self) -> ByPath:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def enter(self, names: Sequence[bytes]) -> None:
        """Go on into a folder. Raises `OSError`."""
        for name in names:
            self._here = self._path(name)

    def open(self, name: bytes) -> int:
        """Return a descriptor of what has this name here, for the caller to close.

        Raises `OSError`.
        """
        path = self._path(name)
        if os.path.isdir(path):    # (Windows opens no folder.)
            raise IsADirectoryError(errno.EISDIR, 'a folder')
        return os.open(path, FLAGS)

    def _path(self, name: bytes) -> bytes:
        path, sep = os.path.realpath(os.path.join(self._here, name)), os.sep.encode()
        if _FOREIGN.fullmatch(name) or not path.startswith(self._root.rstrip(sep) + sep):
            raise OSError(errno.ENOENT, 'it leads out of the folder')
        return path


def walk_in(folder: bytes) -> Walk | ByPath:
    """Begin a walk in a folder. Raises `OSError`."""
    return Walk(folder) if WALKS else ByPath(folder)
