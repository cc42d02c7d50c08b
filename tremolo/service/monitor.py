"""Monitor: in debug mode, who holds up the loop.

    WARNING tremolo.error: the loop did not poll for 0.12 s; now at /srv/shop.py:12 in slow
      File "/srv/shop.py", line 12, in slow
        time.sleep(5)

A thread of its own looks at the reactor twenty times a second, and reads what that keeps anyway:
`turning`, `turns`, and when the turn began. Each turn is told at most once, whether one callback
takes so long or many do together, with the place and the stack of this very moment.

Not told: what a host does between two steps; a turn that waits in a debugger; and what another loop
runs outside our turns while we are its guest.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from functools import partial
from traceback import FrameSummary, format_list, walk_stack
from types import FrameType
from typing import NamedTuple

from ..loop import Reactor
from ..settings import Settings

_log = logging.getLogger('tremolo.error')
LIMIT = 0.1        # seconds that a turn may take
INTERVAL = 0.05    # seconds between two looks
_HOUSE = __name__.partition('.')[0] + '.'
# Where a turn is driven from: ours, and what asyncio's callbacks do between two of our polls.
_DRIVERS = {(f'{_HOUSE}loop.reactor', 'step'), (f'{_HOUSE}bridge.event_loop', 'run_forever')}
_DEBUGGERS = ('bdb', 'pydevd', '_pydevd')
# (Some modules of the library are frozen and have no file; this one has.)
_LIBRARY = os.path.join(os.path.dirname(threading.__file__), '')
_INSTALLED = tuple(_LIBRARY + name + os.sep for name in ('site-packages', 'dist-packages'))


class _Place(NamedTuple):
    """A line that is being executed."""

    module: str
    file: str
    line: int
    function: str

    def is_application(self) -> bool:
        """Tell whether the code is neither ours nor the standard library's."""
        file = self.file
        return not (self.module.startswith(_HOUSE) or file.startswith('<frozen ')
                    or (file.startswith(_LIBRARY) and not file.startswith(_INSTALLED)))


class Monitor:
    """Watches one reactor until that is closed."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._looked = reactor.time()    # when the last look was
        self._told = -1                  # the number of the last turn that was told
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name='tremolo-monitor', daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()
        self._reactor.at_close.add(self.close)

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            self.look()

    def look(self) -> None:
        """Look once, and tell what is to be told."""
        reactor = self._reactor
        turn, since, now = reactor.turns, reactor.now, reactor.time()
        # Who comes late itself knows nothing: the whole process may have stood still.
        late, self._looked = now - self._looked > 2 * INTERVAL, now
        # Read last: a turn that ended meanwhile has another number now, or is not going on. (While
        # it closes, a reactor calls what it does a turn, too.)
        going = reactor.turning and reactor.turns == turn and not reactor.closed
        if not going or turn == self._told or now - since <= LIMIT or late:
            return
        places = _places(reactor)
        if not places or reactor.turns != turn or not reactor.turning:
            # It ended while we looked.
            return
        self._told = turn
        if any(place.module.startswith(_DEBUGGERS) for place in places):
            return
        theirs = [number for number, place in enumerate(places) if place.is_application()]
        at = places[theirs[-1] if theirs else -1]
        if theirs:
            places = [place for place in places[theirs[0]:] if not place.module.startswith(_HOUSE)]
        stack = format_list([FrameSummary(*place[1:]) for place in places])
        _log.warning('the loop did not poll for %.2f s; now at %s:%d in %s\n%s', now - since,
                     at.file, at.line, at.function, ''.join(stack).rstrip('\n'))


def _places(reactor: Reactor) -> list[_Place]:
    """Return where the reactor's turn is, the innermost last; empty if no thread is in one."""
    stacks = map(partial(_places_of, reactor), sys._current_frames().values())
    return next(filter(None, stacks), [])


def _places_of(reactor: Reactor, innermost: FrameType) -> list[_Place]:
    """Look for the turn on one thread.

    No frame is kept: what it refers to would be freed late, and on this thread.
    """
    places: list[_Place] = []
    for frame, line in walk_stack(innermost):
        code, module = frame.f_code, str(frame.f_globals.get('__name__'))
        place = _Place(module, code.co_filename, line or 0, code.co_name)
        if (place.module, place.function) in _DRIVERS:
            driver = frame.f_locals.get('self')
            if driver is reactor or getattr(driver, 'reactor', None) is reactor:
                return places[::-1]
        places.append(place)
    return []


def watch(reactor: Reactor, settings: Settings) -> None:
    """In debug mode, start the monitor of a reactor that has none."""
    monitors = [each for each in reactor.at_close
                if isinstance(getattr(each, '__self__', None), Monitor)]
    if settings.debug and not monitors:
        Monitor(reactor).start()
