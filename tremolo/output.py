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

from .escaped import line, lines, message_of, said_by
from .pace import is_told
from .typed import Any, Callable

# The names that our loggers have. What an application adds below them is its own.
LOGGERS = ('tremolo', 'tremolo.access', 'tremolo.app', 'tremolo.error', 'tremolo.loop',
           'tremolo.server')
ASYNCIO = 'asyncio'    # (Not ours; see `guard_asyncio`.)


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
                # (The loader of a module may raise, too; and a class may let nobody look at it.)
                with suppress(BaseException):
                    complain(traceback.format_exc(), end='')

    return call


def guard_loggers() -> None:
    """Let no error of a handler or a filter out of our loggers, and no text of others as it came.

    The text of an exception may be what a client has sent, so each message of ours is one line
    before any handler has it, whoever shows it; and what is said again and again is counted. (What
    the application logs itself, and the lines of the access log, are not changed.)
    """
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if 'handle' not in vars(logger):
            handle = logger.handle
            vars(logger)['handle'] = guarded(
                handle if name in ('tremolo.access', 'tremolo.app') else _escaping(handle, line))


def guard_asyncio() -> None:
    """Do the same for asyncio, where its loop is ours; its messages have lines of their own."""
    logger = logging.getLogger(ASYNCIO)
    if 'handle' not in vars(logger):
        vars(logger)['handle'] = guarded(_escaping(logger.handle, lines))


def _escaping(handle: Callable[..., Any], form: Callable[[str], str]) -> Callable[..., Any]:
    def handle_escaped(record: logging.LogRecord) -> None:
        if not is_told(record):
            return
        message = message_of(record)
        if not message.isprintable():
            record.msg, record.args = form(message), None
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not all(map(str.isprintable, said_by(error))):
            # (What a formatter finds here it does not make anew: so `logging` does it once for all
            # handlers. The text of an error that is harmless is left to them.)
            with suppress(Exception):
                whole = traceback.format_exception(type(error), error, error.__traceback__)
                record.exc_text = lines('\n' + ''.join(whole).rstrip('\n'))[1:]
        handle(record)

    return handle_escaped


def say(text: str) -> None:
    """Write a text to stdout, if that is possible."""
    # (Any error: the program may have put an object of its own in the place of the stream.)
    with suppress(Exception):
        print(lines(text, indent=''), flush=True)


def complain(text: str, end: str = '\n') -> None:
    """Write a text to stderr, if that is possible."""
    with suppress(Exception):
        print(lines(text, indent=''), end=end, file=sys.stderr, flush=True)
