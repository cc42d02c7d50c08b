"""Extensions: the messages of an answer beyond its head and its body.

    https://asgi.readthedocs.io/en/latest/extensions.html
"""

from __future__ import annotations

import logging

from ..http.text_fields import encode_links, encode_trailers
from ..typed import TYPE_CHECKING, Any
from .pathsend import send_file
from .unusual import takes_trailers

if TYPE_CHECKING:
    from ..server import Request
    from .exchange import Exchange

_log = logging.getLogger('tremolo.error')

_START = 'http.response.start'
_BODY = 'http.response.body'


async def take_extension(exchange: Exchange, kind: str, message: Any) -> None:
    """Take the message of an extension. Raises `RuntimeError` for a message out of order."""
    expected, request, response = exchange.expected, exchange.request, exchange.response
    if kind == 'http.response.early_hint' and expected in (_START, _BODY):
        response.send_hint(encode_links(message.get('links', ())))
    elif kind == 'http.response.pathsend' and expected == _BODY and not response.framing:
        exchange.trailers = None
        await send_file(exchange.send, message['path'], request.method != 'HEAD')
    elif kind == 'http.response.debug' and expected == _START and exchange.runner.debug:
        _log.debug('%s: %.1000r', request, message['info'])
    elif expected:
        raise RuntimeError(f'expected {expected}, got {kind}')
    else:
        raise RuntimeError(f'{kind} after the answer was complete')


def tell_tls(request: Request, scope: Any) -> None:
    """Add the extension `tls` to a scope, if our own connection is encrypted.

    https://asgi.readthedocs.io/en/latest/specs/tls.html

    A client whose certificate is refused does not get as far: there is never an error to tell.
    """
    facts = request.tls
    if facts is not None:
        scope['extensions']['tls'] = {
            'server_cert': facts.server_certificate, 'client_cert_chain': [*facts.client_chain],
            'client_cert_name': facts.client_name, 'client_cert_error': None,
            'tls_version': facts.version_number, 'cipher_suite': facts.cipher_number}


def add_trailers(exchange: Exchange, message: Any) -> None:
    """Collect trailers; with the last of them end the answer."""
    trailers = (exchange.trailers or b'') + encode_trailers(message.get('headers', ()))
    exchange.trailers = trailers
    if not message.get('more_trailers', False):
        exchange.response.finish(trailers if takes_trailers(exchange.request) else b'')
        exchange.expected = ''
        exchange.wake()
