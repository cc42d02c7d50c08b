"""Failures: what the handlers of a server raised, for the client that asked."""

from __future__ import annotations

from types import TracebackType

from ..server import Connection
from ..typed import Any

_Traces = list[tuple[BaseException, 'TracebackType | None']]


class Failures:
    """In the place of `Server.failures`: the errors that were answered by a 500, by connection.

    The tracebacks are kept here: the server takes them off its errors when it has logged them.
    """

    def __init__(self) -> None:
        self._errors: dict[Any, tuple[BaseException, _Traces]] = {}

    def append(self, failure: tuple[Connection | None, BaseException]) -> None:
        """Take the connection of an answer, and the error that it became; the first one counts.

        Without a connection it is an error of the server's end.
        """
        connection, error = failure
        if connection in self._errors:
            return
        traces: _Traces = []
        left: list[BaseException | None] = [error]
        while left:
            each = left.pop()
            if each is not None and all(each is not known for known, _ in traces):
                traces.append((each, each.__traceback__))
                left += (each.__cause__, each.__context__)
        self._errors[connection or error] = error, traces

    def put_aside(self, connection: Connection) -> None:
        """Keep an error that came after its answer for `rest`: it belongs to no later request."""
        if connection in self._errors:
            error, traces = self._errors.pop(connection)
            self._errors[error] = error, traces

    def rest(self) -> list[BaseException]:
        """Return the errors that nobody was told of: they came after an answer."""
        return [error for each in list(self._errors) if (error := self.pop(each)) is not None]

    def pop(self, connection: Connection) -> BaseException | None:
        """Return the error of a connection as it was raised, once; None if there is none."""
        error, traces = self._errors.pop(connection, (None, []))
        for each, trace in traces:
            each.__traceback__ = trace
        return error
