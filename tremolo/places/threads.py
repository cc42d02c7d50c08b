"""Threads: how a request comes to a worker thread: its body first, and not too many of them.

    answer = run_for(request, function)    as `run_in_thread`, for what answers a request

A client that sends slowly must not hold a thread. So a body up to `body_buffer_size` is collected
on the loop, where all clocks of an upload run, before a thread is taken. A longer body is read by
the thread as it comes, from its first 64 KiB on, which the server keeps anyway. Two bodies are not
waited for: one that something has begun to read, and one whose client asks whether it shall send
it (`Expect: 100-continue`), so that an application can refuse it by its head alone.

A thread that waits for its client gives its place away (loop/waits.py). When there are as many such
threads as may be, and when too many requests wait for a thread, further ones get a 503 before any
work is done for them; their connections go on.
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial

from ..loop import Future
from ..loop.threads import Job, pool_of
from ..loop.waits import QUEUE_MOST, WAITING_MOST
from ..server import HTTPError, Request
from ..server.errors import RETRY_AFTER
from ..server.request_body import LONG
from ..typed import Any, Callable

_AHEAD = 65536    # Bytes of a longer body that are there before its thread begins.


def run_for(request: Request, func: Callable[..., Any], *args: Any, at_once: bool = False) -> Job:
    """Call `func(*args)` on a worker thread, when the request's body is here, unless `at_once`.

    The Future has an `HTTPError` of 503 if too many requests have or want a thread. When it is
    cancelled before the thread has begun, the function is never called. It raises `RuntimeError` if
    there is no thread, and can be none.
    """
    reactor = request.connection.stream.reactor
    pool, job = pool_of(reactor), Job(reactor, func)
    job.answers = True
    if pool.full:
        job.set_exception(refusal(request))
    elif at_once or (body := coming_body(request)) is None:
        pool.submit(job, func, args)
    else:
        job.wants = 'its body'
        job.on_cancel = body.cancel
        # (In the context of the caller.)
        go_on = partial(copy_context().run, partial(_go_on, request, job, func, args))
        body.add_done_callback(go_on)
    return job


def _go_on(request: Request, job: Job, func: Callable[..., Any], args: tuple[Any, ...],
           body: Future) -> None:
    """Take a thread, now that a body is here, or does not come any more."""
    body.cancel()
    pool = pool_of(job.reactor)
    if job.done():
        return    # The client is gone.
    job.wants = 'a thread'
    if pool.full:
        job.set_exception(refusal(request))
        return
    try:
        pool.submit(job, func, args)
    except RuntimeError as error:
        job.set_exception(error)


def coming_body(request: Request) -> Future | None:
    """Return a Future that is done when a thread may begin; None: it may begin now.

    It belongs to `request.read`: `cancel` it when it is done, and its bytes are read once more. Its
    error is that of each further read, or says that the body is longer than `body_buffer_size`.
    """
    connection, size = request.connection, request.content_length
    body = connection.request_body if request.has_body else None
    if body is None or body.done or request.inbox is not None or request.expect_continue:
        return None
    if size and size <= connection.parser.buffered and size < LONG:
        return None    # All of it is here already. (Most small ones come with their head.)
    most = connection.server.settings.body_buffer_size
    inbox = request.inbox = body.open()
    whole = size is None or size <= most
    future = inbox.read_all(most) if whole else inbox.read_exactly(min(_AHEAD, most))
    if not future.done():
        return future
    if future.exception() is None:
        future.cancel()
    return None


class ComingBody:
    """What a connection waits for instead of a handler, while a body comes."""

    def __init__(self, body: Future) -> None:
        self._body = body

    def cancel(self) -> None:
        """Wait no more."""
        self._body.cancel()

    def where(self) -> str:
        """Return what it waits for, for reports."""
        return 'waiting for its body'


def refusal(request: Request) -> HTTPError:
    """Return the answer to a request that gets no thread, and write its line into the log."""
    connection = request.connection
    connection.server.notices.refused(connection, (
        f'503: no thread is free (threads): {WAITING_MOST + 1} times as many wait for clients, or '
        f'{QUEUE_MOST} requests for a thread'))
    return HTTPError(503, headers={'Retry-After': RETRY_AFTER})
