"""Accept: what a client prefers, by the weights of its lists (RFC 9110 sections 12.4 and 12.5).

    best_type('text/*;q=0.5, application/json', ['text/html', 'application/json'])
    read_elements('gzip;q=0.5')    # [('gzip', frozenset({''}), 0.5)]

An element that is malformed is left out. After 100 elements the rest is left out too: no client
sends as many, and each costs time. A weight may be written `.5`, as the HTTP client of Java does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from ..late import expression
from .grammar import TOKEN_TEXT as _NAME

_MOST = 100

# (It has no end of its own: then that of the field. So no byte is looked at twice.)
_QUOTED = expression(r'="([^"\\]*(?:\\.[^"\\]*)*)(?:"|\\?\Z)')
# media-range = ( "*/*" / ( type "/" "*" ) / ( type "/" subtype ) ) parameters; codings are tokens
# parameters  = *( OWS ";" OWS [ parameter ] )                             RFC 9110 section 5.6.6
# weight      = OWS ";" OWS "q=" qvalue                                    RFC 9110 section 12.4.2
# qvalue      = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
# (What follows the weight, once `accept-ext`, is no part of the media type.)
_ELEMENT = expression(
    rf'({_NAME}(?:/{_NAME})?)((?:[ \t]*;(?:[ \t]*(?![qQ]=){_NAME}=(?:{_NAME})?)?)*)'
    r'(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?|\.[0-9]{1,3})(?:[ \t]*;.*)?)?')

# A name in lower case, its parameters, and its weight.
Element = tuple[str, frozenset[str], float]


def read_elements(value: str) -> list[Element]:
    """Return the well-formed elements of the value of an Accept or Accept-Encoding field."""
    # (So a quoted value has no comma. Of 8,000 such values the rest is malformed then.)
    value = _QUOTED.sub(lambda quoted: f'={quote(quoted[1])}', value, _MOST)
    texts = (text.strip(' \t') for text in value.split(',', _MOST)[:_MOST])
    return [(found[1].lower(), frozenset(''.join(found[2].lower().split()).split(';')),
             float(found[3] or 1)) for found in map(_ELEMENT.fullmatch, texts) if found]


def best_type(accept: str | None, offers: Sequence[str]) -> str | None:
    """Return the media type that the client likes best, of equals the first; None if none.

    Without a field, or with an empty one, all are liked (RFC 9110 section 12.5.1). Raises
    `ValueError` for an offer that is no media type.
    """
    return best_of(read_elements(accept or '*/*'), offers)


def best_of(ranges: Sequence[Element], offers: Sequence[str]) -> str | None:
    """Do as `best_type` with a field that was read already."""
    best, most = None, 0.0
    for offer in offers:
        kinds = read_elements(offer) if isinstance(offer, str) else []
        if len(kinds) != 1 or '/' not in kinds[0][0] or '*' in kinds[0][0]:
            raise ValueError(f"{offer!r:.64} is no media type: write 'text/html'")
        weight = _weight_of(kinds[0], ranges)
        if weight > most:
            best, most = offer, weight
    return best


def _weight_of(kind: Element, ranges: Iterable[Element]) -> float:
    """Return the weight of a media type: that of the most specific range that it is in."""
    names = ['*/*', f'{kind[0].partition("/")[0]}/*', kind[0]]
    return max(((names.index(name), len(parameters), weight) for name, parameters, weight in ranges
                if name in names and parameters - {''} <= kind[1]), default=(0, 0, 0.0))[2]
