"""Kinds: whether an object is an application of ours, or one for ASGI or WSGI.

    'native'    a `Service`: an `Application`, or what wraps an application of somebody else
    'asgi'      an `async def` of any parameters, or an object whose `__call__` is one
    'wsgi'      a callable that takes exactly two parameters without a default (PEP 3333); a class
                of such objects, whose instances are iterated, too
    ''          none of these, as far as can be seen
"""

from __future__ import annotations

from ..typed import Any
from .service import Service


def kind_of(app: Any) -> str:
    """Return the kind of an application: 'native', 'asgi', 'wsgi' or ''. It calls nothing."""
    if isinstance(app, Service):
        return 'native'
    # Late: most native programs do not need it.
    import inspect
    if not callable(app):
        return ''
    call = getattr(type(app), '__call__', None)  # noqa: B004 (of the type, not of the object)
    if inspect.isclass(app):
        call = None
        if not hasattr(app, '__iter__'):
            return ''
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(call):
        return 'asgi'
    if inspect.isasyncgenfunction(app) or inspect.isasyncgenfunction(call):
        return ''
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):    # (Some functions that are written in C have no signature.)
        return ''
    needed = [each.kind for each in parameters if each.default is each.empty
              and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return 'wsgi' if len(needed) == 2 and all(each in by_position for each in needed) else ''
