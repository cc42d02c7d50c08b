"""Handshake: the request that asks for a WebSocket, and the proof in the answer (RFC 6455).

    GET /chat HTTP/1.1                                  HTTP/1.1 101 Switching Protocols
    Host: example.com                                   Upgrade: websocket
    Upgrade: websocket                                  Connection: upgrade
    Connection: Upgrade                                 Sec-WebSocket-Accept: s3pPLMBiTxa...
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
    Sec-WebSocket-Version: 13

It is an ordinary request, read by the ordinary parser: so Host, a doubled key, a doubled Origin and
what two servers could understand differently were looked at before. All here is bytes, and no
value of the client gets into a sentence for it.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode

from ..http.errors import ProtocolError, shown
from ..http.grammar import TOKEN
from ..http.head import RequestHead
from ..late import expression

# 16 bytes in base64 (section 4.1): 22 characters and `==`. The last has two bits that are not used
# and 0.
_KEY = expression(rb'[0-9A-Za-z+/]{21}[AQgw]==')
# What is appended to the key before it is hashed (section 1.3).
_GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

# extension-param = token [ "=" (token | quoted-string) ]                     RFC 6455 section 9.1
# The value of a quoted-string must be a token too, so it has no comma and no semicolon.
_PARAMETER = expression(
    rb'(?P<name>%b)(?:[ \t]*=[ \t]*(?:(?P<value>%b)|"(?P<quoted>(?:\\?%b)+)"))?'
    % (TOKEN.pattern, TOKEN.pattern, TOKEN.pattern.partition(b']')[0] + b']'))

Extension = tuple[bytes, list[tuple[bytes, 'bytes | None']]]


class HandshakeError(ProtocolError):
    """A handshake is broken. The answer of `status` has `fields` beside its own."""

    def __init__(self, status: int, sentence: str, arrived: str = '',
                 fields: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status, sentence, arrived)
        # (As in `ProtocolError`: the error can be copied.)
        self.args = status, sentence, arrived, fields
        self.fields = fields


class Handshake:
    """What the client asks for."""

    __slots__ = ('extensions', 'key', 'subprotocols')

    def __init__(self, key: bytes, subprotocols: list[str], extensions: bytes) -> None:
        self.key = key
        self.subprotocols = subprotocols    # as offered, the first is wanted most
        self.extensions = extensions        # the value of the field, b'' if there is none


def read_handshake(head: RequestHead) -> Handshake | None:
    """Return what a handshake asks for; None if the request is no handshake (section 4.2.1).

    Raises `HandshakeError` for one that is broken.
    """
    offered = head.upgrade or b''
    if head.method != 'GET' or b'websocket' not in _elements(offered):
        return None
    if head.has_body:
        raise HandshakeError(400, 'a WebSocket handshake has no body')
    values: dict[bytes, list[bytes]] = {}
    for name, value in head.fields:
        if name.startswith(b'sec-websocket-'):
            values.setdefault(name[14:], []).append(value)
    version = values.get(b'version', [])
    if version != [b'13']:
        raise HandshakeError(
            426, 'Sec-WebSocket-Version is not 13', shown(b','.join(version)),
            (('Sec-WebSocket-Version', '13'), ('Upgrade', 'websocket')))
    keys = values.get(b'key', [])
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        raise HandshakeError(400, 'Sec-WebSocket-Key is not 16 bytes in base64')
    extensions = b','.join(values.get(b'extensions', []))
    if read_extensions(extensions) is None:
        raise HandshakeError(400, 'Sec-WebSocket-Extensions is malformed', shown(extensions))
    return Handshake(keys[0], _subprotocols(values.get(b'protocol')), extensions)


def _subprotocols(lines: list[bytes] | None) -> list[str]:
    """Return the subprotocols of the fields that there are (section 11.3.4)."""
    if lines is None:
        return []
    value = b','.join(lines)
    names = [name for name in _elements(value) if name]
    if not names or not all(map(TOKEN.fullmatch, names)):
        raise HandshakeError(400, 'Sec-WebSocket-Protocol is malformed', shown(value))
    return [name.decode('ascii') for name in names]


def read_extensions(value: bytes) -> list[Extension] | None:
    """Return the offered extensions with their parameters; None if the value is malformed.

    Elements of the list may be empty (RFC 9110 section 5.6.1), and so may the whole.
    """
    extensions: list[Extension] = []
    for element in _elements(value):
        if not element:
            continue
        name, *rest = [part.strip(b' \t') for part in element.split(b';')]
        if TOKEN.fullmatch(name) is None:
            return None
        parameters: list[tuple[bytes, bytes | None]] = []
        for part in rest:
            match = _PARAMETER.fullmatch(part)
            if match is None:
                return None
            quoted = match['quoted']
            parameters.append((match['name'], match['value'] if quoted is None
                               else quoted.replace(b'\\', b'')))
        extensions.append((name, parameters))
    return extensions


def accept_value(key: bytes) -> bytes:
    """Return the value of Sec-WebSocket-Accept that answers a key (section 4.2.2)."""
    return b64encode(hashlib.sha1(key + _GUID).digest())


def _elements(value: bytes) -> list[bytes]:
    return [element.strip(b' \t') for element in value.split(b',')]
