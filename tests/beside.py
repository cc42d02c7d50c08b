"""Tests that wait for other processes run in a process of their own, beside all the others.

Most of their time nobody here computes: they start servers, signal them and wait. So a machine with
two cores does both in little more than the time of the longer part. The tests are collected once;
the second process is forked, and what it reports is told by the first as its own.

They run one after the other as ever with a debugger, with `-s`, where few are chosen, on one core,
without fork, and with tests/interop, which measures. `TESTS_BESIDE=0` in the environment says so
for all.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parent
# What waits, by the first part of the path below tests/.
WAITING = {'workers', 'service', 'systemd', 'cli', 'control', 'reload', 'test_beside.py',
           'test_examples.py'}
# So many tests on both sides are worth a process.
FEWEST = 60


def _processors() -> int:
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Reporter:
    """In the second process: writes each report to the file, and nothing on the terminal."""

    def __init__(self, config: pytest.Config, fd: int) -> None:
        self._config = config
        self._fd = fd

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        os.write(self._fd, json.dumps(data).encode() + b'\n')


class Beside:
    """Divides the tests, and tells the reports of the second process."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._pid = 0
        self._reports = -1    # The file of reports.
        self._at = 0          # So much of it was read.
        self._part = b''      # The beginning of a line.
        self._missing = 0
        self._telling = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        items = self._waiting(session)
        if not items:
            return (yield)
        with tempfile.TemporaryFile() as file:
            self._reports = file.fileno()
            self._missing = len(items)
            # (That it has ended is no signal in the midst of a test: it waits for the last, which a
            # byte tells. The end of the file says that this process was ended before, or killed.)
            waiting, release = os.pipe()
            self._pid = os.fork()
            if not self._pid:
                os.close(release)
                self._run(items, waiting)
            os.close(waiting)
            try:
                chosen = set(items)
                session.items[:] = [each for each in session.items if each not in chosen]
                result = yield
                os.write(release, b'.')
                while not os.waitpid(self._pid, os.WNOHANG)[0]:
                    self._take()
                    time.sleep(0.02)
                os.close(release)
            except BaseException:
                os.close(release)
                os.kill(self._pid, signal.SIGINT)
                os.waitpid(self._pid, 0)
                raise
            finally:
                self._pid = 0
                self._take()
        if self._missing and not session.shouldfail:
            raise RuntimeError(f'the other process ended before {self._missing} of its tests')
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        if self._pid and not self._telling:
            self._take()

    def _waiting(self, session: pytest.Session) -> list[pytest.Item]:
        option = self._config.option
        if (not hasattr(os, 'fork') or _processors() < 2
                or os.environ.get('TESTS_BESIDE') == '0' or session.testsfailed
                or option.collectonly or option.usepdb or option.trace or option.setupshow
                or option.capture == 'no'):
            return []
        firsts = [each.path.relative_to(FOLDER).parts[0] for each in session.items
                  if FOLDER in each.path.parents]
        if len(firsts) < len(session.items) or 'interop' in firsts:
            return []
        waiting = [each for each, first in zip(session.items, firsts) if first in WAITING]
        return waiting if FEWEST <= len(waiting) <= len(firsts) - FEWEST else []

    def _run(self, items: list[pytest.Item], waiting: int) -> None:
        """Run these tests in this process, the second one."""
        config, item = self._config, items[0]
        try:
            # (pytest 8 asks it when it shows what an assertion compares.)
            terminal: Any = config.pluginmanager.getplugin('terminalreporter')
            terminal._tw._file = open(os.devnull, 'w')  # noqa: SIM115
            config.pluginmanager.unregister(self)
            config.pluginmanager.register(_Reporter(config, self._reports))
            # What tests write is captured in files, which are not to be shared.
            capture: Any = config.pluginmanager.getplugin('capturemanager')
            capture.stop_global_capturing()
            capture.start_global_capturing()
            first = select.poll()
            first.register(waiting, 0)
            for item, following in zip(items, [*items[1:], None]):
                config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                # (A test may have taken SIGINT for its own; then the first process is awaited.)
                if item.session.shouldfail or item.session.shouldstop or first.poll(0):
                    break
            capture.stop_global_capturing()
            os.read(waiting, 1)
        except KeyboardInterrupt:
            pass
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        try:
            # What was started for several tests ends, though the last of them did not run.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            item.session._setupstate.teardown_exact(None)
            self._unlock()
        finally:
            os._exit(0)

    def _unlock(self) -> None:
        """Let a later run remove the folder of `tmp_path`, as pytest does at its end."""
        factory: Any = self._config._tmp_path_factory  # type: ignore[attr-defined]
        (factory.getbasetemp() / '.lock').unlink(missing_ok=True)

    def _take(self) -> None:
        """Tell the reports that have come."""
        # (By position: the end of the open file, which both have, is where the other one writes.)
        while data := os.pread(self._reports, 1 << 20, self._at):
            self._at += len(data)
            *lines, self._part = (self._part + data).split(b'\n')
            self._telling = True
            for line in lines:
                self._tell(json.loads(line))
            self._telling = False

    def _tell(self, data: dict[str, Any]) -> None:
        hook = self._config.hook
        report = hook.pytest_report_from_serializable(config=self._config, data=data)
        if isinstance(report.longrepr, list):
            # The place and the reason of a skip.
            report.longrepr = tuple(report.longrepr)
        if report.when == 'setup':
            hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        hook.pytest_runtest_logreport(report=report)
        if report.when == 'teardown':
            hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)
            self._missing -= 1
