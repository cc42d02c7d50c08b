"""Stream: a non-blocking socket with a buffer for output, and a receiver for input.

Writing: the stream keeps only what the kernel does not take, and asks for write events only as long
as it keeps something. Above `high` kept bytes a writer should wait: `yield stream.drain()` goes on
when at most `low` bytes are kept.

Reading: bytes that arrive go to the `receiver` (three methods, for a protocol that is called). As
long as there is no receiver they go to an inbox, and generators read from it:
`yield stream.read(65536)`.

Ends: after the peer's FIN the stream drops its read interest, because a half-closed socket is
readable for ever; it can still send the answer. When the connection breaks while nothing is read,
the stream is aborted, because the poller would report the socket on every turn. README.md draws
the ends.

The socket calls: `_socket` is any `Transport` (transport.py). No other object holds it.
"""

from __future__ import annotations

import logging
import os
import struct
from contextlib import suppress

from ..errors import readable
from ..sockets.kernel import Endpoint
from ..sockets.outbox import Outbox, Piece, PieceFailed
from ..typed import TYPE_CHECKING, Any, Callable
from .errors import StreamClosed, without_frames
from .future import Future
from .inbox import Inbox
from .reactor import Reactor
from .timers import NEVER, Timer

if TYPE_CHECKING:
    from ..sockets.transport import Buffer, Limiter, Receiver, Transport

_log = logging.getLogger('tremolo.loop')

# Bytes that one `recv` asks for: 64 KiB, and 8 KiB for what comes before them. So a body or a
# message of 64 KiB is there at once, with its head (measured: an upload of 64 KiB takes 32 % fewer
# instructions than with its last 100 bytes in a turn of their own).
READ_SIZE = 73728
# A longer piece does not wait for the end of the turn, and is never copied to be joined with
# another: many streams may send one object. (Measured, with a chunk's framing: at 8 KiB a copy
# costs what a second buffer does, at 64 KiB it takes 8 us of 16, at 128 KiB 80 of 100.)
APART = 16384


