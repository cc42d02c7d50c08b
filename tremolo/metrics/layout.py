"""Layout: which number stands at which place of a block of counters.

A block is an array of words of 8 bytes. Some are floats: SECONDS and those with a time in their
name. All others are whole numbers. Each process that serves has a block of its own (board.py).

    gauges      PID, SLOT, DUE, LAG and the phases: they count while their process lives
    counters    all others: they only grow, and the next process that gets the block goes on

Of the requests there is a *cell* for each method and status that has occurred: two words, what it
counts and how many. The first cell that is empty ends them. So labels are bounded, whatever the
clients send: a method has a name of its own if it is registered, a status is 200 to 599.
"""

from __future__ import annotations

import mmap
import zlib

from ..server.phases import (
    BUSY,
    CLOSING,
    DISCARD,
    HEAD,
    IDLE,
    LINGER,
    NEW,
    REASONS,
    UPGRADED,
)

# The methods of the registry of RFC 9110 section 16.1.1, without `*` and PRI, which are none.
METHODS = (
    'other',
    'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH',
    'ACL', 'BASELINE-CONTROL', 'BIND', 'CHECKIN', 'CHECKOUT', 'COPY', 'LABEL', 'LINK', 'LOCK',
    'MERGE', 'MKACTIVITY', 'MKCALENDAR', 'MKCOL', 'MKREDIRECTREF', 'MKWORKSPACE', 'MOVE',
    'ORDERPATCH', 'PROPFIND', 'PROPPATCH', 'QUERY', 'REBIND', 'REPORT', 'SEARCH', 'UNBIND',
    'UNCHECKOUT', 'UNLINK', 'UNLOCK', 'UPDATE', 'UPDATEREDIRECTREF', 'VERSION-CONTROL')
# What a connection does; 'arriving': its handshake goes on, for example.
PHASES = ('arriving', NEW, IDLE, HEAD, BUSY, DISCARD, CLOSING, LINGER, UPGRADED)
CLOSED = (*REASONS, 'other')
# Why a worker had to be replaced: what the supervisor counts (workers/group.py).
RESTARTS = ('crash', 'killed', 'hung', 'reload', 'stopped', 'max_requests', 'limit_memory')
# The upper bounds of the histogram, in seconds. (Each of them is a series to Prometheus.)
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
UNSENT = 0    # The status of an answer that was cut before its head was sent.

PID = 0          # The process.
SLOT = 1         # The number of its slot.
DUE = 2          # When the loop will beat again, by the monotonic clock (float).
LAG = 3          # The longest that a beat of late came after its time (float).
PHASE = 4        # The connections in each of the phases.
SECONDS = PHASE + len(PHASES)    # The sum of the histogram (float).
THROTTLED = SECONDS + 1          # Seconds that limits held transfers back (float).
RECEIVED = SECONDS + 2           # Bytes of requests' bodies.
SENT = SECONDS + 3               # Bytes of answers' bodies.
RELOADS = SECONDS + 4            # How often a process without a supervisor has begun anew.
BUCKET = SECONDS + 5             # The answers in each bucket, not cumulated.
CLOSE = BUCKET + len(BOUNDS) + 1    # The connections that have ended for each reason.
REFUSED = CLOSE + len(CLOSED)       # What was refused with each status, from 400 on.
CELL = REFUSED + 200
CELLS = 1000    # The last one takes what finds no other.
WORDS = CELL + 2 * CELLS

# (A block is mapped by itself, and so begins where a page does.)
_PAGE = mmap.ALLOCATIONGRANULARITY
SIZE = -(-WORDS * 8 // _PAGE) * _PAGE    # Bytes of a block.
HEAD_SIZE = _PAGE                        # Bytes before the first block.
# What the file begins with. A program with another layout must not count here.
MARK = b'tremolo metrics %08x %08x %08x\n' % (
    zlib.crc32(repr((METHODS, PHASES, CLOSED, BOUNDS)).encode()), WORDS, SIZE)


def key_of(method: str, status: int) -> int:
    """Return what the cell of a method and a status is called; never 0."""
    row = METHODS.index(method) if method in METHODS else 0
    return 1 + row * 1000 + (status if 200 <= status <= 599 or status == 101 else UNSENT)


def labels_of(key: int) -> tuple[str, str]:
    """Return the method and the status of a cell, as labels."""
    row, status = divmod(key - 1, 1000)
    return METHODS[row % len(METHODS)], str(status) if status else 'none'
