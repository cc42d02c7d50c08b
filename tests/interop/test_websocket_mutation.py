"""A million mutated frames: no exception but the named one, no result that depends on the split."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Seconds for half a million frames; they take one minute on an idle machine.
PATIENCE = 900


def test_a_million_mutated_frames_are_read_alike_however_they_are_split():
    program = ROOT / 'tests' / 'http' / 'test_websocket_mutation.py'
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
    attacks = [subprocess.Popen([sys.executable, str(program), '500000', seed], env=environ,
                                stderr=subprocess.PIPE, text=True) for seed in ('6455', '7692')]
    faults = [attack.communicate(timeout=PATIENCE)[1] for attack in attacks]
    assert [attack.returncode for attack in attacks] == [0, 0], faults
