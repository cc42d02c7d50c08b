"""Simulated: a world with a clock and a network of its own, for the very same reactor.

    world = World(seed=7, latency=0.02, largest_piece=100)
    reactor = world.reactor()

Nothing here waits and nothing is left to chance: the clock moves only when every party waits, then
straight to the next deadline or the next delivery, and whatever is random comes from the seed. An
hour of timeouts takes a millisecond, and a failure happens again under the same seed.

One reactor may serve both ends of its connections, by `reactor.run`. Several share a world by
`World.run`. A world in which everybody waits and nothing is to come says so: `Deadlock`.

The knobs: `latency` and `jitter` (seconds, one way), `buffer_size` (bytes on their way or unread,
in one direction), `largest_piece` (each send and recv moves 1 to so many bytes; 0: all it can).
What the network does, and its faults, are in simulated_network.py.

It is one thread: `run_in_thread` has no place here.
"""

from __future__ import annotations

import errno
import heapq
import random
from typing import Any, Callable

from simulated_network import Network, Socket, os_error

from tremolo.errors import TremoloError
from tremolo.loop.reactor import Reactor
from tremolo.loop.timers import NEVER
from tremolo.polling.poller import ERROR, HANGUP

# 2001-09-09 01:46:40 UTC, where the wall clock of a world begins.
_EPOCH = 1_000_000_000.0


class Deadlock(TremoloError):
    """Everybody waits, and nothing is to come that anybody could wait for."""


class World:
    """A clock and a network, and the reactors that live there."""

    def __init__(self, seed: int = 0, latency: float = 0.0, jitter: float = 0.0,
                 buffer_size: int = 65536, largest_piece: int = 0) -> None:
        self.random = random.Random(seed)
        self.latency = latency
        self.jitter = jitter
        self.buffer_size = buffer_size
        self.largest_piece = largest_piece
        self.now = 0.0
        self.network = Network(self)
        self._parties: list[tuple[Reactor, SimulatedPoller]] = []
        # What is on its way: (time of arrival, order, what happens then).
        self._coming: list[tuple[float, int, Callable[[], Any]]] = []
        self._count = 0

    def clock(self) -> float:
        """Return the seconds since the world began."""
        return self.now

    def wall_clock(self) -> float:
        """Return seconds since 1970, of this world."""
        return _EPOCH + self.now

    def poller(self) -> SimulatedPoller:
        """Make a poller of this world's sockets."""
        return SimulatedPoller(self)

    def reactor(self, **options: Any) -> Reactor:
        """Make a reactor that lives here."""
        poller = self.poller()
        reactor = Reactor(poller=poller, clock=self.clock, wall_clock=self.wall_clock,
                          network=self.network, **options)
        self._parties.append((reactor, poller))
        return reactor

    def run(self, until: Callable[[], Any]) -> None:
        """Turn all reactors until `until()`; time moves when all of them wait."""
        while not until():
            waiting = True
            deadline = self.next_delivery()
            for reactor, poller in self._parties:
                if reactor.closed:
                    continue
                due = reactor.next_deadline()
                if poller.ready() or (due is not None and due <= self.now):
                    reactor.step(0)
                    waiting = False
                elif due is not None:
                    deadline = min(deadline, due)
            if waiting:
                self.wait_until(deadline)

    def later(self, when: float, callback: Callable[[], Any]) -> None:
        """Let something happen at `when`."""
        self._count += 1
        heapq.heappush(self._coming, (when, self._count, callback))

    def next_delivery(self) -> float:
        """Return when the next thing happens by itself."""
        return self._coming[0][0] if self._coming else NEVER

    def wait_until(self, when: float) -> None:
        """Move the clock to `when`, and let happen on the way what is due."""
        if when == NEVER:
            raise Deadlock(f'everybody waits and nothing is to come, at {self.now:g} seconds, '
                           f'with {len(self.network.sockets)} sockets open')
        while self._coming and self._coming[0][0] <= when:
            at, _, callback = heapq.heappop(self._coming)
            self.now = max(self.now, at)
            callback()
        self.now = max(self.now, when)

    def piece(self, most: int) -> int:
        """Choose how many bytes pass at once, where `most` could."""
        if not self.largest_piece or most <= 1:
            return most
        return self.random.randint(1, min(most, self.largest_piece))


class SimulatedPoller:
    """A Poller of a world's sockets. Waiting is what moves the clock."""

    name = 'simulated'

    def __init__(self, world: World) -> None:
        self._world = world
        self._watched: dict[int, tuple[Socket, int]] = {}

    def register(self, fd: int, mask: int) -> None:
        if self._is_watched(fd):
            raise os_error(errno.EEXIST)
        self._watched[fd] = (self._world.network.sockets[fd], mask)

    def modify(self, fd: int, mask: int) -> None:
        if not self._is_watched(fd):
            raise os_error(errno.ENOENT)
        self._watched[fd] = (self._watched[fd][0], mask)

    def unregister(self, fd: int) -> None:
        if not self._is_watched(fd):
            raise os_error(errno.ENOENT)
        del self._watched[fd]

    def _is_watched(self, fd: int) -> bool:
        if fd not in self._world.network.sockets:
            raise os_error(errno.EBADF)
        # An entry of a socket that was closed is gone, even if another has its fd now.
        return fd in self._watched and self._watched[fd][0].fileno() == fd

    def ready(self) -> list[tuple[int, int]]:
        """Return the events there are now, in an order that the seed chooses."""
        events = []
        for fd, (sock, mask) in list(self._watched.items()):
            if sock.fd != fd:
                del self._watched[fd]
                continue
            happened = sock.ready() & (mask | ERROR | HANGUP)
            if happened:
                events.append((fd, happened))
        if len(events) > 1:
            self._world.random.shuffle(events)
        return events

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        world = self._world
        world.wait_until(world.now)
        end = NEVER if timeout is None else world.now + timeout
        events = self.ready()
        while not events and world.now < end:
            world.wait_until(min(end, world.next_delivery()))
            events = self.ready()
        return events

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self._watched.clear()
