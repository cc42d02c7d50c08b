"""Fixtures of the tests of files."""

from __future__ import annotations

from pathlib import Path

import pytest
from files_support import LARGE, SMALL, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small file, a large one and an empty one, all of the same old date."""
    write(tmp_path / 'small.txt', SMALL)
    write(tmp_path / 'large.bin', LARGE)
    write(tmp_path / 'empty.css', b'')
    return tmp_path
