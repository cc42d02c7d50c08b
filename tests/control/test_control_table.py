"""Rows as lines for a terminal: they fit, and nothing in them reaches it unescaped."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tremolo.control.rates import with_rates
from tremolo.control.table import table

PROCESS: dict[str, Any] = {
    'row': 'worker', 'worker': 1, 'pid': 7, 'state': 'serves', 'connections': {'busy': 2},
    'arriving': 1, 'requests': 1234, 'memory': 30_000_000, 'lag': 0.0123, 'time': 10.0}
CONNECTION: dict[str, Any] = {
    'row': 'connection', 'worker': 1, 'pid': 7, 'id': 3, 'client': '127.0.0.1:4000', 'proxy': '',
    'address': '127.0.0.1:80', 'scheme': 'http', 'phase': 'busy', 'open': 9.0, 'since': 3.21,
    'kind': 'request', 'what': "GET '/slow'", 'status': 200, 'handler': 'slow',
    'place': '/srv/shop.py:31', 'waits': 'handler waits at shop.py:31', 'in': 40, 'out': 2048,
    'kept': 0, 'unread': 0}


def row(**values: Any) -> dict[str, Any]:
    return {**CONNECTION, **values}


def test_a_table():
    assert table(with_rates([PROCESS, CONNECTION], []), 130) == [
        'worker 1, process 7 serves: 3 connections (1 arriving, 2 busy), 1,234 requests, 28.6M of '
        'memory, late by 12 ms at most',
        '',
        'W  AGE  IN  OUT KEPT  ST CLIENT         REQUEST     HANDLER WAITS',
        "1 3.2s 40B 2.0K   0B 200 127.0.0.1:4000 GET '/slow' slow    handler waits at shop.py:31",
    ]


def test_a_worker_that_does_not_answer_is_a_line_with_its_process():
    silent = {'row': 'worker', 'worker': 2, 'pid': 8, 'state': 'does not answer', 'beat': 12.34}
    gone = {'row': 'worker', 'worker': 3, 'pid': None, 'state': 'does not run'}
    assert table([gone, silent], 100)[:2] == [
        'worker 2 does not answer, its last sign of life was 12.3s ago: `kill -USR2 8` tells where',
        'worker 3 does not run']


@pytest.mark.parametrize('width', [20, 40, 60, 80, 120, 200])
@pytest.mark.parametrize('height', [0, 2, 3, 10, 40])
def test_it_fits(width, height):
    rows = [{**PROCESS, 'worker': number} for number in range(8)]
    rows += [row(id=size, what=f"GET '/{'x' * size}'", client='1' * size, handler='h' * size)
             for size in range(100)]
    lines = table(rows, width, height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= height if height else len(lines) == 8 + 1 + 1 + 100


def test_nothing_that_is_told_reaches_the_terminal():
    evil = '\x1b]0;owned\x07\x9b2J\r\n\u202e\ud800'
    texts = [name for name, value in CONNECTION.items()
             if isinstance(value, str) and name not in ('row', 'kind')]
    rows = [{**PROCESS, 'state': evil, 'connections': {evil: 1}}]
    rows += [row(**{name: evil}) for name in texts]
    lines = table(rows, 400)
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert any('owned' in line for line in lines)


def test_what_is_in_hand_comes_first_and_the_oldest_of_that():
    rows = [row(id=1, kind='', what='', since=100.0, waits='idle'), row(id=2, since=1.0),
            row(id=3, since=2.0)]
    ages = [line.split()[1] for line in table(rows, 160)[2:]]
    assert ages == ['2.0s', '1.0s', '1m40s']


def test_by_rate_the_fastest_comes_first():
    before = [PROCESS, row(id=1, out=0), row(id=2, out=0), row(id=3, out=0)]
    after = [{**PROCESS, 'time': 12.0}, row(id=1, out=10), row(id=2, out=3000), row(id=4, out=9)]
    rows = with_rates(after, before)
    assert [each.get('out_rate') for each in rows] == [None, 5, 1500, None]
    assert [line.split()[5] for line in table(rows, 160, 0, 'rate')[3:5]] == ['1.5K', '5B']


def test_a_rate_is_known_only_of_what_was_seen_twice_in_one_process():
    for changed in itertools.product(({'pid': 8}, {'id': 4}, {'out': None}), repeat=1):
        old = row(**changed[0])
        rows = with_rates([{**PROCESS, 'time': 12.0}, CONNECTION], [PROCESS, old])
        assert rows[1]['out_rate'] is None
    assert with_rates([PROCESS, CONNECTION], [PROCESS, CONNECTION])[1]['out_rate'] is None
