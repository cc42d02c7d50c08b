"""The fixture of groups of workers."""

from __future__ import annotations

import pytest
from worker_group import APPLICATION, Group


@pytest.fixture
def group(tmp_path):
    """Start groups of workers that serve APPLICATION; all end after the test."""
    (tmp_path / 'example.py').write_text(APPLICATION)
    groups = []

    def start(*arguments, folder=tmp_path, **more):
        group = Group(folder, *arguments, **more)
        groups.append(group)
        return group

    yield start
    for each in groups:
        # pytest shows the log of each group beside a failure.
        print(each.log)
        each.end()
