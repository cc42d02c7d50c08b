"""Stream: a non-blocking socket with a buffer on its way out, and someone for what comes in.

Writing: only what the kernel does not take is kept, and only then is there write interest. Above
`high` kept bytes a writer should wait: `yield stream.drain()` goes on when they are below `low`.

Reading: what arrives goes to the `receiver` (three methods, for a protocol that is called), or, as
long as there is none, into an inbox from which generators read: `yield stream.read(65536)`.

Ends: after the peer's FIN the read interest is dropped (a half-closed socket is readable for ever)
and what was begun can be answered. When the connection breaks while nothing is read, the stream is
aborted: the poller would report it again on every turn.
"""

from __future__ import annotations

import logging
import os
import struct
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol

from .errors import Cancelled, StreamClosed
from .future import Future
from .inbox import Inbox
from .reactor import Reactor
from .timers import NEVER, Timer

_log = logging.getLogger('tremolo.loop')

_MOST_BUFFERS = 64    # Buffers handed to one sendmsg: IOV_MAX is at least 16 and 1,024 on Linux.
READ_SIZE = 65536    # Bytes asked of one recv.
_AT_ONCE = 16384    # A write of more bytes does not wait for the end of the turn.
APART = 131072    # A longer piece is never joined with another: it may be the same for many peers.


class Receiver(Protocol):
    """A protocol that a Stream calls."""

    def data_received(self, data: bytes) -> None:
        """Take bytes; call `pause_reading` if there are enough."""

    def eof_received(self) -> None:
        """Know that the peer sends no more; it may still read."""

    def stream_closed(self, cause: BaseException | None) -> None:
        """Know that it has ended, by `close` and `abort` too. Called once, and nothing after it."""


class Limiter(Protocol):
    """A rate limit for one direction; a token bucket, for example."""

    def allowance(self) -> int:
        """Return how many bytes may pass now."""

    def spend(self, size: int) -> None:
        """Know that `size` bytes passed."""

    def delay(self) -> float:
        """Return after how many seconds it is worth to ask again."""


