"""The fixture of a service manager."""

from __future__ import annotations

import pytest
from managed import Unit


@pytest.fixture
def unit(tmp_path, fork_servers):
    """Start units; all end after the test."""
    units = []

    def start(*arguments, **more):
        units.append(Unit(fork_servers[False], tmp_path, *arguments, **more))
        return units[-1]

    yield start
    for each in units:
        # pytest shows the log of each unit beside a failure.
        print(each.log)
        each.end()
