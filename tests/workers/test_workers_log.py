"""Each line of the log is there once, whoever set up logging and when; a program's level stays."""

from __future__ import annotations

import logging
import sys

import pytest
from worker_group import APPLICATION, TWO, wait_until

from tremolo.service import log as log_module
from tremolo.service.log import set_up_logging
from tremolo.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

LOGS = APPLICATION + '''
import logging
{setup}

@app.route('/log')
def log(**server):
    server['logger'].info('an info')
    server['logger'].warning('a warning')
    return 'done'

if __name__ == '__main__':
    app.run(port=0, **{options})
'''
BASIC = "logging.basicConfig(format='%(message)s', level=logging.DEBUG)"
OWN = "logging.getLogger('tremolo').addHandler(logging.StreamHandler())"
LATER = f'@app.on_worker_start\ndef begin():\n    {BASIC}'


@pytest.mark.parametrize('setup', ['', BASIC, OWN, LATER], ids=['none', 'basic', 'own', 'later'])
@pytest.mark.parametrize('workers', [None, 2])
@pytest.mark.parametrize('program', [True, False])
def test_each_line_is_there_once(group, tmp_path, setup, workers, program):
    (tmp_path / 'example.py').write_text(
        LOGS.replace('{setup}', setup).replace('{options}', repr({'workers': workers})))
    arguments = TWO if workers else ('--port', '0')
    server = group(command=('example.py',)) if program else group(*arguments)
    assert server.get('/log') == 'done'
    assert server.log.count('a warning') == 1
    assert server.log.count('an info') == 1


@pytest.mark.parametrize('workers', [None, 2])
@pytest.mark.parametrize('program', [True, False])
def test_a_level_that_the_program_sets_stays(group, tmp_path, workers, program):
    (tmp_path / 'example.py').write_text(
        LOGS.replace('{setup}', "logging.getLogger('tremolo').setLevel('WARNING')")
        .replace('{options}', repr({'workers': workers})))
    arguments = TWO if workers else ('--port', '0')
    server = group(command=('example.py',)) if program else group(*arguments)
    assert server.get('/log') == 'done'
    assert server.log.count('a warning') == 1
    assert server.log.count('an info') == 0
    # The same after SIGHUP.
    server.signal('SIGHUP')
    if workers:
        wait_until(lambda: len(server.pids) == 2)
    assert server.get('/log') == 'done'
    assert server.log.count('an info') == 0


def test_a_level_of_ours_gives_way_to_the_next_of_ours(monkeypatch):
    logger = logging.getLogger('tremolo')
    before = logger.level
    monkeypatch.setattr(log_module._Shown, 'level_given', -1)
    try:
        logger.setLevel(logging.NOTSET)
        for level in 'error', 'debug', 'info':
            set_up_logging(Settings(log_level=level))
            assert logging.getLevelName(logger.level) == level.upper()
        logger.setLevel('WARNING')
        set_up_logging(Settings(log_level='debug'))
        assert logging.getLevelName(logger.level) == 'WARNING'
    finally:
        logger.setLevel(before)


def test_each_line_of_the_log_names_its_process(group):
    workers = group('--workers', '1', '--port', '0')
    pids = {workers.process.pid, *workers.wait_for(1)}
    assert workers.end() == 0
    lines = [line for line in workers.log.splitlines() if ' tremolo: stopping' in line]
    assert len(lines) == 2
    assert {int(line.partition('[')[2].partition(']')[0]) for line in lines} == pids
