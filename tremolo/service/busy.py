"""Busy: the threads that would hold up the end of the process, and what they do.

Python waits at its end for each thread that is no daemon, and for the threads of each executor
(concurrent.futures). An executor's thread that has no job costs nothing; one that has a job is
waited for until the job has ended.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Set
from functools import partial
from types import FrameType

from ..frames import place_in_thread
from ..loop.work import Work
from ..typed import Any

_EXECUTOR = 'concurrent.futures.thread'


def busy_threads(but: Set[Any] = frozenset(), numbers: Set[int] = frozenset()) -> list[Work]:
    """Return the threads for which Python would wait, but for some, and some by their number."""
    found = []
    frames = sys._current_frames()
    for thread in threading.enumerate():
        number = thread.ident or 0
        if (thread.daemon or thread in but or number in numbers
                or thread in (threading.main_thread(), threading.current_thread())):
            continue
        frame = frames.get(number)
        if frame is not None and not _is_idle(frame):
            found.append(Work(
                thread, f'the thread {thread.name}', partial(place_in_thread, number), None))
    return found


def _is_idle(frame: FrameType) -> bool:
    """Return whether it is an executor's thread that waits for a job."""
    of_executor = False
    step: FrameType | None = frame
    while step is not None:
        if step.f_globals.get('__name__') == _EXECUTOR:
            if step.f_code.co_name == 'run':
                return False
            of_executor = True
        step = step.f_back
    return of_executor
