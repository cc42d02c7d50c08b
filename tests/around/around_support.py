"""What the tests of middleware share: handlers of every kind, and applications around them."""

from __future__ import annotations

import contextvars
from typing import Any, Callable

from tremolo import Tremolo, sleep

USER: contextvars.ContextVar[str] = contextvars.ContextVar('user', default='nobody')


def kinds(answer: Callable[[], Any]) -> dict[str, Callable[..., Any]]:
    """Return handlers of each kind, which end in `answer()`: it returns a str or raises."""
    def plain():
        return answer()

    def thread(thread=True):
        return answer()

    def generator():
        yield answer()

    def returning():
        yield sleep(0.001)
        return answer()

    def waited():
        yield sleep(0.001)
        yield answer()

    def by_hand(response):
        yield response.send(answer())

    def thread_by_hand(response, thread=True):
        response.send(answer()).result()

    async def coroutine():
        return answer()

    async def waiting():
        await sleep(0.001)
        return answer()

    async def asynchronous():
        yield answer()

    async def coroutine_by_hand(response):
        await response.send(answer())

    return {each.__name__: each for each in (
        plain, thread, generator, returning, waited, by_hand, thread_by_hand, coroutine, waiting,
        asynchronous, coroutine_by_hand)}


def application(answer: Callable[[], Any] = lambda: 'hello') -> Tremolo:
    """Return an application with a route for a handler of each kind, at its name."""
    app = Tremolo()
    for name, function in kinds(answer).items():
        app.route(f'/{name}')(function)
    return app


NAMES = list(kinds(str))
