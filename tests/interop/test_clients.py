"""The clients of other languages and libraries: early answers, `Expect`, half-closes, renewals.

What they do is in clients/. A client that has no way to do something is not in the list of those
who do it. They talk to a native application, and to one on Starlette.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / 'workers'))
from worker_group import TWO, Group, wait_until

PROGRAMS = Path(__file__).resolve().parent / 'clients'
PATIENCE = 120
KB, MB = 1000, 1000 * 1000
PYTHON = ('requests', 'httpx', 'aiohttp', 'http.client', 'curl')
ALL = ('go', 'java', 'http', 'fetch', *PYTHON)
EXPECT = ('go', 'java', 'http', 'aiohttp', 'curl')
# The one of Java 17 waits for ever when the answer is not 100 (JDK-8286171), whoever answers.
MAY_BE_REFUSED = ('go', 'http', 'aiohttp', 'curl')
HALF_CLOSE = ('go', 'java', 'http', 'http.client')

@pytest.fixture(scope='module', params=['native', 'starlette'])
def server(request, serve, frameworks_python, tmp_path_factory):
    """The site of clients/, native and on Starlette. Nothing that clients do is worth a warning."""
    python = frameworks_python if request.param == 'starlette' else sys.executable
    with serve(str(PROGRAMS / f'{request.param}_site.py'), '--log-level', 'warning',
               '--body-size', '16MiB', python=python,
               folder=tmp_path_factory.mktemp('site')) as server:
        yield server
    assert server.log == ''


def run(command: list[str], server: Any, *arguments: str) -> list[dict[str, Any]]:
    """Run a client to its end: what it saw."""
    done = subprocess.run(
        [*command, server.url, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize('framing', ['sized', 'chunked'])
@pytest.mark.parametrize('size', [300 * KB, MB, 10 * MB], ids=['300kB', '1MB', '10MB'])
@pytest.mark.parametrize('client', ALL)
def test_an_early_answer_arrives_and_the_next_request_too(client, size, framing, server, command):
    refusals = {'/refuse/401': 401, '/refuse/403': 403, '/nowhere': 404, '/slow': 405}
    found = run(command(client), server, 'early', ','.join([*refusals] * 2), str(size), framing)
    expected = []
    for status in [*refusals.values()] * 2:
        expected += [status, (200, '5')]
    assert [said.get('error') or (said['status'] if number % 2 == 0
                                  else (said['status'], said['body']))
            for number, said in enumerate(found)] == expected


SMALL = {'status': 200, 'body': '5'}


@pytest.mark.parametrize('client', EXPECT)
def test_who_expects_100_continue_sends_a_body_that_is_wanted(client, server, command):
    found = run(command(client), server, 'expect', '/upload,/upload', str(300 * KB))
    assert found == [{'status': 200, 'body': '300000', 'sent': True}, SMALL] * 2


@pytest.mark.parametrize('client', MAY_BE_REFUSED)
def test_who_expects_100_continue_is_spared_a_body_that_is_not_wanted(client, server, command):
    # The last one is too large, in the eyes of the server itself.
    for size, refusals in ((300 * KB, {'/refuse/417': 417, '/refuse/413': 413,
                                       '/refuse/401': 401}), (32 * MB, {'/upload': 413})):
        found = run(command(client), server, 'expect', ','.join([*refusals] * 2), str(size))
        assert [(said.get('error') or said['status'], said['sent']) for said in found[::2]] == [
            (status, False) for status in [*refusals.values()] * 2]
        assert found[1::2] == [SMALL] * len(found[::2])


@pytest.mark.parametrize('client', HALF_CLOSE)
def test_a_client_that_has_ended_its_side_reads_a_slow_answer(client, server, command):
    assert run(command(client), server, 'half-close') == [
        {'status': 200, 'body': 'tick tick tick ended'}]


class Loop:
    """A client that asks until it is told to end, and tells now and then that it goes on."""

    def __init__(self, command: list[str], url: str) -> None:
        self.process = subprocess.Popen(
            [*command, url, 'renewal'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        self.said.extend(self.process.stdout)

    def goes_on(self) -> None:
        before = len(self.said)
        wait_until(lambda: len(self.said) > before + 1 or self.process.poll() is not None)

    def end(self) -> dict[str, Any]:
        self.process.stdin.close()
        try:
            assert self.process.wait(PATIENCE) == 0
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            self.process.stdout.close()
        return json.loads(self.said[-1])


@pytest.mark.parametrize('client', ALL)
def test_a_pool_of_kept_connections_does_not_notice_renewals(client, command, tmp_path):
    workers = Group(tmp_path, *TWO, '--log-level', 'warning',
                    command=('-m', 'tremolo', str(PROGRAMS / 'native_site.py')))
    try:
        old = wait_until(lambda: len(workers.pids) == 2 and workers.pids)
        loop = Loop(command(client), workers.address)
        try:
            for _ in range(3):
                loop.goes_on()
                workers.signal('SIGHUP')
                old = wait_until(
                    lambda: len(workers.pids) == 2 and not old & workers.pids   # noqa: B023
                    and workers.pids)
            loop.goes_on()
        finally:
            found = loop.end()
        print(f'{found["requests"]} requests')
        assert found['failures'] == []
    finally:
        status = workers.end()
    assert (status, workers.log) == (0, '')
