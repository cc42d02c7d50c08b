"""Frames: whose code a frame executes, and where something that can be awaited stands.

For reports that name a line of the application. Nothing here imports, so it can be called from the
handler of a signal; and nothing here keeps a frame.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any

_HOUSE = __name__.partition('.')[0] + '.'
_ROOM = __name__.rpartition('.')[0] + '.'
# The folder of the standard library. (Some of its modules are frozen and have no file; threading
# has one.)
_LIBRARY = os.path.join(os.path.dirname(threading.__file__), '')
_INSTALLED = tuple(_LIBRARY + name + os.sep for name in ('site-packages', 'dist-packages'))
# The attributes with the frame of each kind, and with what it waits for.
_KINDS: dict[Any, tuple[str, str]] = {
    CoroutineType: ('cr_frame', 'cr_await'),
    GeneratorType: ('gi_frame', 'gi_yieldfrom'),
    AsyncGeneratorType: ('ag_frame', 'ag_await'),
}
_DEEPEST = 100    # Frames that are looked at, so that a report is done at once.


def is_house(module: str) -> bool:
    """Tell whether a module, given by its name, belongs to tremolo."""
    return module.startswith(_HOUSE)


def is_application(module: str, file: str) -> bool:
    """Tell whether code belongs neither to tremolo nor to the standard library."""
    return not (is_house(module) or file.startswith('<frozen ')
                or (file.startswith(_LIBRARY) and not file.startswith(_INSTALLED)))


def place_of(awaitable: Any) -> str:
    """Return where a coroutine or generator stands, as file:line; 'ended' if it has ended.

    It is the innermost line of the application; if there is none, the innermost line of all.
    """
    innermost, found = 'ended', ''
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
        innermost = f'{file}:{frame.f_lineno}'
        if is_application(str(frame.f_globals.get('__name__')), file):
            found = innermost
        awaitable = getattr(awaitable, next_name)
    return found or innermost


def caller() -> str:
    """Return the line of the application that called, directly or not, as file:line.

    Without such a line, as in our own tests of this room, it is the first one outside the room.
    """
    frame, outside = sys._getframe(1), None
    while True:
        file, module = frame.f_code.co_filename, str(frame.f_globals.get('__name__'))
        if is_application(module, file):
            return f'{file}:{frame.f_lineno}'
        if outside is None and not module.startswith(_ROOM):
            outside = f'{file}:{frame.f_lineno}'
        if frame.f_back is None:
            return outside or f'{file}:{frame.f_lineno}'
        frame = frame.f_back


def place_in(innermost: FrameType) -> str:
    """Return where a thread stands whose innermost frame is given; chosen as in `place_of`."""
    frame: FrameType | None = innermost
    while frame is not None:
        file = frame.f_code.co_filename
        if is_application(str(frame.f_globals.get('__name__')), file):
            return f'{file}:{frame.f_lineno}'
        frame = frame.f_back
    return f'{innermost.f_code.co_filename}:{innermost.f_lineno}'


def _behind(awaitable: Any) -> Any:
    """Return the coroutine or generator behind an object that drives it; None if there is none.

    `async for` waits for such an object, and `__await__` of a coroutine returns one. They have no
    attribute for it: only the garbage collector knows what they refer to.
    """
    return next((each for each in gc.get_referents(awaitable) if type(each) in _KINDS), None)
