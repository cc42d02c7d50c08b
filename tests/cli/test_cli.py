"""python -m tremolo: what is served, what is said when it cannot be, and the exit status."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

import tremolo
from tremolo import cli
from tremolo.settings import OPTIONS

ROOT = Path(tremolo.__file__).resolve().parent.parent
# Seconds until a server that does not come up, or go down, is a failure.
PATIENCE = 30

HELLO = '''
from tremolo import Tremolo

app = Tremolo()

@app.route('/')
def hello(**server):
    yield b'Hello '
    yield b'world!'
'''


def environment(**more):
    clean = {key: value for key, value in os.environ.items()
             if not key.startswith('TREMOLO_') and key != 'PORT'}
    return {**clean, 'PYTHONPATH': str(ROOT), **more}


@contextmanager
def started(*arguments, cwd, prefix=('-m', 'tremolo'), **environ):
    """A server process and the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, *prefix, *arguments], cwd=cwd, env=environment(**environ),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        line = process.stdout.readline() if ready else ''
        assert line, process.stderr.read() if process.poll() is not None else 'said nothing'
        yield process, line
    finally:
        process.kill()
        process.communicate()


def url_in(line):
    return re.search(r'http://\S+:[1-9]\d*', line)[0]


def page(url):
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return answer.read().decode()


