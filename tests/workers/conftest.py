"""The fixture of groups of workers."""

from __future__ import annotations

import pytest
from worker_group import APPLICATION, Group


@pytest.fixture
def group(tmp_path, fork_servers):
    """Start groups of workers that serve APPLICATION; all end after the test.

    `python -m tremolo` is forked; with `fresh`, and if it is another command, it is started.
    """
    (tmp_path / 'example.py').write_text(APPLICATION)
    groups = []

    def start(*arguments, folder=tmp_path, fresh=False, **more):
        if not fresh and more.get('command', ('-m', 'tremolo'))[:2] == ('-m', 'tremolo'):
            imports = 'import asyncio' in (folder / 'example.py').read_text()
            more['fork_server'] = fork_servers.get(imports)
        group = Group(folder, *arguments, **more)
        groups.append(group)
        return group

    yield start
    for each in groups:
        # pytest shows the log of each group beside a failure.
        print(each.log)
        each.end()
