"""Request parts: what is worked out of a request once, and may be asked for again.

`Request.kept` keeps it: a dictionary, made when the first part is asked for. Most handlers ask for
none, and a slot for each would make every request larger.
"""

from __future__ import annotations

from ..http.cookies import read_cookies
from ..http.form import Fields, read_fields
from ..server.errors import BadRequest
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .request import Request


def query_of(request: Request) -> Fields:
    """Return the fields of the query. Raises `BadRequest` for too many."""
    parts = request.kept = {} if request.kept is None else request.kept
    if 'query' not in parts:
        try:
            parts['query'] = read_fields(request.query_string)
        except ValueError as error:
            raise BadRequest('too many fields in the query') from error
    fields: Fields = parts['query']
    return fields


def cookies_of(request: Request) -> dict[str, str]:
    """Return the cookies."""
    parts = request.kept = {} if request.kept is None else request.kept
    if 'cookies' not in parts:
        parts['cookies'] = read_cookies(
            value for name, value in request.fields if name == b'cookie')
    cookies: dict[str, str] = parts['cookies']
    return cookies