def ended(*arguments, cwd, **environ):
    """Run a command line to its end: (status, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, '-m', 'tremolo', *arguments], cwd=cwd, env=environment(**environ),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder to run in; modules and paths that the command line adds are forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', sys.path[:])
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    for name in [name for name in os.environ if name.startswith('TREMOLO_') or name == 'PORT']:
        monkeypatch.delenv(name)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def complaint(project, capsys):
    """Run a command line in this process; return its status and its one line of complaint."""
    def run(*arguments):
        status = cli.main(list(arguments))
        out, err = capsys.readouterr()
        assert out == ''
        assert err.startswith('tremolo: error: ') and err.count('\n') == 1, err
        return status, err[len('tremolo: error: '):].rstrip('\n')
    return run


@pytest.fixture
def given(project, monkeypatch):
    """Run a command line without serving; return the options that reach `Application.run`."""
    def run(*arguments):
        seen = {}
        monkeypatch.setattr(tremolo.Application, 'run', lambda _, **options: seen.update(options))
        assert cli.main(list(arguments)) == 0
        return seen
    return run


# What is served

def test_a_module_is_served_and_its_real_address_printed(tmp_path):
    (tmp_path / 'hello.py').write_text(HELLO)
    with started('hello:app', '--port', '0', cwd=tmp_path) as (process, line):
        assert page(url_in(line)) == 'Hello world!'
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_a_file_elsewhere_is_served_and_may_import_its_neighbours(tmp_path):
    folder = tmp_path / 'web'
    folder.mkdir()
    (folder / 'neighbour.py').write_text(HELLO)
    (folder / 'my-site.py').write_text('from neighbour import app as site')
    with started('web/my-site.py:site', '--port=0', cwd=tmp_path) as (_, line):
        assert page(url_in(line)) == 'Hello world!'


def test_nothing_named_serves_the_welcome_page(tmp_path):
    with started(cwd=tmp_path, PORT='0') as (_, line):
        url = url_in(line)
        text = page(url)
        assert 'works' in text
        # The address at which the page was asked for, and nothing to load from elsewhere.
        assert url[len('http://'):] in text
        assert not re.search(r'(src|href|url)\s*[=(]', text)
        with urllib.request.urlopen(url + '/favicon.ico', timeout=PATIENCE) as answer:
            assert answer.status == 204


def test_the_welcome_page_escapes_what_the_client_sent(tmp_path):
    with started('--port', '0', cwd=tmp_path) as (_, line):
        request = urllib.request.Request(url_in(line), headers={'Host': "a&b'c"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert b'a&amp;b&#x27;c' in answer.read()


def test_several_addresses_are_bound_and_each_is_printed(tmp_path):
    (tmp_path / 'hello.py').write_text(HELLO)
    # A path of its own: that of a UNIX socket may have 107 bytes, and tmp_path can be longer.
    with started('hello:app', '--bind', '127.0.0.1:0', '--bind', 'unix:s', cwd=tmp_path) as (
            process, line):
        assert page(url_in(line)) == 'Hello world!'
        assert 'unix:' in process.stdout.readline()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            here = Path.cwd()
            os.chdir(tmp_path)
            try:
                client.connect('s')
            finally:
                os.chdir(here)
            client.sendall(b'GET / HTTP/1.0\r\n\r\n')
            assert client.makefile('rb').read().endswith(b'Hello world!')


def test_an_ipv6_address_is_printed_with_brackets(tmp_path):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(('::1', 0))
    except OSError:
        pytest.skip('no IPv6 here')
    with started('--bind', '[::1]:0', cwd=tmp_path) as (_, line):
        assert re.search(r'http://\[::1\]:[1-9]\d*', line)


def test_a_port_that_is_taken_is_one_line_and_status_1(tmp_path):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        status, out, err = ended('--port', port, cwd=tmp_path)
    assert (status, out) == (1, '')
    assert err.startswith('tremolo: error: ') and err.count('\n') == 1
    assert port in err


def test_only_what_was_given_reaches_run(given):
    assert given() == {}
    assert given('--keep-alive', '5m', '--debug', '--body-size', 'off') == {
        'keep_alive': 300.0, 'debug': True, 'body_size': None}


def test_bind_may_be_repeated(given):
    assert [str(each) for each in given('--bind', ':80', '--bind=unix:/a,b')['bind']] == [
        ':80', 'unix:/a,b']


@pytest.mark.parametrize('name', ['app', 'application'])
@pytest.mark.parametrize('form', ['site', 'site.py', './site.py'])
def test_the_usual_names_need_not_be_given(given, project, name, form):
    (project / 'site.py').write_text(f'from tremolo import Tremolo\n{name} = Tremolo()')
    # `site` itself is a module of the standard library, and in use.
    (project / 'my_site.py').write_text((project / 'site.py').read_text())
    assert given(form.replace('site', 'my_site')) == {}
    if form.endswith('.py'):
        assert given(form) == {}


def test_the_name_may_have_dots(given, project):
    (project / 'pkg').mkdir()
    (project / 'pkg' / '__init__.py').write_text('')
    (project / 'pkg' / 'web.py').write_text(
        'from tremolo import Tremolo\nclass Sites:\n    first = Tremolo()')
    assert given('pkg.web:Sites.first') == {}


def test_a_file_called_tremolo_does_not_hide_the_package(given, project):
    (project / 'tremolo.py').write_text(HELLO)
    assert given('tremolo.py') == {}
    assert sys.modules['tremolo'] is tremolo


# What cannot be served

@pytest.mark.parametrize('arguments, words', [
    (['--idel-timeout', '3'], '--idel-timeout: no such option, did you mean --idle-timeout'),
    (['--idel-timeout=3', 'a:b'], '--idel-timeout: no such option, did you mean --idle-timeout'),
    (['--zzzzzzzzz'], '--zzzzzzzzz: no such option'),
    (['--por', '80'], '--por: no such option, did you mean --port'),
    (['--port'], 'argument --port: expected one argument'),
    (['-b'], 'expected one argument: HOST:PORT, '),
    (['--proxy-protocol'], '--proxy-protocol: expected one argument: off, v1, v2, auto'),
    (['--proxy-protocol', 'hello:app'], "--proxy-protocol: 'hello:app' is not off, v1, v2, auto"),
    (['--proxy-protocol', 'v1'], 'proxy_protocol: v1 needs trusted_proxies'),
    (['--port', 'http'], "--port: 'http' is not a number"),
    (['--port', '70000'], "--port: '70000' is not a number"),
    (['--keep-alive', 'x'], "--keep-alive: 'x' is not a time"),
    (['--bind', '8000'], "--bind: '8000' has no port"),
    (['--bind', ':80', '--port', '80'], 'give either'),
    (['--log-level', 'loud'], '--log-level: '),
    (['a:b', 'c:d'], 'c:d: one application is served'),
    (['a:b', '--access-log', '-'], '--access-log: takes no value'),
    (['--access-log', 'access.log', 'a:b'], 'write --access-logfile PATH'),
    (['gone:app'], 'gone: no such module'),
    (['helo:app'], 'helo: no such module, did you mean hello?'),
    (['helo'], 'helo: no such module, did you mean hello?'),
    (['pkg.wep:app'], 'pkg.wep: no such module, did you mean pkg.web?'),
    (['hello.app'], 'hello.app: no such module, did you mean hello:app?'),
    (['pkg/web'], 'pkg/web: not the name of a module, did you mean pkg/web.py?'),
    (['helo.py'], 'helo.py: no such file, did you mean hello.py?'),
    (['nowhere/at/all.py'], 'nowhere/at/all.py: no such file'),
    (['hello:ap'], 'hello: has no ap, did you mean hello:app?'),
    (['hello:app.gone'], 'hello: has no app.gone'),
    (['hello.py:ap'], 'hello.py: has no ap, did you mean hello.py:app?'),
    (['pkg.web'], 'pkg.web: has no app or application, did you mean pkg.web:site?'),
    (['hello:'], 'not module:attr'),
    ([':app'], 'not module:attr'),
    ([''], ': not the name of a module'),
    (['hello:number'], 'hello:number: is of type int, neither a tremolo.Application nor'),
    (['hello:function'], 'hello:function: is of type function, neither a tremolo.Application nor'),
])
def test_a_request_that_cannot_be_met_is_one_line_and_status_2(
        complaint, project, arguments, words):
    (project / 'hello.py').write_text(HELLO + '''
number = 3
def function(): pass
async def asgi(scope, receive, send): pass
class ASGI:
    async def __call__(self, scope, receive, send): pass
asgi_object = ASGI()
''')
    (project / 'pkg').mkdir()
    (project / 'pkg' / '__init__.py').write_text('')
    (project / 'pkg' / 'web.py').write_text('from tremolo import Tremolo\nsite = Tremolo()')
    status, line = complaint(*arguments)
    assert status == 2
    assert words in line


def test_a_bad_variable_is_named_and_status_2(complaint, monkeypatch):
    monkeypatch.setenv('TREMOLO_HEAD_SIZE', 'big')
    assert complaint() == (
        2, "TREMOLO_HEAD_SIZE: 'big' is not a size in bytes, or such as 64k, 16KiB, 2MiB, 1GiB")


def test_a_bad_option_is_found_before_any_code_of_the_application_runs(complaint, project):
    (project / 'loud.py').write_text('raise SystemExit("ran")')
    assert complaint('loud:app', '--port', 'x')[0] == 2


# Code of theirs that raises

def traceback_of(project, capsys, *arguments):
    assert cli.main(list(arguments)) == 4
    out, err = capsys.readouterr()
    assert out == ''
    *trace, last = err.splitlines()
    assert last.startswith('tremolo: error: ') and last.endswith('its import failed, see above')
    text = '\n'.join(trace)
    # Only their frames: nothing of the package, and nothing of the import machinery.
    for file in re.findall(r'File "([^"]*)"', text):
        assert Path(file).resolve().parent == project.resolve()
    return text


@pytest.mark.parametrize('form', ['broken:app', 'broken.py'])
def test_an_import_that_raises_shows_their_lines_and_status_4(project, capsys, form):
    (project / 'broken.py').write_text('import helper\n')
    (project / 'helper.py').write_text('\ndef f():\n    return 1 / 0\n\nf()\n')
    text = traceback_of(project, capsys, form)
    assert text.startswith('Traceback (most recent call last):\n  File ')
    assert re.findall(r'File ".*/(\w+)\.py", line (\d+)', text) == [
        ('broken', '1'), ('helper', '5'), ('helper', '3')]
    assert text.endswith('ZeroDivisionError: division by zero')


@pytest.mark.parametrize('form', ['broken:app', 'broken.py'])
def test_a_module_that_lacks_what_it_imports_is_their_fault(project, capsys, form):
    (project / 'broken.py').write_text('\nimport not_installed_anywhere\n')
    text = traceback_of(project, capsys, form)
    assert 'broken.py", line 2' in text
    assert "No module named 'not_installed_anywhere'" in text


@pytest.mark.parametrize('form', ['broken:app', 'broken.py'])
def test_a_syntax_error_shows_their_line(project, capsys, form):
    (project / 'broken.py').write_text('x = 1\nx = = 2\n')
    text = traceback_of(project, capsys, form)
    assert 'broken.py", line 2' in text
    assert 'SyntaxError' in text


def test_a_mistake_in_using_tremolo_ends_at_their_line(project, capsys):
    (project / 'broken.py').write_text(HELLO + "\n@app.route('no slash')\ndef f(**s): yield b''\n")
    text = traceback_of(project, capsys, 'broken:app')
    assert "@app.route('no slash')" in text


def test_a_cause_is_shown_too(project, capsys):
    (project / 'broken.py').write_text(
        'try:\n    1 / 0\nexcept Exception as e:\n    raise RuntimeError("no luck") from e\n')
    text = traceback_of(project, capsys, 'broken:app')
    assert text.index('ZeroDivisionError') < text.index('RuntimeError: no luck')


# Help

def test_the_version_names_the_python_too(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(['--version'])
    assert caught.value.code == 0
    assert re.fullmatch(
        r'tremolo \d+\.\d+\.\d+ \((CPython|PyPy) [\d.]+\S*, \w+\)\n', capsys.readouterr().out)


def test_help_shows_every_option_with_its_variable_and_default_in_80_columns(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    with pytest.raises(SystemExit) as caught:
        cli.main(['--help'])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    joined = ' '.join(text.split())
    for option in OPTIONS:
        if option.kind == 'context':
            continue    # (No text names an object of Python.)
        assert '--' + option.name.replace('_', '-') in text
        assert f'[env: {", ".join(option.main_variables)}; default: ' in joined
        for synonym in option.synonyms:
            assert '--' + synonym.replace('_', '-') + ' ' not in text
    assert 'python3 -m tremolo hello:app' in text


# Options and applications of other servers

@pytest.mark.parametrize('arguments, words', [
    (['--uds', '/run/x.sock'], '--uds: write --bind unix:PATH'),
    (['--reload-delay', '1', 'hello:app'], '--reload-delay: write --reload; a change'),
    (['-k', 'uvicorn.workers.UvicornWorker', 'hello:app'], '-k: write --loop asyncio or'),
    (['-t30'], '-t30: write --worker-timeout TIME or --handler-timeout TIME'),
    (['-p', '80'], '-p: write --port PORT; the letter'),
    (['-c', 'gunicorn.conf.py'], '-c: not here: options are arguments'),
    (['--ssl-version=2'], '--ssl-version: not here: TLS 1.2 and 1.3 are spoken'),
    (['--statsd-host', 'x:1'], '--statsd-host: write --metrics ADDRESS; Prometheus'),
    (['-q'], '-q: no such option'),
])
def test_an_option_of_another_server_is_answered(complaint, arguments, words):
    status, line = complaint(*arguments)
    assert (status, line[:len(words)]) == (2, words)


def test_letters_that_mean_the_same_everywhere_work(given):
    seen = given('--preload', '-w', '2', '-b:80', '-b', '[::1]:81')
    assert seen['workers'] == 2
    assert [str(each) for each in seen['bind']] == [':80', '[::1]:81']


WSGI = '''
import functools
def function(environ, start_response): pass
def optional(environ, start_response, more=None, *, other=None): pass
def more(prefix, environ, start_response): pass
partial = functools.partial(more, '/')
@functools.wraps(function)
def wrapped(*args, **kwargs): pass
class Flask:
    def __call__(self, environ, start_response): pass
    def wsgi_app(self, environ, begin): pass
instance = Flask()
method = instance.wsgi_app
class Iterated:
    def __init__(self, environ, start_response): pass
    def __iter__(self): pass
create = Flask
'''
WSGI_NAMES = ['function', 'optional', 'partial', 'wrapped', 'instance', 'method', 'Iterated']


@pytest.mark.parametrize('interface', ['auto', 'wsgi'])
@pytest.mark.parametrize('name', WSGI_NAMES)
def test_a_wsgi_application_is_found_by_itself(project, monkeypatch, interface, name):
    served = []
    monkeypatch.setattr(tremolo.service.Service, 'run', lambda app, **_: served.append(app))
    (project / 'site_of_flask.py').write_text(WSGI)
    assert tremolo.cli.main([f'site_of_flask:{name}', '--interface', interface]) == 0
    assert tremolo.cli.main(['--factory', 'site_of_flask:create', '--interface', interface]) == 0
    assert [type(each).__name__ for each in served] == ['WsgiApplication'] * 2


@pytest.mark.parametrize('interface', ['asgi', 'native'])
@pytest.mark.parametrize('name', WSGI_NAMES)
def test_a_wsgi_application_is_named_as_such(complaint, project, monkeypatch, interface, name):
    monkeypatch.setattr(tremolo.service.Service, 'run', lambda *_, **more: print('it is served'))
    (project / 'site_of_flask.py').write_text(WSGI)
    assert complaint(f'site_of_flask:{name}', '--interface', interface) == (
        2, f'site_of_flask:{name}: is a WSGI application, and not {interface}: leave out '
           f'--interface {interface}')


@pytest.mark.parametrize('name', [
    'asynchronous', 'generator', 'three', 'one', 'keyword', 'Class', 'number', 'made'])
def test_what_is_no_wsgi_application_is_not_taken_for_one(complaint, project, name):
    (project / 'site_of_others.py').write_text('''
async def asynchronous(environ, start_response): pass
async def generator(environ, start_response): yield
def three(scope, receive, send): pass
def one(environ): pass
def keyword(environ, *, start_response): pass
class Class:
    def __init__(self, environ, start_response): pass
number = 5
made = dict
''')
    status, line = complaint(f'site_of_others:{name}', '--interface',
                             'wsgi' if name == 'asynchronous' else 'auto')
    assert status == 2
    assert line.startswith(f'site_of_others:{name}: is ')
    assert ('is an ASGI application, and not wsgi' in line) == (name == 'asynchronous')


def test_a_call_as_gunicorn_has_it_is_told_how_it_is_written(complaint, project):
    (project / 'shop.py').write_text('def create_app(): pass\n')
    assert complaint('shop:create_app()') == (
        2, 'shop:create_app(): a function that makes the application is written '
           '--factory shop:create_app')


# Options that are told of, and those that work without workers

COUNTER = HELLO.replace("    yield b'Hello '\n    yield b'world!'", """    global count
    count += 1
    yield str(count)""") + '\ncount = 0\n'


def test_max_requests_renews_a_process_without_workers(tmp_path):
    (tmp_path / 'counter.py').write_text(COUNTER)
    with started('counter:app', '--port', '0', '--max-requests', '2', cwd=tmp_path) as (
            process, line):
        assert [page(url_in(line)) for _ in range(2)] == ['1', '2']
        # The same port, the same process, and a program that was started afresh.
        assert process.stdout.readline() == line
        assert page(url_in(line)) == '1'
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert 'that was the last of max_requests' in process.stderr.read()


def test_limit_memory_renews_a_process_without_workers(tmp_path):
    if not Path('/proc/self/statm').exists():
        pytest.skip('the memory is known on Linux alone')
    (tmp_path / 'counter.py').write_text(COUNTER + """
