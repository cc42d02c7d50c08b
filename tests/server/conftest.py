"""Fixtures of the tests of the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from server_lines import Lines, server_lines


@pytest.fixture
def lines() -> Iterator[Lines]:
    with server_lines() as lines:
        yield lines
