"""Asking: the supervisor's side of the control socket: each worker is asked what goes on in it.

    client --connects--> Desk --> Answer --CONTROL, with a socket--> each worker
                                         <--its rows-- until each has told all, or has told nothing
                                                       for a second

A worker whose loop hangs tells nothing: a row of its own says so, with its process id, for
`kill -USR2`. As long as it lets a question wait for longer than that, it is asked no other one:
nothing piles up before it.
"""

from __future__ import annotations

import socket
from functools import partial

from ..control.desk import Desk
from ..control.rows import END, Row, line
from ..loop import Future, Reactor, Stream
from ..loop.timers import NEVER
from ..typed import Any
from .channel import CONTROL
from .group import STARTING, Group, Worker

_PROMPT = 1.0    # Seconds in which a worker begins to tell, and goes on.
_MOST = 8    # Questions that wait at a worker.


class Asking:
    """Goes on beside the workers (see `Beside`)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._desk: Desk | None = None
        self.parts: set[Part] = set()    # What comes from workers that have not told all.

    def begin(self, reactor: Reactor, group: Group) -> None:
        """Open the control socket. Raises `ListenError`."""
        self._desk = Desk(reactor, self._path, partial(Answer, self, group))

    def close(self) -> None:
        """Close it, and what comes from workers."""
        if self._desk is not None:
            self._desk.close()
        for part in list(self.parts):
            part.stream.abort()

    def is_silent(self, worker: Worker, now: float) -> bool:
        """Return whether a worker has let a question wait for too long, or has enough of them."""
        waits = [now - each.asked for each in self.parts
                 if each.worker is worker and not each.begun]
        return len(waits) >= _MOST or max(waits, default=0.0) >= _PROMPT


class Answer:
    """What one client is told."""

    def __init__(self, asking: Asking, group: Group, client: Stream) -> None:
        self._asking = asking
        self._client = client
        self._reactor = client.reactor
        self._parts: set[Part] = set()
        self._held_up = False    # Whether they wait for the client.
        numbers = {each.slot: number for number, each in enumerate(group.slots, 1)}
        for each in group.slots:
            if each.worker is None:
                self.send(line({'row': 'worker', 'worker': numbers[each.slot], 'pid': None,
                                'state': 'does not run'}))
        for worker in list(group.workers.values()):
            # (The slot of a worker that ends may be none any more: SIGTTOU.)
            self._ask(worker, numbers.get(worker.slot, 0))
        self._end_if_told()
        self._reactor.call_later(_PROMPT, self._give_up)

    def _ask(self, worker: Worker, number: int) -> None:
        if worker.state is STARTING:
            self.send(line(row_of(worker, number, 'starts')))
        elif self._asking.is_silent(worker, self._reactor.time()):
            self.send(line(self._silent(worker, number)))
        else:
            try:
                ours, theirs = socket.socketpair()
            except OSError:    # No descriptor is left.
                self.send(line(self._silent(worker, number)))
                return
            ours.setblocking(False)
            ours.send(b'%d' % number)
            sock: Any = ours
            self._parts.add(Part(self, self._asking, worker, number, Stream(self._reactor, sock)))
            worker.channel.send(CONTROL, theirs)

    def _silent(self, worker: Worker, number: int) -> Row:
        return {**row_of(worker, number, 'does not answer'), 'beat': None if worker.beat == NEVER
                else round(max(0.0, self._reactor.time() - worker.beat), 1)}

    def take(self, part: Part, lines: bytes) -> None:
        """Pass lines of a worker on, unless it was given up, or the client has gone."""
        if self._client.closed or part not in self._parts:
            part.stream.abort()
        elif lines:
            self.send(lines)

    def send(self, lines: bytes) -> None:
        """Send lines to the client; the workers wait for it if it is slow."""
        client = self._client
        if client.closed:
            return
        client.write(lines)
        wait = client.drain() if not client.closed else None
        if wait is not None:
            self._held_up = True
            for part in self._parts:
                part.stream.pause_reading()
            wait.add_done_callback(self._go_on)

    def _go_on(self, _: Future) -> None:
        self._held_up = False
        for part in self._parts:
            part.heard = self._reactor.time()
            part.stream.resume_reading()

    def told(self, part: Part, whole: bool) -> None:
        """Record that a worker has told all, or that it has ended before."""
        if part in self._parts:
            self._parts.discard(part)
            if not whole:
                self.send(line(self._silent(part.worker, part.number)))
            self._end_if_told()

    def _give_up(self) -> None:
        """Wait no more for workers that have not begun, or have stopped in the middle."""
        late = self._reactor.time() - _PROMPT
        for part in [each for each in self._parts if each.heard <= late and not self._held_up]:
            self.told(part, False)
        if self._parts and not self._client.closed:
            self._reactor.call_later(_PROMPT, self._give_up)

    def _end_if_told(self) -> None:
        if not self._parts and not self._client.closed:
            self._client.write(END)
            self._client.close()


class Part:
    """What comes from one worker for one client; the receiver of a stream."""

    def __init__(self, answer: Answer, asking: Asking, worker: Worker, number: int,
                 stream: Stream) -> None:
        self._answer = answer
        self._asking = asking
        self.worker = worker
        self.number = number
        self.stream = stream
        self.asked = self.heard = stream.reactor.time()
        self.begun = False
        self._rest = b''    # Of a line that has not come whole.
        asking.parts.add(self)
        stream.receiver = self
        stream.start()

    def data_received(self, data: bytes) -> None:
        """Pass whole lines on."""
        self.begun, self.heard = True, self.stream.reactor.time()
        lines, newline, self._rest = (self._rest + data).rpartition(b'\n')
        lines += newline
        whole = lines.endswith(END)
        self._answer.take(self, lines[:-len(END)] if whole else lines)
        if whole:
            self._end(True)

    def eof_received(self) -> None:
        """Record that it ended too early."""
        self._end(False)

    def stream_closed(self, cause: BaseException | None) -> None:
        """Forget it."""
        self._end(False)

    def _end(self, whole: bool) -> None:
        if self in self._asking.parts:
            self._asking.parts.discard(self)
            self._answer.told(self, whole)
            self.stream.abort()


def row_of(worker: Worker, number: int, state: str) -> dict[str, Any]:
    """Return the row of a worker that does not tell of itself."""
    return {'row': 'worker', 'worker': number, 'pid': worker.pid, 'state': state}
