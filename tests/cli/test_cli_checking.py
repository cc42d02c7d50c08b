"""`--show-config` and `--check`: what a start would do is told, and nothing is started."""

from __future__ import annotations

import json
import logging
import os
import sys

import pytest
from certificates import LOCALHOST

from tremolo import cli
from tremolo.cli import checking
from tremolo.service import log, log_config

APPS = {'native': '''
from tremolo import Tremolo
app = Tremolo()

@app.route('/')
def hello(request):
    return 'hello'

@app.on_worker_start
def begin():
    raise SystemExit('a hook ran')
''', 'socket': '''
from tremolo import Tremolo
app = Tremolo()
app.listen(0, body_buffer_size='3MiB')

@app.route('/')
def chat(websocket):
    yield websocket.accept()
''', 'asgi': '''
async def app(scope, receive, send):
    raise SystemExit('the lifespan ran')
''', 'wsgi': '''
def app(environ, start_response):
    return []
'''}


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run a command line in a folder with these applications: status, stdout, stderr."""
    for name, text in APPS.items():
        (tmp_path / f'{name}_app.py').write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    monkeypatch.setattr(checking, 'set_up_logging', lambda *_, **__: None)
    for name in [each for each in os.environ if each.startswith('TREMOLO_') or each == 'PORT']:
        monkeypatch.delenv(name)
    before = set(sys.modules)

    def run(*arguments: str, **environ: str):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        status = cli.main(list(arguments))
        return (status, *capsys.readouterr())

    yield run
    for name in {each for each in sys.modules if each.endswith('_app')} - before:
        del sys.modules[name]


def test_show_config_imports_nothing(command):
    status, out, err = command('--show-config', 'no_such_module:app', '--workers', '3',
                               '--certfile', 'c.pem', TREMOLO_KEYFILE_PASSWORD='geheim',
                               PORT='81')
    assert (status, err) == (0, '')
    lines = out.splitlines()
    assert 'port                   81                   PORT' in lines
    assert 'workers                3                    command line' in lines
    assert 'ssl_keyfile_password   ***                  TREMOLO_KEYFILE_PASSWORD' in lines
    assert 'geheim' not in out and 'no_such_module' not in sys.modules


def test_show_config_of_wrong_options_is_status_2(command):
    status, out, err = command('--show-config', '--port', 'x')
    assert (status, out) == (2, '') and err.startswith("tremolo: error: --port: 'x' is not")
    status, out, err = command('--show-config', TREMOLO_IDEL_TIMEOUT='5', TREMOLO_HEAD_SIZE='x')
    assert (status, out) == (2, '') and err.startswith('tremolo: error: TREMOLO_HEAD_SIZE: ')
    status, out, err = command('--show-config', TREMOLO_IDEL_TIMEOUT='5', TREMOLO_HEAD_SIZE='')
    assert status == 0 and err.startswith('tremolo: warning: TREMOLO_IDEL_TIMEOUT: no such option')


@pytest.mark.parametrize('kind, said', [
    ('native', 'native'), ('socket', 'native'), ('asgi', 'ASGI'), ('wsgi', 'WSGI')])
def test_check_starts_nothing_and_tells_what_follows(command, kind, said, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError('a port is opened')

    monkeypatch.setattr('tremolo.server.server.bind', refuse)
    status, out, err = command('--check', f'{kind}_app:app', '--workers', '2', '--bind',
                               '127.0.0.1:1?idle_timeout=3s', '--connections', '100',
                               '--certfile', LOCALHOST[0], '--keyfile', LOCALHOST[1],
                               '--access-logfile', 'access.log', '--health', '/healthz')
    assert (status, err) == (0, '')
    assert out.startswith(f'{kind}_app:app: {said}, for 127.0.0.1:1')
    assert 'with 2 workers; nothing was started' in out
    assert '\nhead_timeout           10s      heads that come slowly (Slowloris): 408\n' in out
    assert 'kept connections that are only held: closed (at 127.0.0.1:1)' in out
    assert '\n2 workers ' in out and ' (TLS)\n' in out
    assert ('3MiB' in out and '(at 127.0.0.1:0)' in out) == (kind == 'socket')
    assert not os.path.exists('access.log')


@pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')
def test_check_tells_of_a_limit_memory_that_the_start_exceeds(command):
    status, _, err = command('--check', 'native_app:app', '--limit-memory', '2MiB')
    assert status == 0    # (As a start, which goes on.)
    assert err.startswith('tremolo: warning: limit_memory: has no effect, the start needs more')


@pytest.mark.parametrize('text, status, said', [
    ('import nothing_of_the_kind', 4, 'broken_app: its import failed'),
    ('app = 5', 2, 'broken_app:app: is of type int'),
    ('import tremolo; app = tremolo.Tremolo(); app.run(port=0)', 4, 'run: the application is only '
     'checked (--check)'),
    ('import tremolo; app = tremolo.Tremolo(); app.start()', 4, 'start: the application is only '
     'checked (--check)'),
    ('import tremolo; app = tremolo.Tremolo(); app.listen(1, ssl_cert_reqs="required")', 2,
     'ssl_cert_reqs: has no effect without ssl_certfile'),
    ('import tremolo; app = tremolo.Tremolo(); app.listen(1, ssl_certfile="none.pem")', 1,
     'none.pem cannot be read')])
def test_what_is_wrong_has_the_status_of_a_start(command, text, status, said):
    with open('broken_app.py', 'w') as file:
        file.write(text)
    found, out, err = command('--check', 'broken_app:app')
    assert (found, out) == (status, '')
    assert said in err


@pytest.mark.parametrize('arguments, status, said', [
    (('--port', 'x'), 2, '--port: '),
    (('--loop', 'uvloop', '--app-dir', 'none'), 2, 'none: no such folder'),
    (('--certfile', 'none.pem'), 1, 'none.pem cannot be read'),
    (('--access-logfile', '.'), 1, 'Is a directory'),
    (('--access-logfile', 'none/log'), 1, 'none is no folder'),
    (('--control', 'x' * 120), 1, 'a UNIX socket has a path of 107 bytes, at most'),
    (('--metrics', 'unix:/none/metrics'), 1, 'metrics: /none/metrics: /none is no folder'),
    (('--metrics', 'unix:native_app.py'), 1, 'metrics: native_app.py: something that is no socket'),
    (('--control', 'native_app.py'), 1, 'native_app.py: something that is no socket is there'),
    (('--bind', 'unix:native_app.py'), 1, 'bind: native_app.py: something that is no socket is'),
    (('--bind', 'unix:none/socket'), 1, 'bind: none/socket: none is no folder'),
    (('--workers', '1000000000'), 1, 'workers: 1000000000 need '),
    (('--reload', '--reload-dir', 'nowhere'), 2, 'nowhere: no such folder'),
    (('--connections', '2000000000'), 1, 'connections: 2000000000 need ')])
def test_what_the_system_refuses_is_status_1_and_what_is_no_option_2(
        command, arguments, status, said):
    found, out, err = command('--check', 'native_app:app', *arguments)
    assert (found, out) == (status, '')
    assert err.startswith('tremolo: error: ') and said in err and err.count('\n') == 1


def test_a_log_that_may_not_be_written_is_status_1(command, monkeypatch):
    # (Root may write everywhere.)
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    os.mkdir('closed')
    status, _, err = command('--check', 'native_app:app', '--access-logfile', 'closed/log')
    assert status == 1 and 'closed may not be written' in err


def test_logging_that_cannot_be_set_up_ends_it(command, monkeypatch):
    monkeypatch.setattr(checking, 'set_up_logging', log.set_up_logging)
    with pytest.raises(SystemExit) as ended:
        command('--check', 'native_app:app', '--log-config', 'none.json')
    assert ended.value.code in (1, 2)


def test_a_log_file_of_a_log_config_is_not_made(command, monkeypatch):
    handler = {'class': 'logging.FileHandler', 'filename': 'made.log'}

    def checked():
        with open('log.json', 'w') as file:
            json.dump({'version': 1, 'handlers': {'file': handler},
                       'loggers': {'elsewhere': {'handlers': ['file']}}}, file)
        monkeypatch.setattr(log_config._Applied, 'path', '')
        return command('--check', 'native_app:app', '--log-config', 'log.json')[0]

    monkeypatch.setattr(checking, 'set_up_logging', log.set_up_logging)
    # (Else it closes the handlers of pytest, which opens its file anew.)
    monkeypatch.setattr(logging, 'shutdown', lambda *_: None)
    assert checked() == 0
    assert not os.path.exists('made.log')
    handler['filename'] = 'none/made.log'
    with pytest.raises(SystemExit) as ended:
        checked()
    assert ended.value.code == 1


def test_a_password_in_an_address_that_cannot_be_read_is_not_shown(command):
    for option in ('--metrics', '--bind'):
        status, out, err = command('--show-config', option, ':x?ssl_keyfile_password=geheim')
        assert (status, out) == (2, '') and 'geheim' not in err


def test_both_flags_print_both(command):
    status, out, _ = command('--check', '--show-config', 'native_app:app')
    assert status == 0
    assert out.index('log_level ') < out.index('nothing was started')


def test_others_call_them_otherwise(command):
    for theirs, ours in (('--check-config', '--check'), ('--print-config', '--show-config')):
        status, _, err = command(theirs, 'native_app:app')
        assert (status, err) == (2, f'tremolo: error: {theirs}: write {ours}\n')
