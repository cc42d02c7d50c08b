"""An error that nobody looks at is told when its Future is dropped: at once, with no collector."""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from loop_support import run

from tremolo.loop import Reactor, gather, run_in_thread, sleep, spawn, timeout
from tremolo.loop.dropped import FRAMES_STAY, note_traceback

pytestmark = pytest.mark.skipif(
    sys.implementation.name != 'cpython', reason='frees nothing at once')


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def fails(turns: int = 0) -> Any:
    for _ in range(turns):
        yield sleep(0)
    raise ValueError('nobody looks')


async def fails_in_asyncio(turns: int = 0) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    raise ValueError('nobody looks')


def fails_in_a_thread() -> None:
    raise ValueError('nobody looks')


def keeps_it() -> None:
    task = spawn(fails())
    assert task.done()


WORK = {
    'a task that never waits': lambda: spawn(fails()),
    'a task that waits': lambda: spawn(fails(3)),
    'in a local variable': keeps_it,
    'a coroutine that never waits': lambda: spawn(fails_in_asyncio()),
    'a coroutine that waits': lambda: spawn(fails_in_asyncio(3)),
    'a job': lambda: run_in_thread(fails_in_a_thread),
    'gather': lambda: gather(fails(1), sleep(0)),
    'timeout': lambda: timeout(10, fails(1)),
}


@pytest.mark.parametrize('name', WORK)
def test_it_is_told_at_once(name: str, reactor: Reactor, logged: Any) -> None:
    async def ready() -> None:
        pass

    def main() -> Any:
        yield spawn(ready())    # Now there is a bridge that runs.
        WORK[name]()
        deadline = reactor.time() + 10
        while not logged.records and reactor.time() < deadline:
            yield sleep(0.001)

    run(reactor, main())
    assert logged.messages == ['an error was never looked at']
    # With its traceback.
    assert 'ValueError: nobody looks' in logged.text
    assert ', in fails' in logged.text


def test_it_is_told_when_the_generator_that_kept_it_ends(reactor: Reactor, logged: Any) -> None:
    def keeps() -> Any:
        task = spawn(fails(1))
        yield sleep(0.01)
        assert task.done() and not logged.records

    def main() -> Any:
        yield spawn(keeps())
        yield
        yield
        assert logged.messages == ['an error was never looked at']

    run(reactor, main())


def test_who_looks_later_finds_the_error_and_where_it_was_raised(reactor: Reactor) -> None:
    def main() -> Any:
        for task in (spawn(fails()), run_in_thread(fails_in_a_thread)):
            yield sleep(0.01)
            with pytest.raises(ValueError, match='nobody looks') as caught:
                yield task
            text = ''.join(traceback.format_exception(
                type(caught.value), caught.value, caught.value.__traceback__))
            assert ', in fails' in text and "raise ValueError('nobody looks')" in text

    run(reactor, main())


def test_an_error_that_is_awaited_keeps_its_traceback(reactor: Reactor) -> None:
    def main() -> Any:
        with pytest.raises(ValueError, match='nobody looks') as caught:
            yield spawn(fails(2))
        names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert names[-1] == 'fails' and not hasattr(caught.value, '__notes__')

    run(reactor, main())


if FRAMES_STAY:    # (Before Python 3.12 no notes are written, and ExceptionGroup is of 3.11.)
    def test_the_note_tells_the_causes_too_and_drops_all_tracebacks() -> None:
        def raise_group() -> None:
            try:
                1 / 0    # noqa: B018
            except ZeroDivisionError as error:
                raise ExceptionGroup('two', [error, ValueError('other')]) from error    # noqa: F821

        try:
            raise_group()
        except Exception as caught:
            error: Any = caught
        note_traceback(error)
        assert 'in raise_group' in error.__notes__[0] and 'ZeroDivisionError' in error.__notes__[0]
        each = [error, error.__cause__, *error.exceptions]
        assert [one.__traceback__ for one in each] == [None] * 4
