"""Mistakes: what is wrong in a signature or a path is told when the function is registered.

Each error says what to write instead. Nothing here runs while requests are answered.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Container, Iterable
from functools import partial
from urllib.parse import unquote

from ..errors import SettingError
from ..http import HeaderError, encode_fields
from ..http.charset import check_charset
from ..http.grammar import TOKEN_STR
from ..http.replaced import checked_status
from ..late import expression
from ..server import HandlerError
from ..server.response_head import checked_rate
from ..settings import OPTIONS
from ..typed import Any, Callable

# The options of a signature that are attributes of the response.
PRESETS = ('chunked', 'content_type', 'handler_timeout', 'rate', 'status')

_SWITCHES = ('chunked', 'stream', 'thread')    # These are True or False.
# What other frameworks write for a group: {name}, {name:kind}, :name, *name.
_FOREIGN = expression(
    r'\{([^{}/:]*)(?::([^{}/]*))?\}|(?<=/):([^{}/]*)|(?<=/)\*(\w*)(?=/|$)')
_TURNED = expression(r'<([A-Za-z_]\w*):(str|int|float|uuid|path)>')
# What to write, and what other frameworks and tremolo 0.5 call that.
_INSTEAD = {
    '@app.middleware above a generator function: what is before its bare `yield` is for requests, '
    'what is after it for answers': (
        'on_request on_response add_middleware before_request after_request teardown_request '
        'middlewares process_request process_response'),
    '@app.on_worker_start, @app.on_worker_stop, @app.on_connect or @app.on_close': (
        'hook add_hook on_startup on_shutdown on_event on_cleanup add_event_handler hooks on_start '
        'on_stop before_serving after_serving before_first_request cleanup_ctx lifespan listener '
        'while_serving teardown_appcontext on_disconnect on_connection'),
    '@app.error(404), or @app.error(MyError)': (
        'errorhandler exception_handler add_exception_handler register_error_handler exception '
        'error_handler add_error_handler exception_handlers'),
    "app.mount('/sub', other)": 'register_blueprint include_router add_subapp blueprint',
    '@app.route(path)': (
        'add_url_rule add_api_route add_route add_routes api_route add_get router view any all'),
    '@app.route(path) above a function that asks for `websocket`': (
        'websocket add_websocket_route websocket_route add_api_websocket_route'),
    'app.client()': 'test_client TestClient test_request_context',
    'app.spawn(job())': (
        'add_task create_task add_background_task background_tasks ensure_future background'),
    'app.context': 'state config g extensions',
    "@app.route(path, methods=['HEAD'])": 'head',
    "@app.route(path, methods=['OPTIONS'])": 'options',
    'app.url_for(name)': 'url_path_for url_build',
}


def instead_of_name(name: str) -> str:
    """Return what to write instead of a name that an application does not have."""
    for instead, names in _INSTEAD.items():
        if name in names.split():
            return f': write {instead}'
    return ''


def check_function(function: Any) -> None:
    """Raise `HandlerError` for what is no function, and cannot stand for one."""
    if not callable(function):
        kind = type(function)
        if kind.__module__ != 'builtins' and (hasattr(kind, 'get') or hasattr(kind, 'post')):
            raise HandlerError(f'{function!r:.64} is an instance: register its class '
                               f'{kind.__name__}, of which one is made for each request')
        raise HandlerError(f'{function!r:.64} is no function: write @app.route(path) above one')


def check_socket_handler(name: str, function: Any) -> None:
    """Raise `HandlerError` if a handler of sockets cannot wait. (One in a thread can.)"""
    if not _can_wait(function):
        raise HandlerError(f'{name} asks for websocket, and a plain function cannot wait: write '
                           '`yield websocket.accept()`, an `async def` with `await`, or '
                           'thread=True in its signature and `.result()`')


def check_event_handler(name: str, function: Any, thread: bool, websocket: str) -> None:
    """Raise `HandlerError` for what cannot send events."""
    if websocket:
        raise HandlerError(f'{name} asks for websocket and sse: write two functions, each with a '
                           'path of its own')
    if not (thread or _can_wait(function)):
        raise HandlerError(f'{name} asks for sse, and a plain function cannot wait: write `yield '
                           'sse.send(...)`, an `async def` with `await`, or thread=True in its '
                           'signature and `.result()`')


def _can_wait(function: Any) -> bool:
    # (What a decorator has made of a function runs as the function does.)
    bare = inspect.unwrap(function)
    return any(
        runs(each) for each in (function, bare, type(bare).__call__)
        for runs in (inspect.isgeneratorfunction, inspect.isasyncgenfunction,
                     inspect.iscoroutinefunction))


def check_socket_methods(name: str, methods: list[str], too: bool) -> None:
    """Raise `HandlerError` if a handler of sockets answers other methods than GET."""
    if 'GET' not in methods or (len(methods) > 1 and not too):
        also = '' if too else ', or websocket=None in the signature of a handler for both'
        raise HandlerError(f'{name} asks for websocket, and a WebSocket begins with GET: leave '
                           f'methods out{also}')


def check_options(name: str, options: dict[str, Any]) -> None:
    """Check the options of the handler `name`, and convert them. Raises `HandlerError`."""
    for option, check in _CHECKS.items():
        if option in options:
            try:
                converted = check(options[option])
            except (HandlerError, HeaderError, SettingError, TypeError) as error:
                raise HandlerError(f'{name}: {error}') from None
            if option in _CONVERTED:
                options[option] = converted
    for option in _SWITCHES:
        if not isinstance(options.get(option), (bool, int, type(None))):
            raise HandlerError(f'{name}: {option} is True or False, not {options[option]!r:.64}')


def _content_type(value: Any) -> str:
    text = value.decode('latin-1') if isinstance(value, bytes) else value or ''
    if text:
        encode_fields([('Content-Type', text)])
        check_charset(text)
    return str(text)


def _server_option(name: str, value: Any) -> Any:
    """Return the value of an option that is the server's, too, as the server keeps it."""
    option, = (each for each in OPTIONS if each.name == name)
    return option.convert(value, name)


