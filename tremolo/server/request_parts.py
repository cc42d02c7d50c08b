"""Request parts: what is worked out of a request once, and may be asked for again.

`Request.kept` keeps it: a dictionary, made when the first part is asked for. Most handlers ask for
none, and a slot for each would make every request larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ..http.cookies import read_cookies
from .errors import BadRequest

if TYPE_CHECKING:
    from .request import Request

_MOST_QUERY_FIELDS = 1000    # More in a query string are refused with 400.


def query_of(request: Request) -> dict[str, list[str]]:
    """Return the fields of the query. Raises `BadRequest` for too many."""
    parts = request.kept = request.kept or {}
    if 'query' not in parts:
        try:
            parts['query'] = parse_qs(request.query_string.decode('latin-1'),
                                      keep_blank_values=True, max_num_fields=_MOST_QUERY_FIELDS)
        except ValueError as error:
            raise BadRequest('too many fields in the query') from error
    fields: dict[str, list[str]] = parts['query']
    return fields


def cookies_of(request: Request) -> dict[str, str]:
    """Return the cookies."""
    parts = request.kept = request.kept or {}
    if 'cookies' not in parts:
        parts['cookies'] = read_cookies(
            value for name, value in request.fields if name == b'cookie')
    cookies: dict[str, str] = parts['cookies']
    return cookies