class Stream(Endpoint):
    """A connected, non-blocking stream socket, TCP or UNIX."""

    __slots__ = ('_drain', '_inbox', '_out', '_reading', '_shutting', '_unsent', 'buffered',
                 'cause', 'eof', 'high', 'low', 'paused', 'read_limit', 'read_rest',
                 'receiver', 'write_limit', 'write_rest')

    def __init__(self, reactor: Reactor, sock: Transport, receiver: Receiver | None = None,
                 high: int = 65536, low: int = 16384) -> None:
        """Take over a connected socket, or another `Transport`; `start` begins to read."""
        self.reactor: Reactor = reactor
        self._socket = sock
        self.fd = sock.fileno()
        self.receiver = receiver
        self._inbox: Inbox | None = None
        self._out: Outbox | None = None    # What the kernel did not take yet.
        # Bytes written in this turn, to be sent at its end.
        self._unsent: bytes | bytearray | memoryview = b''
        self.buffered = 0    # Bytes that the kernel has not taken yet.
        self.sent = 0    # Bytes that the kernel has taken since the beginning.
        self.high = high
        self.low = low
        self.eof = False    # Whether the peer has ended its side.
        self.closed = False    # Whether the stream has ended and the socket is closed.
        self.cause: BaseException | None = None    # Why it ended; None after our own `close`.
        # How our side ends (or has ended) once all is sent: not at all, 'shutdown' or 'close'.
        self._shutting = ''
        self.paused = True    # Whether the owner wants no bytes now.
        # Bytes that one `recv` asks for; 0 while we do not read: paused, or while a limit rests.
        self._reading = 0
        self._drain: Future | None = None
        self.read_limit: Limiter | None = None
        self.write_limit: Limiter | None = None
        # For each limit, the timer that ends its last pause.
        self.read_rest: Timer | None = None
        self.write_rest: Timer | None = None

    @property
    def unsent(self) -> int:
        """Bytes written in this turn that are sent at its end."""
        return len(self._unsent)

    def read(self, size: int = -1) -> Future:
        """Return a Future of what has arrived, at most `size` bytes; b'' at the end."""
        return self.inbox.read(size)

    def read_until(self, mark: bytes, limit: int = 65536) -> Future:
        """Return a Future of all bytes up to and with `mark`. Raises `LimitExceeded`."""
        return self.inbox.read_until(mark, limit)

    def read_exactly(self, size: int) -> Future:
        """Return a Future of `size` bytes, of fewer only at the end."""
        return self.inbox.read_exactly(size)

    @property
    def inbox(self) -> Inbox:
        """The inbox that holds the bytes while there is no receiver."""
        if self._inbox is None:
            self._inbox = Inbox(self.reactor, self)
            if self.eof:
                self._inbox.feed_eof()
            if self.closed:
                self._inbox.feed_error(StreamClosed(self.cause))
        return self._inbox

    def wanted(self) -> None:
        """Read on if the inbox has room; the inbox calls this."""
        if self.paused and (self.inbox.size < self.low or self.inbox.waiting):
            self.resume_reading()

    def pause_reading(self) -> None:
        """Leave arriving bytes in the kernel, so that TCP makes the peer wait."""
        if not (self.paused or self.closed):
            self.paused = True
            self._look_away()

    def resume_reading(self, size: int = READ_SIZE) -> None:
        """Begin to read, or read on, `size` bytes at once; harmless after the peer's end."""
        if self._reading:
            self._reading = size
        elif self.paused and not (self.eof or self.closed):
            self.paused = False
            if self.read_rest is None or self.read_rest.deadline == NEVER:
                self._read_on(size)

    start = resume_reading

    def _read_on(self, size: int = READ_SIZE) -> None:
        if not (self.paused or self.closed):
            self._reading = size
            reader: Callable[[], None] = self._readable
            if hasattr(self._socket, 'pending'):
                # The poller reports only what comes from now on, not what the library has already.
                reader = self._readable_and_pending
                self.reactor.call_soon(self._read_pending)
            self._watch(self.reactor.add_reader, reader)

    def _look_away(self) -> None:
        if self._reading:
            self._reading = 0
            self._watch(self.reactor.pause_reader)

    def _readable(self) -> None:
        """Read once and hand the bytes to the receiver. Hot: once per request."""
        size = self._reading
        if not size:
            return self._hung_up()
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
        except BaseException as error:
            self.reactor.failed(error, 'a receiver failed; its stream is closed')
            self._terminate(readable(error))
        return None

    def _readable_and_pending(self) -> None:
        """Read until the transport's library holds nothing (OpenSSL: one record of 16 KiB)."""
        for _ in range(64):    # (Then others have their turn: a record may hold a byte alone.)
            self._readable()
            if not (self._reading and self._socket.pending()):    # type: ignore[attr-defined]
                return
        self._look_away()
        self.reactor.call_soon(self._read_on)

    def _read_pending(self) -> None:
        if self._reading and self._socket.pending():    # type: ignore[attr-defined]
            self._readable_and_pending()

    def _ended(self) -> None:
        self.eof = True
        self.pause_reading()
        if self.receiver is not None:
            self.receiver.eof_received()
        elif self._inbox is not None:
            self._inbox.feed_eof()

    def fill(self, data: bytes) -> None:
        """Put bytes into the inbox, or put them back; pause reading when the inbox is full."""
        self.inbox.feed(data)
        if self.inbox.size >= self.high and not self.inbox.waiting:
            self.pause_reading()

    def _hung_up(self) -> None:
        """Stop watching an fd that hung up or failed while nothing is read."""
        net = self.reactor.network
        code = self._socket.getsockopt(net.SOL_SOCKET, net.SO_ERROR)
        if code or self.eof:
            self._terminate(OSError(code, os.strerror(code)) if code else None)
        else:
            # Both sides have ended in good order; bytes before the end wait until reading goes on.
            self._watch(self.reactor.remove_reader)

    def write(self, data: Buffer, more: tuple[Buffer | Piece, ...] = ()) -> None:
        """Send at the end of this turn, or at once if it is much. Hot: once per answer.

        `more` are pieces behind it that are long, or end a long one: they go with it in one call.
        A `Piece` is the first of them; the stream closes it, if it is not closed itself.
        What is written must not change afterwards. Raises `StreamClosed` after the end of our side.
        A write that itself finds the peer gone raises nothing; the next one does.
        """
        if self._shutting:
            raise StreamClosed(self.cause)
        if self.buffered or self.write_limit is not None or (
                more and isinstance(more[0], Piece)):
            self.push()
            kept = self.buffered
            self._keep(data, *more)
            if self.buffered and not kept:
                self._flush()
            return
        if unsent := self._unsent:
            if len(data) > APART:
                self.push((data, *more))
                return
            data = b''.join((unsent, data))
        self._unsent = data
        if more or len(data) > APART or not self.reactor.turning:
            self.push(more)
        elif not unsent:
            # After all reads code and peers are warm (measured: a hello world costs 10 % less).
            self.reactor.unsent.append(self)

    def write_ahead(self, data: Buffer, last: bool = False) -> None:
        """Write a piece that goes before the kept ones; with `last` those are dropped.

        A piece that has begun goes first: so what is written by whole pieces stays whole. (Not with
        what is written with `more`.)
        """
        self.push()
        if self._out is not None:
            self.buffered += self._out.put_ahead(data, last)
        elif not self.closed:    # (The push may have found the peer gone.)
            self.write(data)

    def push(self, more: tuple[Any, ...] = ()) -> None:
        """Send what was written in this turn, and `more`; called at the turn's end, too."""
        if not (data := self._unsent) and not more:
            return
        self._unsent = b''
        try:
            sent = self._socket.sendmsg((data, *more)) if more else self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self.buffered += sum(map(len, more), len(data))
            self._terminate(error)
            return
        self.sent += sent
        if sent < (sum(map(len, more), len(data)) if more else len(data)):
            # (All of it, less what was taken: a piece that has begun stays the first.)
            self._keep(data, *more).drop(sent)
            self.buffered -= sent
            self._watch(self.reactor.add_writer, self._flush)

    def drain(self) -> Future | None:
        """Return None (go on), or a Future that is done when a writer should go on.

        The call and the Future raise `StreamClosed`.
        """
        if self.closed:
            raise StreamClosed(self.cause)
        if self.buffered <= self.high:
            return None
        if self._drain is None or self._drain.done():
            self._drain = Future(self.reactor)
        return self._drain

    def shutdown(self) -> None:
        """End our side (FIN) when all is sent; the peer may go on sending."""
        if not self._shutting:
            self._finish('shutdown')

    def close(self) -> None:
        """Read no more, and close when all is sent."""
        self.pause_reading()
        self._finish('close')

    def abort(self, reset: bool = False, cause: BaseException | None = None) -> None:
        """Close now and drop what is kept; with `reset` a TCP peer gets an RST instead of a FIN.

        Reads and drains raise `StreamClosed`; with a `cause`, its message is the cause's.
        """
        self.push()
        if reset:
            self.end_by_reset(True)
        self._terminate(cause)

    def end_by_reset(self, wanted: bool) -> None:
        """Let a TCP peer get an RST, however the socket closes: also when the process is killed."""
        if not self.closed:
            net = self.reactor.network
            with suppress(OSError):
                self._socket.setsockopt(
                    net.SOL_SOCKET, net.SO_LINGER, struct.pack('ii', wanted, 0))

    def _keep(self, *pieces: Buffer | Piece) -> Outbox:
        """Put pieces behind those that wait for the kernel; return what they wait in."""
        out = self._out or Outbox()
        for piece in pieces:
            # (An empty piece is never sent; after `push` found the peer gone, no piece is.)
            if piece and not self.closed:
                self._out = out
                out.append(memoryview(piece) if isinstance(piece, bytearray) else piece)
                self.buffered += len(piece)
        return out

    def _flush(self) -> None:
        """Send what is kept, as much as the kernel takes."""
        if (out := self._out) is None:
            # Only a `shutdown` that could not be done at once still waits for room.
            self._watch(self.reactor.remove_writer)
            self.buffered = 0
            return self._finish(self._shutting)
        allowed = None
        if (limit := self.write_limit) is not None:
            allowed = limit.allowance()
            if allowed <= 0:
                self._watch(self.reactor.remove_writer)
                self.write_rest = self.reactor.call_later(limit.delay(), self._flush)
                return None
        try:
            sent = out.send(self._socket, self.is_plain, allowed)
        except PieceFailed as error:
            return error.piece.failed(str(error))
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            return self._terminate(error)
        self.sent += sent
        self.buffered -= sent
        if limit is not None and allowed is not None:
            # (A transport that repeats a refused write may take more than is allowed now.)
            limit.spend(min(sent, allowed))
        out.drop(sent)
        if (drain := self._drain) is not None and self.buffered <= self.low and not drain.done():
            drain.set_result()
        if self.buffered:
            self._watch(self.reactor.add_writer, self._flush)
        else:
            self._out = None
            self._watch(self.reactor.remove_writer)
            self._finish(self._shutting)
        return None

    def _finish(self, how: str) -> None:
        """Do what was asked for at the end, if all is sent; else `_flush` calls this again."""
        self.push()
        self._shutting = how
        if not how or self.buffered or self.closed:
            return
        if how == 'shutdown' or self.secure:
            # (An encrypted `close` says that all was said; other ends say nothing.)
            try:
                self._socket.shutdown(self.reactor.network.SHUT_WR)
            except (BlockingIOError, InterruptedError):
                # (Never of a plain socket.) It counts as a byte, since it is waited for like one.
                self.buffered = 1
                self._watch(self.reactor.add_writer, self._flush)
                return
            except OSError as error:
                if how == 'shutdown':
                    self._terminate(error)
        if how == 'close':
            self._terminate(None)

    def _terminate(self, cause: BaseException | None) -> None:
        """Close the socket and let go of everything, once; `cause` is None if we wanted it."""
        if self.closed:
            return
        self.closed = True
        self._reading, self._shutting = 0, 'close'
        self.cause = without_frames(cause)
        self.reactor.remove_fd(self.fd)
        self._socket.close()
        for rest in filter(None, (self.read_rest, self.write_rest)):
            rest.cancel()
        if (out := self._out) is not None:
            out.close()
        # (Until the receiver knows: `buffered` says how many bytes are lost.)
        self.buffered += len(self._unsent)
        self._out, self._unsent = None, b''
        receiver, self.receiver = self.receiver, None
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_exception(StreamClosed(cause))
        if self._inbox is not None:
            self._inbox.feed_error(StreamClosed(cause))
        if receiver is not None:
            receiver.stream_closed(cause)
        self.buffered = 0
