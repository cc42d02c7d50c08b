"""What asyncio promises, by the tests that CPython brings along for its own event loops."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_cpython_s_own_tests_of_event_loops_pass():
    suite = Path(__file__).with_name('asyncio_suite.py')
    # Some of those tests measure the wall clock, and a machine may stand still for a moment: a run
    # that fails is repeated once. What is wrong fails twice.
    for _ in range(2):
        done = subprocess.run([sys.executable, str(suite)], capture_output=True, text=True,
                              timeout=120, check=False)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr[-4000:]
    ran = re.search(r'Ran (\d+) tests', done.stderr)
    assert ran is not None
    assert int(ran[1]) > 70
