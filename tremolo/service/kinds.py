"""Kinds: whether an object is an application of ours, or one for ASGI or WSGI.

    'native'    a `Service`: an `Application`, or what wraps an application of somebody else
    'asgi'      an `async def` of any parameters, or an object whose `__call__` is one
    'wsgi'      a callable that takes exactly two parameters without a default (PEP 3333); a class
                of such objects, whose instances are iterated, too
    ''          none of these, as far as can be seen; a handler, by its first parameter
"""

from __future__ import annotations

from ..typed import Any
from .service import Service


def kind_of(app: Any) -> str:
    """Return the kind of an application: 'native', 'asgi', 'wsgi' or ''. It is not called."""
    if isinstance(app, Service):
        return 'native'
    try:
        return _kind_of_theirs(app) if callable(app) else ''
    except Exception:    # (An object of anybody's may raise whatever it is asked for.)
        return ''


def _kind_of_theirs(app: Any) -> str:
    # Late: most native programs do not need it.
    import inspect
    call: Any = type(app).__call__
    if inspect.isclass(app):
        if not hasattr(app, '__iter__'):
            return ''
        call = None    # (That makes instances of any class.)
    if inspect.isfunction(app) and _is_handler(app):
        return ''
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(call):
        return 'asgi'
    if inspect.isasyncgenfunction(app) or inspect.isasyncgenfunction(call):
        return ''
    # (Some functions that are written in C have no signature: that is a ValueError.)
    parameters = inspect.signature(app).parameters.values()
    needed = [each.kind for each in parameters if each.default is each.empty
              and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return 'wsgi' if len(needed) == 2 and all(each in by_position for each in needed) else ''


def _is_handler(function: Any) -> bool:
    """Whether a function asks for what handlers get: as an application it would always fail."""
    code = function.__code__
    names = code.co_varnames[:code.co_argcount]
    return bool(names) and names[0] in ('request', 'response')
