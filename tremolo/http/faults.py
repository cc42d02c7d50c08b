"""Faults: what is wrong with a head that is not good.

`read_head` only tells that a head breaks the grammar (`Malformed`). Then each rule is looked at in
its order, to find the first that is broken.
"""

from __future__ import annotations

from ..typed import NoReturn
from .errors import ProtocolError, shown
from .fields import check_lines, refuse_fields
from .grammar import CODING, REQUEST_LINE


def raise_fault_of_head(
    data: bytes, pos: int, scanned: int, stop: int, field_count: int
) -> NoReturn:
    """Raise the `ProtocolError` of the whole head from `pos` to `stop`, which is not good.

    Its lines were checked already up to `scanned`.
    """
    check_lines(data, scanned, stop, pos)
    line = REQUEST_LINE.match(data, pos, stop)
    if line is None:
        text = data[pos:data.index(b'\r\n', pos)]
        raise ProtocolError(400, 'the request line is malformed', shown(text))
    if line[3] not in (b'1.0', b'1.1'):
        raise ProtocolError(505, 'the HTTP version is not 1.0 or 1.1', shown(line[3]))
    refuse_fields(data, line.end(), stop)
    raise ProtocolError(431, f'the head has more than {field_count} fields (field_count)')


def refuse_coding(value: bytes) -> NoReturn:
    """Raise 501 for unknown codings before a last `chunked`, 400 for any other framing."""
    codings = [CODING.fullmatch(coding.strip(b' \t')) for coding in value.split(b',')]
    names = [coding[1] for coding in codings if coding is not None]
    if len(names) == len(codings) and names.count(b'chunked') == 1 and value.endswith(b'chunked'):
        raise ProtocolError(501, 'the only known transfer coding is chunked', shown(value))
    raise ProtocolError(400, 'the Transfer-Encoding field is malformed', shown(value))
