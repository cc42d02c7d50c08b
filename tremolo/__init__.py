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
from importlib import import_module

from . import adopting
from .typed import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from . import exceptions
    from .access.request_ids import RequestIdFilter, request_id
    from .errors import SettingError, TremoloError
    from .events import EventStream
    from .files import send_file
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
    from .server import HandlerError, HTTPError, Response
    from .server.errors import (
        BadRequest,
        Forbidden,
        MethodNotAllowed,
        NotFound,
        PayloadTooLarge,
        UnsupportedMediaType,
    )
    from .uploads import Part
    from .web import Application
    from .web import Application as Tremolo
    from .web.redirect import redirect
    from .web.request import Request
    from .websocket import WebSocket, WebSocketClosed

__version__ = '0.6.0'

# Where each public name is: its module is imported when a program asks for the name (late.py).
_HOMES = {
    'access.request_ids': 'RequestIdFilter request_id',
    'errors': 'SettingError TremoloError',
    'events': 'EventStream',
    'files': 'send_file',
    'loop': 'Cancelled Event Future Lock Queue Reactor Semaphore StreamClosed connect gather '
            'run_in_thread sleep spawn timeout',
    'server': 'HTTPError HandlerError Response',
    'server.errors': 'BadRequest Forbidden MethodNotAllowed NotFound PayloadTooLarge '
                     'UnsupportedMediaType',
    'uploads': 'Part',
    'web': 'Application',
    'web.redirect': 'redirect',
    'web.request': 'Request',
    'websocket': 'WebSocket WebSocketClosed',
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}
# The modules that were there with `import tremolo` before names were late.
_MODULES = frozenset((
    'errors', 'exceptions', 'http', 'loop', 'output', 'server', 'service', 'settings', 'web',
    'workers'))


def _adopt(awaitable: Any) -> Any:
    """Let asyncio run an awaitable; asyncio is imported here, with the first one."""
    from .bridge.futures import task_of
    return task_of(awaitable)


adopting.adopt = _adopt


def __getattr__(name: str) -> Any:
    """Import what a public name stands for. (Called once for each name.)"""
    if name in _MODULES:
        return import_module(f'{__name__}.{name}')
    asked = 'Application' if name == 'Tremolo' else name
    if asked not in _HOME:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    found = globals()[name] = getattr(import_module(f'{__name__}.{_HOME[asked]}'), asked)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
    # Late: it imports all that serving needs.
    from .importer import serve
    status = serve(app, factory, app_dir, interface, host=host, port=port, **options)
    if status:
        raise SystemExit(status)


__all__ = [
    'Application', 'BadRequest', 'Cancelled', 'Event', 'EventStream', 'Forbidden', 'Future',
    'HTTPError', 'HandlerError', 'Lock', 'MethodNotAllowed', 'NotFound', 'Part', 'PayloadTooLarge',
    'Queue', 'Reactor', 'Request', 'Response', 'Semaphore', 'SettingError', 'StreamClosed',
    'Tremolo', 'TremoloError', 'UnsupportedMediaType', 'WebSocket', 'WebSocketClosed',
    '__version__', 'connect', 'exceptions', 'gather', 'redirect', 'run', 'run_in_thread',
    'send_file', 'sleep', 'spawn', 'timeout',
]
