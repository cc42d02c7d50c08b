"""Callbacks: who pays for what runs later, from the reactor's ready queue or from asyncio's.

Who pays is noted in the context of each request that begins while turns are rationed, and with it
in all tasks that the request begins. (It is the watcher that is noted: a WebSocket is there for
longer than an account.) For what began earlier, who caused a callback pays: the client
whose reader, or whose other callback, was running when it was scheduled. Code that uses up its time
slice says for whom it works. What nobody is known to pay for runs at once, and costs nobody.

All of it stands in attributes of the reactor and of asyncio's loop that hide their methods, for as
long as turns are rationed. At other times it is not there.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial

from ..loop import Future, Reactor, Task
from ..typed import Any, Callable, Protocol
from .accounts import Account
from .few import Few
from .rationing import Rationing

_PAYER: ContextVar[Any] = ContextVar('tremolo_payer', default=None)
# Seconds that code which does not wait may go on, while turns are rationed.
_SLICE = 0.001


class Clients(Protocol):
    """Where requests come from: a server."""

    new_context: Callable[[], Context]    # Makes the context of each request.
    ends: Few    # Calls `tell_end` of long bodies; each knows its `connection`.

    def stream_of(self, payer: Any) -> Any:
        """Return the stream of the client for which it works, or None."""


class Charging:
    """Charges the callbacks of one reactor, and of the asyncio loop on it, to clients."""

    def __init__(self, reactor: Reactor, rationing: Rationing, clients: list[Clients]) -> None:
        self._reactor = reactor
        self._rationing = rationing
        self._clients = clients
        self._guard, self._call_soon = reactor.guard, reactor.call_soon
        # What is hidden: (an object, name, what stood there, what stands there now).
        self._hidden: list[tuple[Any, str, Any, Any]] = []
        self._add_reader = reactor.add_reader
        for name in 'guard', 'call_soon', 'add_reader', 'slice_end', 'turn_of', 'stop':
            self._hide(reactor, name, getattr(self, name), vars(reactor).get(name))
        for each in clients:
            # (Not by `vars`: CPython 3.11 would make a dictionary, and find all that is in it more
            # slowly from then on. An ASGI request took 2.2 % more instructions.)
            before = each.new_context
            self._hide(each, 'new_context', partial(self._context_of, before), before)
        for ends in {each.ends for each in clients}:
            self._hide(ends, 'call', partial(self._end_body, ends.call), vars(ends).get('call'))
            waiting, ends.waiting = ends.waiting, deque()
            for tell_end in waiting:
                ends.call(tell_end)
        self._loop: Any = None

    def _hide(self, held: Any, name: str, value: Any, before: Any = None) -> None:
        """Hide a method, or what an object has of its own under this name."""
        self._hidden.append((held, name, before, value))
        setattr(held, name, value)

    def look_at_bridge(self) -> None:
        """Charge asyncio's callbacks, too, once there is such a loop, and it is ours."""
        bridge: Any = self._reactor.bridge
        if bridge is not None and self._loop is None:
            self._loop = bridge.loop
            if bridge.is_own:
                self._plain_call_soon = self._loop.call_soon
                self._hide(self._loop, 'call_soon', self._loop_call_soon,
                           vars(self._loop).get('call_soon'))

    def end(self) -> None:
        """Put all back as it was, but for what was replaced since."""
        for held, name, before, value in reversed(self._hidden):
            if getattr(held, name) is value:
                if before is None:
                    delattr(held, name)
                else:
                    setattr(held, name, before)
        self._hidden.clear()

    def _context_of(self, new_context: Callable[[], Context]) -> Context:
        """Make the context of a request that begins now."""
        context, account = new_context(), self._rationing.current
        context.run(_PAYER.set, None if account is None else account.watcher)
        return context

    def _end_body(self, call: Callable[[Any], None], tell_end: Any) -> None:
        """Hold back the end of a long body, unless the client is known.

        It is, if it had a long body in this rationing, and has taken no heavy step.
        """
        stream = tell_end.__self__.connection.stream
        account = None if stream.closed else self._rationing.accounts.of(stream.fd)
        if account is None or (account.ended and not account.heavy):
            call(tell_end)
        else:
            self._rationing.hold_end(account, partial(self._guard, call, (tell_end,)))

    # -- instead of the reactor's methods -------------------------------------------------------

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        """Do as `Reactor.call_soon`, and note who pays."""
        account = self._rationing.current
        if account is None:
            self._call_soon(callback, *args)
        else:
            self._call_soon(_paid, account, callback, args)

    def guard(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Do as `Reactor.guard` for who pays, or hold the callback until its client is served."""
        account: Account | None = None
        if callback is _paid:
            account, callback, args = args
        # (What was scheduled before the rationing began has no account yet.)
        payer = args[0] if args else None
        with suppress(Exception):    # (It may be any object of the application.)
            payer = getattr(callback, '__self__', payer)
        if isinstance(payer, Task):
            account = self._account_in(payer.context) or self._account_of(payer.owner) or account
        elif account is None:
            account = self._account_of(payer)
        if account is None:
            self._guard(callback, args)
        elif _goes_on(callback) and self._rationing.must_wait(account, isinstance(payer, Task)):
            self._rationing.hold(account, partial(self._guard, callback, args))
        else:
            self._rationing.run(account, self._guard, callback, args)
        del args, payer    # (See `Reactor.guard`.)

    def add_reader(self, fd: int, callback: Callable[[], Any]) -> None:
        """Do as `Reactor.add_reader`; who is watched from now on is a newcomer."""
        is_new = fd not in self._reactor.watchers
        self._add_reader(fd, callback)
        if is_new:
            self._rationing.accounts.note_newcomer(fd)

    def stop(self) -> None:
        """Do as `Reactor.stop`, after all that waits: it would be lost."""
        self._reactor.fairness.end()
        self._call_soon(self._reactor.stop)

    def slice_end(self, payer: Any) -> float:
        """Give a short slice, and note in the context who pays."""
        account = self._account_of(payer)
        if account is not None and _PAYER.get() is not account.watcher:
            _PAYER.set(account.watcher)
        return self._reactor.time() + _SLICE

    def turn_of(self, payer: Any) -> Future | None:
        """Return a Future that is done when the client is served; None for a light one."""
        account = self._account_of(payer)
        if account is None or not self._rationing.must_wait(account):
            return None
        future = Future(self._reactor)
        self._rationing.hold(account, partial(_complete, future))
        return future

    def _account_in(self, context: Context) -> Account | None:
        """Return the account of who pays for what runs in a context."""
        watcher = context.get(_PAYER)
        return None if watcher is None else self._rationing.accounts.of_watcher(watcher)

    def _account_of(self, payer: Any) -> Account | None:
        """Return the account of the client for which something works."""
        for each in self._clients:
            stream = each.stream_of(payer)
            if stream is not None and not stream.closed:
                return self._rationing.accounts.of(stream.fd)
        return None

    # -- instead of a method of asyncio's loop --------------------------------------------------

    def _loop_call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        # (A context without variables is false.)
        context = copy_context() if context is None else context
        account = self._account_in(context) or self._rationing.current
        if account is None:
            return self._plain_call_soon(callback, *args, context=context)
        return _Step(self, account, callback, args, context).schedule()

    def step(self, step: _Step) -> None:
        """Do a step of asyncio, at the cost of who pays.

        It never waits in a line: asyncio's transports count on the order of what is called soon.
        What waits are the next bytes of the client.
        """
        step.handle = None    # (It refers to the step: a cycle.)
        if self._rationing.over:
            step.callback(*step.args)
        else:
            self._rationing.run(step.account, step.callback, *step.args)

    def schedule(self, step: _Step) -> Any:
        """Let asyncio call it."""
        return self._plain_call_soon(step, context=step.context)


class _Step:
    """A callback of asyncio's loop, and who pays for it."""

    __slots__ = ('_charging', 'account', 'args', 'callback', 'context', 'handle')

    def __init__(self, charging: Charging, account: Account, callback: Any, args: Any,
                 context: Context) -> None:
        self._charging = charging
        self.account = account
        self.callback = callback
        self.args = args
        self.context = context
        self.handle: Any = None    # What `call_soon` has returned.

    def schedule(self) -> Any:
        """Let asyncio call it soon; return the handle."""
        self.handle = self._charging.schedule(self)
        return self.handle

    def __call__(self) -> None:
        if not self.handle.cancelled():
            self._charging.step(self)


def _complete(future: Future) -> None:
    if not future.done():    # (It may be cancelled.)
        future.set_result(None)


def _paid(account: Account, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Call a callback that is called when turns are rationed no more."""
    callback(*args)


def _goes_on(callback: Any) -> bool:
    """Return whether a callback begins the next piece of work for a client.

    Only these wait: a task's next step, the next request, the next messages or chunks. All others
    tell somebody of an event, and count on their order.
    """
    return getattr(callback, '__name__', '') in ('_resume', '_go_on', 'go_on')
