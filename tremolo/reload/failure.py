"""Failure: why the program could not start, as a page; and how that page is answered.

The process in which it failed makes the page, which has the source and the calls; another process
answers every request with it until a file is saved. The values of variables, which may be secrets,
are on it only in debug mode. What cannot be shown (a process that was killed) is told in a line.
"""

from __future__ import annotations

import importlib
import os
from types import FrameType, TracebackType

from ..errors import TremoloError
from ..escaped import markup
from ..pages.debug import send_told, told
from ..pages.raised import is_ours, traceback_of
from ..server import Request, Response
from ..typed import Any, Callable
from .reports import Reports

_MACHINERY = (os.path.join(os.path.dirname(importlib.__file__), ''), '<frozen importlib',
              '<builtin>/frozen importlib', '<frozen runpy')
_WAITS = 'The next save of a file starts the program again.'


def page_of(error: BaseException, variables: bool, status: int = 500) -> dict[str, Any]:
    """Return what `Reports.write_page` keeps: the page of an error that ended the start."""
    why = 'The program could not be started.' if status == 500 else 'The program still starts.'
    return {
        'status': status, 'mistake': isinstance(error, TremoloError),
        'text': f'{status}: {why} {_WAITS}\n\n{traceback_of(error)}\n',
        'html': f'<p>{why} {_WAITS}{told(error, variables)}'}


def page_saying(text: str, status: int = 500) -> dict[str, Any]:
    """Return the page of a failure that has no traceback."""
    return {'status': status, 'mistake': False, 'text': f'{status}: {text} {_WAITS}\n',
            'html': f'<p>{markup(text)} {_WAITS}'}


def answering(reports: Reports) -> Callable[[Request, Response], None]:
    """Return the function that answers each request with the page that there is."""
    def handle(request: Request, response: Response) -> None:
        page = reports.read_page() or page_saying('The program does not run yet.', 503)
        send_told(response, page['status'], page['text'], page['html'])

    return handle


def without_machinery(error: BaseException) -> TracebackType | None:
    """Return its traceback from the application's first call on; whole, if there is none.

    (A file with a syntax error was not called: then nothing is left.)
    """
    first = error.__traceback__
    while first is not None and not _is_theirs(first.tb_frame):
        first = first.tb_next
    return first if first or isinstance(error, SyntaxError) else error.__traceback__


def standing_at(frame: FrameType | None) -> TracebackType | None:
    """Return the application's calls that have not ended, as a traceback."""
    traceback: TracebackType | None = None
    while frame is not None:
        if _is_theirs(frame):
            traceback = TracebackType(traceback, frame, frame.f_lasti, frame.f_lineno)
        frame = frame.f_back
    return traceback


def _is_theirs(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return not is_ours(file) and not file.startswith(_MACHINERY)
