"""JSON text: a body as JSON (RFC 8259), by one rule: what is read could be sent again.

What is no JSON for others, though Python reads it, is refused: NaN and Infinity, a number that is
too large for a float (`1e999`), half of a surrogate pair in a string, which no UTF-8 can hold
(RFC 7493 section 2.1), and any charset but UTF-8 (RFC 8259 section 8.1). A byte order mark is
passed over. So is an int of more than 4,300 digits refused, whose decimal form Python itself
refuses, and a text that is nested deeper than Python's stack. Of a name that is there twice the
last value counts.
"""

from __future__ import annotations

import json

from ..late import expression
from ..typed import Any

# What may be half of a pair: `\\ud83d\\ude00` is a whole one, `\\\\ud83d` is no escape at all.
_SURROGATE = expression(r'\\u[dD][89a-fA-F]')


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
