"""Waits: what a connection waits for, in plain words.

The first that is true is told:

    throttled (download_rate)       a rate limit of ours holds bytes back
    waits for the client to read    the client does not take what is kept for it
    waits for the body              the handler reads, and the client sends nothing
    its thread is at shop.py:31     a handler with `thread=True`, or a WSGI application
    handler waits at shop.py:31     it waits for something else, where it stands
    idle                            nothing is in hand
"""

from __future__ import annotations

import os

from ..loop.timers import NEVER, Timer
from ..server.connection import Connection
from ..server.phases import BUSY, CLOSING, DISCARD, HEAD, IDLE, LINGER, NEW, UPGRADED
from ..throttling import held_by
from ..typed import Any

_READ = 'waits for the client to read'
_PHASES = {
    NEW: 'waits for the first request',
    IDLE: 'idle',
    HEAD: 'waits for the rest of a head',
    DISCARD: 'throws the rest of the body away',
    CLOSING: 'closes',
    LINGER: 'lingers',
}


def waits_for(connection: Connection, unread: int, place: str) -> str:
    """Tell what a connection waits for.

    `unread` are the bytes that the client's kernel has not taken, and `place` is where its handler
    stands.
    """
    stream, phase = connection.stream, connection.phase
    if stream.buffered and (_rests(stream.write_rest) or not unread) and (
            limit := held_by(stream)):
        return f'throttled ({limit})'
    if stream.buffered > stream.low:
        return _READ
    if phase is UPGRADED:
        socket: Any = getattr(stream.receiver, 'waits_for', None)
        return str(socket()) if socket is not None else 'the handler has the stream'
    if phase is BUSY:
        return _of_handler(connection, place)
    # (A client that lingers, or sends, has its answer in its own kernel.)
    if stream.buffered or (unread and phase in (IDLE, CLOSING)):
        return _READ
    return _PHASES.get(phase, phase)


def _of_handler(connection: Connection, place: str) -> str:
    """Tell what a request waits for that is being answered."""
    body = connection.request_body
    if body is not None and body.reading:
        inbox = body.request.inbox
        if inbox is not None and inbox.waiting is not None:
            return _of_body(connection)
    if place == 'waiting for a thread':
        return 'waits for a thread'
    if connection.task is None:
        # No handler runs while the loop tells of it: so its answer is on its way.
        return _READ if connection.stream.buffered else 'is being answered'
    where = short(place)
    if not where:
        return _READ if connection.stream.buffered else 'handler waits'
    # (What runs in a thread knows the thread's number.)
    who = 'its thread is' if hasattr(connection.task, 'thread') else 'handler waits'
    return f'{who} at {where}'


def _of_body(connection: Connection) -> str:
    settings = connection.server.settings
    if not _rests(connection.stream.read_rest):
        return 'waits for the body'
    return 'throttled (upload_rate)' if settings.upload_rate else 'throttled (worker_upload_rate)'


def _rests(timer: Timer | None) -> bool:
    """Return whether a limit holds a transfer back until this timer comes up."""
    return timer is not None and timer.deadline != NEVER


def short(place: str) -> str:
    """Return file:line without the folders; '' for what is no place."""
    file, colon, line = place.rpartition(':')
    return os.path.basename(file) + colon + line if line.isdigit() and colon else ''
