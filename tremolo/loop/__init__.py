"""Sockets, time and tasks: a reactor that knows no HTTP. The tour is in README.md."""

from __future__ import annotations

from ..output import guard_loggers
from .connect import connect
from .errors import Cancelled, InvalidState, LimitExceeded, ListenError, StreamClosed
from .future import Future, current_reactor
from .inbox import Inbox
from .joint import gather, timeout
from .listener import Listener, bind, bind_unix
from .reactor import Reactor
from .sleep import sleep
from .spawn import spawn
from .stream import Stream
from .sync import Event, Lock, Queue, Semaphore
from .task import Task
from .threads import run_in_thread
from .timers import Timer

guard_loggers()

__all__ = [
    'Cancelled', 'Event', 'Future', 'Inbox', 'InvalidState', 'LimitExceeded', 'ListenError',
    'Listener', 'Lock', 'Queue', 'Reactor', 'Semaphore', 'Stream', 'StreamClosed', 'Task', 'Timer',
    'bind', 'bind_unix', 'connect', 'current_reactor', 'gather', 'run_in_thread', 'sleep', 'spawn',
    'timeout',
]
