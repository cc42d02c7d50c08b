"""The first page's tables of `request` and `response`, and its recipes, say what is true."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import tremolo
from tremolo import Request, Response

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / 'README.md').read_text(encoding='utf-8')

# What is there for the server itself, or an old name.
NOT_TOLD = {
    Request: '''addresses authority begin block chunked expect_continue forwarded inbox
        keep_alive kept mark marked minor received signer upgrade''',
    Response: '''begun connection cut encode finish framing given handler_timeout layers line live
        request reset send_body send_hint set_encoded size switch to write_pieces
        yielded''',
}


def told(name: str) -> set[str]:
    """Return the names in the first column of a table."""
    table = README.partition(f'| `{name}.` | is |\n| --- | --- |\n')[2].partition('\n\n')[0]
    return {word for row in table.splitlines()
            for word in re.findall(r'`(\w+)(?:\([\w, ]*\))?`', row.split(' | ')[0])}


@pytest.mark.parametrize('kind', [Request, Response])
def test_the_table_has_what_the_class_has(kind):
    public = {name for name in dir(kind) if not name.startswith('_')}
    names = told(kind.__name__.lower())
    assert names
    assert names - public == set()
    assert public - names - set(NOT_TOLD[kind].split()) == set()


def test_debug_is_off_where_all_addresses_are_listened_on():
    for line in README.splitlines():
        assert not ('0.0.0.0' in line and 'debug=True' in line), line


@pytest.mark.skipif(sys.platform == 'win32', reason='the recipe is for a POSIX shell')
def test_the_recipe_of_a_zipapp_works(tmp_path):
    recipe, = re.findall(r'```sh\n(.*?zipapp.*?)```', README, re.DOTALL)
    shutil.copytree(Path(tremolo.__file__).parent, tmp_path / 'tremolo',
                    ignore=shutil.ignore_patterns('__pycache__'))
    program = next(each for each in re.findall(r'```python\n(.*?)```', README, re.DOTALL)
                   if 'hello_world' in each)
    (tmp_path / 'hello.py').write_text(program)
    subprocess.run(['sh', '-e', '-c', recipe.replace('python3', sys.executable, 1)], cwd=tmp_path,
                   check=True, timeout=60)
    assert os.access(tmp_path / 'hello.pyz', os.X_OK)
    (tmp_path / 'elsewhere').mkdir()
    environ = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / 'hello.pyz')], cwd=tmp_path / 'elsewhere',
        env={**environ, 'TREMOLO_PORT': '0', 'TREMOLO_HOST': '127.0.0.1'}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    try:
        ready, _, _ = select.select([process.stdout], [], [], 30)
        assert ready
        url = re.search(r'http://\S+:\d+', process.stdout.readline())[0]
        with urllib.request.urlopen(f'{url}/hello', timeout=30) as answer:
            assert answer.read() == b'Hello world!'
    finally:
        process.kill()
        process.communicate()
