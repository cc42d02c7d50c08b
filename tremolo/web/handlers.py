"""Handlers: how a request runs a registered function (its options: registered.py).

    plain function      called; its value is the whole answer
    with thread=True    called on a worker thread
    generator function  run as far as it goes without waiting, from there on as a Task
    async def           run as a task of asyncio (coroutines.py)

A HandlerRun (handler_run.py) makes the response of what a function yields, returns or raises.
"""

from __future__ import annotations

import contextvars
from collections.abc import Generator, Mapping
from functools import partial
from types import GeneratorType

from ..loop import Future, Task
from ..loop.signals import caught
from ..server import Request, Response
from ..server.context import Context
from ..typed import Any, Callable
from .handler_run import HandlerRun
from .registered import Registered
from .returned import in_thread
from .signature import Signature

_SAME_FOR_ALL = 'app', 'globals', 'lock', 'logger', 'loop', 'reactor'
_FIRST = 8    # Up to so many chunks are collected before a generator becomes a task.


class Handler(Registered):
    """A registered function, and how to run it."""

    of_errors = False    # Whether it answers errors: then it does not wait for the request's body.

    def _prepare(self, given: Mapping[str, Any]) -> None:
        self._call = begin = _caller(self.function, self._signature, given)
        self._collect = _collector(begin, self.buffer_size // _FIRST)

    def run(self, request: Request, response: Response,
            context: contextvars.Context | None = None) -> None:
        """Answer a request. Hot: once per request. Raises nothing but the user's Ctrl-C.

        With a `context` it runs in that, and goes on with the `request.context` that there is.

        Most generators yield a few small chunks and end. Those chunks are collected here. A
        generator that does anything else becomes a Task (measured: 1.5 us of a hello world's 9).
        """
        chunks: list[bytes] = []
        try:
            if context is None:
                request.context = own = Context()
                # A copy of the context after the start: nothing leaks from one request into the
                # next. (A callable in an attribute never specialises in CPython 3.11: a local.)
                new_context = request.connection.server.new_context
                context = new_context()
            else:
                own = request.context
            own.options = self.options
            response.yielded = chunks
            if self._presets:
                for name, value in self._presets:
                    setattr(response, name, value)
            if self._collects:
                begun = context.run(self._collect, request, response, chunks)
                if begun is not None:
                    generator, yielded = begun
                    self._go_on(generator, request, response, context, chunks, yielded=yielded)
                elif chunks and not response.framing:
                    response.send_body(b''.join(chunks))
                else:
                    HandlerRun(self, request, response, chunks).complete(None)
            elif self.is_generator:
                self._go_on(self._call(request, response), request, response, context, chunks)
            elif self.thread:
                from ..places.threads import run_for  # (`bind` has imported it.)
                future = context.run(partial(run_for, at_once=self.of_errors), request, in_thread,
                                     self._call, request, response)
                self._follow(future, HandlerRun(self, request, response, chunks))
            else:
                value = context.run(self._call, request, response)
                if type(value) is bytes and not response.framing:
                    response.send_body(value)
                elif isinstance(value, GeneratorType):
                    # A decorator made this function: it returns the generator of the wrapped one.
                    self._go_on(value, request, response, context, chunks)
                elif hasattr(value, '__await__') or hasattr(value, '__aiter__'):
                    from .coroutines import begin
                    run = HandlerRun(self, request, response, chunks)
                    self._follow(begin(value, run, context), run)
                else:
                    HandlerRun(self, request, response, chunks).complete(value)
        except BaseException as error:
            # Even SystemExit: no error of a handler may end the loop.
            HandlerRun(self, request, response, chunks).fail(caught(error))

    def _go_on(
        self, generator: Generator[Any, Any, Any], request: Request, response: Response,
        context: contextvars.Context, chunks: list[bytes], **begun: Any,
    ) -> None:
        """Run a generator, or the rest of one, as a Task."""
        run = HandlerRun(self, request, response, chunks)
        reactor = request.connection.stream.reactor
        self._follow(Task(generator, owner=run, context=context, reactor=reactor, **begun),
                     run)

    def _follow(self, task: Future, run: HandlerRun) -> None:
        """Complete the answer when its task ends; it may have ended already."""
        response = run.response
        connection = response.connection
        if task.done():
            run.finished(task)
            return
        task.add_done_callback(run.finished)
        if (places := connection.server.places) is not None:
            places.keep(response.request, task)
        if response.live:
            connection.task = task
        complete = not response.live or response.framing == 'none'
        if run.failed or (complete and not response.ended):
            # The answer is complete already: it was an error, or it was for HEAD. (A handler that
            # has sent its answer itself may go on.)
            task.cancel('the answer is complete')


def _caller(function: Callable[..., Any], signature: Signature, given: Mapping[str, Any]
            ) -> Callable[[Request, Response], Any]:
    """Return a function that calls a handler with the names that it asks for."""
    if signature.takes_all and not signature.groups:
        app, globals, lock, logger, loop, reactor = map(given.__getitem__, _SAME_FOR_ALL)

        # (The names are written out, because a call with literal keywords builds one dictionary
        # instead of three: 0.4 us, measured.)
        return lambda request, response: function(
            request=request, response=response, context=request.context, app=app, globals=globals,
            lock=lock, logger=logger, loop=loop, reactor=reactor)
    if not signature.takes_all and not signature.wants:
        return lambda request, response: function()
    if not signature.takes_all and signature.wants == ['request']:
        return lambda request, response: function(request=request)

    return lambda request, response: function(**arguments(signature, given, request, response))


def arguments(signature: Signature, given: Mapping[str, Any], request: Request,
              response: Response, *also: str) -> dict[str, Any]:
    """Return what a handler is called with: the names that it asks for, and those in `also`."""
    # The objects come last: a group of the same name must not replace one.
    names = {**request.groups, **given, 'request': request, 'response': response,
             'context': request.context}
    if signature.takes_all:
        return names
    wants = [*signature.wants, *also] if also else signature.wants
    return {name: names[name] for name in wants}


def _collector(begin: Callable[[Request, Response], Any], largest: int) -> Callable[..., Any]:
    def collect(request: Request, response: Response, chunks: list[bytes]) -> Any:
        """Collect small chunks; return the generator and what it yielded last, None at its end.

        Only for a generator that returns nothing, see `returns_nothing`. A `for` loses the value
        that a generator returns, but it is the fastest way to run one: a hello world takes 5 % more
        instructions with `next` and StopIteration, 4 % more with `yield from` (measured).
        """
        generator = begin(request, response)
        for chunk in generator:
            if type(chunk) is not bytes or len(chunk) > largest:
                return generator, chunk
            chunks.append(chunk)
            if len(chunks) == _FIRST:
                return generator, b''
        return None

    return collect
