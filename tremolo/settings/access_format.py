"""Access format: what a line of the access log consists of.

    read_format('{client} {status}')    # ('%s %s', ('client', 'status'))

A format is `combined`, `json`, or a template with these names in braces. A name stands alone: there
are no attributes, no conversions and no widths, so a template can reach nothing but these values.
`{{` and `}}` are braces. Who writes the atoms of gunicorn, hypercorn or uvicorn is told the names.

(This is imported where a template is read, and where there is an access log: access/lines.py.)
"""

from __future__ import annotations

import re

from ..errors import SettingError

# What each name stands for. What is not known, or is not there, is `-`, in JSON null.
NAMES = {
    'time': 'when the answer had ended, in UTC: `30/Nov/2026:10:19:03 +0000`, in JSON '
            '`2026-11-30T10:19:03Z`',
    'client': 'the address of the client, as a trusted proxy names it; `-` on a UNIX socket',
    'method': 'the method',
    'target': 'what was asked for: path and query as they came',
    'path': 'the path of it, not decoded',
    'query': 'the query of it, behind the `?`',
    'protocol': '`HTTP/1.1` or `HTTP/1.0`',
    'status': 'the status of the answer; `-` if none was sent',
    'bytes': 'bytes of the body that were sent; of a WebSocket, all bytes',
    'ms': 'milliseconds from the request to the end of the answer, such as `1.204`',
    'host': 'the host that was asked for, with its port',
    'scheme': '`http` or `https`',
    'referer': 'the field Referer',
    'user_agent': 'the field User-Agent',
    'request_id': 'the id of the request, with `--request-id`',
    'reason': 'why the answer was cut, by the names of `REASONS`; `-` if it is whole',
    'pid': 'the process',
}

COMBINED = ('{client} - - [{time}] "{method} {target} {protocol}" {status} {bytes} "{referer}" '
            '"{user_agent}"')
# Of JSON; each is a key of the object.
JSON = ('time', 'client', 'method', 'target', 'protocol', 'status', 'bytes', 'ms', 'referer',
        'user_agent', 'request_id', 'reason', 'pid')

_PIECE = re.compile(r'\{\{|\}\}|\{([^{}]*)\}|[{}%]')
_ATOM = re.compile(r'%\((\{[^{}()]*\}[a-z]|[A-Za-z_]+)\)[a-z]?')
# What stands here for the atoms of gunicorn and hypercorn, and the fields of uvicorn's records.
_ATOMS = {
    'h': '{client}', 'l': '-', 'u': '-', 't': '[{time}]', 'r': '{method} {target} {protocol}',
    'R': '{method} {path} {protocol}', 'm': '{method}', 'U': '{path}', 'q': '{query}',
    'Uq': '{target}', 'H': '{protocol}', 's': '{status}', 'st': '{status}', 'S': '{scheme}',
    'B': '{bytes}', 'b': '{bytes}', 'f': '{referer}', 'a': '{user_agent}', 'T': '{ms}',
    'D': '{ms}', 'M': '{ms}', 'L': '{ms}', 'p': '{pid}',
    '{referer}i': '{referer}', '{user-agent}i': '{user_agent}', '{host}i': '{host}',
    '{x-request-id}i': '{request_id}', '{x-request-id}o': '{request_id}',
    '{x-forwarded-for}i': '{client}', '{content-length}o': '{bytes}',
    'client_addr': '{client}', 'request_line': '{method} {target} {protocol}',
    'full_path': '{target}', 'http_version': '{protocol}', 'status_code': '{status}',
    'process': '{pid}',
}


def checked_format(value: str) -> str:
    """Return a format as it is kept. Raises `SettingError` for a template that cannot be used."""
    if value.lower() in ('combined', 'json'):
        return value.lower()
    read_format(value)
    return value


def read_format(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a template as text for the operator %, and the names whose values it takes.

    Raises `SettingError`.
    """
    if _ATOM.search(text):
        raise SettingError(_translated(text))
    names: list[str] = []

    def replace(found: re.Match[str]) -> str:
        piece, name = found[0], found[1]
        if piece in ('{{', '}}'):
            return piece[0]
        if piece == '%':
            return '%%'
        if name is None:
            raise SettingError(f'a {piece} alone: write {piece}{piece} for a brace, and a name '
                               'such as {client} in braces')
        if name not in NAMES:
            raise SettingError(_unknown(name))
        names.append(name)
        return '%s'

    template = _PIECE.sub(replace, text)
    if not names:
        raise SettingError(f'{text!r:.64} is not combined, json, or a template with names in '
                           'braces, such as {client}')
    return template, tuple(names)


def _unknown(name: str) -> str:
    """Return what is wrong with what stands in braces, and the nearest name."""
    import difflib  # Late: a name is seldom wrong.
    bare = re.match('[a-z_]*', name.lower())
    word = bare[0] if bare else ''
    near = [word] if word in NAMES else difflib.get_close_matches(name.lower(), NAMES, 1)
    hint = f'did you mean {{{near[0]}}}?' if near else 'the names are ' + ', '.join(NAMES)
    why = 'names stand alone' if word in NAMES else 'there is no such name'
    return f'{"{" + name + "}"!r:.64}: {why}; {hint}'


def _translated(text: str) -> str:
    """Return what to write instead of a template with the atoms of others."""
    def replace(found: re.Match[str]) -> str:
        atom = found[1].lower() if found[1][0] == '{' else found[1]
        if atom not in _ATOMS:
            raise SettingError(f'{found[0]!r:.64} has nothing in its place here; the names are '
                               + ', '.join(NAMES))
        return _ATOMS[atom]

    # (Other braces are literal there, and have to be doubled here.)
    at, parts = 0, []
    for found in _ATOM.finditer(text):
        parts += [_doubled(text[at:found.start()]), replace(found)]
        at = found.end()
    ours = ''.join((*parts, _doubled(text[at:])))
    written = 'combined' if ours == COMBINED else ours
    return f"names stand in braces here: write '{written}' instead of '{text}'"


def _doubled(text: str) -> str:
    return text.replace('{', '{{').replace('}', '}}')
