"""The cases of the room proxies are for the tests of this room, too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / 'proxies'))
