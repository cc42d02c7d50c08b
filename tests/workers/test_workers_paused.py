"""The supervisor was stopped, and the workers were not, or were too: nobody is killed for that."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from tremolo.loop import Reactor
from tremolo.workers import watch
from tremolo.workers.group import Worker

TIMEOUT = 30.0


class Scene:
    """A supervisor's watch, and one worker whose beats lie in a pipe until they are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.told: list[int] = []
        monkeypatch.setattr(os, 'kill', lambda pid, signum: self.told.append(pid))
        self.reactor = Reactor(clock=lambda: self.now)
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.worker: Any = Worker(4711, None, self.now)    # type: ignore[arg-type]
        self.worker.heard(self.now)
        self.reactor.add_reader(self.ours.fileno(), self.heard)
        group: Any = SimpleNamespace(workers={4711: self.worker}, restarts={'hung': 0})
        watch.Watch(self.reactor, group, TIMEOUT, lambda workers: None)

    def heard(self) -> None:
        self.ours.recv(100)
        self.worker.heard(self.now)

    def turn(self, seconds: float, beats: bool = True, stopped: bool = False) -> None:
        """Let time pass in a poll; after SIGCONT it reports nothing, as Python's does."""
        poll = self.reactor._poll

        def wait(timeout: float | None) -> Any:
            self.now += seconds
            if beats:
                self.theirs.send(b'.')
            return [] if stopped else poll(0)

        self.reactor._poll = wait
        self.reactor.step(0)
        self.reactor._poll = poll

    def close(self) -> None:
        self.reactor.close()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def scene(monkeypatch):
    scene = Scene(monkeypatch)
    yield scene
    scene.close()


@pytest.mark.parametrize('seconds', [14.0, 60.0, 3600.0])
def test_beats_that_lie_unread_are_read_before_a_worker_is_killed(scene, seconds):
    for _ in range(5):
        scene.turn(seconds, stopped=True)
    for _ in range(40):
        scene.turn(1)
    assert scene.told == []


def test_a_worker_that_was_stopped_too_has_time_to_beat(scene):
    scene.turn(3600, beats=False, stopped=True)
    for _ in range(20):
        scene.turn(1, beats=False)
    assert scene.told == []


def test_a_worker_that_is_stopped_alone_hangs(scene, logged):
    for _ in range(29):
        scene.turn(1, beats=False)
    assert scene.told == []
    for _ in range(5):
        scene.turn(1, beats=False)
    assert scene.told == [4711]
    assert logged.count('does not answer') == 1
