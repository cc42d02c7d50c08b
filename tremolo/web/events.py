"""Events: how a request runs a function that asks for `sse`, and what becomes of its outcome.

    returns nothing         the stream ends in good order, even if there was no event
    returns a value         it is the answer, if no event was sent; behind one it is a mistake
    raises                  as in other handlers: after the head the connection is cut
    yields anything else    a mistake: an event stream takes events

Such a function gets an EventHandler when it is registered; other handlers know nothing of events.
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Mapping
from functools import partial

from ..events import EventStream
from ..loop import Future, Task
from ..loop.foreign import awaited
from ..loop.signals import caught
from ..places.threads import run_for
from ..server import HandlerError, Request, Response
from ..server.context import Context
from ..server.notices import cancel
from ..typed import Any, Callable
from .handler_run import HandlerRun
from .handlers import Handler, arguments
from .returned import BYTES, discard, in_thread


class EventHandler(Handler):
    """A registered function that asks for `sse`."""

    def _prepare(self, given: Mapping[str, Any]) -> None:
        super()._prepare(given)
        self._given = given

    def run(self, request: Request, response: Response,
            context: contextvars.Context | None = None) -> None:
        """Answer a request. Raises nothing but the user's Ctrl-C."""
        connection = request.connection
        if context is None:
            request.context = Context()
            context = connection.server.new_context()
        request.context.options = self.options
        run = EventRun(self, request, response)
        try:
            for name, value in self._presets:
                setattr(response, name, value)
            if connection.server.stopping.done():
                # The client comes back, to the next process.
                run.stream.stop('the server stops')
                return
            call = self._call_for(request, response, run.stream)
            if self.thread:
                answer = context.run(
                    run_for, request, in_thread, lambda _, __: call(), request, response)
                self._go_with(answer, run)
                return
            value = context.run(call)
            if inspect.isgenerator(value):
                reactor = connection.stream.reactor
                self._go_with(Task(value, owner=run, context=context, reactor=reactor), run)
            elif hasattr(value, '__await__') or hasattr(value, '__aiter__'):
                from .coroutines import begin
                self._go_with(begin(value, run, context), run)
            else:
                run.complete(value)    # A decorator has returned something of its own.
        except BaseException as error:
            # Even SystemExit: no error of a handler may end the loop.
            run.fail(caught(error))

    def _go_with(self, task: Future, run: EventRun) -> None:
        self._follow(task, run)
        if run.stream.ended and not task.done():
            cancel(task, 'the answer is complete')    # It was for HEAD.

    def _call_for(self, request: Request, response: Response, stream: EventStream
                  ) -> Callable[[], Any]:
        """Return the call of the function, with the names that it asks for and the groups."""
        given = {**self._given, 'sse': stream}
        return partial(self.function, **arguments(
            self._signature, given, request, response, 'sse'))


class EventRun(HandlerRun):
    """One run of a function that sends events."""

    __slots__ = ('stream',)

    def __init__(self, handler: Handler, request: Request, response: Response) -> None:
        # (Nothing is ever in this list; `response` has the list of the run that answers.)
        chunks: list[bytes] = []
        response.yielded = chunks
        super().__init__(handler, request, response, chunks)
        self.stream = EventStream(response, handler.options['sse_heartbeat'], self._break)

    def _break(self, error: Exception) -> None:
        """Answer an error of the head, which is sent while the function waits."""
        task = self.response.connection.task
        self.fail(error)
        if task is not None:
            cancel(task, 'the answer is complete')

    def emit(self, value: Any) -> Future | None:
        """Refuse what is yielded beside the events."""
        if isinstance(value, Future):
            return value    # In an asynchronous generator.
        discard(value)
        if isinstance(value, (str, *BYTES)):
            raise HandlerError(f'yielded {type(value).__name__}, and an event stream takes events: '
                               'write `yield sse.send(...)`')
        return awaited(value, HandlerError, ': write `yield sse.send(...)`')

    def pausing(self) -> None:
        """Collect nothing, and send nothing."""

    def finished(self, task: Future) -> None:
        """Complete the answer when the task has ended, with a value or an error."""
        super().finished(task)
        self.stream.forget()

    def complete(self, value: Any) -> None:
        """Complete the answer of a function that has returned `value`."""
        response = self.response
        try:
            if value is None and not response.head_sent and response.status == 200:
                # (204 would tell the client never to come back: who means that sets it.)
                self.stream.stop('')
            elif value is not None and self.stream.opened:
                discard(value)
                raise HandlerError(f'{self._handler.name} returned a value behind its events: it '
                                   'would be lost; write `yield sse.send(...)`')
            else:
                super().complete(value)
        except Exception as problem:
            self.fail(problem)

    def fail(self, error: BaseException) -> None:
        """Answer an error; if the head was sent already, cut the connection."""
        self.stream.forget()
        super().fail(error)
