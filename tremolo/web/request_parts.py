"""Request parts: what is worked out of a request once, and may be asked for again.

`Request.kept` keeps it: a dictionary, made when the first part is asked for. Most handlers ask for
none, and a slot for each would make every request larger.

A body is read as JSON (RFC 8259) by one rule: what is read could be sent again. So what is no JSON
for others, though Python reads it, is refused: NaN and Infinity, a number that is too large for a
float (`1e999`), half of a surrogate pair in a string, which no UTF-8 can hold (RFC 7493 section
2.1), and any charset but UTF-8 (RFC 8259 section 8.1). A byte order mark is passed over. An int of
more than 4,300 digits is refused, too, as Python itself does not write it in decimals, and what is
nested deeper than Python's stack. Of a name that is there twice the last value counts.
"""

from __future__ import annotations

import json

from ..http.cookies import read_cookies
from ..http.form import Fields, read_fields
from ..late import expression
from ..server.errors import BadRequest
from ..typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .request import Request

# What may be half of a pair: `\\ud83d\\ude00` is a whole one, `\\\\ud83d` is no escape at all.
_SURROGATE = expression(r'\\u[dD][89a-fA-F]')


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


def read_json(data: bytes) -> Any:
    """Return the value of a text.

    Raises `ValueError`: it says which rule is broken, '' if it is the grammar's, and holds nothing
    of the text. (Python's own errors do, on PyPy.)
    """
    try:
        # (The codec `utf-8-sig` would be imported by the first request.)
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f'it is not UTF-8 at byte {error.start}') from None
    try:
        value = _DECODER.decode(text[text.startswith('\ufeff'):])
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError:
        raise ValueError from None
    except UnicodeEncodeError:
        raise ValueError('a string has half of a surrogate pair') from None
    except RecursionError:
        raise ValueError('it is nested too deep') from None
    except _NotJSON as error:
        raise ValueError(str(error)) from None
    except ValueError:
        raise ValueError('a number has too many digits') from None


class _NotJSON(ValueError):
    """A value that Python reads, and that is no JSON."""


def _constant(name: str) -> float:
    raise _NotJSON(f'{name} is no number of JSON')


def _float(digits: str) -> float:
    value = float(digits)
    if value - value:    # (Of infinity it is NaN.)
        raise _NotJSON('a number is too large')
    return value


_DECODER = json.JSONDecoder(parse_constant=_constant, parse_float=_float)
