"""The tests of HTTP, with servers that are guests of somebody else's loop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = ('tests/server', 'tests/asgi', 'tests/web/test_web_coroutines.py',
         'tests/web/test_web_handlers.py')


@pytest.mark.parametrize('host', ['asyncio', 'program', 'uvloop'])
def test_all_of_http_works_in_the_loop_of(host, request):
    # Who has the frameworks has uvloop and pytest too.
    python = request.getfixturevalue('frameworks_python') if host == 'uvloop' else sys.executable
    done = subprocess.run(
        [python, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *TESTS], cwd=ROOT,
        env={**os.environ, 'TEST_HOST': host}, capture_output=True, text=True, timeout=300,
        check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    assert ' passed' in done.stdout.splitlines()[-1]
    assert 'skipped' not in done.stdout.splitlines()[-1]
