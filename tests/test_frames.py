"""Whose code a frame executes, and where a coroutine or a generator stands."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Any

from tremolo.frames import is_application, place_of
from tremolo.loop import Future, Reactor


def line_here() -> int:
    return sys._getframe(1).f_lineno


LINE = line_here() + 4


async def waits() -> None:
    await asyncio.sleep(60)    # LINE


async def runs_through(items: AsyncGenerator[int, None]) -> None:
    async for _ in items:
        pass


async def yields() -> AsyncGenerator[int, None]:
    yield 1
    await waits()


async def calls() -> None:
    await waits()


class Awaitable:
    def __await__(self) -> Generator[Any, Any, None]:
        return waits().__await__()


async def awaits_an_object() -> None:
    await Awaitable()


def place(coroutine: Any) -> str:
    """Return where a coroutine stands when it has to wait."""
    async def look() -> str:
        task = asyncio.ensure_future(coroutine)
        await asyncio.sleep(0)
        found = place_of(coroutine)
        task.cancel()
        await asyncio.wait([task])
        assert place_of(coroutine) == 'ended'
        return found

    return asyncio.run(look())


def test_a_coroutine_stands_where_the_innermost_line_of_the_application_is() -> None:
    expected = f'{__file__}:{LINE}'
    assert place(waits()) == expected
    assert place(calls()) == expected
    assert place(awaits_an_object()) == expected


def test_an_asynchronous_generator_is_seen_behind_the_loop_that_runs_it() -> None:
    assert place(runs_through(yields())) == f'{__file__}:{LINE}'


def test_a_generator_stands_in_the_one_that_it_delegates_to() -> None:
    def inner() -> Generator[int, None, None]:
        nonlocal line
        line = line_here() + 1
        yield 1

    def outer() -> Generator[int, None, None]:
        yield from inner()

    line = 0
    generator = outer()
    next(generator)
    assert place_of(generator) == f'{__file__}:{line}'
    generator.close()
    assert place_of(generator) == 'ended'


def test_our_own_lines_are_named_only_if_there_are_no_others() -> None:
    with Reactor() as reactor:
        waiting = Future(reactor).__await__()
        waiting.send(None)
        assert place_of(waiting).partition(':')[0].endswith('.py')
        waiting.close()


def test_what_cannot_be_read_has_ended() -> None:
    assert place_of(None) == place_of(3) == 'ended'


def test_a_line_of_the_house_and_of_the_library_is_not_the_applications() -> None:
    assert not is_application('tremolo.loop.reactor', Reactor.step.__code__.co_filename)
    assert not is_application('threading', threading.__file__)
    assert not is_application('importlib', '<frozen importlib._bootstrap>')
    assert is_application(__name__, __file__)
    assert is_application('tremolo_site', '/srv/tremolo_site.py')
    library = os.path.dirname(threading.__file__)
    assert is_application('shop', os.path.join(library, 'site-packages', 'shop.py'))
