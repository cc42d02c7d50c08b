"""Handshake: from an accepted socket to a `TlsTransport`, by callbacks of the reactor.

A handshake is work for the processor, up to some milliseconds. If a thousand clients begin at once,
each turn does so much of it as its slice of time allows, at least one step; the poller reports the
other sockets again in the next turn, and everybody else is served in between.

    accept --> wait --first bytes--> TLS? --no, a method of HTTP--> PLAIN
                                      | yes
                                      v
               the steps of the handshake --> transport, or a failure in plain words

OpenSSL's memory for a connection (about 40 KiB) is taken when the first bytes are there: a client
that says nothing costs a socket and a timer. The time is that of all of it: a byte now and then
prolongs nothing. After a failure our side is ended and what still comes is thrown away for a
moment, as a close would destroy the alert that says why (RFC 8446 section 6.2).
"""

from __future__ import annotations

import ssl
from contextlib import suppress

from ..loop.patience import call_patiently
from ..typed import TYPE_CHECKING, Any, Callable
from .failures import why_failed
from .transport import TlsTransport

if TYPE_CHECKING:
    from ..loop import Reactor

_SLICE = 0.005    # Seconds of each turn in which handshakes go on.
_READ = 16384    # Bytes of one `recv`: the client's part of a handshake, with its certificates.
_LINGER = 2.0    # Seconds for a client to read why it was refused.


class Pace:
    """The slices of the turns of one reactor, for all handshakes of one address."""

    __slots__ = ('_reactor', '_turn', '_until')

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._turn = -1
        self._until = 0.0

    def is_over(self) -> bool:
        """Return whether the slice of this turn is used up; it begins with the first question."""
        reactor = self._reactor
        if reactor.turns != self._turn:
            self._turn, self._until = reactor.turns, reactor.time() + _SLICE
            return False
        return reactor.time() >= self._until


class Handshake:
    """One handshake. `ended(handshake)` is called once, unless it is aborted before.

    Then `transport` is complete, or `failed` is one of the server's `REASONS`, `why` a sentence,
    and `is_noise` tells whether scanners and passers-by do that all the time.
    """

    __slots__ = ('_context', '_ended', '_fd', '_pace', '_reactor', '_socket', '_timer', 'failed',
                 'is_noise', 'transport', 'why')

    def __init__(self, reactor: Reactor, sock: Any, context: ssl.SSLContext, seconds: float,
                 pace: Pace, ended: Callable[[Handshake], object]) -> None:
        """Begin to wait for the client; the handshake has `seconds`."""
        self._reactor = reactor
        self._socket = sock
        self._fd: int = sock.fileno()
        self._context = context
        self._pace = pace
        self._ended = ended
        self.transport: TlsTransport | None = None
        self.failed = self.why = ''
        self.is_noise = True
        reactor.add_reader(self._fd, self._readable)
        self._timer = call_patiently(reactor, seconds, self._late)

    def abort(self) -> None:
        """End it, without a word to anybody; the socket stays open."""
        self._timer.cancel()
        self._reactor.remove_fd(self._fd)

    @property
    def is_silent(self) -> bool:
        """Whether the client has sent nothing, not even what waits for its turn."""
        if self.transport is not None:
            return False
        try:
            return not self._socket.recv(1, self._reactor.network.MSG_PEEK)
        except OSError:
            return True

    def _readable(self) -> None:
        if self._pace.is_over():
            return None    # (The poller reports it again.)
        try:
            data = self._socket.recv(_READ)
            if not data:
                return self._fail('tls_handshake', 'the client has left')
            if self.transport is None:
                # A record of TLS begins with 22, one of SSL 2 with 128 and more.
                if b'A' <= data[:1] <= b'Z':
                    return self._fail('tls_plain')
                self.transport = TlsTransport(self._socket, self._context)
            is_complete = self.transport.handshake(data)
        except (BlockingIOError, InterruptedError):
            return None
        except ssl.SSLError as error:
            return self._refuse(error)
        except OSError as error:
            return self._fail('tls_handshake', f'the connection broke: {error.strerror or error}')
        except Exception as error:    # (An `ssl_context` may be anybody's.)
            self.is_noise = False
            return self._fail('tls_handshake', repr(error))
        if self.transport.unsent:
            self._reactor.add_writer(self._fd, self._writable)
            if is_complete:
                self._reactor.remove_reader(self._fd)    # (Its requests wait.)
        elif is_complete:
            self._complete()
        return None

    def _writable(self) -> None:
        """Send what the kernel did not take: it is full, or the client's window is tiny."""
        transport = self.transport
        if transport is None:
            return
        try:
            transport.flush()
        except BlockingIOError:
            return
        except OSError as error:
            self._fail('tls_handshake', f'the connection broke: {error.strerror or error}')
            return
        self._reactor.remove_writer(self._fd)
        if transport.is_complete:
            self._complete()

    def _complete(self) -> None:
        # (The descriptor stays watched: whoever reads next takes it over without a system call.)
        self._timer.cancel()
        self._ended(self)

    def _late(self) -> None:
        self.is_noise = self.transport is None    # It has said nothing.
        self._fail('tls_timeout', 'nothing came' if self.is_noise else '')

    def _refuse(self, error: ssl.SSLError) -> None:
        """Tell why it failed; the client has an alert, and gets a moment to read it."""
        self.failed = 'tls_handshake'
        self.why, self.is_noise = why_failed(error)
        with suppress(OSError):
            self._socket.shutdown(self._reactor.network.SHUT_WR)
            self._reactor.remove_writer(self._fd)
            self._timer.move(self._reactor.time() + _LINGER)
            self._timer.callback = self._left
            self._reactor.add_reader(self._fd, self._throw_away)
            return
        self._left()

    def _throw_away(self) -> None:
        try:
            if self._socket.recv(_READ):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._left()

    def _left(self) -> None:
        self._fail(self.failed, self.why)

    def _fail(self, reason: str, why: str = '') -> None:
        self.abort()
        self.failed, self.why = reason, why
        self._ended(self)
