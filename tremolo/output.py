"""Output: what is written for people. That nobody can read it must not end a server.

A terminal may be gone (EIO), the reader of a pipe too (EPIPE), a disk may be full (ENOSPC), and a
pipe that does not block as well (EAGAIN). `logging` survives these. But a stream that the program
has closed raises ValueError, and the program may have a log handler or a filter of its own that
raises: in the middle of the loop, or of the supervisor. So our loggers let no error out.
"""

from __future__ import annotations

import logging
import sys
import tokenize  # noqa: F401 (since 3.13 the first traceback imports it, maybe without descriptors)
import traceback
from contextlib import suppress

from .typed import Any, Callable

# The names that our loggers have. What an application adds below them is its own.
LOGGERS = ('tremolo', 'tremolo.access', 'tremolo.app', 'tremolo.error', 'tremolo.loop',
           'tremolo.server')


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls this one, and prints an error instead of raising it."""
    def call(*args: Any) -> None:
        try:
            function(*args)
        except KeyboardInterrupt:
            raise
        except BaseException:
            # As `logging` itself does for the errors of its handlers.
            if logging.raiseExceptions:
                with suppress(Exception):
                    traceback.print_exc()

    return call


def one_line(text: str) -> str:
    """Return a text without what ends a line, or is a command for a terminal: with escapes."""
    if text.isprintable():
        return text
    return ''.join([
        each if each.isprintable() or each == '\t' or each > '\u2029' else
        each.encode('unicode_escape').decode('ascii') for each in text])


def guard_loggers() -> None:
    """Let no error of a handler or a filter out of our loggers.

    And let no client write a line of a log: the text of an exception may be what a client has sent.
    Each message of `tremolo.error` and `tremolo.server` is one line, whatever it is about, and
    whoever shows it. (Tracebacks are shown by room service: what belongs to one is indented.)
    """
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if 'handle' not in vars(logger):
            handle = logger.handle
            vars(logger)['handle'] = guarded(
                _in_one_line(handle) if name in ('tremolo.error', 'tremolo.server') else handle)


def _in_one_line(handle: Callable[..., Any]) -> Callable[..., Any]:
    def handle_line(record: logging.LogRecord) -> None:
        message = record.getMessage()
        if not message.isprintable():
            record.msg, record.args = one_line(message), None
        handle(record)

    return handle_line


def say(text: str) -> None:
    """Write a line to stdout, if that is possible."""
    # (Any error: the program may have put an object of its own in the place of the stream.)
    with suppress(Exception):
        print(text, flush=True)


def complain(text: str, end: str = '\n') -> None:
    """Write a line to stderr, if that is possible."""
    with suppress(Exception):
        print(text, end=end, file=sys.stderr, flush=True)
