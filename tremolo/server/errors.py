"""Errors of the application: answers that are raised, and mistakes of a handler."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterable, Mapping

from ..errors import TremoloError
from ..http.phrases import PHRASES

_log = logging.getLogger('tremolo.server')

# Seconds after which a refused client may ask again (RFC 9110 section 10.2.3). Answers take
# milliseconds; a client that waits longer than this would find the server idle.
RETRY_AFTER = '1'
_QUIET = 10.0    # Seconds from one line about a lack of descriptors to the next.


# What is told where a cookie is to be signed, or was signed, and nothing can do that.
NO_KEYS = ('signed cookies need keys: write app.secret_keys = [key], with a key that '
           'secrets.token_hex(32) has made once')


class HandlerError(TremoloError):
    """A handler did something that is no answer; the message names the handler's file:line."""


class HTTPError(TremoloError):
    """An answer that is raised (or returned): `raise HTTPError(409, 'there is one already')`.

    `body` is sent as plain text; without one the client gets the status and its standard phrase.
    Raises `ValueError` for a status outside 200..599.
    """

    def __init__(self, status: int, body: str = '',
                 headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        if not isinstance(status, int) or not 200 <= status <= 599:
            number = str(status)[:3] if isinstance(status, str) else ''
            hint = f': write {number}' if number.isdigit() else ''
            raise ValueError(f'{status!r:.64} is no status of a final answer (200..599){hint}')
        if not isinstance(body, str):
            raise TypeError(f'the body of an HTTPError is str, not {type(body).__name__}: write '
                            "json.dumps(...), and headers={'Content-Type': 'application/json'}")
        # (`args` stay as they were given: so the error can be copied, and pickled for a process.)
        self.status = status
        self.body = body
        self.headers = list(headers.items() if isinstance(headers, Mapping) else headers)

    def __str__(self) -> str:
        return f'{self.status} {self.body or phrase(self.status)}'


class _Told:
    until = 0.0    # Until when the log tells nothing more of a lack of descriptors.


def raise_if_scarce(error: OSError) -> None:
    """Raise a 503 if a file could not be opened because there are too many open ones.

    (Others have them, and will be done. A traceback for each client helps nobody: the log has a
    line in ten seconds at most.)
    """
    if error.errno in (errno.EMFILE, errno.ENFILE):
        if (now := time.monotonic()) >= _Told.until:
            _Told.until = now + _QUIET
            _log.info('503 for who needs a file: %s', error.strerror)
        raise HTTPError(503, headers={'Retry-After': RETRY_AFTER}) from error


class BadRequest(HTTPError):
    """400: the request does not make sense."""

    def __init__(self, body: str = '') -> None:
        super().__init__(400, body)


class Forbidden(HTTPError):
    """403: this client may not have it."""

    def __init__(self, body: str = '') -> None:
        super().__init__(403, body)


class NotFound(HTTPError):
    """404: there is nothing at this path."""

    def __init__(self, body: str = '') -> None:
        super().__init__(404, body)


class MethodNotAllowed(HTTPError):
    """405: the path does not have this method; `allow` are the methods that it has."""

    def __init__(self, allow: Iterable[str], body: str = '') -> None:
        names = allow.replace(',', ' ').split() if isinstance(allow, str) else allow
        super().__init__(405, body, [('Allow', ', '.join(sorted(names)))])


class PayloadTooLarge(HTTPError):
    """413: the body is larger than the limit."""

    def __init__(self, body: str = '') -> None:
        super().__init__(413, body)


class UnsupportedMediaType(HTTPError):
    """415: the Content-Type is none that is read here."""

    def __init__(self, body: str = '') -> None:
        super().__init__(415, body)


def phrase(status: int) -> str:
    """Return the standard phrase of a status; '' if there is none."""
    return PHRASES.get(status, '')
