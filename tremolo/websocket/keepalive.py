"""Keepalive: the clocks of an open socket. Each socket has one timer, which may come early.

    silence      after `ws_ping_interval` without a byte the client gets a ping
    no answer    within `ws_ping_timeout`: close 1011, and the handler is told 1006
    a slow       a frame that has begun comes slower than `min_upload_rate` (after `rate_grace`):
    frame        close 1008
    kept bytes   the client takes nothing for `stall_timeout`: a reset

A ping cannot be answered in the middle of a frame. So bytes that come at `min_upload_rate` or more
count as an answer. While we read nothing (the backlog is full) or hold back what we send (a rate
limit), the client cannot answer: then the first two clocks rest. A client that takes what is kept
is there, too: the ping is on its way behind it.

A message touches no timer. It only leaves the time at `since`, and `tick` works out what is due.
"""

from __future__ import annotations

from ..loop.patience import read_now
from ..loop.timers import NEVER
from ..typed import TYPE_CHECKING
from ..ws.parser import PING, frame
from . import closing
from .errors import tell

if TYPE_CHECKING:
    from ..loop import Future
    from .reading import Reading

_MOST = 60.0    # Seconds that a fast beginning of a frame may earn.


class Pings:
    """The pings of one socket that are not answered, and when the answer is due."""

    __slots__ = ('_count', '_sent', 'deadline', 'had', 'taken')

    def __init__(self) -> None:
        self._count = 0
        self._sent: list[tuple[bytes, float, Future | None]] = []
        self.deadline = NEVER    # When the answer to an automatic ping is due.
        self.had = 0    # What had been received when that was set.
        # What had been sent then, if more was kept; else -1.
        self.taken = -1

    def wait(self, websocket: Reading) -> float:
        """Set the deadline anew, and return it."""
        wire = websocket.wire
        self.deadline = websocket.reactor.now + websocket.settings.ws_ping_timeout
        self.had = websocket.received
        self.taken = wire.sent if wire.buffered else -1
        return self.deadline

    def send(self, websocket: Reading, future: Future | None) -> None:
        """Send a ping; nobody waits for an automatic one, which has no Future."""
        self._count += 1
        if future is None:
            # (Of the automatic ones the last is enough.)
            self._sent = [each for each in self._sent if each[2] is not None]
        payload = self._count.to_bytes(4, 'big')
        self._sent.append((payload, websocket.reactor.time(), future))
        # (It does not wait behind data that we hold back.)
        websocket.wire.write_ahead(frame(PING, payload))

    def answered(self, websocket: Reading, payload: bytes) -> None:
        """Complete a ping and those before it. A pong that nobody asked for says nothing."""
        payloads = [sent for sent, _, _ in self._sent]
        if payload not in payloads:
            return
        count, now = payloads.index(payload) + 1, websocket.reactor.time()
        done, self._sent = self._sent[:count], self._sent[count:]
        for _, when, future in done:
            if future is None:
                self._next(websocket)
            elif not future.done():
                future.set_result(now - when)

    def _next(self, websocket: Reading) -> None:
        """Wait for no answer any more, but for the next silence (which may be shorter)."""
        self.deadline = NEVER
        interval = websocket.settings.ws_ping_interval
        if websocket.state == 'open' and interval:
            come_by(websocket, websocket.since + interval)

    def end(self, code: int, reason: str) -> None:
        """Tell everybody who waits for an answer."""
        for _, _, future in self._sent:
            tell(future, code, reason)
        self._sent = []


def begin(websocket: Reading) -> None:
    """Let the clocks run: the socket is open."""
    websocket.since = websocket.reactor.now
    websocket.timer = websocket.reactor.timers.new(tick, websocket)
    interval = websocket.settings.ws_ping_interval
    if interval:
        websocket.timer.move(websocket.since + interval)


def send_ping(websocket: Reading, future: Future | None = None) -> None:
    """Send a ping."""
    if websocket.pings is None:
        websocket.pings = Pings()
    websocket.pings.send(websocket, future)


def watch_frame(websocket: Reading) -> None:
    """Watch how fast the rest of a frame comes, or no longer if it is whole."""
    settings = websocket.settings
    if not websocket.parser.within or not settings.min_upload_rate \
            or websocket.wire.read_limit is not None:
        # (While our own limit holds it back, the client is not slow.)
        websocket.slow_from = None
    elif websocket.slow_from is None:
        now = websocket.reactor.now
        websocket.slow_from = now, websocket.received
        come_by(websocket, now + _grace(websocket))


def watch_kept(websocket: Reading) -> None:
    """Watch whether the client takes what is kept."""
    stall = websocket.settings.stall_timeout
    if stall:
        wire, now = websocket.wire, websocket.reactor.now
        websocket.kept_from = now, wire.sent
        come_by(websocket, now + stall)


def go_on(websocket: Reading) -> None:
    """Let the clocks begin anew: we read again."""
    websocket.since = websocket.reactor.now
    pings = websocket.pings
    if pings is not None and pings.deadline != NEVER:
        pings.wait(websocket)


