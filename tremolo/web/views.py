"""Views: a class as a handler, with a method for each method of HTTP.

    @app.route('/page/<int:id>')
    class Page:
        def get(self, id): ...
        def delete(self, id): ...

An instance is made for each request, right before its method runs and where it runs (in its thread,
if it has one), so a method may keep in it what others need. `__init__` may take nothing, or any of
the names that a handler may ask for, and groups. A method is a handler as a function is, of any
kind, with options in its own signature; one that the class inherits counts. HEAD is answered by
`head`, or by `get`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from ..server import HandlerError
from ..typed import Any, Callable
from .signature import Signature

_METHODS = ('get', 'head', 'post', 'put', 'patch', 'delete', 'options')


def calls_of(view: type, groups: Iterable[str], methods: list[str] | None
             ) -> dict[str, tuple[Callable[..., Any], Signature]]:
    """Return for each method of HTTP what runs it, and the names that this takes.

    Raises `HandlerError` for a class that is none of handlers.
    """
    name = view.__qualname__
    if methods is not None:
        raise HandlerError(f'{name} is a class, and its methods are those that it has: write '
                           '@app.route(path) without methods')
    own = [method for method in _METHODS if hasattr(view, method)]
    if not own:
        raise HandlerError(f'{name} is a class that has none of the methods '
                           f"{', '.join(_METHODS)}: write one, or register a function")
    made = _made(view, frozenset(groups))
    calls = {}
    for method in own:
        static = inspect.getattr_static(view, method)
        # (As it is in an instance; there is none yet.)
        bound = static.__get__(object(), view) if hasattr(static, '__get__') else static
        if inspect.isfunction(static) and not inspect.signature(static).parameters:
            raise HandlerError(f'{name}.{method}() has no place for the instance: write '
                               f'`def {method}(self)`')
        signature = Signature(bound, groups, taken=made.wants if made else ())
        call = _call(view, method, made, signature.wants[:], signature.takes_all)
        if made is not None:
            signature.wants += [each for each in made.wants if each not in signature.wants]
            signature.takes_all |= made.takes_all
        calls[method.upper()] = call, signature
    return calls


def _made(view: type, groups: frozenset[str]) -> Signature | None:
    """Return what the class's `__init__` asks for; None if it has none."""
    static = inspect.getattr_static(view, '__init__')
    if static is object.__init__ or not inspect.isfunction(static):    # (PyPy: both.)
        return None
    for name in 'sse', 'websocket':
        if name in inspect.signature(static).parameters:
            raise HandlerError(f'{static.__qualname__}() asks for {name}: let the method `get` ask')
    return Signature(static.__get__(object(), view), groups, taken=groups)


def _call(view: type, method: str, made: Signature | None, wants: list[str], takes_all: bool
          ) -> Callable[..., Any]:
    """Return what makes an instance and calls its method."""
    wants = [*wants, 'sse', 'websocket']    # (These are not there unless they were asked for.)

    def call(**given: Any) -> Any:
        if made is None:
            instance = view()
        elif made.takes_all:
            instance = view(**given)
        else:
            instance = view(**{name: given[name] for name in made.wants})
        if not takes_all:
            given = {name: given[name] for name in wants if name in given}
        return getattr(instance, method)(**given)

    return call
