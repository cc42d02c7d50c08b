"""Hints: folders whose files need not be looked at, as the kernel has seen no change in them.

To look at 1,000 files takes 1.5 to 3 ms, and two looks a second would take more than 0.5 % of a
processor. So on local file systems Linux is asked to send a signal (F_NOTIFY of fcntl) when a file
in a folder is written; that a file came or went, the time of the folder tells. What no signal can
be trusted to tell is looked at each time: a link, a file with a second name in another folder, a
file system that other machines write as well. All is looked at every 1.8 s in any case.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Collection

from ..loop import Reactor
from .files import Signature, signatures

# What this machine alone writes. (btrfs has other numbers of devices in /proc than in `stat`.)
_LOCAL = {'ext2', 'ext3', 'ext4', 'xfs', 'f2fs', 'tmpfs', 'overlay'}
_MOST = 250    # Folders that are watched so: each takes a descriptor.


class Hints:
    """Tells whether a look at the files can be left out."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._told = True    # Whether a signal came, or nobody could send one.
        self._ends: dict[str, int] = {}    # The folders, each with its descriptor.
        self._folders: list[Signature] = []
        self._alone: list[str] = []    # Files that are looked at each time.
        self._known: list[Signature] = []

    def begin(self) -> None:
        """Take the signal."""
        if hasattr(signal, 'SIGIO'):
            self._reactor.add_signal(signal.SIGIO, self._hear)

    def close(self) -> None:
        """Close what was opened, also in a worker."""
        for fd in self._ends.values():
            os.close(fd)
        self._ends = {}

    def _hear(self) -> None:
        self._told = True

    def arm(self, paths: Collection[str], others: bool) -> None:
        """Ask for hints, before a look at these files; `others`: not the same ones as before."""
        if others:
            self._choose(paths)
        # (Each asks for one signal: a log that is written in a folder of sources sends no more.)
        self._told = not all(map(_ask, self._ends.values()))
        self._folders = signatures(list(self._ends))
        self._known = signatures(self._alone)

    def quiet(self) -> bool:
        """Return whether nothing has changed since `arm`, as far as it can be known."""
        return (not self._told and signatures(list(self._ends)) == self._folders
                and signatures(self._alone) == self._known)

    def _choose(self, paths: Collection[str]) -> None:
        self.close()
        local, self._alone = _local_devices(), []
        for path in paths:
            found = None
            with contextlib.suppress(OSError, ValueError):
                found = os.lstat(path)
            folder = path if found and stat.S_ISDIR(found.st_mode) else os.path.dirname(path)
            one_name = found is None or stat.S_ISDIR(found.st_mode) or (
                stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
            if not (one_name and self._has(folder, local)):
                self._alone.append(path)

    def _has(self, folder: str, local: Collection[int]) -> bool:
        if folder not in self._ends and len(self._ends) < _MOST:
            with contextlib.suppress(OSError):
                if os.stat(folder).st_dev in local:
                    self._ends[folder] = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        return folder in self._ends


def _ask(fd: int) -> bool:
    """Ask for a signal at the next change in a folder; return False if the system has none."""
    try:
        import fcntl  # (Late: Windows has none.)
        fcntl.fcntl(fd, fcntl.F_NOTIFY, fcntl.DN_MODIFY | fcntl.DN_ATTRIB | fcntl.DN_DELETE
                    | fcntl.DN_CREATE | fcntl.DN_RENAME)
    except (ImportError, AttributeError, OSError):
        return False
    return True


def _local_devices() -> set[int]:
    """Return the devices whose file systems only this machine writes."""
    found = set()
    with contextlib.suppress(OSError, ValueError, IndexError), \
            open('/proc/self/mountinfo', encoding='utf-8', errors='replace') as file:
        for line in file:
            mount, _, kind = line.partition(' - ')
            if kind.split()[0] in _LOCAL:
                major, minor = map(int, mount.split()[2].split(':'))
                found.add(os.makedev(major, minor))
    return found
