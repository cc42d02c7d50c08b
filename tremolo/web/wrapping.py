"""Wrapping: how an application with middleware or error handlers answers a request.

It puts a `WrappedResponse` in the place of the response, runs the first halves of the middleware,
and looks for the handler when all of them have gone on. An application that has neither imports
nothing of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import Context
from functools import partial

from ..around import WENT_ON, Middleware, Rest, WrappedResponse, first_halves
from ..loop import Future, Task
from ..loop.signals import caught
from ..routing import Router
from ..server import HandlerError, Request, Response
from ..server.context import Context as Values
from ..typed import TYPE_CHECKING, Any
from .dispatcher import Dispatcher
from .error_handlers import ErrorHandlers, ErrorLayer
from .failure import fail, forget_frames, log_error
from .mounts import rest_of
from .returned import send_returned

if TYPE_CHECKING:
    from .handlers import Handler
    from .other_methods import Told


class Wrapped(WrappedResponse):
    """A response that answers what is returned and raised as handlers' values and errors are."""

    __slots__ = ()

    def answer_with(self, who: Any, value: Any) -> None:
        """Send what was returned as the whole answer."""
        send_returned(who, self, value)

    def answer_error(self, who: Any, error: BaseException) -> None:
        """Answer an error that nobody has caught, and log it."""
        fail(who, self.request, self, error)
        forget_frames(error)

    def log_error(self, who: Any, error: BaseException) -> None:
        """Log an error with its traceback."""
        log_error(who, self.request, error)


Wrapped.__name__ = 'Response'    # So errors of Python name it, and habits.py knows it.


class WrappingDispatcher(Dispatcher):
    """That of an application with middleware or error handlers."""

    def __init__(self, router: Router[Handler], middleware: Sequence[Middleware],
                 errors: ErrorHandlers | None) -> None:
        super().__init__(router)
        self._middleware = middleware
        self._errors = None if errors is None else ErrorLayer(errors)

    def path_of(self, request: Request) -> bytes:
        """Return the raw path behind the prefix."""
        return rest_of(request)

    def handle(self, request: Request, response: Response) -> None:
        """Run the first halves of the middleware, then the handler."""
        if isinstance(response, WrappedResponse):
            wrapped = response    # (The application is mounted in one that has some, too.)
        elif self._middleware or self._errors is not None:
            wrapped = Wrapped.of(response)
            request.context = own = Values()
            own.options = request.connection.server.options
        else:
            self._run(request, response, None)    # It is only mounted.
            return
        if self._errors is not None:
            wrapped.layers.append((self._errors, None))
        failure: BaseException | None = None
        try:
            value = wrapped.context.run(first_halves, self._middleware, request, wrapped)
        except BaseException as error:
            failure = caught(error)
        # (Not in a clause of `except`: what fails from here on has nothing to do with those.)
        if failure is not None:
            wrapped.keep_fields()
            wrapped.throw(wrapped.who, failure)
            failure = None
        elif isinstance(value, Rest):
            task = Task(value.halves, context=wrapped.context,
                        reactor=request.connection.stream.reactor)
            if task.done():
                self._waited(request, wrapped, task)
            else:
                request.connection.task = task
                task.add_done_callback(partial(self._waited, request, wrapped))
                if (places := request.connection.server.places) is not None:
                    places.keep(request, task)
        else:
            self._go_on(request, wrapped, value)

    def _waited(self, request: Request, response: WrappedResponse, task: Future) -> None:
        """Go on after first halves that had to wait."""
        value, error = task.outcome()
        if response.live:
            request.connection.task = None
        elif not response.ended:
            return    # The client has gone.
        if error is None:
            self._go_on(request, response, value)
        else:
            response.keep_fields()
            response.throw(response.who, error)

    def _go_on(self, request: Request, response: WrappedResponse, value: Any) -> None:
        """Run the handler, or answer in its place."""
        if response.framing:
            return self._sent(request, response)
        response.keep_fields()
        if value is not WENT_ON:
            try:
                response.answer_with(response.who, value)
            except BaseException as error:
                fail(response.who, request, response, caught(error))
            return None
        return self._run(request, response, response.context)

    def _sent(self, request: Request, response: WrappedResponse) -> None:
        """Tell of a middleware that has sent an answer, and gone on; if it has only begun, cut."""
        response.let_go('failed')
        log_error(response.who, request, HandlerError(
            f'{response.who.name} has sent an answer by itself: return it, before the bare '
            '`yield`, and it is sent in the place of the handler'))
        if response.live:
            response.connection.abort('failed')

    def _run(self, request: Request, response: Response, context: Context | None) -> None:
        path = request.target if request.kept is None else rest_of(request)
        handler: Handler | Told | None
        try:
            handler = self._exact[path][request.method]
        except KeyError:
            handler = self.search(request, response)
        if handler is not None:
            handler.run(request, response, context)
