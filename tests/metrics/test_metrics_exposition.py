"""The page: that it is Prometheus' format, for whatever there is to show."""

from __future__ import annotations

from pathlib import Path

import prometheus_text
import pytest

from tremolo.metrics import exposition
from tremolo.metrics.board import Board
from tremolo.metrics.exposition import FAMILIES, family_table
from tremolo.metrics.layout import BUCKET, CELL, METHODS, RESTARTS, SECONDS, SENT, key_of, labels_of
from tremolo.metrics.reading import Reading

ROOT = Path(__file__).resolve().parent.parent.parent
# As the issue names them.
NAMES = '''tremolo_requests_total{method,status} tremolo_request_seconds{le}
    tremolo_request_bytes_total tremolo_response_bytes_total tremolo_connections{phase}
    tremolo_closed_total{reason} tremolo_refused_total{status} tremolo_loop_lag_seconds{worker}
    tremolo_worker_restarts_total{reason} tremolo_throttled_seconds_total
    tremolo_worker_memory_bytes{worker}'''


@pytest.fixture
def board():
    board = Board.new()
    yield board
    board.close()


def test_a_board_on_which_nobody_has_counted_is_a_page_too(board):
    samples = prometheus_text.read(exposition.exposition(Reading(board, 0.0)))
    assert samples.value('tremolo_request_seconds_count') == 0
    assert samples.labels('tremolo_worker_restarts_total', 'reason') == set(RESTARTS)
    assert set(samples.kinds) == {family.name for family in FAMILIES}


def test_the_names_are_those_of_the_issue_and_of_the_readme():
    names = [each.name + (f'{{{",".join(each.labels)}}}' if each.labels else '')
             for each in FAMILIES]
    assert names == NAMES.split()
    assert family_table() in (ROOT / 'README.md').read_text(encoding='utf-8')


def test_the_longest_numbers_are_exact(board):
    words = memoryview(board.claim()).cast('Q')
    words[SENT], words[CELL], words[CELL + 1] = 2**63 + 1, key_of('GET', 200), 2**60 + 1
    words[BUCKET], words[BUCKET + 1] = 3, 2**60
    words.release()
    page = exposition.exposition(Reading(board, 0.0))
    prometheus_text.read(page)
    assert b'\ntremolo_response_bytes_total 9223372036854775809\n' in page
    assert b'\ntremolo_requests_total{method="GET",status="200"} 1152921504606846977\n' in page
    assert b'\ntremolo_request_seconds_bucket{le="+Inf"} 1152921504606846979\n' in page


def test_a_time_is_written_so_that_it_is_read_back(board):
    times = memoryview(board.claim()).cast('d')
    times[SECONDS] = 0.1 + 0.2
    times.release()
    samples = prometheus_text.read(exposition.exposition(Reading(board, 0.0)))
    assert samples.value('tremolo_request_seconds_sum') == 0.1 + 0.2


def test_a_label_is_escaped():
    labels = exposition._labels({'a': 'quote " backslash \\ line\nend'})
    assert labels == '{a="quote \\" backslash \\\\ line\\nend"}'
    read = prometheus_text.read(
        f'# HELP x help\n# TYPE x gauge\nx{labels} 1\n'.encode())
    assert read.labels('x', 'a') == {'quote " backslash \\ line\nend'}


def test_each_method_and_status_has_a_key_of_its_own():
    keys = {key_of(method, status): (method, str(status))
            for method in METHODS for status in (101, *range(200, 600))}
    assert len(keys) == len(METHODS) * 401
    assert all(labels_of(key) == labels for key, labels in keys.items())
    assert 0 not in keys
    assert labels_of(key_of('get', 0)) == ('other', 'none')
    assert labels_of(key_of('GET', 999)) == ('GET', 'none')


@pytest.mark.parametrize('page', [
    b'', b'x 1', b'x 1\n', b'# TYPE x gauge\nx 1\n', b'# HELP x h\n# TYPE x gauge\nx 1\nx 2\n',
    b'# HELP x h\n# TYPE x counter\nx 1\n', b'# HELP x h\n# TYPE x gauge\nx{a="1",a="2"} 1\n',
    b'# HELP x h\n# TYPE x gauge\nx{a="\\q"} 1\n', b'# HELP x h\n# TYPE x gauge\nx 1,5\n',
    b'# HELP x h\n# TYPE x gauge\n\nx 1\n', b'# HELP x h\n# TYPE x gauge\nx  1\n',
    b'# HELP x h\n# TYPE x gauge\ny 1\n',
    b'# HELP x h\n# TYPE x histogram\nx_bucket{le="1"} 2\nx_bucket{le="+Inf"} 1\nx_sum 1\n'
    b'x_count 1\n',
    b'# HELP x h\n# TYPE x histogram\nx_bucket{le="1"} 1\nx_sum 1\nx_count 1\n',
    b'# HELP x h\n# TYPE x histogram\nx_bucket{le="+Inf"} 1\nx_sum 1\nx_count 2\n',
])
def test_the_reader_of_these_tests_is_strict(page):
    with pytest.raises((AssertionError, KeyError, IndexError, ValueError)):
        prometheus_text.read(page)
