"""The first page says what is true."""

from __future__ import annotations

import re
import time
import urllib.request
from pathlib import Path
from typing import Any

from tremolo.settings import option_table

README = (Path(__file__).resolve().parent.parent / 'README.md').read_text(encoding='utf-8')
PROGRAMS = re.findall(r'```python\n(.*?)```', README, re.DOTALL)


def run(number: int) -> dict[str, Any]:
    names: dict[str, Any] = {'__name__': 'example'}
    exec(compile(PROGRAMS[number], f'README, program {number}', 'exec'), names)
    return names


def test_the_table_of_options_is_the_one_that_the_settings_give():
    assert option_table().strip() in README


def test_the_first_page_says_hello():
    with run(0)['app'].start() as server, urllib.request.urlopen(f'{server.url}/hello') as answer:
        assert answer.read() == b'Hello world!'


def test_the_digest_and_the_numbered_page_work():
    with run(1)['app'].start() as server:
        upload = urllib.request.Request(f'{server.url}/digest', data=b'x' * 100_000, method='PUT')
        with urllib.request.urlopen(upload) as answer:
            assert answer.read().startswith(b'100000 bytes\n')
        with urllib.request.urlopen(f'{server.url}/page/7') as answer:
            assert answer.read() == b'{"page": 7}'
            assert answer.headers['Set-Cookie'] == 'last=7; Path=/; HttpOnly'


def test_it_serves_asgi(capsys):
    run(2)
    assert capsys.readouterr().out.startswith('http://127.0.0.1:')


def test_it_serves_inside_another_program(capsys):
    run(3)
    assert capsys.readouterr().out == 'served from a thread\n'


def test_it_serves_inside_an_asyncio_program(capsys):
    run(4)
    assert capsys.readouterr().out.startswith('http://127.0.0.1:')


def test_the_hooks_of_a_worker_are_called():
    app = run(5)['app']
    with app.start() as server, urllib.request.urlopen(server.url) as answer:
        assert answer.read() == b'1 connections'
    assert app.context.pool == []


def test_it_throttles():
    with run(6)['app'].start() as server:
        began = time.monotonic()
        with urllib.request.urlopen(f'{server.url}/film') as answer:
            assert len(answer.read()) == 1 << 20
        assert time.monotonic() - began > 0.9
        for query in ('', '?key=1'):
            with urllib.request.urlopen(f'{server.url}/sample{query}') as answer:
                assert len(answer.read()) == 16384
