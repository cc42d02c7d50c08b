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


def add_trailers(exchange: Exchange, message: Any) -> None:
    """Collect trailers; with the last of them end the answer."""
    trailers = (exchange.trailers or b'') + encode_trailers(message.get('headers', ()))
    exchange.trailers = trailers
    if not message.get('more_trailers', False):
        exchange.response.finish(trailers if takes_trailers(exchange.request) else b'')
        exchange.expected = ''
        exchange.wake()