class Stream:
    """A connected, non-blocking stream socket, TCP or UNIX."""

    __slots__ = ('_drain', '_inbox', '_out', '_reading', '_shutting', '_socket', '_unsent',
                 'buffered', 'cause', 'closed', 'eof', 'fd', 'high', 'low', 'paused', 'reactor',
                 'read_limit', 'read_rest', 'receiver', 'sent', 'write_limit', 'write_rest')

    def __init__(self, reactor: Reactor, sock: Any, receiver: Receiver | None = None,
                 high: int = 65536, low: int = 16384) -> None:
        """Take over a connected socket; nothing is read before `start`."""
        self.reactor = reactor
        self._socket = sock
        self.fd: int = sock.fileno()
        self.receiver = receiver
        self._inbox: Inbox | None = None
        self._out: deque[bytes | memoryview] | None = None
        # Bytes written in this turn, to be sent at its end.
        self._unsent: bytes | bytearray | memoryview = b''
        self.buffered = 0    # Bytes the kernel did not take yet.
        self.sent = 0    # Bytes it took since the beginning.
        self.high = high
        self.low = low
        self.eof = self.closed = False
        self.paused = True    # Whether the owner wants nothing now.
        self._reading = False    # Whether we do read: not while a limit rests.
        self.cause: BaseException | None = None    # Why it ended, when it was not by our own close.
        # What is to be done once all is sent, or was done: nothing, 'shutdown' or 'close'.
        self._shutting = ''
        self._drain: Future | None = None
        self.read_limit: Limiter | None = None
        self.write_limit: Limiter | None = None
        # The last rests that the limits asked for.
        self.read_rest: Timer | None = None
        self.write_rest: Timer | None = None

    @property
    def peer(self) -> Any:
        """The peer's address as the socket gives it; None when it cannot tell any more."""
        with suppress(OSError):
            return self._socket.getpeername()
        return None

    @property
    def sockname(self) -> Any:
        """Our own address as the socket gives it; None once it is closed."""
        return None if self.closed else self._socket.getsockname()

    @property
    def unsent(self) -> int:
        """Bytes written in this turn that are sent at its end."""
        return len(self._unsent)

    def read(self, size: int = -1) -> Future:
        """Read what has arrived, at most `size` bytes; b'' at the end."""
        return self.inbox.read(size)

    def read_until(self, mark: bytes, limit: int = 65536) -> Future:
        """Read up to and including `mark`. Raises `LimitExceeded` beyond `limit` bytes."""
        return self.inbox.read_until(mark, limit)

    def read_exactly(self, size: int) -> Future:
        """Read `size` bytes, fewer only at the end."""
        return self.inbox.read_exactly(size)

    @property
    def inbox(self) -> Inbox:
        """Where the bytes wait while there is no receiver."""
        if self._inbox is None:
            self._inbox = Inbox(self.reactor, self)
            if self.eof:
                self._inbox.feed_eof()
            if self.closed:
                self._inbox.feed_error(StreamClosed(self.cause))
        return self._inbox

    def wanted(self) -> None:
        """Be told by the inbox that it may have room again."""
        if self.paused and (self.inbox.size < self.low or self.inbox.waiting):
            self.resume_reading()

    def pause_reading(self) -> None:
        """Leave what arrives in the kernel, so that the peer has to wait."""
        if not (self.paused or self.closed):
            self.paused = True
            self._look_away()

    def resume_reading(self) -> None:
        """Begin or go on to read; harmless when it does, or when the peer has ended its side."""
        if self.paused and not (self.eof or self.closed):
            self.paused = False
            if self.read_rest is None or self.read_rest.deadline == NEVER:
                self._read_on()

    start = resume_reading

    def _read_on(self) -> None:
        if not (self.paused or self.closed):
            self._reading = True
            self.reactor.add_reader(self.fd, self._readable)

    def _look_away(self) -> None:
        if self._reading:
            self._reading = False
            self.reactor.pause_reader(self.fd)

    def _readable(self) -> None:
        """Take what has arrived to the receiver. Hot: once per request."""
        if not self._reading:
            return self._hung_up()
        size = READ_SIZE
        if (limit := self.read_limit) is not None:
            size = min(size, limit.allowance())
            if size <= 0:
                self._look_away()
                self.read_rest = self.reactor.call_later(limit.delay(), self._read_on)
                return None
        try:
            data = self._socket.recv(size)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            return self._terminate(error)
        if limit is not None:
            limit.spend(len(data))
        try:
            if data and self.receiver is not None:
                self.receiver.data_received(data)
            elif data:
                self.fill(data)
            else:
                self._ended()
        except (Exception, Cancelled) as error:
            _log.exception('a receiver failed; its stream is closed')
            self._terminate(error)
        return None

    def _ended(self) -> None:
        self.eof = True
        self.pause_reading()
        if self.receiver is not None:
            self.receiver.eof_received()
        elif self._inbox is not None:
            self._inbox.feed_eof()

    def fill(self, data: bytes) -> None:
        """Put bytes into the inbox, also what was read too far; read no more while it is full."""
        self.inbox.feed(data)
        if self.inbox.size >= self.high and not self.inbox.waiting:
            self.pause_reading()

    def _hung_up(self) -> None:
        """Let go of an fd that hung up or failed while nothing is read."""
        net = self.reactor.network
        code = self._socket.getsockopt(net.SOL_SOCKET, net.SO_ERROR)
        if code or self.eof:
            self._terminate(OSError(code, os.strerror(code)) if code else None)
        else:
            # Both sides have ended in good order; what came before waits until reading goes on.
            self.reactor.remove_reader(self.fd)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send at the end of this turn, or at once if it is much. Hot: once per answer.

        `data` must not change. Raises `StreamClosed`; for a peer found gone *now*, the next call.
        """
        if self._shutting:
            raise StreamClosed(self.cause)
        if self.buffered or self.write_limit is not None:
            self.push()
            self._keep(data)
            if self.buffered == len(data):
                self._flush()
            return
        if unsent := self._unsent:
            if len(data) > APART:
                # (Up to there a copy costs less than this way, measured: 3 us at 70 KiB.)
                self._unsent = b''
                self._keep(unsent)
                self._keep(data)
                self._flush()
                return
            data = b''.join((unsent, data))
        self._unsent = data
        if len(data) > _AT_ONCE or not self.reactor.turning:
            self.push()
        elif not unsent:
            # After all reads: code and peers are warm then (a hello world costs 10 % less).
            self.reactor.unsent.append(self)

    def push(self) -> None:
        """Send what was written in this turn."""
        if not (data := self._unsent):
            return
        self._unsent = b''
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._terminate(error)
            return
        self.sent += sent
        if sent < len(data):
            self._keep(memoryview(data)[sent:])
            self.reactor.add_writer(self.fd, self._flush)

    def drain(self) -> Future | None:
        """Give None (go on), or a Future of when to go on; call and Future raise `StreamClosed`."""
        if self.closed:
            raise StreamClosed(self.cause)
        if self.buffered <= self.high:
            return None
        if self._drain is None or self._drain.done():
            self._drain = Future(self.reactor)
        return self._drain

    def shutdown(self) -> None:
        """End our side (FIN) after what is kept; the peer may go on sending."""
        if not self._shutting:
            self._finish('shutdown')

    def close(self) -> None:
        """Read no more, and close after what is kept."""
        self.pause_reading()
        self._finish('close')

    def abort(self, reset: bool = False) -> None:
        """Close now and forget what is kept; with `reset`, tell the peer so (RST) where TCP can."""
        self.push()
        if reset and not self.closed:
            net = self.reactor.network
            with suppress(OSError):
                self._socket.setsockopt(net.SOL_SOCKET, net.SO_LINGER, struct.pack('ii', 1, 0))
        self._terminate(None)

    def _keep(self, data: bytes | bytearray | memoryview) -> None:
        # (Nothing can be sent of an empty piece, nor once `push` found the peer gone.)
        if data and not self.closed:
            self._out = self._out or deque()
            self._out.append(memoryview(data) if isinstance(data, bytearray) else data)
            self.buffered += len(data)

    def _flush(self) -> None:
        """Send what is kept, as far as the kernel takes it."""
        if (out := self._out) is None:
            return
        buffers = list(islice(out, _MOST_BUFFERS))
        if (limit := self.write_limit) is not None:
            if (allowed := limit.allowance()) <= 0:
                self.reactor.remove_writer(self.fd)
                self.write_rest = self.reactor.call_later(limit.delay(), self._flush)
                return
            for number, data in enumerate(buffers):
                if len(data) >= allowed:
                    buffers[number:] = [memoryview(data)[:allowed]]
                    break
                allowed -= len(data)
        try:
            sent = self._socket.sendmsg(buffers)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._terminate(error)
            return
        self.sent += sent
        self.buffered -= sent
        if limit is not None:
            limit.spend(sent)
        while sent:
            first = out.popleft()
            if len(first) > sent:
                out.appendleft(memoryview(first)[sent:])
            sent -= min(sent, len(first))
        if (drain := self._drain) is not None and self.buffered <= self.low and not drain.done():
            drain.set_result()
        if self.buffered:
            self.reactor.add_writer(self.fd, self._flush)
        else:
            self._out = None
            self.reactor.remove_writer(self.fd)
            self._finish(self._shutting)

    def _finish(self, how: str) -> None:
        """Do what was asked for at the end, as soon as all is sent."""
        self.push()
        self._shutting = how
        if how == 'close' and not self.buffered:
            self._terminate(None)
        elif how and not (self.buffered or self.closed):
            try:
                self._socket.shutdown(self.reactor.network.SHUT_WR)
            except OSError as error:
                self._terminate(error)

    def _terminate(self, cause: BaseException | None) -> None:
        """Let go of everything. Once; `cause` is why, if it was not our own wish."""
        if self.closed:
            return
        self.closed = True
        self._shutting = 'close'
        # Its traceback leads to this stream, which keeps it: without it there is no cycle.
        self.cause = cause.with_traceback(None) if cause is not None else None
        self.reactor.remove_fd(self.fd)
        self._socket.close()
        for rest in filter(None, (self.read_rest, self.write_rest)):
            rest.cancel()
        self._out = None
        self._unsent = b''
        self.buffered = 0
        receiver, self.receiver = self.receiver, None
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_exception(StreamClosed(cause))
        if self._inbox is not None:
            self._inbox.feed_error(StreamClosed(cause))
        if receiver is not None:
            receiver.stream_closed(cause)
