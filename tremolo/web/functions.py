"""Functions: how a function runs, and which parameters it has.

A plain function tells both by its code object. Whatever else can be called (a method, a partial, a
function that a decorator has made) is looked at by `inspect`, which is imported then: most programs
have none, and it would be a twelfth of the start of a server.
"""

from __future__ import annotations

from types import FunctionType

from ..typed import Any, NamedTuple

# The flags of a code object (`inspect` calls them CO_VARARGS and so on).
_ARGS, _KEYWORDS, _GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x04, 0x08, 0x20, 0x80, 0x200
EMPTY: Any = object()    # The default of a parameter that has none.


class Parameter(NamedTuple):
    """A parameter: 'named' can be given by name, 'unnamed' cannot, 'rest' takes all other names."""

    name: str
    kind: str = 'named'
    default: Any = EMPTY


def bare(function: Any) -> Any:
    """Return the function that decorators have wrapped, or the function itself."""
    if _is_plain(function):
        return function
    import inspect
    return inspect.unwrap(function)


def is_generator(function: Any) -> bool:
    """Tell whether a call makes a generator."""
    if _is_plain(function):
        return bool(function.__code__.co_flags & _GENERATOR)
    import inspect
    return inspect.isgeneratorfunction(function)


def is_async(function: Any) -> bool:
    """Tell whether it is an `async def`, with `yield` or without."""
    if _is_plain(function):
        return bool(function.__code__.co_flags & (_COROUTINE | _ASYNC_GENERATOR))
    import inspect
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def parameters_of(function: Any) -> list[Parameter]:
    """Return the parameters in the order of the signature."""
    if _is_plain(function):
        return _parameters_of_plain(function)
    import inspect
    found = []
    for each in inspect.signature(function).parameters.values():
        unnamed = each.kind in (each.VAR_POSITIONAL, each.POSITIONAL_ONLY)
        kind = 'rest' if each.kind is each.VAR_KEYWORD else 'unnamed' if unnamed else 'named'
        default = EMPTY if each.default is each.empty else each.default
        found.append(Parameter(each.name, kind, default))
    return found


def _is_plain(function: Any) -> bool:
    # (An attribute may be `__wrapped__`, `__signature__`, or a mark of `inspect`.)
    return type(function) is FunctionType and not vars(function)


def _parameters_of_plain(function: FunctionType) -> list[Parameter]:
    code = function.__code__
    count, named_only = code.co_argcount, code.co_kwonlyargcount
    names = list(code.co_varnames)
    positional = names[:count]
    defaults = function.__defaults__ or ()
    default_of = {**dict(zip(positional[count - len(defaults):], defaults)),
                  **(function.__kwdefaults__ or {})}
    unnamed = code.co_posonlyargcount
    found = [Parameter(name, 'unnamed' if at < unnamed else 'named', default_of.get(name, EMPTY))
             for at, name in enumerate(names[:count + named_only])]
    left = names[count + named_only:]
    if code.co_flags & _ARGS:
        found.insert(count, Parameter(left.pop(0), 'unnamed'))
    if code.co_flags & _KEYWORDS:
        found.append(Parameter(left.pop(0), 'rest'))
    return found
