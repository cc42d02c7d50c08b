"""Where the loop's bytes and http's messages meet: connections, requests, responses.

The tour is in README.md.
"""

from __future__ import annotations

from .connection import Connection
from .errors import (
    BadRequest,
    Forbidden,
    HandlerError,
    HTTPError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    phrase,
)
from .phases import REASONS
from .request import Context, Request
from .response import Encoded, Response
from .server import Server, url_of

__all__ = [
    'REASONS', 'BadRequest', 'Connection', 'Context', 'Encoded', 'Forbidden', 'HTTPError',
    'HandlerError', 'MethodNotAllowed', 'NotFound', 'PayloadTooLarge', 'Request', 'Response',
    'Server', 'phrase', 'url_of',
]
