"""What the tests of the loop share."""

from __future__ import annotations

from typing import Any

import kqueue_emulation
from simulated import World

from tremolo.loop import Listener, Queue, Reactor, Stream, bind, connect, spawn
from tremolo.polling.poller import EpollPoller, Poller
from tremolo.polling.pollers import KqueuePoller, SelectPoller

REAL = ('epoll', 'kqueue', 'select')


def make_poller(kind: str) -> Poller:
    if kind == 'kqueue':
        return KqueuePoller(kqueue_emulation)
    return EpollPoller() if kind == 'epoll' else SelectPoller()


def make_reactor(kind: str, **options: Any) -> Reactor:
    """Make a reactor on a real poller, or in a simulated world in which little passes at once."""
    if kind == 'simulated':
        world = World(seed=2, latency=0.001, buffer_size=30000, largest_piece=9000)
        return world.reactor(**options)
    return Reactor(poller=make_poller(kind), **options)


def run(reactor: Reactor, work: Any) -> Any:
    """Run a generator or coroutine to its end on the reactor; give its value or raise its error."""
    tasks = []

    def begin() -> None:
        tasks.append(spawn(work))
        tasks[0].add_done_callback(lambda _: reactor.stop())

    reactor.call_soon(begin)
    reactor.run()
    return tasks.pop().result()


def pair(reactor: Reactor) -> Any:
    """Connect two streams over TCP: `client, server = yield from pair(reactor)`."""
    arrived = Queue()
    listener = listen(reactor, arrived.put_nowait)
    client = yield connect('127.0.0.1', listener.address[1])
    server = yield arrived.get()
    listener.close()
    return client, server


def listen(reactor: Reactor, accepted: Any) -> Listener:
    """Accept on a free port; `accepted(stream)` for each connection, which has started."""
    def take(sock: Any, address: Any) -> None:
        stream = Stream(reactor, sock)
        stream.start()
        accepted(stream)

    listener = Listener(reactor, bind(reactor, '127.0.0.1', 0)[0], take)
    listener.start()
    return listener


class Recorder:
    """A receiver that writes down what it is told."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.told: list[Any] = []

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        self.told.append('eof')

    def stream_closed(self, cause: BaseException | None) -> None:
        self.told.append(('closed', cause))
