"""Sockets, time and tasks: a reactor that knows no HTTP. The tour is in README.md."""

from __future__ import annotations

from .errors import Cancelled, InvalidState, LimitExceeded, ListenError, StreamClosed
from .future import Future, current_reactor
from .inbox import Inbox
from .listener import Listener, bind, bind_unix
from .reactor import Reactor
from .stream import Stream
from .task import Task, spawn
from .timers import Timer

__all__ = [
    'Cancelled', 'Future', 'Inbox', 'InvalidState', 'LimitExceeded', 'ListenError', 'Listener',
    'Reactor', 'Stream', 'StreamClosed', 'Task', 'Timer', 'bind', 'bind_unix', 'current_reactor',
    'spawn',
]
