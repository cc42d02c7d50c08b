"""Charset: how the text of an answer becomes bytes: by the charset of its Content-Type."""

from __future__ import annotations

import functools
import re

from ..late import expression
from .errors import HeaderError

# The value of the parameter, with or without quotes; other parameters may stand around it.
_CHARSET = expression(r';[ \t]*charset[ \t]*=[ \t]*(?:"([^"]*)"|([^ \t;]*))', re.IGNORECASE)


@functools.lru_cache(maxsize=256)
def charset_of(content_type: str | None) -> str:
    """Return the charset that a Content-Type names; 'utf-8' if it names none."""
    match = _CHARSET.search(content_type or '')
    return (match[1] or match[2] or '').strip() if match else 'utf-8'


def with_charset(content_type: str, charset: str) -> str:
    """Return a Content-Type that names this charset, in the place of another, or at the end."""
    named = f'; charset={charset}'
    if _CHARSET.search(content_type):
        return _CHARSET.sub(lambda _: named, content_type, count=1)
    return content_type + named


def check_charset(content_type: str) -> None:
    """Raise `HeaderError` if Python does not know the charset that a Content-Type names."""
    charset = charset_of(content_type)
    try:
        ''.encode(charset)
    except (LookupError, ValueError) as error:
        raise fault(charset, error) from None


def fault(charset: str, error: Exception) -> Exception:
    """Return the error of text that cannot be encoded: it says what to write instead."""
    if not isinstance(error, UnicodeEncodeError):
        return HeaderError(f'there is no charset {charset!r:.64}: write charset=utf-8')
    if error.encoding.startswith('utf'):
        return error    # A lone surrogate: no charset has it.
    found = error.object[error.start]
    return HeaderError(
        f'{found!a} is not in the charset {charset}: write charset=utf-8 in content_type')
