"""Fixtures of the tests of what comes before HTTP; the cases of the room proxies serve, too."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_lines import Lines, server_lines

sys.path.append(str(Path(__file__).resolve().parent.parent / 'proxies'))


@pytest.fixture
def lines() -> Iterator[Lines]:
    with server_lines(logging.DEBUG) as lines:
        yield lines
