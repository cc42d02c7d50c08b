"""The errors in one place: the tree that is drawn is the tree that is there."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tremolo.asgi
import tremolo.service.hooks
from tremolo import exceptions
from tremolo.exceptions import TremoloError

ROOT = Path(__file__).resolve().parents[1]


def drawn():
    """Each name of the tree in the docstring, and the name that it is drawn below ('' for none)."""
    found, above = {}, []
    # (From Python 3.13 on the compiler takes the common indentation away.)
    tree = inspect.cleandoc(exceptions.__doc__ or '').partition('\n\n')[2]
    for line in textwrap.dedent(tree).splitlines():
        match = re.match(r'( *)((?:[A-Z]\w+(?:, )?)+)', line)
        if match is None:
            continue
        while above and above[-1][0] >= len(match[1]):
            above.pop()
        names = match[2].split(', ')
        found.update(dict.fromkeys(names, above[-1][1] if above else ''))
        above.append((len(match[1]), names[-1]))
    return found


def test_every_name_of_the_tree_is_exported_and_nothing_else():
    assert len(drawn()) > 15
    assert set(drawn()) == set(exceptions.__all__)
    for name in exceptions.__all__:
        assert getattr(exceptions, name).__name__ == name


def test_each_error_stands_below_the_one_that_it_derives_from():
    for name, parent in drawn().items():
        bases = getattr(exceptions, name).__bases__
        assert (getattr(exceptions, parent) if parent else BaseException) in bases \
            or (name, bases[0]) == ('TremoloError', Exception)


def test_every_error_of_the_package_is_drawn():
    left, names = [TremoloError], set()
    while left:
        error = left.pop()
        if error.__module__.startswith('tremolo'):
            names.add(error.__name__)
            left += error.__subclasses__()
    assert names <= set(drawn())


def test_the_errors_have_kept_their_old_addresses():
    assert tremolo.asgi.LifespanFailed is tremolo.asgi.lifespan.LifespanFailed
    assert tremolo.asgi.LifespanFailed is exceptions.LifespanFailed
    assert tremolo.service.hooks.HookFailed is exceptions.HookFailed


@pytest.mark.parametrize('module', ['tremolo', 'tremolo.exceptions'])
def test_the_errors_are_there_without_asyncio_and_without_websockets(module):
    late = '{"asyncio", "concurrent", "hashlib", "tremolo.websocket", "zlib"}'
    # (What a measurement of coverage imports is there before.)
    program = (f'import sys; before = {{*sys.modules}}; import {module}; '
               f'print(sorted({late} & ({{*sys.modules}} - before)))')
    done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, capture_output=True,
                          text=True, timeout=60, check=True)
    assert done.stdout == '[]\n'
