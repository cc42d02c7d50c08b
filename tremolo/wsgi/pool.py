"""Pool: the threads that run the calls of WSGI applications, and the way back to the loop.

    submit(call)              the loop gives a call to the threads; one of them calls `call.run()`
    post(function, argument)  a thread lets the loop call `function(argument)`, in order

To wake a thread, or the loop, takes longer than a small answer: the kernel switches, and the
interpreter's lock changes hands, from then on with each system call of the other. So this is done
as seldom as possible:

    - a thread is woken at the end of the turn, when all requests are read and all answers are sent
    - it takes the first call and, if there are more, wakes the next thread; if the calls are short,
      it has done all of them before that one gets the interpreter's lock
    - the loop is woken for the answers when no call is left, or when the next thread comes

All applications on one reactor share a pool. It starts threads as they are needed, up to the option
`threads`, and has them until the reactor closes. All are daemons: a call that never returns cannot
keep the process alive. A thread that waits for its client, or for a Future, does not count: another
may work in its place (loop/waits.py), and leaves when there are more than `threads` again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections import deque

from ..loop import Reactor
from ..loop.future import set_current_reactor, wait_by
from ..loop.waits import Waits
from ..loop.work import Work
from ..typed import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .call import Call

_log = logging.getLogger('tremolo.loop')

_PATIENCE = 1.0    # Seconds for the end of a thread, when the reactor closes.


class Pool:
    """The threads of one reactor that run calls."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._process = os.getpid()
        self.calls: deque[Call] = deque()    # They wait for a thread.
        self._idle: list[Any] = []    # The locks on which threads sleep; the last was busy last.
        # Whether a thread is on its way to the queue. (Whoever sets or reads this has changed or
        # reads the queue in the other order, so no call is left there.)
        self._coming = False
        self._due = False    # Whether `push` will be called at the end of this turn.
        self._growing = threading.Lock()    # Guards `_threads`.
        self._threads: list[threading.Thread] = []
        self._running: set[Call] = set()
        self.waits = Waits(reactor, self.push)
        # What the loop has to do, and whether it was woken for it.
        self._posted: deque[tuple[Callable[[Any], Any], Any]] = deque()
        self._told = False
        self.closed = False
        reactor.at_close.add(self._close)

    @classmethod
    def of(cls, reactor: Reactor) -> Pool:
        """Return the pool of a reactor, made for its first application."""
        for pool in reactor.pools:
            if isinstance(pool, cls):
                return pool
        pool = cls(reactor)
        reactor.pools.append(pool)
        return pool

    # -- from the loop to the threads -----------------------------------------------------------

    def submit(self, call: Call) -> None:
        """Let a thread run a call. Raises `RuntimeError` if there is none and can be none."""
        self.calls.append(call)
        if not self._due:
            if not self._threads:
                self._wake()
            elif self._reactor.turning:
                self._due = True
                self._reactor.unsent.insert(0, self)    # type: ignore[arg-type]
            else:
                self.push()

    @property
    def full(self) -> bool:
        """Whether one more call is too many."""
        return self.waits.full(len(self.calls))

    @property
    def busy(self) -> bool:
        """Whether calls run, or wait, or have just ended. (Room fair asks.)"""
        return bool(self._running or self.calls or self._posted)

    def withdraw(self, call: Call) -> bool:
        """Forget a call that waits for a thread; return whether it did."""
        try:
            self.calls.remove(call)
        except (ValueError, IndexError, RuntimeError):
            return False    # A thread has just taken it, or others, so it will.
        return True

    def push(self) -> None:
        """Wake a thread for the calls of this turn; the reactor calls this at the turn's end."""
        self._due = False
        if self.calls and not self._coming:
            self._wake()

    def _wake(self) -> None:
        """Wake a thread, or start one, if there is one that does nothing."""
        try:
            asleep = self._idle.pop()
        except IndexError:
            with self._growing:
                # (Mostly no thread waits, and `_crowded` is not called: 2 % of a hello world.)
                room = len(self._threads) < self._reactor.threads or (
                    self.waits.events and not self._crowded(1))
                if room and not self.closed:
                    self._grow()
        else:
            self._coming = True
            asleep.release()

    def _crowded(self, more: int = 0) -> bool:
        """Tell whether there would be too many threads, those that wait for clients left out."""
        return len(self._threads) + more > self._reactor.threads + len(self.waits)

    def _grow(self) -> None:
        thread = threading.Thread(target=self._work, name='tremolo-wsgi', daemon=True)
        self._coming = True
        try:
            thread.start()
        except RuntimeError:
            # The system has no more threads. The existing ones will do this call later.
            self._coming = False
            if not self._threads:
                self.calls.pop()
                raise
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        set_current_reactor(self._reactor)
        wait_by(self.waits.wait)
        calls, running, idle, threads = self.calls, self._running, self._idle, self._threads
        asleep = threading.Lock()
        asleep.acquire()
        self._arrived()
        while True:
            try:
                call = calls.popleft()
            except IndexError:
                if self.closed or (len(threads) > self._reactor.threads and self._leave()):
                    return
                idle.append(asleep)
                if calls or self.closed:
                    # One came in between, and its sender may have found nobody asleep.
                    try:
                        idle.remove(asleep)
                        continue
                    except ValueError:
                        pass    # (It was found, and is being woken.)
                asleep.acquire()
                self._arrived()
                continue
            running.add(call)
            if calls and not self._coming:
                self._wake()
            call.run()
            self.end_child()
            running.discard(call)
            del call    # An idle thread keeps nothing of its last call alive.
            self.tell_soon()

    def _leave(self) -> bool:
        """Let this thread go, if there are too many, and no call has come for it."""
        with self._growing:
            # (First the call is there, then its sender looks whether a thread may be started.)
            if not self._crowded() or self.calls:
                return False
            self._threads.remove(threading.current_thread())
            return True

    def end_child(self, error: BaseException | None = None) -> None:
        """End a process that the application has forked, if this is one, as `sys.exit` would.

        Here it has nothing to do: the loop is not in it, and the calls that wait are its parent's.
        """
        if os.getpid() == self._process:
            return
        if error is None:
            _log.error('the WSGI application has forked, and the child has come back from the '
                       'call: end it by os._exit(0)')
        elif not isinstance(error, SystemExit):
            _log.error('the child of a WSGI application failed', exc_info=error)
        code = getattr(error, 'code', 1)
        for stream in sys.stdout, sys.stderr:
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code & 255 if isinstance(code, int) else int(code is not None))

    def _arrived(self) -> None:
        """Note that this thread looks at the queue; tell what others have left to it to tell."""
        self._coming = False
        if self._posted:
            self.tell()

    # -- from the threads to the loop -----------------------------------------------------------

    def post(self, function: Callable[[Any], Any], argument: Any) -> None:
        """Let the loop call `function(argument)` soon, after what was posted before."""
        self._posted.append((function, argument))
        self.tell()

    def post_last(self, function: Callable[[Any], Any], argument: Any) -> None:
        """Do the same, as soon as `tell_soon` is called: at the latest when this call ends."""
        self._posted.append((function, argument))

    def tell_soon(self) -> None:
        """Let the loop do what was posted, now or when the thread comes that is on its way."""
        if self._posted and not (self.calls and self._coming):
            self.tell()

    def tell(self) -> None:
        """Let the loop do what was posted."""
        if not self._told:
            self._told = True
            self._reactor.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        """Do what was posted; what is posted meanwhile has its own turn."""
        self._told = False
        posted = self._posted
        for _ in range(len(posted)):
            function, argument = posted.popleft()
            try:
                function(argument)
            except Exception:
                _log.exception('the callback %r failed', function)

    # -- the end --------------------------------------------------------------------------------

    def left(self) -> list[Work]:
        """Return the calls that run now or wait for a thread."""
        waiting = [Work(call, call.what, call.where, call.cancel) for call in list(self.calls)]
        return waiting + [Work(call, call.what, call.where, None) for call in list(self._running)]

    def _close(self) -> None:
        """End the idle threads, and tell the others that there is no client any more.

        (What waits for a thread is still taken: a `close` that is to be called, for example.)
        """
        self.closed = True
        for call in list(self._running):
            call.cancel()
        busy = {call.thread for call in list(self._running)}
        while self._idle:
            self._idle.pop().release()
        for thread in self._threads:
            if thread.ident not in busy:
                # (One that has just taken a call is not known as busy, and may take its time.)
                thread.join(_PATIENCE)
