"""Disposition: the name under which a client shall store an answer (RFC 6266)."""

from __future__ import annotations

from urllib.parse import quote

from ..late import expression

# What no name of a file has: control characters, those that turn the direction of text round (so
# that `gpj.exe` looks like another kind of file), and separators of folders.
_CONTROLS = expression('[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]')
_SEPARATORS = expression(r'[/\\]')
# What a quoted string may not hold, or what some clients read as an escape (appendix D).
_UNSAFE = expression('[^ !#-$&-~]|\\\\')
_ATTR_CHARS = '!#$&+-.^_`|~'    # Beside letters and digits (RFC 8187 section 3.2.1).


def attachment(name: str) -> str:
    """Return the value of a Content-Disposition that names a file to be stored."""
    name = _SEPARATORS.sub('_', _CONTROLS.sub('', name)).strip() or 'download'
    plain = _UNSAFE.sub('_', name)
    value = f'attachment; filename="{plain}"'
    if plain != name:
        value += f"; filename*=UTF-8''{quote(name, _ATTR_CHARS, 'utf-8', 'replace')}"
    return value
