"""The file of `log_config` and a renewal: new code reads it anew, and a broken one changes nothing."""

from __future__ import annotations

import json
import sys

import pytest
from worker_group import APPLICATION, TWO, wait_until

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')


def configured(path, log):
    """Let the loggers write to this file."""
    path.write_text(json.dumps({
        'version': 1, 'formatters': {'short': {'format': '%(process)d %(name)s %(message)s'}},
        'handlers': {'file': {'class': 'logging.FileHandler', 'filename': str(log),
                              'formatter': 'short'}},
        'loggers': {'tremolo': {'handlers': ['file'], 'level': 'INFO'}}}))


@pytest.mark.parametrize('arguments, told', [
    (('--port', '0'), 'no renewal, the old program goes on: the new one, tried beside it, ended '
                      'with status 2'),
    (TWO, 'no renewal, the old workers go on: log_config: '),
    ((*TWO, '--preload'), 'no renewal, the old workers go on: log_config: '),
], ids=['one', 'two', 'preload'])
def test_sighup_reads_the_file_anew_and_a_broken_one_changes_nothing(
        group, tmp_path, arguments, told):
    (tmp_path / 'example.py').write_text(APPLICATION + '''
@app.route('/log')
def log(logger):
    logger.info('logged by %s', version)
''')
    path, first, second = tmp_path / 'log.json', tmp_path / 'first.log', tmp_path / 'second.log'
    configured(path, first)
    server = group(*arguments, '--log-config', 'log.json')
    server.get('/log')
    assert first.read_text().endswith(' tremolo.app logged by first\n')
    path.write_text('{"version"')
    server.signal('SIGHUP')
    wait_until(lambda: told in first.read_text())
    server.get('/log')
    assert first.read_text().count('logged by first') == 2
    assert f'log_config: {path} is not JSON: ' in server.log + first.read_text()
    if '--workers' not in arguments:
        return    # (A start of an interpreter takes long; a new one reads the file in any case.)
    configured(path, second)
    server.signal('SIGHUP')
    wait_until(lambda: server.get('/log') is not None and second.exists()
               and 'logged by first' in second.read_text())
