"""Autobahn's fuzzing client: 517 ways to speak WebSocket, and to misuse it, to both of our echoes.

`WSTEST` names the program; `.ci/run` installs it. `AUTOBAHN=all` runs all cases (a quarter of an
hour); else it is all but most of the long ones, 12 and 13: each sends 1,000 compressed messages.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ALL = [f'{number}.*' for number in (1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 13)]
# Of the long ones: two sizes for each kind of data, one of them in fragments, and two for each way
# to negotiate compression.
QUICK = [
    *ALL[:9],
    *(f'12.{data}.{size}' for data in range(1, 6) for size in (3, 11)),
    *(f'13.{way}.{size}' for way in range(1, 8) for size in (1, 4))]
# So many cases they are.
COUNT_ALL, COUNT_QUICK = 517, 301 + 10 + 14

# Cases that we pass another way than the strictest, and why that is right.
NON_STRICT: dict[str, str] = {}

GOOD = ('OK', 'INFORMATIONAL')
HERE = Path(__file__).resolve().parent / 'autobahn'
AGENTS = ('native', 'asgi')


def whole() -> bool:
    return os.environ.get('AUTOBAHN') == 'all'


def fuzz(wstest: str, serve, agent: str, folder: Path) -> dict[str, dict]:
    """Run the cases against one of the echoes; return its report."""
    with serve(
            f'{HERE / "echo.py"}:{agent}', '--log-level', 'warning',
            # The largest message of the cases of 9.
            '--ws-message-size', str(16 << 20), folder=folder) as server:
        spec = folder / 'spec.json'
        spec.write_text(json.dumps({
            'outdir': str(folder / 'reports'), 'cases': ALL if whole() else QUICK,
            'exclude-cases': [], 'exclude-agent-cases': {},
            'servers': [{'agent': agent, 'url': f'ws://127.0.0.1:{server.port}'}]}))
        subprocess.run(
            [wstest, '--mode', 'fuzzingclient', '--spec', str(spec)], cwd=folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True,
            timeout=3600 if whole() else 300)
    assert server.log == ''
    found: dict[str, dict] = json.loads((folder / 'reports' / 'index.json').read_text())[agent]
    return found


@pytest.fixture(scope='module')
def reports(serve, tmp_path_factory) -> dict[str, dict]:
    """The reports of both, which run at the same time: each of them mostly waits."""
    wstest = os.environ.get('WSTEST')
    if not wstest:
        pytest.skip('WSTEST does not name the program of the Autobahn test suite')
    with ThreadPoolExecutor() as pool:
        found = {agent: pool.submit(fuzz, wstest, serve, agent, tmp_path_factory.mktemp(agent))
                 for agent in AGENTS}
    return {agent: future.result() for agent, future in found.items()}


@pytest.mark.parametrize('agent', AGENTS)
def test_autobahn_finds_nothing_wrong_with(agent, reports):
    report = reports[agent]
    assert len(report) == (COUNT_ALL if whole() else COUNT_QUICK)
    print(Counter((each['behavior'], each['behaviorClose']) for each in report.values()))
    wrong = {
        case: (each['behavior'], each['behaviorClose']) for case, each in report.items()
        if each['behaviorClose'] not in GOOD or (each['behavior'] not in GOOD
        and not (each['behavior'] == 'NON-STRICT' and case in NON_STRICT))}
    assert wrong == {}
    # The table has no case too many.
    assert [case for case in NON_STRICT if report[case]['behavior'] != 'NON-STRICT'] == []
