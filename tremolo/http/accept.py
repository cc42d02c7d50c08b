"""Accept: what a client prefers, by the weights of its lists (RFC 9110 sections 12.4 and 12.5).

    best_type('text/*;q=0.5, application/json', ['text/html', 'application/json'])
    best_coding('gzip;q=0.5, br', ['br', 'gzip'])    # 'br'; '' stands for no coding

An element that is malformed is left out. After 100 elements the rest is left out too: no client
sends as many, and each costs time. A weight may be written `.5`, as the HTTP client of Java does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..late import expression
from ..typed import NamedTuple

_MOST = 100

# Up to a comma that stands in no quoted string. (It always matches; only the end of a quoted
# string may be missing, and then `"` comes next.)
_ELEMENT = expression(r'[^",]*(?:"[^"\\]*(?:\\.[^"\\]*)*"[^",]*)*')
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# media-range = ( "*/*" / ( type "/" "*" ) / ( type "/" subtype ) ) parameters; codings are tokens.
_NAME = expression(rf'{_TOKEN}(?:/{_TOKEN})?')
# parameters  = *( OWS ";" OWS [ parameter ] )                             RFC 9110 section 5.6.6
_PARAMETER = expression(rf'[ \t]*;[ \t]*(?:({_TOKEN})=({_TOKEN}|"[^"\\]*(?:\\.[^"\\]*)*"))?')
# qvalue      = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )        RFC 9110 section 12.4.2
_WEIGHT = expression(r'0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?|\.[0-9]{1,3}')


class Element(NamedTuple):
    """An element of a list: a media range or a coding in lower case, its parameters and weight."""

    name: str
    parameters: frozenset[tuple[str, str]]
    weight: float


def read_elements(value: str) -> list[Element]:
    """Return the well-formed elements of the value of an Accept or Accept-Encoding field."""
    found, start = [], 0
    for _ in range(_MOST):
        match = _ELEMENT.match(value, start)
        end = match.end() if match else len(value)
        element = None if value[end:end + 1] == '"' else _element(value[start:end].strip(' \t'))
        if element is not None:
            found.append(element)
        start = end + 1
        if value[end:start] != ',':
            break
    return found


def _element(text: str) -> Element | None:
    name = _NAME.match(text)
    if name is None:
        return None
    place, weight = name.end(), -1.0
    parameters = set()
    while place < len(text):
        match = _PARAMETER.match(text, place)
        if match is None:
            return None
        place = match.end()
        key, content = (match[1] or '').lower(), match[2] or ''
        if key == 'q' and weight < 0:
            if _WEIGHT.fullmatch(content) is None:
                return None
            weight = float(content)
        elif key and weight < 0:    # (What follows the weight is no part of the media type.)
            parameters.add((key, content.strip('"').lower()))
    return Element(name[0].lower(), frozenset(parameters), abs(weight))


def best_type(accept: str | None, offers: Sequence[str]) -> str | None:
    """Return the media type that the client likes best, of equals the first; None if none.

    Without a field, or with an empty one, all are liked (RFC 9110 section 12.5.1). Raises
    `ValueError` for an offer that is no media type.
    """
    ranges = read_elements(accept or '*/*')
    best, most = None, 0.0
    for offer in offers:
        kind = _element(offer) if isinstance(offer, str) else None
        if kind is None or '/' not in kind.name or '*' in kind.name:
            raise ValueError(f"{offer!r:.64} is no media type: write 'text/html'")
        weight = _weight_of(kind, ranges)
        if weight > most:
            best, most = offer, weight
    return best


def _weight_of(kind: Element, ranges: Iterable[Element]) -> float:
    """Return the weight of a media type: that of the most specific range that it is in."""
    names = ['*/*', f'{kind.name.partition("/")[0]}/*', kind.name]
    found = (-1, 0), 0.0
    for each in ranges:
        if each.name in names and each.parameters <= kind.parameters:
            specific = names.index(each.name), len(each.parameters)
            found = max(found, (specific, each.weight))
    return found[1]


def best_coding(accept: str | None, offers: Iterable[str]) -> str:
    """Return the coding that the client likes best, of equals the first; '' for none.

    None is chosen where no coding is accepted, and where the client likes it better (RFC 9110
    section 12.5.3). A client that says nothing gets none.
    """
    weights: dict[str, float] = {}
    for name, _, weight in read_elements(accept or ''):
        name = {'x-gzip': 'gzip'}.get(name, name)
        weights[name] = max(weight, weights.get(name, 0.0))
    best, most = '', weights.get('identity', 0.0)
    for offer in offers:
        weight = weights.get(offer, weights.get('*', 0.0))
        if weight > most or (weight == most > 0 and not best):
            best, most = offer, weight
    return best
