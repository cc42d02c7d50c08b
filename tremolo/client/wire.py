"""Wire: the client's end of a connection to a server on the same reactor, over a pair of sockets.

Bytes are read only when somebody waits for them, so a handler that streams is held back as by any
slow client. What the server has sent before it closed is read also after a write has failed:
a handler may refuse a body and say so.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from ..loop import Future
from ..loop.timers import Timer
from ..server import Server
from ..typed import Any
from .parser import AnswerParser

_READ_SIZE = 65536
# The client as an application sees it, with a port as ordinary clients have them.
CLIENT = '127.0.0.1', 50000


class Wire:
    """One connection; `receive` and `send` return Futures."""

    def __init__(self, server: Server, address: tuple[str, int], scheme: str) -> None:
        """Connect. `address` is the server's, as an application sees it."""
        self._reactor = reactor = server.reactor
        self._socket, theirs = reactor.network.socketpair()
        self._socket.setblocking(False)
        self.server = server
        self.connection = server.take(theirs, (CLIENT, address, scheme))    # The server's side.
        self.scheme, self.address = scheme, address
        self.parser = AnswerParser()
        self._arriving: Future | None = None
        self._alarm: Timer | None = None
        self._unsent: deque[tuple[memoryview, Future]] = deque()
        self._error: BaseException | None = None    # That of our own side (see `fail`).
        self.closed = False

    def receive(self, until: float | None = None, seconds: float | None = None) -> Future:
        """Return a Future of the bytes that come next, b'' at the end of the connection.

        At the time `until` it raises `TimeoutError`: for as many seconds it was waited.
        """
        self._arriving = future = Future(self._reactor)
        future.on_cancel = self._look_away
        if self.closed or self._error is not None:
            self._look_away()
            if self._error is not None:
                future.set_exception(self._error)
            else:
                future.set_result(b'')
            return future
        self._reactor.add_reader(self._socket.fileno(), self._readable)
        if until is not None:
            self._alarm = self._reactor.call_at(until, self._expire, seconds or 0.0)
        return future

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b''    # A reset. What is missing then says the framing of the answer.
        future = self._look_away()
        if future is not None and not future.done():
            future.set_result(data)

    def _look_away(self) -> Future | None:
        """Stop reading; return the Future that waited."""
        future, self._arriving = self._arriving, None
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.cancel()
        if not self.closed:
            self._reactor.remove_reader(self._socket.fileno())
        return future

    def _expire(self, seconds: float) -> None:
        """Say which handler takes too long. (In a turn what can be read is read before.)"""
        task = self.connection.task
        where = f'; its handler stands at {task.where()}' if task is not None else ''
        future = self._look_away()
        if future is not None and not future.done():
            future.set_exception(TimeoutError(
                f'{self.connection.describe()} was not answered within {seconds:g} s '
                f'(timeout){where}'))

    def fail(self, error: BaseException) -> None:
        """Let who waits for an answer have an error of our own side: no body could be sent."""
        self._error = error
        future = self._look_away()
        if future is not None and not future.done():
            future.set_exception(error)

    def send(self, data: bytes) -> Future:
        """Return a Future that is True when all was taken, and False if the server is gone."""
        future = Future(self._reactor)
        future.add_done_callback(id)    # Nobody has to wait for it.
        self._unsent.append((memoryview(data), future))
        if len(self._unsent) == 1:
            self._writable()
        return future

    def _writable(self) -> None:
        gone = self.closed
        while self._unsent and not gone:
            data, future = self._unsent[0]
            try:
                data = data[self._socket.send(data):] if data else data
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                gone = True
                break
            if data:
                self._unsent[0] = data, future
                break
            self._unsent.popleft()
            _settle(future, True)
        if gone:
            self._give_up()
        if not self.closed and self._unsent:
            self._reactor.add_writer(self._socket.fileno(), self._writable)
        elif not self.closed:
            self._reactor.remove_writer(self._socket.fileno())

    def _give_up(self) -> None:
        """Send no more."""
        while self._unsent:
            _settle(self._unsent.popleft()[1], False)

    def end(self) -> None:
        """End our side; the server may still answer."""
        if not self.closed:
            with suppress(OSError):
                self._socket.shutdown(self._reactor.network.SHUT_WR)

    def close(self) -> None:
        """Close the connection; harmless if it is closed."""
        if self.closed:
            return
        future = self._look_away()
        self.closed = True
        if not self._reactor.closed:
            self._reactor.remove_fd(self._socket.fileno())
        self._socket.close()
        self._give_up()
        _settle(future, b'')


def _settle(future: Future | None, value: Any) -> None:
    if future is not None and not future.done():
        future.set_result(value)
