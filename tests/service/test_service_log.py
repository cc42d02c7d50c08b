"""How the log is shown, as text or JSON, and how a file sets it up."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tremolo
from tremolo.errors import LogError, SettingError
from tremolo.output import LOGGERS
from tremolo.service import log_config
from tremolo.service.log import JsonFormatter, TextFormatter, set_up_logging
from tremolo.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FORGED = '2026-11-30 10:00:00,000 [1] INFO tremolo: forged'
HOSTILE = [f'x{end}{FORGED}' for end in (
    '\n', '\r', '\r\n', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\x85', '\u2028', '\u2029', '\0',
    '\x1b[2J\x1b[H', '\x1b]0;title\x07', '\x08\x08', '\x7f', '\x9b2J', '\n\n', '\n\t\n',
    '\n{"a":1}\n')]
_FORMAT = '%(levelname)s %(name)s: %(message)s'


def record_of(message, *args, error=None, **more):
    exc_info = None
    if error is not None:
        try:
            raise error
        except Exception:
            exc_info = sys.exc_info()
    record = logging.LogRecord('tremolo.app', logging.ERROR, 'x.py', 1, message, args, exc_info)
    vars(record).update(more)
    return record


@pytest.mark.parametrize('text', HOSTILE)
def test_no_text_of_a_client_begins_a_line_or_moves_the_cursor(text):
    """Log injection by a path, a referer, a user agent, or the text of an exception."""
    records = [record_of('path %s', text), record_of(text),
               record_of('an error', error=ValueError(text)), record_of('a note', stack_info=text),
               record_of('id', request_id=text)]
    for record in records:
        lines = TextFormatter(_FORMAT).format(record).split('\n')
        assert lines[0].startswith('ERROR tremolo.app: ')
        assert all(line.startswith('    ') for line in lines[1:])
        for line in lines:
            assert line.replace('\t', ' ').isprintable()
            assert line.splitlines() == [line] or not line
        (line,) = JsonFormatter().format(record).splitlines()
        assert line.isascii() and line.isprintable() and json.loads(line)['logger'] == 'tremolo.app'


def test_each_record_is_one_object_in_ascii():
    """(fault 43 of the earlier tremolo: no structured logging.)"""
    record = record_of('grüße %s', '\udc80', error=KeyError('a\nb'), request_id='abc-1')
    record.created, record.msecs = 1796034124.5, 500.0
    text = JsonFormatter().format(record)
    entry = json.loads(text)
    assert text.isascii() and '\n' not in text
    assert re.fullmatch("Traceback .*KeyError: 'a\\\\nb'", entry.pop('exception'), re.DOTALL)
    assert entry == {
        'time': '2026-11-30T10:22:04.500Z', 'level': 'ERROR', 'logger': 'tremolo.app',
        'pid': os.getpid(), 'message': 'grüße \udc80', 'request_id': 'abc-1'}


def test_a_record_that_cannot_be_written_is_one_object_too():
    entry = json.loads(JsonFormatter().format(record_of('%d of %s', 'x')))
    assert entry['message'].startswith("'%d of %s' % ('x',): TypeError(")
    assert list(entry) == ['time', 'level', 'logger', 'pid', 'message']


@pytest.mark.parametrize('message, args', [(True, ()), (False, (1,))])
def test_an_object_that_can_be_shown_in_no_way_is_one_object_too(message, args):
    """(`logging` wrote thirty lines of its own on stderr, which are no JSON.)"""
    class Odd:
        def __str__(self):
            raise RuntimeError('no')

        __repr__ = __str__

    record = record_of(Odd() if message else '%s', *((Odd(),) if args else ()))
    entry = json.loads(JsonFormatter().format(record))
    assert entry['message'].endswith(': RuntimeError')


def test_the_id_of_a_request_stands_in_both_kinds():
    """(fault 43 of the earlier tremolo: no request id.)"""
    given = tremolo.request_id.set('abc-1')
    try:
        record = record_of('one', error=ValueError())
        assert TextFormatter(_FORMAT).format(record).startswith(
            'ERROR tremolo.app: one [abc-1]\n    Traceback')
        assert json.loads(JsonFormatter().format(record))['request_id'] == 'abc-1'
    finally:
        tremolo.request_id.reset(given)
    assert TextFormatter(_FORMAT).format(record_of('two')) == 'ERROR tremolo.app: two'
    assert TextFormatter(_FORMAT).format(record_of('two', request_id='-')) == (
        'ERROR tremolo.app: two')


# What the file says.

@contextlib.contextmanager
def logging_as_before():
    root = logging.getLogger()
    # (All that there are: a file may disable each, asyncio's as well.)
    others = [each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    loggers = {root, *map(logging.getLogger, LOGGERS), *others}
    before = [(each.level, each.handlers[:], each.propagate, each.disabled) for each in loggers]
    log_config._Applied.path = ''
    # (`dictConfig` closes all handlers: pytest's, too, which would open its file anew.)
    shutdown, logging.shutdown = logging.shutdown, lambda *_: None
    try:
        yield
    finally:
        logging.shutdown = shutdown
        for each, (level, handlers, propagate, disabled) in zip(loggers, before):
            for handler in each.handlers:
                if handler not in handlers:
                    handler.close()
            each.setLevel(level)
            each.handlers[:] = handlers
            each.propagate, each.disabled = propagate, disabled
        log_config._Applied.path = ''


@pytest.mark.parametrize('text, error, reason', [
    ('{"version": 1,', SettingError, 'is not JSON: .*char'),
    ('[loggers]\nkeys=root\n', SettingError, 'is not JSON: '),
    ('version: 1\n', SettingError, 'is not JSON: '),
    ('[' * 100_000, SettingError, 'is not JSON: '),
    (b'\xff\xfe\xfd', SettingError, 'is not JSON: '),
    ('[1]', SettingError, 'is JSON, but not an object'),
    ('{}', SettingError, "dictionary doesn't specify a version"),
    ('{"version": 2}', SettingError, 'Unsupported version: 2'),
    ('{"version": 1, "handlers": {"x": {"class": "no.such.Handler"}}}', SettingError,
     "Unable to configure handler 'x': .*no"),
    ('{"version": 1, "handlers": 5}', SettingError, ''),
    ('{"version": 1, "loggers": {"tremolo": {"level": "LOUD"}}}', SettingError,
     "Unable to configure logger 'tremolo': Unknown level: 'LOUD'"),
    ('{"version": 1, "root": {"handlers": ["x"]}}', SettingError, 'Unable to configure'),
    ('{"version": 1, "handlers": {"x": {"class": "logging.FileHandler", "filename": "no/x"}}}',
     LogError, "Unable to configure handler 'x': .*No such file or directory"),
])
def test_a_file_that_does_not_set_up_logging_is_told_in_one_line(
        tmp_path, monkeypatch, capsys, text, error, reason):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'log.json'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with logging_as_before(), pytest.raises(error) as raised:
        log_config.configure(str(path))
    assert re.match(f'log_config: {re.escape(str(path))}:? {reason}', str(raised.value))
    assert str(raised.value).isprintable() and type(raised.value) is error
    with logging_as_before(), pytest.raises(SystemExit) as left:
        set_up_logging(Settings(log_config=path))
    assert left.value.code == (2 if error is SettingError else 1)
    assert capsys.readouterr().err == f'tremolo: error: {raised.value}\n'


@pytest.mark.parametrize('make, reason', [
    (lambda path: None, 'No such file or directory'),
    (lambda path: path.mkdir(), 'Is a directory')])
def test_a_file_that_cannot_be_read_is_what_the_system_refuses(tmp_path, make, reason):
    path = tmp_path / 'log.json'
    make(path)
    with pytest.raises(LogError, match=f'^log_config: {re.escape(str(path))}: {reason}$'):
        log_config.configure(str(path))


def test_it_silences_nobody_and_is_applied_once_in_a_process(tmp_path):
    path = tmp_path / 'log.json'
    path.write_text(json.dumps({'version': 1, 'loggers': {'other': {'level': 'DEBUG'}}}))
    with logging_as_before():
        log_config.configure(str(path))
        assert logging.getLogger('other').level == logging.DEBUG
        assert not any(logging.getLogger(name).disabled for name in LOGGERS)
        # What the application sets later stays; another process applies what this one has read.
        logging.getLogger('other').setLevel('ERROR')
        path.write_text('broken')
        log_config.configure(str(path))
        assert logging.getLogger('other').level == logging.ERROR
        log_config._Applied.process = 1
        log_config.configure(str(path))
        assert logging.getLogger('other').level == logging.DEBUG
        path.write_text(json.dumps({'version': 1, 'disable_existing_loggers': True}))
        log_config._Applied.path = ''
        log_config.configure(str(path))
        assert logging.getLogger('tremolo.error').disabled


PROGRAM = '''
import logging, tremolo
app = tremolo.Tremolo()

@app.route('/')
def index(logger):
    logger.info('called')
    raise ValueError('of a handler')

@app.on_worker_start
def begin(app):
    logging.getLogger('tremolo.app').info('begun %s', 'here\\nand there')
    {then}
'''
STOP = 'app.stop()'


def run(folder, *arguments, then=STOP):
    """Run the program; return its status, and what is on stderr."""
    (folder / 'example.py').write_text(PROGRAM.replace('{then}', then))
    ended = subprocess.run(
        [sys.executable, '-m', 'tremolo', 'example:app', '--port', '0', *arguments], cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stderr


def test_the_file_sets_up_each_process_before_the_application_and_ours_adds_nothing(tmp_path):
    (tmp_path / 'log.json').write_text(json.dumps({
        'version': 1, 'formatters': {'short': {'format': '%(process)d %(name)s %(message)s'}},
        'handlers': {'file': {'class': 'logging.handlers.WatchedFileHandler', 'formatter': 'short',
                              'filename': str(tmp_path / 'error.log')}},
        'loggers': {'tremolo': {'handlers': ['file']}}}))
    status, shown = run(tmp_path, '--log-config', 'log.json', '--workers', '1', then=(
        'import os, signal; os.kill(os.getppid(), signal.SIGTERM)'))
    assert (status, shown) == (0, '')
    lines = (tmp_path / 'error.log').read_text().splitlines()
    (begun,) = [line for line in lines if 'begun' in line]
    (stopping,) = [line for line in lines if ' tremolo stopping: the workers' in line]
    assert begun.split()[1] == 'tremolo.app' and begun.split()[0] != stopping.split()[0]


def test_with_the_format_json_each_line_is_an_object(tmp_path):
    status, shown = run(tmp_path, '--log-format', 'json', then='1 / 0')
    assert status == 3
    *lines, last = shown.splitlines()
    assert last == ("tremolo: error: the hook begin failed: ZeroDivisionError('division by zero')")
    begun, failed = map(json.loads, lines)
    assert begun['message'] == 'begun here\nand there' and begun['level'] == 'INFO'
    assert failed['logger'] == 'tremolo.error' and failed['exception'].startswith('Traceback')


def test_what_asyncio_says_has_the_same_format(tmp_path):
    """(It was shown as it is, between objects of JSON.)"""
    status, shown = run(tmp_path, '--log-format', 'json', then=(
        "logging.getLogger('asyncio').error('a callback\\nhandle', exc_info=ValueError('\\x1b'))\n"
        f'    {STOP}'))
    assert status == 0
    failed = [json.loads(line) for line in shown.splitlines()][1]
    assert failed['logger'] == 'asyncio' and failed['message'].startswith('a callback\n')
    assert failed['exception'] == 'ValueError: \x1b'
