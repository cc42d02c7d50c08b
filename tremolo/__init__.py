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

import os

from . import exceptions
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
from .loop.foreign import adopt_awaitables_by
from .output import guard_loggers
from .server import HandlerError, HTTPError, Request, Response
from .server.errors import BadRequest, Forbidden, MethodNotAllowed, NotFound, PayloadTooLarge
from .typed import TYPE_CHECKING, Any, Callable
from .web import Application

if TYPE_CHECKING:
    from .websocket import WebSocket, WebSocketClosed

__version__ = '0.6.0'

Tremolo = Application


def _adopt(awaitable: Any) -> Future:
    """Let asyncio run an awaitable; asyncio is imported here, with the first one."""
    from .bridge.futures import task_of
    return task_of(awaitable)


adopt_awaitables_by(_adopt)
guard_loggers()


def __getattr__(name: str) -> Any:
    """Import what belongs to WebSockets when it is asked for: few programs have some."""
    if name in ('WebSocket', 'WebSocketClosed'):
        from . import websocket
        return getattr(websocket, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def run(
    app: str | Application | Callable[..., Any], host: str | None = None, port: int | None = None,
    *, factory: bool = False, app_dir: str | os.PathLike[str] | None = None,
    interface: str = 'auto', **options: Any,
) -> None:
    """Serve what the command line would serve, with its options, until SIGTERM or SIGINT.

        tremolo.run('example:app', port=8080, app_dir='web')

    `app` may also be an `Application` or an ASGI application itself, or with `factory` a function
    that returns one. Raises `SystemExit` as `Application.run` does, with 4 when the application's
    own code raised.
    """
    # Late: it imports `inspect`, which most programs do not need.
    from .importer import serve
    status = serve(app, factory, app_dir, interface, host=host, port=port, **options)
    if status:
        raise SystemExit(status)


__all__ = [
    'Application', 'BadRequest', 'Cancelled', 'Event', 'Forbidden', 'Future', 'HTTPError',
    'HandlerError', 'Lock', 'MethodNotAllowed', 'NotFound', 'PayloadTooLarge', 'Queue', 'Reactor',
    'Request', 'Response', 'Semaphore', 'SettingError', 'StreamClosed', 'Tremolo', 'TremoloError',
    'WebSocket', 'WebSocketClosed', '__version__', 'connect', 'exceptions', 'gather', 'run',
    'run_in_thread', 'sleep', 'spawn', 'timeout',
]
