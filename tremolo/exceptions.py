"""Every error of tremolo in one place; those of WebSockets are imported when they are asked for.

    TremoloError                    everything that we raise on purpose
      SettingError                  a bad option (exit status 2)
      ListenError                   the system refuses an address (exit status 1)
      HookFailed, LifespanFailed    the application does not start (exit status 3)
      ProtocolError                 the peer broke HTTP: knows the answer's status
        FormError                   its form is malformed, or too much
        HandshakeError              it broke the handshake of a WebSocket
      FrameError                    the peer broke WebSocket: knows the close code
      StreamClosed                  the peer is gone; keeps the OSError as `cause`
      WebSocketClosed               the WebSocket is over: has the close code, and the reason
      InvalidState                  a Future was used before it was done, or given a second value
      LimitExceeded                 more came than the reader asked to hold
      HeaderError                   a header or cookie that may not be sent
      HandlerError                  the application's mistake; names the handler with its file:line
      HTTPError                     an answer that is raised: `raise HTTPError(409, 'taken')`
        BadRequest, Forbidden, NotFound, MethodNotAllowed, PayloadTooLarge
    Cancelled (a BaseException)     a task must stop; `except Exception` does not catch it
"""

from __future__ import annotations

from .errors import HookFailed, LifespanFailed, SettingError, TremoloError
from .http import HeaderError, ProtocolError
from .http.errors import FormError
from .loop import Cancelled, InvalidState, LimitExceeded, ListenError, StreamClosed
from .server import HandlerError, HTTPError
from .server.errors import BadRequest, Forbidden, MethodNotAllowed, NotFound, PayloadTooLarge
from .typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .websocket import WebSocketClosed
    from .ws.handshake import HandshakeError
    from .ws.parser import FrameError

__all__ = [
    'BadRequest', 'Cancelled', 'Forbidden', 'FormError', 'FrameError', 'HTTPError',
    'HandlerError', 'HandshakeError', 'HeaderError', 'HookFailed', 'InvalidState',
    'LifespanFailed', 'LimitExceeded', 'ListenError', 'MethodNotAllowed', 'NotFound',
    'PayloadTooLarge', 'ProtocolError', 'SettingError', 'StreamClosed', 'TremoloError',
    'WebSocketClosed',
]


def __getattr__(name: str) -> Any:
    if name == 'HandshakeError':
        from .ws.handshake import HandshakeError
        return HandshakeError
    if name == 'FrameError':
        from .ws.parser import FrameError
        return FrameError
    if name == 'WebSocketClosed':
        from .websocket import WebSocketClosed
        return WebSocketClosed
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
