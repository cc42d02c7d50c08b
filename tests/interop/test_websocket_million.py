"""A million mutated frames: no exception but the named one, no result that depends on the split."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


# (In four parts, since no test may take longer than a minute. Each takes 6 s on an idle machine.)
@pytest.mark.parametrize('seeds', [('6455', '7692'), ('1', '2'), ('3', '4'), ('5', '6')])
def test_a_million_mutated_frames_are_read_alike_however_they_are_split(seeds):
    program = ROOT / 'tests' / 'ws' / 'test_websocket_mutation.py'
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
    attacks = [subprocess.Popen([sys.executable, str(program), '125000', seed], env=environ,
                                stderr=subprocess.PIPE, text=True) for seed in seeds]
    faults = [attack.communicate()[1] for attack in attacks]
    assert [attack.returncode for attack in attacks] == [0, 0], faults
