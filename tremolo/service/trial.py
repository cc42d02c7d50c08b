"""Trial: whether a program, as its files are now, gets as far as to serve.

On SIGHUP one process without workers becomes its new program; if that failed, nobody would serve.
So a child runs the program first: everything until `run` would open its sockets, thus the imports,
the options and the certificates. There it writes one byte on a pipe, and ends. It says on stderr
what is wrong.
"""

from __future__ import annotations

import contextlib
import os
import subprocess

from ..loop import Reactor
from ..typed import Callable
from ..workers.leaving import leave_process

# The variable that tells the child about its end of the pipe: the descriptor, and the inode by
# which it is known. (Programs that the child starts get the variable, but not the descriptor.)
_VARIABLE = 'TREMOLO_TRIAL'


class Trial:
    """Runs a program in a child, and calls `tried` with None, or with the status of its end."""

    def __init__(self, reactor: Reactor, program: list[str],
                 tried: Callable[[int | None], object]) -> None:
        """Start the child. Raises `OSError`.

        `program` is the folder to start in, the path of the program, and its arguments.
        """
        self._reactor = reactor
        self._tried = tried
        folder, *command = program
        self._end, theirs = os.pipe()
        try:
            # (In a session of its own: Ctrl-C is for the server, which ends its child itself.)
            self._process = subprocess.Popen(
                command, cwd=folder if os.path.isdir(folder) else None, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, pass_fds=[theirs], start_new_session=True,
                env={**os.environ, _VARIABLE: f'{theirs} {os.fstat(theirs).st_ino}'})
        except OSError:
            os.close(self._end)
            raise
        finally:
            os.close(theirs)
        reactor.add_reader(self._end, self._readable)

    def _readable(self) -> None:
        good = bool(os.read(self._end, 1))
        status = self.close()
        self._tried(None if good else status)

    def close(self) -> int:
        """End the child; return its status. A second call only returns the status."""
        if self._end >= 0:
            self._reactor.remove_fd(self._end)
            os.close(self._end)
            self._end = -1
            self._process.kill()
        return self._process.wait()


def end_trial(check: Callable[[], object]) -> None:
    """End this process well, if it is the child of a `Trial`; `check` may end it otherwise."""
    fd, _, inode = os.environ.pop(_VARIABLE, '').partition(' ')
    with contextlib.suppress(OSError, ValueError):
        if fd and os.fstat(int(fd)).st_ino == int(inode):
            check()
            os.write(int(fd), b'.')
            leave_process(0)
