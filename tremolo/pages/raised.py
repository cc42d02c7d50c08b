"""Raised: what an exception says, and its causes: read for a page, and bounded.

A traceback may have as many calls as Python's stack is deep, and an exception any number of causes:
what is read of them here has bounds, and so has the page. The calls of this package are left out:
the mistake is in the application. (If there are no others, it is ours: then all are shown.)
"""

from __future__ import annotations

import linecache
import os
import traceback
from collections.abc import Iterator, Mapping
from types import FrameType

from ..typed import Any, NamedTuple
from .values import printable, shortened, without_passwords

_MOST_ERRORS = 8
_INNER, _OUTER = 15, 5    # The calls that are shown: those next to the error, and the first ones.
_BEFORE, _AFTER = 4, 3    # Lines of the source around that of a call.
_LINE = 200               # Characters of a line.
_TEXT = 2000              # Characters of what an exception says.

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_IMPORTING = ('<frozen importlib', '<builtin>/frozen importlib')    # (The second is PyPy's.)
_EXAMPLES = os.path.join(_PACKAGE, 'examples', '')


class Call(NamedTuple):
    """A call that had not ended when the exception was raised in it."""

    frame: FrameType
    line: int

    @property
    def path(self) -> str:
        """The path of the file."""
        return shortened(printable(self.frame.f_code.co_filename))

    @property
    def file(self) -> str:
        """The path, from the working directory on if it is below that."""
        try:
            here = os.path.join(os.getcwd(), '')
        except OSError:
            here = ''    # (The folder is gone.)
        return self.path[len(here):] if self.path.startswith(here) else self.path

    @property
    def name(self) -> str:
        """The name of the function."""
        code = self.frame.f_code
        # (The qualified one from Python 3.11 on.)
        return shortened(printable(getattr(code, 'co_qualname', code.co_name)))

    @property
    def variables(self) -> Mapping[str, Any]:
        """Its variables; none of a call of ours, which may hold what is not for the developer."""
        return {} if is_ours(self.frame.f_code.co_filename) else self.frame.f_locals

    def lines(self) -> list[str]:
        """Return the lines of a traceback as Python writes it."""
        source = dict(self.source()).get(self.line, '').strip()
        return [f'  File "{self.path}", line {self.line}, in {self.name}',
                *([f'    {source}'] if source else [])]

    def source(self) -> list[tuple[int, str]]:
        """Return the lines around it with their numbers; [] if the source cannot be read."""
        file = self.frame.f_code.co_filename
        try:
            linecache.checkcache(file)
            lines = linecache.getlines(file, self.frame.f_globals)
        except Exception:
            return []    # (A loader of the program's own may raise anything.)
        first = max(1, self.line - _BEFORE)
        return [(number, printable(shortened(line.rstrip(), _LINE))) for number, line in enumerate(
            lines[first - 1:self.line + _AFTER], first)]


class Raised(NamedTuple):
    """An exception: how it came about, how deep it is in groups, what it says, and the calls."""

    how: str
    depth: int
    kind: str
    text: str
    calls: list[Call]    # The last one first.
    left_out: int        # How many calls are left out behind the first _INNER of these.

    @property
    def inner(self) -> list[Call]:
        """The calls before those that are left out."""
        return self.calls[:_INNER] if self.left_out else self.calls

    @property
    def outer(self) -> list[Call]:
        """The calls behind those that are left out."""
        return self.calls[_INNER:] if self.left_out else []


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an exception and of its causes as a text."""
    lines = []
    for raised in read_errors(error):
        lines += ['', raised.how, ''] if raised.how else []
        lines.append('Traceback (most recent call last):')
        for call in reversed(raised.outer):
            lines += call.lines()
        if raised.left_out:
            lines.append(f'  ... {raised.left_out:,} calls are left out')
        for call in reversed(raised.inner):
            lines += call.lines()
        whole = raised.text.startswith('  File ')    # (A SyntaxError tells its place first.)
        lines.append(raised.text if whole else
                     f'{raised.kind}: {raised.text}' if raised.text else raised.kind)
    return printable('\n'.join(lines))    # (Lines of source as well.)


def is_ours(file: str) -> bool:
    """Whether a file is one of this package. (Its examples are programs like those of others.)"""
    return file.startswith(_PACKAGE) and not file.startswith(_EXAMPLES)


def read_errors(error: BaseException) -> Iterator[Raised]:
    """Give an exception, those in it if it is a group, and its causes; at most _MOST_ERRORS."""
    left = [('', 0, error)]
    seen: set[int] = set()
    while left and len(seen) < _MOST_ERRORS:
        how, depth, each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        kind, text = _what_it_says(each)
        calls = _calls_of(each)
        left_out = max(0, len(calls) - _INNER - _OUTER)
        if left_out:
            calls[_INNER:-_OUTER] = []
        yield Raised(how, depth, kind, text, calls, left_out)
        cause, context = each.__cause__, each.__context__
        if cause is not None:
            left.append(('This was its cause:', depth, cause))
        elif context is not None and not each.__suppress_context__:
            left.append(('It was raised while this one was handled:', depth, context))
        inside = _members(each)
        left += reversed([(f'Number {number} of {len(inside)} in the group:', depth + 1, member)
                          for number, member in enumerate(inside[:_MOST_ERRORS], 1)])


def _what_it_says(error: BaseException) -> tuple[str, str]:
    """Return the name of its class, and its text with its notes, or the place of a SyntaxError."""
    name = type(error).__name__
    try:
        whole = ''.join(traceback.format_exception_only(type(error), error)).rstrip()
    except Exception:
        whole = name    # (A class whose module is no text.)
    whole = without_passwords(printable(shortened(whole, _TEXT)))
    kind, colon, text = whole.partition(': ')
    if not colon or '\n' in kind:
        kind, text = name, '' if '\n' not in whole else whole
    return shortened(printable(kind)), text


def _calls_of(error: BaseException) -> list[Call]:
    """Return the calls, the last one first, without those of this package if there are others."""
    calls = [Call(frame, line or 0) for frame, line in traceback.walk_tb(error.__traceback__)]
    calls.reverse()
    theirs = [call for call in calls if not is_ours(call.frame.f_code.co_filename)
              and not call.frame.f_code.co_filename.startswith(_IMPORTING)]
    # (A file with a syntax error was not called.)
    return theirs or ([] if isinstance(error, SyntaxError) else calls)


def _members(error: BaseException) -> tuple[BaseException, ...]:
    """Return the exceptions in a group. (Before Python 3.11 there are groups of other packages.)"""
    try:
        members = getattr(error, 'exceptions', None)
    except Exception:
        return ()
    if not isinstance(members, tuple):
        return ()
    return tuple(each for each in members if isinstance(each, BaseException))
