"""Monitor: in debug mode, name the code that holds up the loop.

    WARNING tremolo.error: the loop did not poll for 0.12 s; now at /srv/shop.py:12 in slow
      File "/srv/shop.py", line 12, in slow
        time.sleep(5)

The monitor has a thread of its own. Twenty times a second it looks at three attributes of the
reactor: `turning`, `turns`, and `now`, when the turn began. A turn that takes too long is reported
once, whether one callback is slow or many are, with the stack at that moment.

Not reported: what a host does between two steps; a turn that waits in a debugger; and, while the
reactor is a guest in another loop, what that loop runs outside the reactor's turns.
"""

from __future__ import annotations

import logging
import sys
import threading
from traceback import FrameSummary, format_list
from types import FrameType

from ..frames import is_application, is_house
from ..loop import Reactor
from ..typed import NamedTuple

_log = logging.getLogger('tremolo.error')
LIMIT = 0.1        # seconds that a turn may take
INTERVAL = 0.05   # seconds between two looks
_HOUSE = __name__.partition('.')[0]
# The frames that drive a turn, as module and function: the reactor's own callbacks run below the
# first, and asyncio's callbacks, between two of our polls, below the second.
DRIVERS = ((f'{_HOUSE}.loop.reactor', 'step'), (f'{_HOUSE}.bridge.event_loop', 'run_forever'))
_DEBUGGERS = ('bdb', 'pydevd', '_pydevd')


class _Place(NamedTuple):
    """A line that a thread executes: one frame of its stack."""

    module: str
    file: str
    line: int
    function: str


class Monitor:
    """Watches one reactor until the reactor is closed."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._looked = reactor.time()    # the time of the last look
        self._reported = -1              # the number of the last turn that was reported
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name='tremolo-monitor', daemon=True)

    def start(self) -> None:
        """Look regularly from now on, until `close`."""
        self._thread.start()
        self._reactor.at_close.add(self.close)

    def close(self) -> None:
        """Stop looking, and wait for the thread."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            self.look()

    def look(self) -> None:
        """Look once, and report the turn if it takes too long."""
        reactor = self._reactor
        turn, since, now = reactor.turns, reactor.now, reactor.time()
        # A look that comes late proves nothing: the whole process may have stood still.
        late, self._looked = now - self._looked > 2 * INTERVAL, now
        # These are read last: if the turn has ended since `turns` was read, then `turning` is false
        # or `turns` is another number. (A reactor that closes sets `turning`, too.)
        going = reactor.turning and reactor.turns == turn and not reactor.closed
        if not going or turn == self._reported or now - since <= LIMIT or late:
            return
        places = _places(reactor)
        if not places or reactor.turns != turn or not reactor.turning:
            # The turn ended while we read the stack.
            return
        self._reported = turn
        if any(place.module.startswith(_DEBUGGERS) for place in places):
            return
        # Named is the application's innermost line, shown is what lies below its first. If nothing
        # of the application is at work, these are the innermost line of all, and the whole stack.
        theirs = [number for number, place in enumerate(places) if is_application(*place[:2])]
        at = places[theirs[-1] if theirs else -1]
        if theirs:
            places = [place for place in places[theirs[0]:] if not is_house(place.module)]
        stack = ''.join(format_list([FrameSummary(*place[1:]) for place in places]))
        if _log.isEnabledFor(logging.WARNING):
            # (The stack is no part of the message, which is one line; see output.py.)
            _log.handle(_log.makeRecord(
                _log.name, logging.WARNING, __file__, 0,
                'the loop did not poll for %.2f s; now at %s:%d in %s',
                (now - since, at.file, at.line, at.function), None, sinfo=stack.rstrip('\n')))


def _places(reactor: Reactor) -> list[_Place]:
    """Return the stack of the reactor's turn, the innermost line last; [] if no thread is in one.

    No frame is kept, not even in a cycle of this very frame, which is among those that are read: a
    frame would free its objects late, and on this thread.
    """
    frame: FrameType | None
    for frame in sys._current_frames().values():
        places: list[_Place] = []
        while frame is not None:
            code, module = frame.f_code, str(frame.f_globals.get('__name__'))
            if (module, code.co_name) in DRIVERS:
                driver = frame.f_locals.get('self')
                if driver is reactor or getattr(driver, 'reactor', None) is reactor:
                    return places[::-1]
            places.append(_Place(module, code.co_filename, frame.f_lineno or 0, code.co_name))
            frame = frame.f_back
    return []


def watch(reactor: Reactor) -> None:
    """Start a monitor for a reactor, unless it has one already; for debug mode."""
    monitors = [each for each in reactor.at_close
                if isinstance(getattr(each, '__self__', None), Monitor)]
    if not monitors:
        Monitor(reactor).start()