@app.route('/grow')
def grow():
    global kept
    kept = b'x' * (200 << 20)
    return 'grown'
""")
    # (PyPy takes as much for new objects as the processor has cache: 300 MiB on some machines.)
    with started('counter:app', '--port', '0', '--limit-memory', '180MiB', cwd=tmp_path,
                 PYPY_GC_NURSERY='4MB') as (process, line):
        assert page(url_in(line)) == '1'
        assert page(url_in(line) + '/grow') == 'grown'
        assert process.stdout.readline() == line
        assert page(url_in(line)) == '1'


def test_a_limit_below_what_the_start_needs_does_not_renew_for_ever(tmp_path):
    if not Path('/proc/self/statm').exists():
        pytest.skip('the memory is known on Linux alone')
    with started('--port', '0', '--limit-memory', '1MiB', cwd=tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert 'limit_memory: has no effect, the start needs more' in process.stderr.read()


def test_a_mistyped_variable_is_one_line(tmp_path):
    with started('--port', '0', cwd=tmp_path, TREMOLO_IDEL_TIMEOUT='3') as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read().count('TREMOLO_IDEL_TIMEOUT: no such option') == 1


def test_a_star_is_every_address(tmp_path):
    with started('--host', '*', '--port', '0', cwd=tmp_path) as (_, line):
        assert url_in(line).startswith('http://0.0.0.0:')
