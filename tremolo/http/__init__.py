"""http: HTTP/1.1 as bytes in and messages out. No sockets, no clock, no tasks (see README.md)."""

from .body import EndOfBody, Limits
from .cookies import format_cookie, parse_cookies
from .encoder import Encoded
from .errors import HeaderError, ProtocolError
from .head import RequestHead
from .headers import Headers
from .parser import RequestParser
from .response import CONTINUE, chunk, http_date, status_line
from .text_fields import encode_fields

__all__ = [
    'CONTINUE', 'Encoded', 'EndOfBody', 'HeaderError', 'Headers', 'Limits', 'ProtocolError',
    'RequestHead', 'RequestParser', 'chunk', 'encode_fields', 'format_cookie', 'http_date',
    'parse_cookies', 'status_line',
]
