"""Own fields: what an application says in the fields that are the server's, and what it may not.

encoder.py calls this for the fields that an answer rarely has, and for those that may not be sent.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..typed import Any, NoReturn
from .errors import HeaderError, shown
from .grammar import CONTROLS, TOKEN

# What the server alone decides: whether the connection goes on, and where a message ends. (To name
# a field that frames the message would tell a proxy to remove it.)
_SERVER_S = frozenset((b'close', b'keep-alive', b'content-length', b'transfer-encoding'))


def connection_options(value: bytes) -> tuple[bool, bytes]:
    """Read a Connection field, which is a list (RFC 9110 section 7.6.1).

    Return whether `close` is in it, and the options that are to be passed on. Raises `HeaderError`
    for an option that is no token.
    """
    close, others = False, []
    for part in value.split(b','):
        option = part.strip(b' \t')
        if option and TOKEN.fullmatch(option) is None:
            raise HeaderError(f'malformed Connection option: {shown(option)}')
        close = close or option.lower() == b'close'
        if option and option.lower() not in _SERVER_S:
            others.append(option)
    return close, b', '.join(others)


def find_fault(fields: Iterable[Any]) -> NoReturn:
    """Name the field whose value has a control character."""
    for name, value in fields:
        text = bytes(value)
        if len(text.translate(None, CONTROLS)) != len(text):
            raise HeaderError(f'the value of header {bytes(name).decode()} has a control '
                              f'character: {shown(text)}')
    raise HeaderError('the headers can be read once only, and have a control character')


def refuse_transfer_encoding() -> NoReturn:
    """Raise the error of an application that frames a message itself."""
    raise HeaderError('Transfer-Encoding is set by the server alone')
