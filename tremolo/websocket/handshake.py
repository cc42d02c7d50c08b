"""Handshake: the answer 101, and the answers that refuse (RFC 6455 section 4.2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..http import Headers
from ..pages import send_error
from ..server import HandlerError, HTTPError, Response
from ..server.errors import RETRY_AFTER
from ..typed import TYPE_CHECKING, Any
from ..ws.handshake import Handshake, accept_value
from ..ws.parser import FrameParser

if TYPE_CHECKING:
    from ..ws.deflate import Deflate

# The fields that are the handshake's own.
_OURS = frozenset(('connection', 'content-length', 'sec-websocket-accept',
                   'sec-websocket-extensions', 'sec-websocket-key', 'sec-websocket-protocol',
                   'sec-websocket-version', 'transfer-encoding', 'upgrade'))


def answer(
    response: Response, handshake: Handshake, subprotocol: str | None,
    headers: Mapping[str, str] | Iterable[tuple[Any, Any]],
) -> tuple[bytes, Deflate | None, FrameParser] | None:
    """Answer 101. Return the bytes that came ahead, what is agreed on, and the frames' parser.

    Return None if that finds the client gone. Raises `HandlerError` or `HeaderError` before
    anything is sent.
    """
    connection = response.connection
    settings, fields = connection.server.settings, response.headers
    if subprotocol is not None and subprotocol not in handshake.subprotocols:
        offers = ', '.join(handshake.subprotocols) or 'none'
        raise HandlerError(f'the client offers the subprotocols {offers}, and not {subprotocol!r}')
    for name, value in _pairs(headers):
        if name.lower() in _OURS:
            instead = ': write accept(subprotocol=...)' if 'protocol' in name.lower() else ''
            raise HandlerError(f"the field {name} is the handshake's own{instead}")
        fields.add(name, value)
    deflate = None
    if settings.ws_compression and handshake.extensions:
        # (Whoever may come here has imported it at the start: most programs have no such socket.)
        from ..ws.deflate import negotiate
        deflate = negotiate(handshake.extensions)
    fields['Sec-WebSocket-Accept'] = accept_value(handshake.key).decode('ascii')
    if subprotocol is not None:
        fields['Sec-WebSocket-Protocol'] = subprotocol
    if deflate is not None:
        fields['Sec-WebSocket-Extensions'] = deflate.answer.decode('ascii')
    response.switch('websocket')
    if connection.stream.closed:
        return None
    rest = connection.parser.rest()
    del connection.parser    # There is no other request. (200 bytes of an idle socket.)
    # The answer is complete, though its connection goes on: the limits count it no longer.
    response.ended, response.live, connection.response = True, False, None
    connection.server.request_ended(response, '')
    parser = FrameParser(settings.ws_message_size, None if deflate is None else deflate.inflater())
    return rest, deflate, parser


def _pairs(headers: Mapping[str, str] | Iterable[tuple[Any, Any]]) -> list[tuple[str, str]]:
    """Return fields as pairs of str; ASGI has pairs of bytes."""
    pairs: Iterable[tuple[Any, Any]] = headers.items() if isinstance(headers, Mapping) else headers
    text = [(name.decode('latin-1'), value.decode('latin-1'))
            if isinstance(name, bytes) else (name, value) for name, value in pairs]
    return list(Headers(text).items())


# The fields of each refusal.
_FIELDS: dict[int, tuple[tuple[str, str], ...]] = {
    426: (('Upgrade', 'websocket'), ('Connection', 'upgrade')),
    503: (('Connection', 'close'), ('Retry-After', RETRY_AFTER)),
}


def refuse(response: Response, status: int, sentence: str = '',
           fields: Iterable[tuple[str, str]] = ()) -> None:
    """Answer a request that becomes no WebSocket: 400, 403, 426 or 503.

    `fields` are those of a `HandshakeError`.
    """
    if response.live and not response.framing:
        own = dict((*_FIELDS.get(status, ()), *fields))
        send_error(response, HTTPError(status, sentence, own))
