"""Signals: the signal handlers of asyncio, by way of the reactor."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import signal

from ..loop import Reactor
from ..typed import Any, Callable


class LoopSignals:
    """The signals that one event loop handles. asyncio itself never takes the wake-up fd."""

    def __init__(self, loop: asyncio.AbstractEventLoop, reactor: Reactor) -> None:
        self._loop = loop
        self._reactor = reactor
        self._handled: set[int] = set()

    def add(self, sig: int, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Call `callback` on each signal. Raises what `loop.add_signal_handler` raises."""
        if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError('a coroutine cannot be the handler of a signal')
        if not isinstance(sig, int):
            raise TypeError(f'{sig!r} is no signal')
        loop = self._loop
        if loop.is_closed():
            raise RuntimeError('the event loop is closed')
        context = contextvars.copy_context()
        number = signal.Signals(sig)
        try:
            self._reactor.add_signal(
                number, lambda: loop.call_soon(callback, *args, context=context))
        except (ValueError, OSError) as error:
            raise RuntimeError(f'signal {number} cannot be caught: {error}') from error
        self._handled.add(number)

    def remove(self, sig: int) -> bool:
        """Put back the handler from before; return False if none was added."""
        if not isinstance(sig, int):
            raise TypeError(f'{sig!r} is no signal')
        if signal.Signals(sig) not in self._handled:
            return False
        self._handled.discard(sig)
        self._reactor.remove_signal(sig)
        return True

    def clear(self) -> None:
        """Put back all handlers from before."""
        for sig in list(self._handled):
            self.remove(sig)
