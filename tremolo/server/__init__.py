"""Connections, requests and responses: here the loop's bytes and http's messages meet.

README.md is the tour of this room.
"""

from __future__ import annotations

from ..http import Encoded
from .addresses import announce
from .connection import Connection
from .context import Context
from .errors import HandlerError, HTTPError, phrase
from .phases import REASONS
from .request import Request
from .response import Response
from .server import Handle, Server

__all__ = [
    'REASONS', 'Connection', 'Context', 'Encoded', 'HTTPError', 'Handle', 'HandlerError', 'Request',
    'Response', 'Server', 'announce', 'phrase',
]
