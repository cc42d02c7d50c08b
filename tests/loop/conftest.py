"""The reactors that the tests of the loop run on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from loop_support import REAL, make_reactor

from tremolo.loop import Reactor


def _reactor(kind: str) -> Iterator[Reactor]:
    reactor = make_reactor(kind)
    yield reactor
    tasks = [task.where() for task in reactor.tasks]
    reactor.close()
    if tasks:
        pytest.fail(f'left suspended tasks: {tasks}')


@pytest.fixture(params=[*REAL, 'simulated'])
def any_reactor(request: Any) -> Iterator[Reactor]:
    """Give a reactor on each poller, and one of the simulated world."""
    yield from _reactor(request.param)


@pytest.fixture(params=['epoll', 'simulated'])
def sharp_reactor(request: Any) -> Iterator[Reactor]:
    """Give a reactor whose poller reports a hang-up whatever the interest."""
    yield from _reactor(request.param)