_OF_SERVER = ('buffer_size', 'handler_timeout', 'sse_heartbeat')
_CHECKS: dict[str, Callable[[Any], Any]] = {
    'content_type': _content_type, 'rate': checked_rate, 'status': checked_status,
    **{name: partial(_server_option, name) for name in _OF_SERVER}}
_CONVERTED = (*_OF_SERVER, 'content_type')


def check_name(name: Any) -> None:
    """Raise `ValueError` for what is no name of a route."""
    if name is not None and (not isinstance(name, str) or not name):
        raise ValueError(f"the name of a route is str, not {name!r:.64}: write name='page'")


def check_methods(methods: Any) -> list[str]:
    """Return the names of methods in upper case. Raises `ValueError`."""
    if isinstance(methods, (str, bytes)):
        raise ValueError(f'methods is a list of names: [{methods!r}]')
    if not isinstance(methods, Iterable):
        raise ValueError(f"methods is a list of names such as ['GET'], not {methods!r:.64}")
    names = list(methods)
    for name in names:
        if not isinstance(name, str) or TOKEN_STR.fullmatch(name.upper()) is None:
            raise ValueError(f"methods is a list of names such as ['GET'], not {name!r:.64}")
    if not names:
        raise ValueError("methods is empty: write methods=['GET']")
    return [name.upper() for name in names]


def check_path(path: Any, converters: Callable[[], Container[str]] = tuple) -> None:
    """Raise `ValueError` for a path that would never match, or not what was meant."""
    if not isinstance(path, str):
        if callable(path):
            raise ValueError("@app.route needs a path: write @app.route('/path')")
        raise ValueError(f"a path is str, not {path!r:.64}: write '/path'")
    if path.startswith('^'):
        return
    if '(?P<' in path:
        raise ValueError(f'the path {path!r} looks like a regular expression, which begins with ^: '
                         f'write {"^" + path!r}')
    if not path.startswith('/'):
        raise ValueError(f'the path {path!r} begins neither with / nor, as a pattern, with ^: '
                         f'write {"/" + path!r}')
    # (Most paths have no group, and need no expression.)
    ours = path
    if any(mark in path for mark in '<{:*'):
        ours = _FOREIGN.sub(_group, _TURNED.sub(
            lambda found: found[0] if found[1] in converters() else f'<{found[2]}:{found[1]}>',
            path))
    if ours != path:
        raise ValueError(f'the path {path!r} has a group as other frameworks write it: '
                         f'write {ours!r}')
    if re.search(r'\?\w+=', path):
        raise ValueError(f'the path {path!r} has a query, and none is compared: write '
                         f'{path.partition("?")[0]!r}, and look at request.query')
    if unquote(path) != path:
        raise ValueError(f'the path {path!r} is percent-encoded, and is compared decoded: write '
                         f'{unquote(path)!r}')


def _group(match: re.Match[str]) -> str:
    """Write a group of another framework as one of ours."""
    braced, kind, colon, star = match.groups()
    if star is not None:
        return f'<path:{star or "rest"}>'
    name = re.sub('^[0-9]+|[^A-Za-z0-9_]', '_', braced if braced is not None else colon) or 'name'
    return f'<{kind}:{name}>' if kind in ('int', 'float', 'uuid', 'path') else f'<{name}>'
