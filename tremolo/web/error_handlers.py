"""Error handlers: functions that answer errors, registered by `@app.error(404)` or a class.

They stand outside the middleware of their application, and see what none of it has caught. The
nearest class of the error counts first, then the status that its answer would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..http import ProtocolError
from ..http.replaced import replace_fields
from ..server import HandlerError, HTTPError, Request
from ..typed import TYPE_CHECKING, Any, Callable, Union
from .handlers import Handler, arguments
from .signature import Signature

if TYPE_CHECKING:
    from ..around import WrappedResponse

Kind = Union[int, type[BaseException]]    # What an error handler is for.


class ErrorHandler(Handler):
    """A registered function that may ask for `error`."""

    of_errors = True

    def _prepare(self, given: Mapping[str, Any]) -> None:
        super()._prepare(given)
        function, signature = self.function, self._signature

        def call(request: Request, response: WrappedResponse) -> Any:
            error, response.error = response.error, None
            return function(**arguments(
                signature, {**given, 'error': error}, request, response))

        self._call = call    # type: ignore[assignment]
        self._collects = False


# The error handlers of an application, by what they are for.
ErrorHandlers = dict[Kind, ErrorHandler]


class ErrorLayer:
    """The error handlers of an application, as a layer of answers: outside its middleware."""

    name = 'the error handlers'

    def __init__(self, handlers: ErrorHandlers) -> None:
        self._handlers = handlers

    def second(self, response: WrappedResponse, kept: None, chunks: Iterable[bytes]) -> None:
        """Do nothing: the head is about to be sent."""

    def thrown(self, response: WrappedResponse, kept: None, who: Any, error: BaseException
               ) -> bool:
        """Answer an error by its handler; raise it again if it has none."""
        known = isinstance(error, (HTTPError, ProtocolError))
        status: int = error.status if known else 500    # type: ignore[attr-defined]
        kinds: list[Kind] = [kind for kind in type(error).__mro__ if kind in self._handlers]
        kind = kinds[0] if kinds else status
        handler = self._handlers.get(kind) if response.may_handle else None
        if handler is None:
            raise error
        if not known and kind in (500, Exception) and who is not None:
            response.log_error(who, error)
        response.status = status
        if isinstance(error, HTTPError):
            replace_fields(response.headers, error.headers)
        response.error = error
        # (A copy: what has failed may stand in the context itself, just now.)
        handler.run(response.request, response, response.context.copy())
        return True


def error_handler_of(function: Callable[..., Any]) -> ErrorHandler:
    """Return the handler of a function. Raises `HandlerError` if it cannot be one."""
    # (A group of a path has to be taken, and an error has not.)
    if isinstance(function, type):
        raise HandlerError(f'{function.__qualname__} is a class, and errors are answered by '
                           'functions: write `def answer(request, response, error):`')
    signature = Signature(function, ['error'], needed=False)
    for name, asks in (('websocket', signature.websocket), ('sse', signature.events)):
        if asks:
            raise HandlerError(f'{signature.name} asks for {name}, and answers errors: leave it '
                               'out')
    return ErrorHandler(function, signature)


def check_kind(kind: Any) -> Kind:
    """Return what an error handler is for. Raises `ValueError`, which says what to write."""
    if isinstance(kind, type) and issubclass(kind, Exception):
        return kind
    if isinstance(kind, int) and not isinstance(kind, bool) and 400 <= kind <= 599:
        return kind
    raise ValueError(f'@app.error needs a status from 400 to 599 or a class of exceptions, not '
                     f'{kind!r:.64}: write @app.error(404) or @app.error(ValueError)')


