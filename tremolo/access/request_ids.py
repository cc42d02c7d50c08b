"""Request ids: each request has one, which its answer and all that is logged for it show.

    X-Request-ID: 4bf92f3577b34da6    the client, or a proxy, has made one: it is passed on
    otherwise                         one is made: 16 hex digits of this worker, and a number

An id that is passed on consists of letters, digits and `.`, `_`, `-`, at most 128: so it can stand
in a header field and in a log as it is. Anything else is replaced by one that is made. Those are no
secret: who has one can guess the next.

    tremolo.request_id.get()     the id of the request that this code runs for; '' outside of one
    tremolo.RequestIdFilter()    a filter of `logging`: each record gets the attribute `request_id`

They are set up with the option `request_id`. Without it nothing of this runs.
"""

from __future__ import annotations

import logging
import os
import re
from contextvars import Context, ContextVar
from itertools import count

from ..server import Request, Response, Server
from ..server.lifetime import Lifetime
from ..typed import Callable

request_id: ContextVar[str] = ContextVar('tremolo.request_id', default='')

_FIELD = b'x-request-id'
_ID = re.compile(rb'[A-Za-z0-9._-]{1,128}')


class RequestIds:
    """Gives each request of a server, and of its parts, an id."""

    def __init__(self, server: Server) -> None:
        """Begin. It goes before all else that handles requests, but `health`."""
        # (Each worker makes its own: it is made after the fork, and after each start.)
        self._first = os.urandom(8).hex().encode('ascii')
        self._number = count(1)
        self._heads = server.heads
        self._current = b''    # The id of the request whose handling begins.
        self._handle, server.handle = server.handle, self._identified
        server.with_ids = self._with_ids
        server.refusal_observers.append(self._refused)

    def _identified(self, request: Request, response: Response) -> None:
        """Let a request be answered, with its id. Hot, where there are ids."""
        given = [value for name, value in request.fields if name == _FIELD]
        if len(given) == 1 and _ID.fullmatch(given[0]) is not None:
            self._current = given[0]
        else:
            self._current = b'%b-%d' % (self._first, next(self._number))
        request.mark = b'X-Request-ID: %b\r\n' % self._current
        self._handle(request, response)

    def _with_ids(self, new_context: Callable[[], Context]) -> Callable[[], Context]:
        """Return a function that makes the contexts of requests, with their ids in them.

        (A request's context is made while its handling begins, so the id is the current one.)
        """
        def context_with_id() -> Context:
            context = new_context()
            context.run(request_id.set, self._current.decode('ascii'))
            return context

        return context_with_id

    def _refused(self, connection: Lifetime, status: int) -> None:
        """Make an id for the answer that refuses what is no request."""
        self._heads.refused = b'X-Request-ID: %b-%d\r\n' % (self._first, next(self._number))


class RequestIdFilter(logging.Filter):
    """Gives each record the attribute `request_id`; `-` outside of a request. It drops none.

    A record that has one keeps it: those of the access log are made when the request is over.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Give it to one record."""
        if getattr(record, 'request_id', '-') == '-':
            record.request_id = request_id.get() or '-'
        return True
