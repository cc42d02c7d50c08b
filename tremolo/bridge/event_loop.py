"""Event loop: an asyncio loop whose selector, clock and signals are the reactor's.

asyncio asks a selector which fds are ready. Here the reactor is that selector: `select` does one
turn of the reactor. In that turn the reactor calls its own callbacks; then `select` returns the
ready fds that asyncio itself watches. So there is one thread and one poll, and everything written
for asyncio works unchanged. Only public parts of asyncio are used.
"""

from __future__ import annotations

import asyncio
import selectors
from functools import partial

from ..loop import Reactor
from ..loop.future import set_current_reactor
from ..typed import Any, Callable
from .signals import LoopSignals
from .watching import watch


class ReactorSelector(selectors.SelectSelector):
    """The selector of the asyncio loop: it keeps the keys as others do, and the reactor polls."""

    def __init__(self, reactor: Reactor) -> None:
        super().__init__()
        self.reactor = reactor
        self._ready: dict[int, int] = {}    # The events of this turn, by fd.
        self.longest: float | None = None    # Seconds that a host lets one poll wait.
        self.after: Callable[[], Any] | None = None    # Called after each turn.

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file. Raises `KeyError` if it is watched, `ValueError` if it is closed."""
        return self._watched(super().register(fileobj, events, data), 0)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file for other events, or keep other data. Raises `KeyError`."""
        before = super().unregister(fileobj).events
        return self._watched(super().register(fileobj, events, data), before)

    def _watched(self, key: selectors.SelectorKey, before: int) -> selectors.SelectorKey:
        try:
            watch(self, key.fd, before, key.events)
        except OSError:
            super().unregister(key.fileobj)
            raise
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Stop watching a file. Raises `KeyError`."""
        key = super().unregister(fileobj)
        self._ready.pop(key.fd, None)
        self.reactor.remove_fd(key.fd)
        return key

    def note(self, fd: int, bit: int) -> None:
        """Return a file from the next `select`: the reactor has found it ready."""
        self._ready[fd] = self._ready.get(fd, 0) | bit

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Do one turn of the reactor; return the ready files that asyncio watches."""
        if self.longest is not None and (timeout is None or timeout > self.longest):
            timeout = self.longest
        reactor = self.reactor
        if reactor.unsent:
            reactor.end_turn()
        reactor.step(timeout)
        # asyncio runs its callbacks now, as a part of this turn: `call_soon` wakes no poll, and
        # what they write is sent together, before the next poll.
        reactor.turning = True
        if self.after is not None:
            self.after()
        if not self._ready:
            return []
        ready, self._ready = self._ready, {}
        # A callback of this turn may have unregistered a file.
        keys = ((self.get_map().get(fd), bits) for fd, bits in ready.items())
        return [(key, bits & key.events) for key, bits in keys if key and bits & key.events]


class ReactorEventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop whose poll, clock and signals are a reactor's."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self._signals = LoopSignals(self, reactor)
        self.selector = ReactorSelector(reactor)
        # (Asked for in each turn and for each timer: so there is no frame between the two.)
        self.time = reactor.time    # type: ignore[method-assign]
        super().__init__(self.selector)

    def run_forever(self) -> None:
        """Run until `stop`; the reactor is the current one for asyncio's callbacks too."""
        before = set_current_reactor(self.reactor)
        try:
            super().run_forever()
        finally:
            self.reactor.end_turn()
            set_current_reactor(before)

    # asyncio asks this for each task and each callback. (A class is called without a frame of
    # Python: 640 instructions less for a task on CPython 3.11, which is 0.7 % of a request.)
    get_debug: Callable[[], bool] = bool

    def set_debug(self, enabled: bool) -> None:
        """Set asyncio's debug mode."""
        super().set_debug(enabled)
        self.get_debug = partial(bool, enabled)

    def add_signal_handler(  # type: ignore[override]
        self, sig: int, callback: Callable[..., Any], *args: Any
    ) -> None:
        """Call `callback` on each signal, by `Reactor.add_signal`: asyncio takes no wake-up fd.

        Raises `ValueError` if `sig` is no signal, `RuntimeError` for a signal that cannot be caught
        and on another thread than the main one.
        """
        self._signals.add(sig, callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Put back the handler from before; return False if none was added."""
        return self._signals.remove(sig)

    def close(self) -> None:
        """Close the loop; the reactor can go on without it."""
        self._signals.clear()
        super().close()
