"""Reloading: the supervisor's side: looks whether a file has changed, and has the worker renewed.

It is told by its worker which files that has imported (reports.py), and looks at them, and at
further folders, two or three times a second. After a change it waits until nothing changes for a
moment: an editor that empties a file before it writes it, or `git checkout`, is one change.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable

from ..loop import Reactor
from ..pages.raised import is_ours
from ..settings import Settings
from ..typed import Any, Callable
from . import inside
from .failure import page_saying
from .files import (
    MOST_FILES,
    Folder,
    Signature,
    check_folders,
    counts,
    is_application,
    signatures,
)
from .hints import Hints
from .inside import Inside
from .lifeline import Lifeline, hold
from .modes import Modes
from .program import VARIABLE
from .reports import Received, Reports

_log = logging.getLogger('tremolo')

# Seconds between two looks: with few files, and at most, with many: a look takes 1.5 to 3 ms for
# 1,000 files, and all looks together are to take less than 0.5 % of a processor.
_LOOK, _RARELY = 0.25, 0.45
_SHARE = 0.004
# A look at the files is left out if there is no hint of a change (hints.py), until these seconds
# are over.
_UNHINTED = 1.8
# Seconds in which nothing more changes; and how often they are waited for, at most.
_SETTLE, _SETTLES = 0.04, 6


class Reloading:
    """Watches the files of one application, and says what its worker runs."""

    late = inside.LONG + 0.5    # Seconds after which another worker stands in for one that starts.

    def __init__(self, settings: Settings, work: Callable[[Any], int],
                 stand_in: Callable[[Reports, Any], int], command: list[str],
                 moved: Callable[[], bool] = lambda: False) -> None:
        """Raises `SettingError` for a further folder that is not there.

        `work(slot)` imports the application and serves it, and `stand_in(reports, slot)` serves the
        page of a failure. `command` starts the program anew (command.py): where this process has
        imported files of the application itself, or the code is elsewhere now (`moved`).
        """
        self.renew: Callable[[], object] = lambda: None    # Has the worker renewed.
        self._debug = settings.debug
        self._work = work
        self._stand_in = stand_in
        self._command = command
        self._moved = moved
        self._paths = check_folders(settings.reload_dir)
        self._received = Received()
        self._line = Lifeline()
        self._modes = Modes()
        self.reports = self._received.reports
        self._files: dict[str, Signature] = {}    # What is watched, and how it was.
        self._told: set[str] = set()    # What the newest worker has told.
        self._folders = [Folder(path) for path in self._paths]
        for folder in self._folders:
            if folder.full:
                _log.warning('reload_dir: %s: only the first %d files are watched', folder.path,
                             MOST_FILES)
        # The names in the folders of these files, before a worker imports; and while one may lack.
        self._before: dict[str, set[str]] = {}
        self._beside: dict[str, set[str]] = {}
        self._began = 0.0
        self._first = True
        self._hints: Hints | None = None
        self._others = True    # Whether other files are watched than at the last look.
        self._looked = 0.0    # When all files were looked at.
        self._reactor: Reactor
        self._closed = False
        self._owner = os.getpid()

    # -- on the supervisor's reactor --------------------------------------------------------------

    def begin(self, reactor: Reactor, group: object = None) -> None:
        """Begin to watch."""
        self._reactor = reactor
        self._add(path for folder in self._folders for path in folder.paths)
        self._hints = Hints(reactor)
        self._hints.begin()
        reactor.add_reader(self._received.end, self._read)
        reactor.call_later(_LOOK, self._look)

    def close(self) -> None:
        """End; in a worker, close what only the supervisor may have."""
        if self._closed:
            return
        self._closed = True
        if self._hints is not None:
            self._hints.close()
        if os.getpid() == self._owner:
            self._reactor.remove_fd(self._received.end)
            self._received.close()
            self._line.close()
            self._modes.give_back()
        else:
            self._received.leave()
            self._line.let_go()

    def _read(self) -> None:
        for path, known in self._received.read():
            self._told.add(path)
            self._others = True
            self._files[path] = known

    def _add(self, paths: Iterable[str]) -> None:
        paths = list(paths)
        self._files.update(zip(paths, signatures(paths)))
        self._others = True

    def _changed(self) -> list[str]:
        """Return what has changed since the last call; it is known as it is now."""
        self._read()
        paths = list(self._files)
        now = signatures(paths)
        if now == list(self._files.values()) and not self._beside:
            return []
        changed = [path for path, each in zip(paths, now) if self._files[path] != each]
        self._files.update(zip(paths, now))
        for folder in self._folders:
            if not folder.folders.isdisjoint(changed):
                before = set(folder.paths)
                folder.read()
                changed = [each for each in changed if each not in folder.folders]
                new = [each for each in folder.paths if each not in before]
                self._add(new)
                changed += [each for each in new if each not in folder.folders]
                for each in before.difference(folder.paths):
                    self._files.pop(each, None)
        for path, names in self._beside.items():
            changed += [os.path.join(path, each) for each in sorted(_sources(path) - names)]
            names.update(_sources(path))
        return changed

    def _look(self) -> None:
        if self._closed:
            return
        reactor = self._reactor
        before = reactor.time()
        hints = self._hints
        if (hints is not None and before - self._looked < _UNHINTED
                and not (self._others or self._beside) and hints.quiet()):
            reactor.call_later(_LOOK, self._look)
            return
        self._looked = before
        if hints is not None:
            hints.arm(self._files, self._others)
        self._others = False
        if changed := self._changed():
            self._others = True
            reactor.call_later(_SETTLE, self._settle, changed, 1)
        else:
            took = reactor.time() - before
            reactor.call_later(min(max(_LOOK, took / _SHARE), _RARELY), self._look)

    def _settle(self, changed: list[str], looks: int) -> None:
        if self._closed:
            return
        more = self._changed()
        changed += [each for each in more if each not in changed]
        if more and looks < _SETTLES:
            self._reactor.call_later(_SETTLE, self._settle, changed, looks + 1)
            return
        others = len(changed) - 1
        _log.info('reload: %s%s changed', os.path.relpath(changed[0]), '' if not others else
                  f' and {others} other{"s" * (others > 1)}')
        self.renew()
        self._reactor.call_later(_LOOK, self._look)

    # -- what the supervisor tells and asks -------------------------------------------------------

    def begins(self) -> None:
        """Prepare for a worker that is about to be forked."""
        self._read()    # (What the last one has told belongs to it.)
        self.reports.number += 1
        self.reports.write_page({})
        self._told = set()
        self._before, self._beside = self._names(), {}
        self._began = self._reactor.time()

    def serves(self) -> None:
        """Take note that a new worker serves: its files are those that count."""
        self._read()
        ours = {path for folder in self._folders for path in folder.paths}
        for path in self._files.keys() - self._told - ours:
            del self._files[path]
        if self._first:
            self._first = False
        else:
            _log.info('reload: served again after %.2f s', self._reactor.time() - self._began)

    def ended(self, code: int, first: bool) -> str:
        """Say what follows on the end of a worker that never served.

        `ends`: a mistake on the command line; `waits`: it has told why, and waits for a change;
        `again`: it was killed, or ended itself, and is started again after a pause.
        """
        self._read()
        self._first = False
        page = self.reports.read_page()
        if code < 0 or not page or page['status'] != 500:
            how = f'was ended by signal {-code}' if code < 0 else f'ended with status {code}'
            text = f'The program {how} before it served.'
            self.reports.write_page(page_saying(text))
            if code:
                _log.error('reload: %s It is started again.', text)
                return 'again'
        elif page['mistake'] and first:
            return 'ends'
        # (What has come since it began to import may be what it lacks.)
        self._beside = {**self._names(), **self._before}
        _log.info('reload: waiting for the next save')
        return 'waits'

    def cut(self) -> None:
        """Take note that a worker was ended by a signal."""
        self._modes.give_back()

    def _names(self) -> dict[str, set[str]]:
        folders = {os.path.dirname(path) for path in self._files}
        return {path: _sources(path) for path in (*folders, os.curdir)}

    # -- in a worker ------------------------------------------------------------------------------

    def work(self, slot: Any) -> int:
        """Be the worker that runs the program."""
        if self._moved() or _imported():
            os.set_inheritable(self._line.end, True)
            told = [*self.reports.inheritable(), self._line.end, self._paths, self._debug]
            os.environ[VARIABLE] = json.dumps(told)
            slot.start_afresh(self._command)
        hold(self._line.end)
        inside.begin(Inside(self.reports, self._paths, self._debug))
        try:
            return self._work(slot)
        except BaseException as error:
            inside.failed(error)
            raise

    def stand_in(self, slot: Any) -> int:
        """Be the worker that answers while the program does not run."""
        hold(self._line.end)
        return self._stand_in(self.reports, slot)


def _imported() -> bool:
    """Tell whether this process has imported the application, or begins in a file of it."""
    # (Not the command that was installed with this package.)
    paths = [getattr(module, '__file__', None) for name, module in list(sys.modules.items())]
    return any(isinstance(path, str) and path.endswith('.py') and is_application(path)
               and not is_ours(path) for path in paths)


def _sources(folder: str) -> set[str]:
    try:
        return {name for name in os.listdir(folder)
                if counts(name) and (name.endswith('.py') or name.isidentifier())}
    except OSError:
        return set()
