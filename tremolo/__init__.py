"""A stream-oriented HTTP/1.1 server and micro-framework in pure Python, with nothing else.

    from tremolo import Tremolo

    app = Tremolo()

    @app.route('/hello')
    def hello(**server):
        yield b'Hello '
        yield b'world!'

    if __name__ == '__main__':
        app.run('0.0.0.0', 8000, debug=True)
"""

from __future__ import annotations

from . import exceptions
from .app import Application
from .errors import SettingError, TremoloError
from .loop import (
    Cancelled,
    Event,
    Future,
    Lock,
    Queue,
    Reactor,
    Semaphore,
    StreamClosed,
    connect,
    gather,
    run_in_thread,
    sleep,
    spawn,
    timeout,
)
from .server import (
    BadRequest,
    Forbidden,
    HandlerError,
    HTTPError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    Request,
    Response,
)

__version__ = '0.6.0'

Tremolo = Application

__all__ = [
    'Application', 'BadRequest', 'Cancelled', 'Event', 'Forbidden', 'Future', 'HTTPError',
    'HandlerError', 'Lock', 'MethodNotAllowed', 'NotFound', 'PayloadTooLarge', 'Queue', 'Reactor',
    'Request', 'Response', 'Semaphore', 'SettingError', 'StreamClosed', 'Tremolo', 'TremoloError',
    '__version__', 'connect', 'exceptions', 'gather', 'run_in_thread', 'sleep', 'spawn', 'timeout',
]
