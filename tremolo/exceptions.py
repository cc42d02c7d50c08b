"""Every error of tremolo in one place.

    TremoloError                    everything that we raise on purpose
      SettingError                  a bad option (exit status 2)
      ListenError                   the system refuses an address (exit status 1)
      HookFailed, LifespanFailed    the application does not start (exit status 3)
      ProtocolError                 the peer broke HTTP: knows the answer's status
      StreamClosed                  the peer is gone; keeps the OSError as `cause`
      InvalidState                  a Future was used before it was done, or given a second value
      LimitExceeded                 more came than the reader asked to hold
      HeaderError                   a header or cookie that may not be sent
      HandlerError                  the application's mistake; names the handler with its file:line
      HTTPError                     an answer that is raised: `raise HTTPError(409, 'taken')`
        BadRequest, Forbidden, NotFound, MethodNotAllowed, PayloadTooLarge
    Cancelled (a BaseException)     a task must stop; `except Exception` does not catch it
"""

from .errors import HookFailed, LifespanFailed, SettingError, TremoloError
from .http import HeaderError, ProtocolError
from .loop import Cancelled, InvalidState, LimitExceeded, ListenError, StreamClosed
from .server import HandlerError, HTTPError
from .server.errors import BadRequest, Forbidden, MethodNotAllowed, NotFound, PayloadTooLarge

__all__ = [
    'BadRequest', 'Cancelled', 'Forbidden', 'HTTPError', 'HandlerError', 'HeaderError',
    'HookFailed', 'InvalidState', 'LifespanFailed', 'LimitExceeded', 'ListenError',
    'MethodNotAllowed', 'NotFound', 'PayloadTooLarge', 'ProtocolError', 'SettingError',
    'StreamClosed', 'TremoloError',
]
