"""Middleware: a generator function that stands around every answer of an application.

    @app.middleware
    def timed(request, response):
        begun = time.monotonic()
        yield                     # the rest runs here: other middleware, routing, the handler
        response.headers['Server-Timing'] = f'app;dur={(time.monotonic() - begun) * 1000:.1f}'

What is before the bare `yield` is its first half: it may wait, as a generator handler does. What is
after it, its second half, runs at once, when the head is about to be sent. Between the two it is a
layer of the response (response.py), which also throws errors in.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterable
from contextvars import Context

from ..loop import Future
from ..loop.foreign import awaited
from ..server import HandlerError, Request
from ..typed import TYPE_CHECKING, Any, Callable, NamedTuple

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
        code = getattr(function, '__code__', None)
        self._usual = self._wants == ['request', 'response'] and code is not None and (
            code.co_varnames[:2] == ('request', 'response') and code.co_argcount >= 2)

    def begin(self, request: Request, response: WrappedResponse) -> Generator[Any, Any, Any]:
        """Make the generator for a request; none of its code runs yet. Hot."""
        made: Generator[Any, Any, Any]
        if self._usual:
            # (By place and not by name: 2,000 instructions less, measured.)
            made = self._function(request, response)
        else:
            names = {'app': self._app, 'request': request, 'response': response}
            made = self._function(**{name: names[name] for name in self._wants})
        return made

    # -- at its bare `yield`, as a layer of the response ------------------------------------------

    def second(self, response: WrappedResponse, generator: Any, chunks: Iterable[bytes]) -> Any:
        """Run the second half; return what replaces the chunks, or None. Raises its error. Hot."""
        try:
            response.context.run(generator.send, chunks)
        except StopIteration as stop:
            return stop.value
        except RuntimeError:
            if generator.gi_frame is None:
                raise    # (Its own error: it has ended.)
        else:
            raise self._too_many(response, generator)
        # We are in the context already: a handler sends its answer itself.
        try:
            generator.send(chunks)
        except StopIteration as stop:
            return stop.value
        raise self._too_many(response, generator)

    def thrown(self, response: WrappedResponse, generator: Any, who: Any, error: BaseException
               ) -> bool:
        """Raise an error at the `yield`. What it returns then is the answer."""
        try:
            within(response.context, generator.throw, error)
        except StopIteration as stop:
            response.answer_with(self, stop.value)
            return True
        raise self._too_many(response, generator)

    def _too_many(self, response: WrappedResponse, generator: Any) -> HandlerError:
        within(response.context, generator.close)
        return HandlerError(
            f'{self.name} yields a second time: after its bare `yield` nothing can be waited for, '
            'since the head is about to be sent: wait before it, and return an iterable to replace '
            'the body')


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


def first_halves(middleware: Iterable[Middleware], request: Request, response: WrappedResponse
                 ) -> Any:
    """Run the first halves, in the response's context. Hot.

    Return `WENT_ON`, or what a middleware returns to answer in the handler's place, or the `Rest`
    if one has to wait. `response.who` is the one that runs, for who looks at an error.
    """
    left = iter(middleware)
    for each in left:
        response.who = each
        generator = each.begin(request, response)
        try:
            yielded = generator.send(None)
        except StopIteration as stop:
            return _instead(each, stop)
        if yielded is not None:
            return Rest(_rest(each, generator, yielded, left, request, response))
        response.layers.append((each, generator))
    return WENT_ON


class Rest(NamedTuple):
    """First halves that are left, as one has to wait: a generator for a task."""

    halves: Generator[Any, Any, Any]


def _rest(each: Middleware, generator: Generator[Any, Any, Any], yielded: Any,
          left: Iterable[Middleware], request: Request, response: WrappedResponse
          ) -> Generator[Any, Any, Any]:
    """Go on with a first half that waits, then with those that are left; yield the Futures."""
    while yielded is not None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = yield _to_wait_for(each.name, yielded)
        except BaseException as raised:
            error = raised
        try:
            yielded = generator.send(value) if error is None else generator.throw(error)
        except StopIteration as stop:
            return _instead(each, stop)
        finally:
            error = None
    response.layers.append((each, generator))
    value = first_halves(left, request, response)
    return (yield from value.halves) if isinstance(value, Rest) else value


def _instead(middleware: Middleware, stop: StopIteration) -> Any:
    """Return what a middleware answers in the handler's place."""
    if stop.value is None:
        raise HandlerError(
            f'{middleware.name} ended without a bare `yield`: write `yield` where the rest '
            'runs, or return what answers in its place') from None
    return stop.value


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
