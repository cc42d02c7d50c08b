"""Parameters: what stands after the first `;` of a Content-Type or a Content-Disposition.

    read_parameters(b'form-data; name="a"')    # b'form-data', {b'name': b'a'}

All of these are written by a client, so none is guessed: what is malformed or there twice is 400,
since two programs may read it differently.
"""

from __future__ import annotations

import codecs

from .errors import FormError, shown
from .form import unescape
from .grammar import BOUNDARY, ESCAPED, PARAMETER

# The two kinds of body that are a form. Any other one is the caller's 415.
URLENCODED = 'application/x-www-form-urlencoded'
MULTIPART = 'multipart/form-data'

# The charsets that a part may name, and no others: a client must not choose among Python's codecs,
# of which some take long (idna) and some decompress. They are looked up here, since the file of one
# could not be opened later, when a server is out of descriptors.
_DECODERS = {
    'utf-8': codecs.lookup('utf-8').decode, 'us-ascii': codecs.lookup('ascii').decode,
    'iso-8859-1': codecs.lookup('latin-1').decode, 'windows-1252': codecs.lookup('cp1252').decode}


def read_parameters(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    r"""Return what stands before the parameters, in lower case, and the parameters.

    Their names are in lower case. In a quoted value `\"` is `"` and `\\` is `\`; any other `\` is
    itself: old browsers send `filename="C:\text.txt"`. A value without quotes may hold anything but
    `"` and `;`. Raises `FormError` for what is malformed, and for a parameter that is there twice.
    """
    kind, _, _ = value.partition(b';')
    at = len(kind)
    parameters: dict[bytes, bytes] = {}
    while at < len(value):
        match = PARAMETER.match(value, at)
        if match is None:
            raise FormError(400, 'the parameters of a field are malformed', shown(value[at:]))
        at = match.end()
        name, quoted, plain = match.groups()
        if name is None:
            continue
        name = name.lower()
        if name in parameters:
            raise FormError(400, 'a parameter is there twice', shown(name))
        parameters[name] = plain.strip(b' \t') if quoted is None else ESCAPED.sub(rb'\1', quoted)
    return kind.strip(b' \t').lower(), parameters


def media_type(content_type: str | None) -> str:
    """Return the type alone, in lower case: to be compared with `URLENCODED` and `MULTIPART`."""
    return (content_type or '').partition(';')[0].strip(' \t').lower()


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names (RFC 2046 section 5.1.1).

    Raises `FormError` if there is none, or two, or one that is longer than 70 characters or holds
    others than visible ASCII and blanks (clients use more of it than the RFC allows).
    """
    boundary = read_parameters(content_type.encode('utf-8', 'surrogatepass'))[1].get(b'boundary')
    if boundary is None:
        raise FormError(400, 'the Content-Type names no boundary')
    if BOUNDARY.fullmatch(boundary) is None:
        raise FormError(400, 'the boundary in the Content-Type is malformed', shown(boundary))
    return boundary


def text_of(parameters: dict[bytes, bytes], name: bytes) -> str | None:
    """Return a parameter of a Content-Disposition as text; None if it is not there.

    `name*` wins over `name` (RFC 8187, once RFC 5987). In the latter `%22` is `"`: so browsers
    write it. Raises `FormError` for what is no UTF-8, and for a value in numbered pieces (RFC 2231
    section 3): programs that do not know them would read another name.
    """
    if any(each.startswith(name + b'*') and each != name + b'*' for each in parameters):
        raise FormError(400, 'a parameter comes in pieces', shown(name))
    extended = parameters.get(name + b'*')
    if extended is not None:
        charset, _, rest = extended.partition(b"'")
        _, quote, escaped = rest.partition(b"'")
        if not quote:
            raise FormError(400, 'an extended parameter is malformed', shown(extended))
        return decode_text(unescape(escaped), charset.decode('latin-1').lower())
    plain = parameters.get(name)
    return None if plain is None else decode_text(plain.replace(b'%22', b'"'), 'utf-8')


def decode_text(data: bytes, charset: str) -> str:
    """Decode text by one of the four charsets that a part may name, in lower case.

    Raises `FormError` for another charset, and for what is not in the charset.
    """
    decode = _DECODERS.get(charset)
    if decode is None:
        raise FormError(400, 'the charset is not utf-8, us-ascii, iso-8859-1 or windows-1252',
                        shown(charset))
    try:
        return decode(data)[0]
    except UnicodeDecodeError as error:
        raise FormError(
            400, 'text is not in its charset', shown(data[error.start:error.end])) from None
