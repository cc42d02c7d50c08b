"""Files: which files are watched, and whether one has changed.

A file is known by its modification time, its size and its inode, and any difference counts: `git
checkout` may bring an older time, and an editor that renames a new file over the old one another
inode. What did not change the time, nor the size, nor the inode is not noticed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from operator import attrgetter

from ..errors import SettingError
from ..pages.raised import is_ours
from ..typed import Optional

# The time of the last change in nanoseconds, the size, the inode; None: there is no such file.
Signature = Optional[tuple[int, int, int]]

MOST_FILES = 10_000    # Files of further folders that are watched; the rest is left out.

_SIGNATURE = attrgetter('st_mtime_ns', 'st_size', 'st_ino')
_LIBRARY = os.path.join(os.path.dirname(os.path.realpath(os.__file__)), '')
_INSTALLED = (f'{os.sep}site-packages{os.sep}', f'{os.sep}dist-packages{os.sep}')
# What editors write beside a file, byte code, and logs. (Names that begin with a dot as well.)
_PASSING = ('~', '.pyc', '.pyo', '.log', '.swp', '.tmp', '.bak', '___jb_tmp___', '___jb_old___')
_PROBE = '4913'    # vim looks whether it may write in a folder.


def signature(path: str) -> Signature:
    """Return by what a file is known, as it is now."""
    try:
        return _SIGNATURE(os.stat(path))
    except (OSError, ValueError):
        return None


def signatures(paths: list[str]) -> list[Signature]:
    """Return the same for many files. (The usual case, in which all are there, runs in C.)"""
    try:
        return list(map(_SIGNATURE, map(os.stat, paths)))
    except (OSError, ValueError):
        return list(map(signature, paths))


def is_application(path: str, folders: Iterable[str] = ()) -> bool:
    """Tell whether a source file is one of the application, or lies in one of these folders.

    Not the standard library, nor what is installed, nor this package (but its examples).
    """
    path = os.path.abspath(path)
    if any(path.startswith(os.path.join(folder, '')) for folder in folders):
        return True
    if any(part in path for part in _INSTALLED) or is_ours(path):
        return False
    return not os.path.realpath(path).startswith(_LIBRARY) and not path.startswith('<')


def counts(name: str) -> bool:
    """Tell whether a file of this name, in a further folder, is one that a person writes."""
    return not (name.startswith(('.', '#')) or name.endswith(_PASSING) or '.log.' in name
                or name in (_PROBE, '__pycache__'))


def check_folders(paths: Iterable[str]) -> list[str]:
    """Return the paths of further folders, or single files. Raises `SettingError`."""
    found = []
    for path in paths:
        if not os.path.exists(path):
            raise SettingError(f'reload_dir: {path}: no such folder{_nearest(path)}')
        found.append(os.path.abspath(path))
    return found


def _nearest(path: str) -> str:
    import difflib  # (Late: only a mistake needs it.)
    folder, name = os.path.split(os.path.normpath(path))
    try:
        near = difflib.get_close_matches(name, sorted(os.listdir(folder or '.')), 1)
    except OSError:
        near = []
    return ''.join(f', did you mean {os.path.join(folder, each)}?' for each in near)


class Folder:
    """A folder with all that is in it; or a single file.

    `paths` are the files in it that count, and all folders: whatever comes or goes in a folder
    changes its modification time, and then it is read anew.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.full = False    # Whether there were more files than are watched.
        self.paths: list[str] = []
        self.folders: set[str] = set()
        self.read()

    def read(self) -> None:
        """Read what is in it now."""
        self.paths, self.folders, self.full = [], set(), False
        seen: set[tuple[int, int]] = set()
        left = [self.path]
        while left:
            path = left.pop()
            if len(self.paths) >= MOST_FILES:
                self.full = True
                return
            self.paths.append(path)
            left += self._inside(path, seen)

    def _inside(self, path: str, seen: set[tuple[int, int]]) -> Iterator[str]:
        """Give what is in a folder; nothing for a file, and for a folder that was seen already."""
        try:
            if not os.path.isdir(path):
                return
            found = os.stat(path)
            # (A link may lead back to a folder above it.)
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                self.folders.add(path)
                yield from (os.path.join(path, name) for name in sorted(os.listdir(path))
                            if counts(name))
        except OSError:
            pass    # (It is gone, or may not be read.)
