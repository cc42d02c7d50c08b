"""Signature: which arguments a handler asks for, and its options: the defaults of the others.

    def film(name, rate='1MiB', **server):    # `name` is passed, `rate` is an option

It is read once, when the function is registered.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterable

from ..mistakes.registration import (
    PRESETS,
    check_event_handler,
    check_function,
    check_options,
    check_socket_handler,
)
from ..server import HandlerError
from ..typed import Any, Callable

# The names that a handler may ask for, beside the named groups of its path.
NAMES = ('app', 'context', 'globals', 'lock', 'logger', 'loop', 'reactor', 'request', 'response',
         'sse', 'websocket')


class Signature:
    """What a function's signature says."""

    def __init__(self, function: Callable[..., Any], groups: Iterable[str] = (), *,
                 taken: Iterable[str] = (), needed: bool = True) -> None:
        """Read it. Raises `HandlerError` for a function that cannot be called as a handler.

        It takes all groups of the path, but those that are `taken` elsewhere. If they are not
        `needed`, it may take them.
        """
        check_function(function)
        code = getattr(inspect.unwrap(function), '__code__', None)
        name = getattr(function, '__qualname__', repr(function))
        self.name = f'{name}() at {code.co_filename}:{code.co_firstlineno}' if code else name
        self.is_generator = inspect.isgeneratorfunction(function)
        self.is_async = (inspect.iscoroutinefunction(function)
                         or inspect.isasyncgenfunction(function))
        # The names that the function asks for; with `**server` it takes all.
        self.wants: list[str] = []
        self.takes_all = False
        # '' if it does not ask for `websocket`; 'only', or 'too' for `websocket=None`, which serves
        # ordinary requests as well.
        self.websocket = ''
        self.events = False    # Whether it asks for `sse`.
        self.defaults: dict[str, Any] = {}
        self.groups = frozenset(groups)
        self._read(function)
        left = self.groups.difference(self.wants, taken)
        if left and needed and not self.takes_all:
            raise HandlerError(f'{self.name} does not take {min(left)!r}, a group of its path: '
                               'write it in the signature, or **server')
        self.thread = bool(self.defaults.get('thread', False))
        if self.thread and (self.is_generator or self.is_async):
            raise HandlerError(f'{self.name}: thread=True is for plain functions: call '
                               '`response.write(...)` instead of `yield`, or leave it out and wait '
                               'for what blocks: `yield run_in_thread(...)`')
        if self.websocket and not self.thread:
            check_socket_handler(self.name, function)
        if self.events:
            check_event_handler(self.name, function, self.thread, self.websocket)
        self.stream = bool(self.defaults.get('stream', False))
        # Whether the first chunks can be collected before there is a task; see `Handler.run`.
        self.collects = not self.stream and returns_nothing(function)
        check_options(self.name, self.defaults)
        # The attributes of the response that the signature sets.
        self.presets = tuple((name, value) for name, value in self.defaults.items()
                             if name in PRESETS)

    def _read(self, function: Callable[..., Any]) -> None:
        """Sort the parameters into names that we pass and options of this handler."""
        for parameter in inspect.signature(function).parameters.values():
            name = parameter.name
            if parameter.kind is parameter.VAR_KEYWORD:
                self.takes_all = True
            elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
                hint = ('' if parameter.kind is parameter.POSITIONAL_ONLY else '; if a decorator '
                        'has made this function, write @functools.wraps(function) above it there')
                raise HandlerError(f'{self.name}: {name} cannot be given by name{hint}')
            elif name == 'websocket':
                if parameter.default not in (None, parameter.empty):
                    raise HandlerError(f'{self.name}: the only default of websocket is None, for a '
                                       'handler of ordinary requests, too')
                self.websocket = 'only' if parameter.default is parameter.empty else 'too'
            elif name == 'sse':
                # (`sse=None`, as tremolo 0.5 had it, is the same.)
                self.events = True
            elif name in NAMES or name in self.groups:
                self.wants.append(name)
            elif parameter.default is parameter.empty:
                known = ', '.join([*NAMES, *sorted(self.groups)])
                raise HandlerError(f'{self.name} asks for {name!r}, which no handler gets; '
                                   f'it may ask for {known}')
            else:
                self.defaults[name] = parameter.default


def returns_nothing(function: Callable[..., Any]) -> bool:
    """Tell whether a generator function can only return None.

    Its bytecode is read: each `return` must load the constant None right before.
    """
    code = getattr(function, '__code__', None)
    if code is None or not inspect.isgeneratorfunction(function):
        return False
    before: dis.Instruction | None = None
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name == 'RETURN_CONST' and instruction.argval is not None:
            return False
        if name == 'RETURN_VALUE' and (
            before is None or instruction.is_jump_target
            or before.opname != 'LOAD_CONST' or before.argval is not None
        ):
            return False
        before = instruction
    return True
