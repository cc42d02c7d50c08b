"""Failures: what the handlers of a server raised, for the client that asked."""

from __future__ import annotations

from types import TracebackType

from ..server import Connection
from ..typed import Any

_Traces = list[tuple[BaseException, 'TracebackType | None']]
_Failure = tuple[BaseException, _Traces]


class Failures:
    """In the place of `Server.failures`: the errors that were answered by a 500, by connection.

    The tracebacks are kept here: the server takes them off its errors when it has logged them.
    """

    def __init__(self) -> None:
        self._errors: dict[Any, _Failure] = {}    # By connection.
        self._late: dict[Any, _Failure] = {}      # The same, of answers that were complete.
        self._rest: list[_Failure] = []

    def append(self, failure: tuple[Connection | None, BaseException, bool]) -> None:
        """Take the connection of an answer, the error, and whether that came after the answer.

        The first error of an answer counts. One of the server's end has no connection.
        """
        connection, error, late = failure
        traces: _Traces = []
        left: list[BaseException | None] = [error]
        while left:
            each = left.pop()
            if each is not None and all(each is not known for known, _ in traces):
                traces.append((each, each.__traceback__))
                left += (each.__cause__, each.__context__)
        if connection is None:
            self._rest.append((error, traces))
        elif connection not in self._errors:
            (self._late if late else self._errors).setdefault(connection, (error, traces))

    def pop(self, connection: Connection, late: bool = False) -> BaseException | None:
        """Return the error of a connection as it was raised, once; None if there is none."""
        found = self._errors.pop(connection, None)
        if found is None and late:
            found = self._late.pop(connection, None)
        return _as_it_was(found) if found is not None else None

    def put_aside(self, connection: Connection) -> None:
        """Keep what came after the last answer for `rest`: it belongs to no later request."""
        for errors in self._errors, self._late:
            if connection in errors:
                self._rest.append(errors.pop(connection))

    def rest(self) -> list[BaseException]:
        """Return the errors that nobody was told of."""
        for connection in (*self._errors, *self._late):
            self.put_aside(connection)
        rest, self._rest = self._rest, []
        return [_as_it_was(each) for each in rest]


def _as_it_was(failure: _Failure) -> BaseException:
    error, traces = failure
    for each, trace in traces:
        each.with_traceback(trace)
    return error
