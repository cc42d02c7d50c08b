"""Pace: a log says the same at most ten times a second; what is beyond that is counted.

A client can repeat what makes a line, or thirty (a traceback), as often as it has requests. So the
lines of one kind have a pace, and of what was left out a count is written every ten seconds, and at
the end. The first one is always written, and what is not the same is never hidden by it.

What has a pace are the warnings and errors of our loggers, as long as a server runs or a supervisor
(`Paces.watch`), and the cuts and refusals of server/notices.py by their reasons.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable
from contextlib import suppress
from weakref import ref

from .escaped import class_name, errors_of, message_of
from .typed import Any, Callable

MOST_LINES = 10    # Lines of one kind in a second.
COUNT_EVERY = 10.0    # Seconds between two counts of what was not written.
_MOST_KINDS = 1000    # Kinds that are remembered; what is told of no more is forgotten.
_LONGEST = 300    # Characters of a message that a count repeats.
_COUNT = '%s: %s more%s in the last %d s'

# What is the application's own, line by line (`wsgi.errors`), and what has its pace already.
FREE = {_COUNT, 'wsgi.errors: %s'}

# What a count says: the logger, the level, what was said, and of how many what (or '').
About = tuple[str, int, str, str]


class _Pace:
    """How fast one kind is written: the lines of this second, and how many were left out."""

    __slots__ = ('about', 'lines', 'more', 'second')

    def __init__(self, second: float) -> None:
        self.second = second    # When the first of `lines` was written.
        self.lines = 0
        self.more = 0
        self.about: About | None = None    # See `may_write`.


# The Paces by which our loggers are watched: the last of them, usually of the only server.
_watching: list[ref[Paces]] = []


class Paces:
    """How fast each kind of line is written, by the clock of a reactor."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.process = os.getpid()    # (What a process inherits by a fork, it does not use.)
        self._paces: dict[Hashable, _Pace] = {}
        self._counted_from: float | None = None    # None as long as all lines are written.
        self._timer: Any = None    # The next count.

    def watch(self) -> Paces:
        """Give a pace to the warnings and errors of our loggers until `close`; return itself."""
        _watching.append(ref(self))
        return self

    def may_write(self, key: Hashable, about: Callable[[], About]) -> bool:
        """Return whether this second has room for a line of this kind; if not, count it.

        `about` is asked only then. Safe on any thread. (Two threads may count one line too few.)
        """
        now = self._reactor.time()
        pace = self._paces.get(key)
        if pace is None:
            self._forget_some()
            pace = self._paces[key] = _Pace(now)
        elif not 0 <= now - pace.second < 1:
            pace.second, pace.lines = now, 0
        if pace.lines < MOST_LINES:
            pace.lines += 1
            return True
        pace.more += 1
        if pace.about is None:
            pace.about = about()
        if self._counted_from is None:
            self._counted_from = now
            self._reactor.call_soon(self._start)
        return False

    def _forget_some(self) -> None:
        """Keep the memory bounded: what has nothing to tell begins anew."""
        if len(self._paces) >= _MOST_KINDS:
            self._paces = {key: pace for key, pace in list(self._paces.items()) if pace.more}
            if len(self._paces) >= _MOST_KINDS:
                self._write_counts()
                self._paces = {}

    def _start(self) -> None:
        if self._counted_from is not None and self._timer is None:
            self._timer = self._reactor.call_later(COUNT_EVERY, self._count)

    def _count(self) -> None:
        self._timer = None
        self._write_counts()

    def _write_counts(self) -> None:
        """Write how many lines of each kind were left out."""
        if self._counted_from is None or self.process != os.getpid():
            return
        seconds = max(1, round(self._reactor.time() - self._counted_from))
        self._counted_from = None
        for pace in list(self._paces.values()):
            about, more, pace.about, pace.more = pace.about, pace.more, None, 0
            if about is not None:
                name, level, text, unit = about
                unit = f' {unit}{"s" if more > 1 else ""}' if unit else ''
                with suppress(Exception):
                    logging.getLogger(name).log(level, _COUNT, text, f'{more:,}', unit, seconds)

    def close(self) -> None:
        """Write the last counts; watch our loggers no longer."""
        _watching[:] = [each for each in _watching if each() not in (None, self)]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write_counts()


def is_told(record: logging.LogRecord) -> bool:
    """Return whether a record of our loggers is written; if not, it is counted."""
    while _watching and _watching[-1]() is None:    # (A server that nobody has closed.)
        _watching.pop()
    paces = _watching[-1]() if _watching else None
    if paces is None or record.levelno < logging.WARNING or paces.process != os.getpid():
        return True
    if isinstance(record.msg, str) and record.msg in FREE:
        return True
    errors = _errors_in(record)
    return paces.may_write(_kind_of(record, errors), lambda: _about(record, errors))


def _errors_in(record: logging.LogRecord) -> list[BaseException]:
    """Return the error whose traceback is shown, or those that the message is about."""
    if record.exc_info and record.exc_info[1] is not None:
        return [record.exc_info[1]]
    args = record.args if isinstance(record.args, tuple) else ()
    return [each for each in args if isinstance(each, BaseException)]


def _kind_of(record: logging.LogRecord, errors: list[BaseException]) -> Hashable:
    """Return what is the same for records that say the same.

    It is the place of the call and, for an error and each of its causes, its class and the lines
    through which it has come: in any order, and each once, since a recursion may have any depth.
    """
    places: set[Hashable] = set()
    for error in errors:
        for each in errors_of(error):
            places.add(id(type(each)))    # (The class itself may have a hash that raises.)
            link = each.__traceback__
            while link is not None:
                places.add((link.tb_frame.f_code.co_filename, link.tb_lineno))
                link = link.tb_next
    said: object = ''
    form = record.msg if isinstance(record.msg, str) else ''
    if record.name == 'tremolo':    # (No client has a part in what this logger says.)
        said = message_of(record)
    elif form.startswith('%s ') and isinstance(record.args, tuple) and record.args:
        # (A name of the program: `%s failed on %s`. A client's would be followed by a colon.)
        said = record.args[0] if isinstance(record.args[0], str) else ''
    elif not errors:
        said = form.partition('\n')[0]
    return record.name, record.pathname, record.lineno, said, frozenset(places)


def _about(record: logging.LogRecord, errors: list[BaseException]) -> About:
    """Return what a count says of a record: its logger and level, and what was said for example."""
    text = message_of(record).partition('\n')[0]
    if len(text) > _LONGEST:
        text = f'{text[:_LONGEST]}...'
    for error in errors[:1]:
        link = error.__traceback__
        while link is not None and link.tb_next is not None:
            link = link.tb_next
        place = f' at {link.tb_frame.f_code.co_filename}:{link.tb_lineno}' if link else ''
        text = f'{text} ({class_name(type(error))}{place})'
    return record.name, record.levelno, text, ''
