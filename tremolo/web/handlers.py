"""Handlers: what a function wants, and how it is run.

A plain function is called, and its value is the whole answer. A generator is run as far as it goes
without waiting, and as a task from there; answer.py makes a response of what it yields.
"""

from __future__ import annotations

import contextvars
import dis
import inspect
from collections.abc import Generator, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Callable

from ..loop import Future, Task, run_in_thread
from ..server import HandlerError, Request, Response
from ..server.request import Context
from ..settings import under_all_names
from .handler_run import HandlerRun

# What a handler may ask for by name, beside the named groups of its path.
NAMES = ('app', 'context', 'globals', 'lock', 'logger', 'loop', 'reactor', 'request', 'response')
_FIRST = 8    # chunks that are collected before a generator becomes a task


class Handler:
    """A registered function: what it wants, its options, and how to run it."""

    def __init__(self, function: Callable[..., Any], groups: Iterable[str] = ()) -> None:
        """Look at the signature. Raises `HandlerError` for one that cannot be called."""
        self.function = function
        code = getattr(inspect.unwrap(function), '__code__', None)
        name = getattr(function, '__qualname__', repr(function))
        self.name = f'{name}() at {code.co_filename}:{code.co_firstlineno}' if code else name
        self.is_generator = inspect.isgeneratorfunction(function)
        self.is_async = (inspect.iscoroutinefunction(function)
                         or inspect.isasyncgenfunction(function))
        # The names to pass, and whether all are: `**server`.
        self._wants: list[str] = []
        self._takes_all = False
        self.defaults: dict[str, Any] = {}
        self._groups = frozenset(groups)
        self._read_signature()
        self.thread = bool(self.defaults.get('thread', False))
        if self.thread and (self.is_generator or self.is_async):
            raise HandlerError(f'{self.name}: thread=True is for plain functions')
        self.stream = bool(self.defaults.get('stream', False))
        # Whether its first chunks can be collected before there is a task; see `run`.
        self._collects = not self.stream and returns_nothing(function)
        self.encoding = 'utf-8'
        if 'content_type' in self.defaults:
            content_type = self.defaults['content_type'] or ''
            if isinstance(content_type, bytes):
                content_type = content_type.decode('latin-1')
            self.defaults['content_type'] = content_type
            if 'charset=' in content_type.lower():
                self.encoding = content_type.lower().partition('charset=')[2].strip('"; ')
        # What the signature says about the response.
        self._presets = tuple((name, value) for name, value in self.defaults.items()
                              if name in ('chunked', 'content_type', 'rate', 'status'))

    def _read_signature(self) -> None:
        for parameter in inspect.signature(self.function).parameters.values():
            name = parameter.name
            if parameter.kind is parameter.VAR_KEYWORD:
                self._takes_all = True
            elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
                raise HandlerError(f'{self.name}: {name} cannot be given by name')
            elif name in NAMES or name in self._groups:
                self._wants.append(name)
            elif parameter.default is parameter.empty:
                raise HandlerError(f'{self.name} asks for {name!r}, which nobody gives; there are '
                                   f'{", ".join([*NAMES, *sorted(self._groups)])}')
            else:
                self.defaults[name] = parameter.default

    def bind(self, options: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Join the server's options with its own; `given` is the same for every request."""
        self.options: Mapping[str, Any] = MappingProxyType(
            {**options, **under_all_names(self.defaults)})
        self.buffer_size: int = self.options['buffer_size']
        function = self.function if self._takes_all and not self._groups else self._selected
        self._call, self._collect = _callers(function, self.buffer_size // _FIRST, **given)

    def _selected(self, **names: Any) -> Any:
        """Call the function with the names that it wants, and the groups of the path."""
        # A group never hides what a handler counts on.
        names = {**names['request'].groups, **names}
        if not self._takes_all:
            names = {name: names[name] for name in self._wants}
        return self.function(**names)

    def run(self, request: Request, response: Response) -> None:
        """Answer a request. Hot; raises nothing.

        Most generators yield a few small chunks and end: those are collected here, and only one
        that does anything else becomes a task (measured: a task costs a hello world 1.5 us of 9).
        """
        chunks: list[bytes] = []
        try:
            request.context = own = Context()
            own.options = self.options
            if self._presets:
                for name, value in self._presets:
                    setattr(response, name, value)
            # Nothing leaks from one request into the next.
            context = contextvars.Context()
            if self._collects:
                begun = context.run(self._collect, request, response, chunks)
                if begun is not None:
                    generator, yielded = begun
                    self._go_on(generator, request, response, context, chunks, yielded=yielded)
                elif chunks and not response.framing:
                    response.send(b''.join(chunks))
                else:
                    HandlerRun(self, request, response, chunks).complete(None)
            elif self.is_generator:
                self._go_on(self._call(request, response), request, response, context, chunks)
            elif self.thread:
                future = context.run(run_in_thread, self._call, request, response)
                self._follow(future, HandlerRun(self, request, response, chunks))
            else:
                value = context.run(self._call, request, response)
                if type(value) is bytes and not response.framing:
                    response.send(value)
                elif inspect.isgenerator(value):
                    # A decorator that gives what its generator function gave.
                    self._go_on(value, request, response, context, chunks)
                elif hasattr(value, '__await__') or hasattr(value, '__aiter__'):
                    from .coroutines import begin
                    run = HandlerRun(self, request, response, chunks)
                    self._follow(context.run(begin, value, run), run)
                else:
                    HandlerRun(self, request, response, chunks).complete(value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Whatever a handler raises, SystemExit too, is its own affair and not the loop's.
            HandlerRun(self, request, response, chunks).fail(error)

    def _go_on(
        self, generator: Generator[Any, Any, Any], request: Request, response: Response,
        context: contextvars.Context, chunks: list[bytes], **begun: Any,
    ) -> None:
        """Run a generator, or the rest of it, as a task."""
        run = HandlerRun(self, request, response, chunks)
        reactor = request.connection.stream.reactor
        self._follow(Task(generator, owner=run, context=context, reactor=reactor, **begun),
                     run)

    def _follow(self, task: Future, run: HandlerRun) -> None:
        """Complete the answer when its task has ended, now or later."""
        response = run.response
        connection = response.connection
        if task.done():
            run.finished(task)
            return
        task.add_done_callback(run.finished)
        if response.live:
            connection.task = task
        if not response.live or response.framing == 'none':
            # There is an answer already, an error's or one to HEAD: it need not go on.
            task.cancel()


def _callers(
    function: Callable[..., Any], largest: int, *, app: Any, globals: Any, lock: Any, logger: Any,
    loop: Any, reactor: Any,
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make what calls a handler, and what begins a generator as far as its chunks are small.

    The names are written out, because a call with literal keywords builds one dictionary and not
    three (measured: 0.4 us); and twice, because one call is less than two (0.1 us).
    """
    def call(request: Request, response: Response) -> Any:
        return function(
            request=request, response=response, context=request.context, app=app, globals=globals,
            lock=lock, logger=logger, loop=loop, reactor=reactor)

    def collect(request: Request, response: Response, chunks: list[bytes]) -> Any:
        """Return the generator and what else it yielded; None if it has ended.

        Only for one that returns nothing: a `for` is the fastest way to run a generator, but does
        not tell what it returned (measured: 0.3 us less than `send`, which raises StopIteration).
        """
        generator = function(
            request=request, response=response, context=request.context, app=app, globals=globals,
            lock=lock, logger=logger, loop=loop, reactor=reactor)
        for chunk in generator:
            if type(chunk) is not bytes or len(chunk) > largest:
                return generator, chunk
            chunks.append(chunk)
            if len(chunks) == _FIRST:
                return generator, b''
        return None

    return call, collect


def returns_nothing(function: Callable[..., Any]) -> bool:
    """Tell whether a generator function's code certainly returns None, wherever it ends."""
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
