"""Lifetime: a connection without its requests: how it is watched, and how it ends.

This is the lower half of `Connection`. It has the stream, the phase with its clock, and the ways to
end. connection.py adds the requests, and names the phases.

    refuse   an error's answer, then linger
    linger   end our side, and read on for a while: a close would destroy the answer
    close    close when the kernel has taken what is kept
    abort    close now

Whichever is called first decides the reason that `Server.closed` counts. The stream reports the end
of all of them to `Connection.stream_closed`.
"""

from __future__ import annotations

from ..http import ProtocolError, status_line
from ..loop import Stream
from ..loop.timers import Timer
from ..rates.progress import DownloadProgress
from ..typed import TYPE_CHECKING, Any
from . import deadlines
from .addresses import Addresses, addresses_of
from .context import Context
from .errors import phrase
from .linger import Linger
from .notices import record, why
from .phases import BUSY, CLOSED, CLOSING, DISCARD, IDLE, LINGER, NEW

if TYPE_CHECKING:
    from .request_body import RequestBody
    from .response import Response
    from .server import Server


class Lifetime:
    """What begins with accept and ends with one of the `REASONS`."""

    __slots__ = ('_context', 'known_addresses', 'missed', 'phase', 'progress', 'reason',
                 'request_body', 'server', 'since', 'stream', 'timer')

    timer: Timer    # Calls `deadlines.tick`.
    response: Response | None    # (`Connection` has it.)

    def __init__(self, server: Server, stream: Stream) -> None:
        self.server = server
        self.stream: Stream = stream
        self.phase = NEW
        self.reason = ''    # Why it ends; '' as long as it does not.
        # When the phase began; in BUSY, DISCARD and UPGRADED: when the request began.
        self.since = stream.reactor.now
        self.missed = stream.reactor.pauses.missed    # The pauses that are made up for.
        # What the client has taken of our answers; None as long as the kernel takes all at once.
        self.progress: DownloadProgress | None = None
        # The body of the request in hand, if it has one.
        self.request_body: RequestBody | None = None
        self._context: Context | None = None
        # `addresses`, once somebody has asked for them.
        self.known_addresses: Addresses | None = None

    @property
    def context(self) -> Context:
        """A place for values that live as long as the connection."""
        if self._context is None:
            self._context = Context()
            self._context.options = self.server.options
        return self._context

    @property
    def addresses(self) -> Addresses:
        """The addresses of both ends, and the scheme; the socket is asked once. Hot for ASGI."""
        found = self.known_addresses
        if found is None:
            found = addresses_of(self.stream)
            if not self.stream.closed:
                self.known_addresses = found
        return found

    @property
    def scheme(self) -> str:
        """'https' if the bytes are encrypted on their way, else 'http'."""
        return self.addresses[2]

    @property
    def ends(self) -> tuple[Any, Any]:
        """The old name of the client's and the server's address."""
        return self.addresses[:2]

    @property
    def begun(self) -> float:
        """The old name of `since`."""
        return self.since

    # -- the clocks -----------------------------------------------------------------------------

    def make_progress(self) -> DownloadProgress:
        """Return the record of what the client takes; it begins with the first call."""
        if self.progress is None:
            self.progress = DownloadProgress(self.server.settings)
        return self.progress

    def count_from(self, moment: float) -> None:
        """Let the time of this phase count from `moment` on."""
        self.since = moment

    def send(self, data: bytes, more: tuple[bytes, ...] = ()) -> None:
        """Send bytes of the answer; nothing is sent to a client that is gone."""
        stream = self.stream
        if not stream.closed:
            kept = stream.buffered
            stream.write(data, more)
            if stream.buffered:
                # (Bytes that waited for the end of the turn are as new as `data`.)
                deadlines.watch_answer(self, stream.buffered - kept)

    def rest_upload(self, now: float, until: float) -> None:
        """Hold the client's clock: bytes have come, and we read none before `until`."""
        self.server.held_back += until - now
        if self.phase is BUSY or self.phase is DISCARD:
            if self.request_body is not None:
                self.request_body.minimum_rate.rest(now, until)
        elif self.phase is not LINGER:
            # (A client that lingers has its answer: the time to send more is not prolonged.)
            self.count_from(self.since + until - now)

    def rest_download(self, now: float, until: float) -> None:
        """Hold the client's clock: what is kept waits for us until `until`."""
        self.server.held_back += until - now
        deadlines.look_at_sent(self)
        if self.progress is not None:
            self.progress.rest(now, until)

    def look_at_sent(self) -> None:
        """Bring the clocks of the download up to date: bytes were sent."""
        deadlines.look_at_sent(self)

    # -- the ends -------------------------------------------------------------------------------

    def refuse(self, error: ProtocolError, reason: str) -> None:
        """Answer an error with its status, and never read another request."""
        record(self, reason, error)
        if reason != 'handler_timeout':    # (Its request has ended, and was told.)
            for observer in self.server.refusal_observers:
                observer(self, error.status)
        heads = self.server.heads
        self.send(refusal(error, heads.refused + heads.common_fields()))
        self.linger(reason)

    def ends_because(self, reason: str, fault: object = '') -> None:
        """Record why the connection ends, in place of a reason that was recorded before.

        If that is no end in good order, the log has a line (notices.py); `fault` is the error of a
        request that is refused.
        """
        self.reason = reason
        self.server.notices.tell(self, fault)

    def abort(self, reason: str, reset: bool = False) -> None:
        """End the connection now, in the middle of an answer, so that the client notices.

        With `reset` the client is told by RST, and so is the client of a body that only the close
        ends (`Response` has prepared the socket for that): after a FIN a part would look whole.
        """
        if self.reason == 'upgraded' and reason == 'shutdown':
            self.reason = ''    # (It goes on by another protocol, which has not ended it.)
        record(self, reason)
        stream = self.stream
        stream.push()
        # After the last answer, bytes are kept: nobody knows any more how that was framed.
        lost = stream.buffered and self.phase in (CLOSING, LINGER)
        stream.abort(reset or bool(lost), ConnectionAbortedError(why(reason)))

    cut = abort    # The old name.

    def close(self, reason: str) -> None:
        """End the connection when the kernel has taken what is kept."""
        record(self, reason)
        self.phase = CLOSING
        self.stream.close()
        if not self.stream.closed:
            deadlines.watch_kept(self)
            deadlines.arm(self)

    def linger(self, reason: str) -> None:
        """End our side, and throw away what still comes: a reset would destroy the answer."""
        if self.phase is CLOSED:
            return None    # The client was found gone while the last bytes were sent.
        record(self, reason)
        stream = self.stream
        if stream.eof:
            return self.close(reason)
        self.phase = LINGER
        self.since = stream.reactor.now
        stream.receiver = linger = Linger(self, stream.receiver)
        stream.shutdown()
        if not stream.closed:
            linger.start()
            deadlines.watch_kept(self)
            deadlines.arm(self)
        return None

    def drain(self) -> None:
        """Give a request that is on its way a moment, then close: the server stops."""
        if self.phase in (NEW, IDLE):
            self.phase = IDLE
            # Not `now`: a host may call this between two turns.
            self.since = self.stream.reactor.time()
            deadlines.arm(self)


def refusal(error: ProtocolError, common: bytes) -> bytes:
    """Return the whole answer to what never became a request (RFC 9112 section 2.2).

    It is a sentence, and holds nothing of the request: nobody can have a text of his own shown to
    others.
    """
    status = error.status
    body = f'{status} {phrase(status)}: {error.sentence}\n'.encode('utf-8', 'backslashreplace')
    return b'%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close' \
        b'\r\n%s\r\n%s' % (status_line(status), len(body), common, body)
