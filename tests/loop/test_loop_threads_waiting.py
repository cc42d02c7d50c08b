"""Threads that wait for other threads: they never starve each other, or it is told."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from loop_support import run
from server_support import PATIENCE, answers, request, serving

from tremolo import Tremolo
from tremolo.exceptions import SettingError
from tremolo.loop import (
    Reactor,
    gather,
    run_in_thread,
    sleep,
    spawn,
    threads,
    timeout,
)
from tremolo.settings import Settings
from tremolo.workers.lock import Lock


def nested(depth: int) -> int:
    """Wait for a job that waits for a job, and so on; in a thread."""
    return depth and 1 + run_in_thread(nested, depth - 1).result()


def by_task(depth: int) -> int:
    def task() -> Any:
        return (yield run_in_thread(nested, depth))

    return spawn(task()).result()


def by_all(depth: int) -> int:
    each = [run_in_thread(nested, depth) for _ in range(3)]
    return sum(gather(timeout(PATIENCE, each[0]), *each[1:]).result()) // 3


@pytest.mark.parametrize('job', [nested, by_task, by_all])
@pytest.mark.parametrize('most', [1, 2, 32])
def test_jobs_that_wait_for_jobs_never_starve_each_other(
        reactor: Reactor, job: Any, most: int) -> None:
    reactor.threads = most

    def main() -> Any:
        count = 2 * most
        values = yield timeout(PATIENCE, gather(*(run_in_thread(job, 3) for _ in range(count))))
        assert values == [3] * count

    run(reactor, main())


def test_jobs_of_the_first_depth_are_no_more_than_threads(reactor: Reactor) -> None:
    reactor.threads = 3
    inside, most = 0, 0
    lock = threading.Lock()

    def outer() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        run_in_thread(time.sleep, 0.001).result()
        sleep(0.001).result()
        with lock:
            inside -= 1

    def main() -> Any:
        yield gather(*(run_in_thread(outer) for _ in range(30)))

    run(reactor, main())
    assert most == 3


def test_the_threads_that_came_meanwhile_end_again(reactor: Reactor) -> None:
    reactor.threads = 2

    def ours() -> int:
        return sum(thread in mine for thread in threading.enumerate())

    def main() -> Any:
        yield gather(*(run_in_thread(nested, 5) for _ in range(4)))
        mine.update(set(threading.enumerate()) - before)
        assert mine
        while ours() > 2:
            yield sleep(0.001)
        assert (yield run_in_thread(nested, 3)) == 3

    mine: set[threading.Thread] = set()
    before = set(threading.enumerate())
    run(reactor, main())


@pytest.mark.parametrize('late', [False, True])
def test_threads_that_wait_for_a_lock_whose_holder_needs_a_thread_are_told(
        reactor: Reactor, monkeypatch: Any, logged: Any, late: bool) -> None:
    """`late`: they wait already when the job comes that nobody can do."""
    monkeypatch.setattr(threads, 'LONG', 0.02)
    reactor.threads = 2

    def waits(lock: Lock) -> None:
        with lock:
            pass

    def main() -> Any:
        lock = Lock(reactor, None)
        with (yield lock.acquire()):
            jobs = [run_in_thread(waits, lock) for _ in range(2)]
            while late and (reactor.pool._waiting < 2 or reactor.pool._looking):
                yield sleep(0.001)
            needed = run_in_thread(int)
            while not logged.records:
                yield sleep(0.001)
            yield sleep(0.05)
            needed.cancel()
        yield timeout(PATIENCE, gather(*jobs))

    run(reactor, main())
    message, = logged.messages
    assert 'all 2 threads wait, and 1 jobs wait for a thread: raise the option `threads`' in message
    assert f'{__file__}:{waits.__code__.co_firstlineno + 1}' in message


def test_threads_that_only_wait_are_not_told(reactor: Reactor, monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, 'LONG', 0.01)
    reactor.threads = 2

    def main() -> Any:
        # Nothing waits for a thread while they wait.
        yield gather(*(run_in_thread(lambda: sleep(0.05).result()) for _ in range(2)))
        # Jobs end all the time. (The machine may be busy.)
        monkeypatch.setattr(threads, 'LONG', 2.0)
        yield gather(*(run_in_thread(lambda: sleep(0.004).result()) for _ in range(20)))

    run(reactor, main())


def test_thread_handlers_that_wait_for_threads_are_all_answered() -> None:
    app = Tremolo()

    @app.route('/')
    def index(thread: bool = True) -> str:
        return str(run_in_thread(nested, 2).result())

    with serving(app, threads=4) as host:
        assert host.reactor.threads == 4
        clients = [host.connect(request('/', 'GET', 'Connection: close')) for _ in range(20)]
        for client in clients:
            answer, = answers(client.read_all())
            assert answer.body == b'2'


def test_the_option() -> None:
    assert Settings().threads == 32
    assert Settings(thread_pool_size=5).threads == 5
    with pytest.raises(SettingError, match='threads: 0 is too small, at least 1'):
        Settings(threads=0)
