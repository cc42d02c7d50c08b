"""Inside: what `--reload` does in the worker, until that serves, and when it imports more.

Each file of the application is compiled from its source. CPython knows a `.pyc` by the size and the
time of its source in whole seconds, so of quick saves that keep the size it would import stale
ones. Its loader asks for these in `path_stats` before it reads a file: there the file is told to
the supervisor, as it was before it was read, and the loader gets none, so it neither reads nor
writes a `.pyc`. All ways to import a source file come by there; what is no application's keeps its
`.pyc`.
"""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
from importlib.machinery import SourceFileLoader
from types import FrameType

from ..output import complain
from ..pages.raised import is_ours
from ..typed import Any
from .failure import page_of, standing_at, without_machinery
from .files import is_application, signature
from .reports import Reports

# Seconds after which a start is told to take long.
LONG = 2.5


class StillStarting(Exception):
    """The start takes long."""

    __module__ = 'builtins'    # (So it is shown by its name alone.)


class Inside:
    """A worker under `--reload`."""

    def __init__(self, reports: Reports, folders: list[str], variables: bool) -> None:
        self._reports = reports
        self._folders = folders
        self._variables = variables    # Whether pages show the values of variables.
        self._over = False    # Whether the start has ended, well or not.
        self._before: Any = None    # The handler of SIGALRM before ours.
        self._path_stats = SourceFileLoader.path_stats

    def begin(self) -> None:
        """Begin, before anything of the application is imported."""
        path_stats = self._path_stats

        def fresh_stats(loader: SourceFileLoader, path: str) -> Any:
            if not is_application(path, self._folders):
                return path_stats(loader, path)
            self.imported(path)
            raise OSError('compiled from the source, always')

        SourceFileLoader.path_stats = fresh_stats  # type: ignore
        importlib.invalidate_caches()
        self._before = signal.signal(signal.SIGALRM, self._late)
        signal.setitimer(signal.ITIMER_REAL, LONG)

    def imported(self, path: str) -> None:
        """Tell the supervisor of a file."""
        self._reports.tell(path, signature(path))

    def failed(self, error: BaseException) -> None:
        """Keep why the start failed; the first that is told is shown."""
        if not self._over:
            self._over = True
            self._end_waiting()
            error.__traceback__ = without_machinery(error)
            self._reports.write_page(page_of(error, self._variables))

    def served(self) -> None:
        """Tell what else was imported: the server accepts."""
        self._over = True
        self._end_waiting()
        told: set[str] = set()
        for module in list(sys.modules.values()):
            # (Of what is in a zip file that is the one.)
            path = getattr(getattr(module, '__loader__', None), 'archive', None) \
                or getattr(module, '__file__', None)
            # (Sources are told already, as they were when they were read.)
            if isinstance(path, str) and not path.endswith(('.py', '.pyc')) \
                    and path not in told and is_application(path, self._folders):
                told.add(path)
                self.imported(path)

    def _end_waiting(self) -> None:
        if self._before is not None and signal.getsignal(signal.SIGALRM) == self._late:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)
        self._before = None

    def _late(self, signum: int, frame: FrameType | None) -> None:
        """Tell where the start stands: perhaps in a loop that never ends."""
        self._end_waiting()
        error = StillStarting(f'after {LONG:g} s the program stands here')
        error.__traceback__ = standing_at(frame)
        page = page_of(error, self._variables, 503)
        complain(f'reload: the program still starts\n{page["text"].partition(chr(10) * 2)[2]}',
                 end='')
        self._reports.write_page(page)


_inside: Inside | None = None


def begin(inside: Inside) -> None:
    """Let this process be a worker under `--reload`."""
    global _inside
    _inside = inside
    inside.begin()


def failed(error: BaseException) -> None:
    """Keep why the start failed, if this process is such a worker."""
    if _inside is not None and not isinstance(error, KeyboardInterrupt):
        with contextlib.suppress(Exception):
            _inside.failed(_cause(error))


def _cause(error: BaseException) -> BaseException:
    """Return what is behind a SystemExit of ours: the error that it was raised for."""
    if isinstance(error, SystemExit) and error.__context__ is not None:
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        if last is None or is_ours(last.tb_frame.f_code.co_filename):
            return error.__context__
    return error


def served() -> None:
    """Tell that the server accepts, if this process is such a worker."""
    if _inside is not None:
        _inside.served()
