"""Forwarded: what proxies say of their clients in the field that RFC 7239 defines.

    Forwarded: for=192.0.2.1, for="[2001:db8::7]:51234";proto=https;host=example.org, for=10.0.0.2

Each proxy adds an element. As in X-Forwarded-For, what stands on the left is a stranger's, and the
search for the client begins on the right (x_forwarded.py). So the line is read from the right, too:
a quote that a stranger leaves open cannot swallow what a proxy has added.

    forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )          RFC 7239 section 4
    forwarded-pair    = token "=" ( token / quoted-string )
    node              = nodename [ ":" node-port ]                              RFC 7239 section 6
    nodename          = IPv4address / "[" IPv6address "]" / "unknown" / obfnode

Blanks around a `;` are passed over. A `for` that is `unknown`, or none, ends the search at the last
good hop; a name such as `_hidden` is the client, as nobody can believe it. An element that breaks
the grammar ends the search, and nothing in it counts.

Scheme and host are those of the element that names the client, or else of the next one on the right
that has them: each element tells of one connection, and the client's is the one that is asked for.
"""

from __future__ import annotations

import re

from ..http.grammar import TOKEN_TEXT
from ..late import expression
from .said import MOST_HOPS, Lines, Said, read_node, read_scheme, valid_host
from .trusted import TrustedProxies

_TOKEN = TOKEN_TEXT.encode('ascii')
_PAIR = expression(
    rb'(?:[ \t]*(%s)=(?:(%s)|"([\t !#-\[\]-~\x80-\xff]*(?:\\[\t -~\x80-\xff]'
    rb'[\t !#-\[\]-~\x80-\xff]*)*)"))?[ \t]*(?:;|\Z)' % (_TOKEN, _TOKEN))
_ESCAPED = expression(rb'\\(.)', re.DOTALL)
# obfnode = "_" 1*( ALPHA / DIGIT / "." / "_" / "-" )
# obfport = "_" 1*( ALPHA / DIGIT / "." / "_" / "-" )
_HIDDEN = expression(r'(_[A-Za-z0-9._-]{1,63})(?::([0-9]{1,5}|_[A-Za-z0-9._-]{1,63}))?')
_HIDDEN_PORT = expression(r':_[A-Za-z0-9._-]{1,63}\Z')


def read_forwarded(lines: Lines, trusted: TrustedProxies, is_socket: bool) -> Said:
    """Read fields that a proxy which is believed has sent; only those named Forwarded count."""
    said = Said(len(lines))
    left = MOST_HOPS    # 0: the search is over.
    for place in range(len(lines) - 1, -1, -1):
        name, value = lines[place]
        if name != b'forwarded':
            continue
        end, begin = len(value), None
        while left and end >= 0:
            comma = _begin_of_last(value, end)
            pairs = _read_element(value[comma + 1:end].strip(b' \t'))
            if pairs is None:
                left = 0
                break
            left = left - 1 if _note(said, pairs, trusted, is_socket) else 0
            end = begin = comma
        if begin is not None:
            said.lines[place] = value[begin + 1:].strip(b' \t')
    return said


def _begin_of_last(value: bytes, end: int) -> int:
    """Return where the comma before the last element stands: it is in no quotes; -1: there is none.

    What stands between two quotes is passed over from its end to its begin. Linear: each byte is
    looked at once (by the two calls of `rfind`, in C).
    """
    while True:
        quote = value.rfind(b'"', 0, end)
        comma = value.rfind(b',', quote + 1, end)
        if comma >= 0 or quote < 0:
            return comma
        # A quote that begins a quoted string is not escaped: there is no `\` before it, or pairs.
        end = value.rfind(b'"', 0, quote)
        while end > 0 and _is_escaped(value, end):
            end = value.rfind(b'"', 0, end)
        if end < 0:
            return -1


def _is_escaped(value: bytes, place: int) -> bool:
    """Return whether an odd number of backslashes stands before a place."""
    begin = place
    while begin and value[begin - 1] == 92:
        begin -= 1
    return (place - begin) % 2 == 1


def _read_element(element: bytes) -> dict[bytes, bytes] | None:
    """Return the pairs of an element by their names, in lower case; None if it is malformed."""
    pairs: dict[bytes, bytes] = {}
    place = 0
    while place < len(element):
        match = _PAIR.match(element, place)
        if match is None:
            return None
        place = match.end()
        name, token, quoted = match.groups()
        if name is not None:
            name = name.lower()
            if name in pairs:    # (Each may be there once: RFC 7239 section 4.)
                return None
            pairs[name] = token if quoted is None else _ESCAPED.sub(rb'\1', quoted)
    return pairs or None


def _note(said: Said, pairs: dict[bytes, bytes], trusted: TrustedProxies, is_socket: bool) -> bool:
    """Note what an element says; return whether the proxy that it names is believed, too."""
    said.scheme = read_scheme(pairs.get(b'proto', b''), is_socket) or said.scheme
    said.host = valid_host(pairs.get(b'host', b'')) or said.host
    text = pairs.get(b'for', b'').decode('latin-1')
    hidden = _HIDDEN.fullmatch(text)
    if hidden is not None:
        name, port = hidden.groups()
        number = int(port) if port and port.isdigit() else 0
        if number <= 65535:
            said.client = name, number
        return False
    node = read_node(_HIDDEN_PORT.sub('', text))
    if node is None:
        return False
    said.client = node[0].text, node[1]
    return trusted.contains(node[0])