def come_by(websocket: Reading, deadline: float) -> None:
    """Look at the socket at `deadline`, or before."""
    if deadline < websocket.timer.deadline:
        websocket.timer.move(deadline)


def tick(websocket: Reading) -> None:
    """Do what is due, and find out when to look again (the timer calls this)."""
    if websocket.state == 'open':
        if websocket.missed != websocket.reactor.pauses.missed:
            _make_up(websocket)
        again = min(_frame(websocket), _kept(websocket), _ping(websocket))
        if websocket.state == 'open' and again != NEVER:
            come_by(websocket, again)


def _make_up(websocket: Reading) -> None:
    """Give the client the time of a long pause of ours: it counts for none of the clocks."""
    pauses = websocket.reactor.pauses
    missed, until = pauses.missed - websocket.missed, pauses.until
    websocket.missed = pauses.missed

    def later(moment: float) -> float:
        return min(moment + missed, until) if moment < until else moment

    if websocket.slow_from is not None:
        websocket.slow_from = later(websocket.slow_from[0]), websocket.slow_from[1]
    if websocket.kept_from is not None:
        websocket.kept_from = later(websocket.kept_from[0]), websocket.kept_from[1]
    if websocket.pings is not None and websocket.pings.deadline < until:
        # (What is not due before `until` has all of its time, and what is was not asked for.)
        websocket.pings.deadline += missed


def _grace(websocket: Reading) -> float:
    """Return how long a frame may be slower than `min_upload_rate`: `rate_grace`, and never 0."""
    return websocket.connection.server.phase_seconds.look


def _frame(websocket: Reading) -> float:
    """Close if the rest of a frame comes too slowly."""
    if websocket.slow_from is None:
        return NEVER
    now, grace = websocket.reactor.now, _grace(websocket)
    begin, had = websocket.slow_from
    begin += (websocket.received - had) / websocket.settings.min_upload_rate
    if begin + grace <= now:
        read_now(websocket.wire)    # (The poll of this turn may be long ago.)
        if websocket.state != 'open' or websocket.slow_from is None:
            return NEVER
        begin, had = websocket.slow_from
        begin += (websocket.received - had) / websocket.settings.min_upload_rate
    if begin + grace <= now:
        closing.fail(websocket, 1008, 'a message came too slowly', 'ws_slow')
        return NEVER
    # What it has earned until now counts, but not for ever.
    begin = min(now + _MOST, begin)
    websocket.slow_from = begin, websocket.received
    return begin + grace


def _kept(websocket: Reading) -> float:
    """Cut the connection if the client takes nothing of what is kept."""
    if websocket.kept_from is None or websocket.state != 'open':
        return NEVER
    wire, now, stall = websocket.wire, websocket.reactor.now, websocket.settings.stall_timeout
    since, sent = websocket.kept_from
    if not wire.buffered:
        websocket.kept_from = None
        return NEVER
    if wire.sent > sent or closing.is_held_back(wire):
        since = now
        websocket.kept_from = now, wire.sent
    elif since + stall <= now:    # (As it is returned: sums of times are not exact.)
        closing.cut(websocket, 'stall_timeout')
        return NEVER
    return since + stall


def _ping(websocket: Reading) -> float:
    """Send a ping after a silence, or close if one is not answered in time."""
    settings, now, pings = websocket.settings, websocket.reactor.now, websocket.pings
    interval, patience = settings.ws_ping_interval, settings.ws_ping_timeout
    if websocket.state != 'open' or not interval:
        return NEVER
    resting = websocket.held or closing.is_held_back(websocket.wire) or _is_read_slowly(websocket)
    if pings is not None and pings.deadline != NEVER:
        if pings.deadline <= now:
            read_now(websocket.wire)
        if pings.deadline > now or websocket.state != 'open':
            return pings.deadline if websocket.state == 'open' else NEVER
        came = websocket.received - pings.had
        if not resting and came < max(1, settings.min_upload_rate * patience) \
                and not _takes(websocket, pings):
            closing.fail(websocket, 1011, 'no answer to a ping', 'ws_ping_timeout', told=1006)
            return NEVER
        return pings.wait(websocket)
    if resting:
        return now + interval
    due = websocket.since + interval
    if due > now:
        return due
    send_ping(websocket)
    pings = websocket.pings
    if pings is None or not patience:
        return now + interval
    return pings.wait(websocket)


def _takes(websocket: Reading, pings: Pings) -> bool:
    """Return whether a client takes what is kept: the ping may still be on its way to it.

    (The system itself keeps some MiB for a slow client, and the ping is behind them.)
    """
    wire = websocket.wire
    return wire.buffered > 0 and 0 <= pings.taken < wire.sent


def _is_read_slowly(websocket: Reading) -> bool:
    """Return whether our own rate limit lets bytes of the client wait."""
    rest = websocket.wire.read_rest
    return rest is not None and rest.deadline != NEVER
