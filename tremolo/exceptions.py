"""Every error of tremolo in one place; those of uploads, WebSockets and test clients are late.

    TremoloError                    everything that we raise on purpose
      SettingError                  a bad option (exit status 2)
      ListenError                   the system refuses an address (exit status 1)
      TlsError                      a certificate or a key cannot be used (exit status 1)
      LogError                      a log cannot be written, or set up (exit status 1)
      HookFailed, LifespanFailed    the application does not start (exit status 3)
      ProtocolError                 the peer broke HTTP: knows the answer's status
        FormError                   it broke a form; handlers get BadRequest or PayloadTooLarge
        HandshakeError              it broke the handshake of a WebSocket
      AnswerError                   for a test client: the answer breaks HTTP, or is cut
      WebSocketRefused              likewise: the application did not accept; has its `answer`
      FrameError                    the peer broke WebSocket: knows the close code
      StreamClosed                  the peer is gone; keeps the OSError as `cause`
        UploadEnded                 an upload is read after the end of its answer
      WebSocketClosed               the WebSocket is over: has the close code, and the reason
      InvalidState                  a Future was used before it was done, or given a second value
      LimitExceeded                 more came than the reader asked to hold
      HeaderError                   a header or cookie that may not be sent
      HandlerError                  the application's mistake; names the handler with its file:line
        PartPassed                  a part of an upload is read after the next one was asked for
      HTTPError                     an answer that is raised: `raise HTTPError(409, 'taken')`
        BadRequest, Forbidden, NotFound, MethodNotAllowed, PayloadTooLarge, UnsupportedMediaType
    Cancelled (a BaseException)     a task must stop; `except Exception` does not catch it
"""

from __future__ import annotations

from .errors import HookFailed, LifespanFailed, LogError, SettingError, TlsError, TremoloError
from .http import HeaderError, ProtocolError
from .http.errors import FormError
from .loop import Cancelled, InvalidState, LimitExceeded, ListenError, StreamClosed
from .server import HandlerError, HTTPError
from .server.errors import (
    BadRequest,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from .typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import AnswerError, WebSocketRefused
    from .uploads import PartPassed, UploadEnded
    from .websocket import WebSocketClosed
    from .ws.handshake import HandshakeError
    from .ws.parser import FrameError

__all__ = [
    'AnswerError', 'BadRequest', 'Cancelled', 'Forbidden', 'FormError', 'FrameError', 'HTTPError',
    'HandlerError', 'HandshakeError', 'HeaderError', 'HookFailed', 'InvalidState',
    'LifespanFailed', 'LimitExceeded', 'ListenError', 'LogError', 'MethodNotAllowed', 'NotFound',
    'PartPassed', 'PayloadTooLarge', 'ProtocolError', 'SettingError', 'StreamClosed',
    'TlsError', 'TremoloError', 'UnsupportedMediaType', 'UploadEnded', 'WebSocketClosed',
    'WebSocketRefused',
]


def __getattr__(name: str) -> Any:
    if name == 'HandshakeError':
        from .ws.handshake import HandshakeError
        return HandshakeError
    if name == 'FrameError':
        from .ws.parser import FrameError
        return FrameError
    if name in ('PartPassed', 'UploadEnded'):
        from .uploads import errors
        return getattr(errors, name)
    if name in ('AnswerError', 'WebSocketRefused'):
        from .client import errors as answers
        return getattr(answers, name)
    if name == 'WebSocketClosed':
        from .websocket import WebSocketClosed
        return WebSocketClosed
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
