"""Frames: whose code a frame executes, and where a coroutine, a generator or a thread stands.

Reports and warnings name a line of the application with it. No function here imports anything, so
the handler of a signal can call them; and none keeps a frame.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType

from .typed import Any

_HOUSE = __name__.partition('.')[0] + '.'
_LOOP = _HOUSE + 'loop.'
# The folder of the standard library. (Some of its modules are frozen and have no file; `threading`
# has a file.)
_LIBRARY = os.path.join(os.path.dirname(threading.__file__), '')
_INSTALLED = tuple(_LIBRARY + name + os.sep for name in ('site-packages', 'dist-packages'))
# For each kind the attribute with its frame, and the attribute with the object that it waits for.
_KINDS: dict[Any, tuple[str, str]] = {
    CoroutineType: ('cr_frame', 'cr_await'),
    GeneratorType: ('gi_frame', 'gi_yieldfrom'),
    AsyncGeneratorType: ('ag_frame', 'ag_await'),
}
_DEEPEST = 100    # Frames that are looked at, at most: a report has to be quick.


class Place(str):
    """Where code stands, as file:line, and the name of its function."""

    function = ''


def _place(frame: FrameType) -> Place:
    place = Place(f'{frame.f_code.co_filename}:{frame.f_lineno}')
    place.function = frame.f_code.co_name
    return place


def standing(running: Any) -> str:
    """Return where something that runs a handler stands, a task for instance.

    'running' if there is none: a handler that has not returned yet becomes a task when it has to
    wait. '?' if it cannot tell.
    """
    if running is None:
        return 'running'
    try:
        return running.where()    # type: ignore[no-any-return]
    except Exception:
        return '?'


def is_house(module: str) -> bool:
    """Return whether the module of that name belongs to tremolo."""
    return module.startswith(_HOUSE)


def is_application(module: str, file: str) -> bool:
    """Return whether code belongs neither to tremolo nor to the standard library."""
    return not (is_house(module) or file.startswith('<frozen ')
                or (file.startswith(_LIBRARY) and not file.startswith(_INSTALLED)))


def place_of(awaitable: Any) -> str:
    """Return where a coroutine or generator stands, a `Place`; 'ended' if it has ended.

    It is the innermost line of the application; if there is none, the innermost line of all. While
    a chain of generators runs, Python tells the line of the outermost one only.
    """
    innermost = found = Place('')
    for _ in range(_DEEPEST):
        if type(awaitable) not in _KINDS:
            awaitable = _behind(awaitable)
            if awaitable is None:
                break
        frame_name, next_name = _KINDS[type(awaitable)]
        frame = getattr(awaitable, frame_name)
        if frame is None:
            break
        file = frame.f_code.co_filename
        innermost = _place(frame)
        if is_application(str(frame.f_globals.get('__name__')), file):
            found = innermost
        awaitable = getattr(awaitable, next_name)
    return found or innermost or 'ended'


def caller() -> str:
    """Return the line of the application that called, directly or not, as file:line.

    If the application did not call, it is the first line outside the room `loop`.
    """
    frame, outside = sys._getframe(1), None
    while True:
        file, module = frame.f_code.co_filename, str(frame.f_globals.get('__name__'))
        if is_application(module, file):
            return f'{file}:{frame.f_lineno}'
        if outside is None and not module.startswith(_LOOP):
            outside = f'{file}:{frame.f_lineno}'
        if frame.f_back is None:
            return outside or f'{file}:{frame.f_lineno}'
        frame = frame.f_back


def place_in(innermost: FrameType) -> str:
    """Return where a thread stands, from its innermost frame: a `Place` as `place_of` chooses."""
    frame: FrameType | None = innermost
    while frame is not None:
        file = frame.f_code.co_filename
        if is_application(str(frame.f_globals.get('__name__')), file):
            return _place(frame)
        frame = frame.f_back
    return _place(innermost)


def place_in_thread(thread: int) -> str:
    """Return where the thread of that number stands; '' if there is none."""
    frame = sys._current_frames().get(thread)
    return place_in(frame) if frame is not None else ''


def _behind(awaitable: Any) -> Any:
    """Return the coroutine or generator behind an object that drives it; None if there is none.

    `async for` waits for an object of this kind, and `__await__` of a coroutine returns one. It has
    no attribute for the coroutine: only the garbage collector knows what it refers to.
    """
    return next((each for each in gc.get_referents(awaitable) if type(each) in _KINDS), None)
