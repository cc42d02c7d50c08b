"""What the tests of --reload share with those of workers can be imported."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / 'workers'))
