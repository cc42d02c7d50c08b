"""`--check`: each limit is told with the attack that it answers, and the memory that follows."""

from __future__ import annotations

import pytest

from tremolo.rates import scarcity
from tremolo.settings import OPTIONS, Settings, limits
from tremolo.settings.limits import ATTACKS, Memory, limit_lines, memory_lines, memory_of
from tremolo.settings.options import BY_NAME, LIMITS, TIMEOUTS

KIB, MIB = 1 << 10, 1 << 20


def test_each_limit_and_timeout_has_its_attack():
    assert {option.name for option in OPTIONS if option.group in (LIMITS, TIMEOUTS)} <= set(ATTACKS)
    assert set(ATTACKS) <= {option.name for option in OPTIONS}
    lines = limit_lines(Settings(head_timeout='7s', min_upload_rate='1KiB'))
    assert len(lines) == len(ATTACKS)
    assert 'head_timeout           7s       heads that come slowly (Slowloris): 408' in lines
    assert any(line.startswith('min_upload_rate        1KiB/s ') for line in lines)


def test_what_has_no_bound_is_said():
    lines = {line.split()[0]: line for line in limit_lines(Settings(stall_timeout='off'))}
    for name in ('connections', 'body_size', 'limit_concurrency', 'stall_timeout'):
        assert '; off: ' in lines[name]
        assert BY_NAME[name].off is not None or name == 'body_size'
    assert '; off: ' not in '\n'.join(limit_lines(Settings(
        connections=1, body_size=1, limit_concurrency=1, handler_timeout=1)))


def test_the_memory_of_a_connection_is_that_of_the_readme():
    """`tests/server/test_server_slow_clients.py` holds the server to it."""
    native = memory_of([Settings(json_size='256KiB')], 'native', True)
    assert native == (200 * KIB, 14 * MIB, 11 * MIB)
    assert memory_of([Settings(json_size='1MiB')], 'native', False).request == 50 * MIB
    # An application for ASGI keeps what it reads itself.
    assert memory_of([Settings()], 'ASGI', False) == (200 * KIB, 136 * KIB, 0)
    # A body comes before a thread is taken (tests/places/test_places_threads.py).
    assert memory_of([Settings()], 'WSGI', False).request == 2 * MIB + 72 * KIB
    large = [Settings(json_size='1MiB'),
             Settings(head_size='1MiB', body_buffer_size='64MiB', json_size='1MiB')]
    assert memory_of(large, 'native', False) == (MIB + 136 * KIB, 64 * MIB + 72 * KIB, 0)


@pytest.mark.parametrize('connections, requests, websocket, total', [
    (10, 3, 0, 10 * 2 + 3 * 5), (3, 10, 0, 3 * 2 + 10 * 5), (10, 3, 4, 10 * (2 + 4) + 3 * 5)])
def test_a_handler_may_run_on_without_a_connection(connections, requests, websocket, total):
    assert Memory(2, 5, websocket).total(connections, requests) == total


def test_the_worst_case_per_process_and_in_all():
    settings = Settings(connections=1000, limit_concurrency=100, workers=4, json_size='256KiB')
    lines = memory_lines([settings], 'native', False, 20_000)
    assert [line.split('  ')[0] for line in lines[:6]] == [
        'a connection', 'and its request', 'connections', 'requests at a time', 'one process',
        '4 workers']
    assert lines[4].split()[2] == '1.56GiB'
    assert lines[5].split()[2] == '6.23GiB'
    off = '\n'.join(memory_lines([Settings()], 'native', True, 1024))
    assert f'connections            {1024 - scarcity.OWN_DESCRIPTORS} ' in off
    assert 'connections is off: this process may open 1024 files' in off
    assert 'limit_concurrency is off' in off and 'or its WebSocket' in off
    assert lines[6].startswith('and the answers ') and len(lines) == 7
    assert 'unbounded: set connections' in memory_lines([Settings()], 'ASGI', False, 0)[-1]


def test_sizes_have_three_digits():
    assert [limits.shown_size(each) for each in (0, 999, 200 * KIB, 1000 * KIB, 6 * MIB, 1 << 60)
            ] == ['0B', '999B', '200KiB', '0.977MiB', '6MiB', '1048576TiB']
