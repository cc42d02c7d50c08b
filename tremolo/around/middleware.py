"""Middleware: a generator function that stands around every answer of an application.

    @app.middleware
    def timed(request, response):
        begun = time.monotonic()
        yield                     # the rest runs here: other middleware, routing, the handler
        response.headers['Server-Timing'] = f'app;dur={(time.monotonic() - begun) * 1000:.1f}'

What is before the bare `yield` is its first half: it may wait, as a generator handler does. What is
after it, its second half, runs at once, when the head is about to be sent. Between the two it is a
`Layer` of the response (response.py), which also throws errors in.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterable
from contextvars import Context

from ..loop import Future
from ..loop.foreign import awaited
from ..server import HandlerError, Request
from ..typed import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .response import WrappedResponse

_NAMES = ('app', 'request', 'response')
_EXAMPLE = 'write `def middleware(request, response):` with a bare `yield` where the rest runs'
WENT_ON: Any = object()    # Instead of the answer of a middleware: there is none, all went on.


class Middleware:
    """A registered generator function."""

    def __init__(self, function: Callable[..., Any], app: Any) -> None:
        """Read its signature. Raises `HandlerError`, which says what to write."""
        code = getattr(inspect.unwrap(function), '__code__', None) if callable(function) else None
        name = getattr(function, '__qualname__', f'{function!r:.64}')
        self.name = f'{name}() at {code.co_filename}:{code.co_firstlineno}' if code else name
        check_middleware(self.name, function)
        self._function = function
        self._app = app
        self._wants = wanted(self.name, function)

    def begin(self, request: Request, response: WrappedResponse) -> Generator[Any, Any, Any]:
        """Make the generator for a request; none of its code runs yet."""
        names = {'app': self._app, 'request': request, 'response': response}
        made: Generator[Any, Any, Any] = self._function(
            **{name: names[name] for name in self._wants})
        return made


def check_middleware(name: str, function: Any) -> None:
    """Raise `HandlerError` for what is no generator function."""
    if isinstance(function, str) or function is None:
        raise HandlerError(f'@app.middleware stands above a generator function, without '
                           f'arguments: {_EXAMPLE}; what is before it is for requests, what is '
                           'after it for answers')
    if inspect.isgeneratorfunction(function):
        return
    what = 'is no generator function'
    if isinstance(function, type):
        what = 'is a class'
    elif inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        what = 'is an `async def`, and wraps generator, thread and `async def` handlers alike if ' \
               'it is none'
    raise HandlerError(f'{name} {what}: {_EXAMPLE}')


def wanted(name: str, function: Callable[..., Any]) -> list[str]:
    """Return the names that a middleware asks for. Raises `HandlerError` for any other."""
    wants = []
    for each in inspect.signature(function).parameters.values():
        if each.kind is each.VAR_KEYWORD:
            return list(_NAMES)
        if each.kind in (each.VAR_POSITIONAL, each.POSITIONAL_ONLY):
            raise HandlerError(f'{name}: {each.name} cannot be given by name')
        if each.name in _NAMES:
            wants.append(each.name)
        elif each.default is each.empty:
            raise HandlerError(f'{name} asks for {each.name!r}, which no middleware gets; it may '
                               f'ask for {", ".join(_NAMES)}')
    return wants


class Layer:
    """A middleware at its bare `yield`: it waits for the head, or for an error."""

    __slots__ = ('_context', '_generator', 'name', 'place')

    def __init__(self, name: str, generator: Generator[Any, Any, Any], context: Context,
                 place: Any) -> None:
        self.name = name
        self._generator = generator
        self._context = context
        self.place = place    # Of the request: see `WrappedResponse.place`.

    def second(self, chunks: Iterable[bytes]) -> Any:
        """Run the second half; return what replaces the chunks, or None. Raises its error."""
        try:
            within(self._context, self._generator.send, chunks)
        except StopIteration as stop:
            return stop.value
        raise self._too_many()

    def thrown(self, response: WrappedResponse, who: Any, error: BaseException) -> bool:
        """Raise an error at the `yield`. What it returns then is the answer."""
        try:
            within(self._context, self._generator.throw, error)
        except StopIteration as stop:
            response.answer_with(self, stop.value)
            return True
        raise self._too_many()

    def _too_many(self) -> HandlerError:
        within(self._context, self._generator.close)
        return HandlerError(
            f'{self.name} yields a second time: after its bare `yield` nothing can be waited for, '
            'since the head is about to be sent: wait before it, and return an iterable to replace '
            'the body')


def first_halves(middleware: Iterable[Middleware], request: Request, response: WrappedResponse,
                 context: Context) -> Generator[Any, Any, Any]:
    """Run the first halves; yield the Futures to wait for.

    Return `WENT_ON`, or what a middleware returns to answer in the handler's place. `response.who`
    is the one that runs, for who looks at an error. (It runs in `context` itself.)
    """
    for each in middleware:
        response.who = each
        generator = each.begin(request, response)
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                yielded = generator.send(value) if error is None else generator.throw(error)
            except StopIteration as stop:
                if stop.value is None:
                    raise HandlerError(
                        f'{each.name} ended without a bare `yield`: write `yield` where the rest '
                        'runs, or return what answers in its place') from None
                return stop.value
            value = error = None
            if yielded is None:
                break
            try:
                value = yield _to_wait_for(each.name, yielded)
            except BaseException as raised:
                error = raised
        response.layers.append(Layer(each.name, generator, context, response.place))
    return WENT_ON


def _to_wait_for(name: str, yielded: Any) -> Future:
    if isinstance(yielded, (str, bytes, bytearray, memoryview)):
        raise HandlerError(f'{name} yielded {type(yielded).__name__} before its bare `yield`: '
                           'return it, to answer in the place of the handler')
    if isinstance(yielded, Future):
        return yielded
    try:
        return awaited(yielded, HandlerError, ': the rest runs at a bare `yield`, and what is '
                                              'returned before it answers in its place')
    except HandlerError as error:
        raise HandlerError(f'{name} {error}') from None


def within(context: Context, call: Callable[..., Any], *args: Any) -> Any:
    """Call in a context, in which we may be already (a handler sends its answer itself)."""
    entered = False

    def enter() -> Any:
        nonlocal entered
        entered = True
        return call(*args)

    try:
        return context.run(enter)
    except RuntimeError:
        if entered:
            raise
    return call(*args)
