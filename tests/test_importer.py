"""From what is named to an application: folders, factories, interfaces, and `tremolo.run`."""

from __future__ import annotations

import functools
import importlib
import os
import re
import signal
import subprocess
import sys
import traceback
import urllib.request
from pathlib import Path

import pytest

import tremolo
from tremolo import Application, SettingError, cli
from tremolo.asgi_app import AsgiApplication
from tremolo.importer import find_application, serve
from tremolo.service import Service

ROOT = Path(tremolo.__file__).resolve().parent.parent
PATIENCE = 30

SITE = '''
import functools
import importlib
from tremolo import Tremolo

number = 3
app = Tremolo()

async def asgi(scope, receive, send):
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'asgi'})

def wrapped(scope, receive, send):
    return asgi(scope, receive, send)

class Wrapper:
    def __call__(self, scope, receive, send):
        return asgi(scope, receive, send)

wrapper = Wrapper()
partial = functools.partial(wrapper)

def create():
    return app

def create_with(one=1, *more, **options):
    return app

def create_asgi():
    return wrapped

def create_number():
    return number

def needs(config, *, debug):
    raise AssertionError

async def create_late():
    raise AssertionError

def create_later():
    return create_late()

def fails():
    return app.nothing

def fails_within():
    app.route(3)(fails)
'''


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder `web` with the module above, seen from the folder it is in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', sys.path[:])
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    for name in [name for name in os.environ if name.startswith('TREMOLO_') or name == 'PORT']:
        monkeypatch.delenv(name)
    before = set(sys.modules)
    (tmp_path / 'web').mkdir()
    (tmp_path / 'web' / 'my_site.py').write_text(SITE)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def command_line(app, **how):
    """The same as `tremolo.run`, by its arguments."""
    arguments = ['--factory'] if how.pop('factory', False) else []
    for name, value in how.items():
        arguments += [f'--{name.replace("_", "-")}', str(value)]
    return cli.main([*arguments, app])


def program(app, **how):
    try:
        tremolo.run(app, **how)
    except SystemExit as error:
        return error.code
    return 0


@pytest.fixture(params=[command_line, program])
def complaint(request, site, capsys):
    """What both ways say, in one line with status 2, about a name in the folder web."""
    def ask(app, **how):
        assert request.param(app, **{'app_dir': 'web', **how}) == 2
        out, err = capsys.readouterr()
        assert out == ''
        assert err.startswith('tremolo: error: ') and err.count('\n') == 1, err
        return err[len('tremolo: error: '):-1]
    return ask


def found(name, **how):
    return find_application(f'my_site:{name}', app_dir='web', **how)


# -- app_dir --------------------------------------------------------------------------------------


def test_modules_are_looked_for_in_app_dir_first(site):
    (site / 'my_site.py').write_text('raise AssertionError')
    sys.path.insert(0, str(site))
    sys.path.append(str(site / 'web'))
    assert isinstance(found('app'), Application)
    assert sys.path[:2] == [str(site / 'web'), str(site)]


def test_the_current_folder_is_not_looked_in_beside_app_dir(site):
    (site / 'here.py').write_text(SITE)
    with pytest.raises(SettingError, match='here: no such module'):
        find_application('here', app_dir=Path('web'))
    assert isinstance(find_application('here'), Application)


def test_app_dir_is_kept_as_it_was_when_the_application_changes_the_folder(site):
    (site / 'web' / 'moves.py').write_text('import os\nos.chdir("/")\nfrom my_site import app\n')
    assert isinstance(find_application('moves', app_dir='web/../web'), Application)


def test_an_app_dir_that_is_not_there_is_named(complaint):
    assert complaint('my_site', app_dir='wep') == 'wep: no such folder, did you mean web?'
    assert complaint('my_site', app_dir='no/where') == 'no/where: no such folder'
    assert complaint('my_site', app_dir='web/my_site.py') == 'web/my_site.py: no such folder'


def test_a_misspelt_module_is_looked_for_in_app_dir(complaint):
    assert complaint('my_sight:app') == 'my_sight: no such module, did you mean my_site?'


# -- factory --------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['create', 'create_with'])
def test_a_factory_is_called_and_gives_the_application(site, name):
    assert found(name, factory=True) is sys.modules['my_site'].app


def test_a_factory_may_give_an_asgi_application(site):
    assert isinstance(found('create_asgi', factory=True, interface='asgi'), AsgiApplication)


@pytest.mark.parametrize('name, words', [
    ('needs', 'my_site:needs: a factory is called without arguments, and this one needs '
              'config, debug'),
    ('asgi', 'my_site:asgi: a factory is called without arguments, and this one needs '
             'scope, receive, send'),
    ('create_late', 'my_site:create_late: is an async def, and a factory is a plain function'),
    ('create_later', 'my_site:create_later: is an async def, and a factory is a plain function'),
    ('app', 'my_site:app: is of type Application, not a factory: a function that returns the '
            'application'),
    ('create_number', 'my_site:create_number(): is of type int, neither a tremolo.Application nor '
                      'an ASGI or WSGI application'),
    ('creat', 'my_site: has no creat, did you mean my_site:create?'),
])
def test_what_is_no_factory_is_one_line(complaint, name, words):
    assert complaint(f'my_site:{name}', factory=True) == words


def test_a_package_with_its_application_inside_is_told_of_it(complaint, site):
    (site / 'web' / 'shop').mkdir()
    (site / 'web' / 'shop' / '__init__.py').write_text('')
    for inside in 'asgi', 'wsgi':
        (site / 'web' / 'shop' / f'{inside}.py').write_text('')
        assert complaint('shop') == (
            f'shop: has no app or application, did you mean shop.{inside}?')


def test_a_module_that_only_makes_an_application_is_told_of_factory(complaint, site):
    for made in 'create_app', 'make_app':
        (site / 'web' / f'only_{made}.py').write_text(f'def {made}():\n    pass\n')
        assert complaint(f'only_{made}') == (
            f'only_{made}: has no app or application, and makes one: write --factory '
            f'only_{made}:{made}')


@pytest.mark.parametrize('way', [command_line, program])
@pytest.mark.parametrize('name, last', [
    ('fails', 'return app.nothing'), ('fails_within', 'app.route(3)(fails)')])
def test_a_factory_that_raises_shows_their_lines_and_status_4(site, capsys, way, name, last):
    assert way(f'my_site:{name}', factory=True, app_dir='web') == 4
    out, err = capsys.readouterr()
    *trace, line = err.splitlines()
    assert (out, line) == ('', f'tremolo: error: my_site:{name}: the factory failed, see above')
    assert trace[0] == 'Traceback (most recent call last):'
    # One frame, theirs, and nothing of the package.
    files = re.findall(r'File "(.*)", line \d+, in (\w+)', err)
    assert files == [(str(site / 'web' / 'my_site.py'), name)]
    assert last in err


def test_neighbours_whose_names_begin_as_ours_are_theirs(site, capsys):
    """The package's folder is /…/tremolo; /…/tremolo_site.py is none of its files."""
    code = f'import sys; sys.path[:0] = [{str(site)!r}]; from tremolo.cli import main; main()'
    (site / 'tremolo').symlink_to(ROOT / 'tremolo')
    (site / 'tremolo_site.py').write_text('1 / 0\n')
    done = subprocess.run([sys.executable, '-B', '-c', code, 'tremolo_site'], cwd=site,
                          capture_output=True, text=True, timeout=PATIENCE)
    assert 'tremolo_site.py", line 1' in done.stderr


# -- interface ------------------------------------------------------------------------------------


@pytest.mark.parametrize('name, interface, kind', [
    ('app', 'auto', Application), ('app', 'native', Application),
    ('asgi', 'auto', AsgiApplication), ('asgi', 'asgi', AsgiApplication),
    ('wrapped', 'asgi', AsgiApplication), ('wrapper', 'asgi', AsgiApplication),
    ('partial', 'asgi', AsgiApplication),
])
def test_an_interface_takes(site, name, interface, kind):
    assert type(found(name, interface=interface)) is kind


@pytest.mark.parametrize('interface', tremolo.importer.INTERFACES)
def test_an_asgi_application_that_is_wrapped_already_is_taken_as_it_is(interface):
    app = AsgiApplication(lambda scope, receive, send: None)
    assert find_application(app, interface=interface) is app


@pytest.mark.parametrize('name, interface, words', [
    ('app', 'asgi', 'Application, not an ASGI application (--interface asgi)'),
    ('number', 'asgi', 'int, not an ASGI application (--interface asgi)'),
    ('asgi', 'native', 'function, not a tremolo.Application (--interface native)'),
    ('number', 'native', 'int, not a tremolo.Application (--interface native)'),
    ('number', 'auto', 'int, neither a tremolo.Application nor an ASGI or WSGI application'),
    ('create', 'auto',
     'function, neither a tremolo.Application nor an ASGI or WSGI application, unless you say that '
     'it is one (--interface asgi or wsgi) or makes one (--factory)'),
])
def test_an_interface_does_not_take(complaint, name, interface, words):
    line = complaint(f'my_site:{name}', interface=interface)
    assert line == f'my_site:{name}: is of type {words}'


def test_an_interface_that_is_none(complaint):
    line = complaint('my_site:app', interface='cgi')
    assert line.lstrip('-').startswith('interface: ') or line.startswith('argument --interface: ')
    assert all(name in line for name in tremolo.importer.INTERFACES)


def test_a_misspelt_option_may_be_one_of_these(site, capsys):
    assert cli.main(['--app-dri', 'web']) == 2
    assert 'did you mean --app-dir' in capsys.readouterr().err


# -- tremolo.run ----------------------------------------------------------------------------------


def test_run_serves_what_the_command_line_would(site, monkeypatch):
    seen = []
    monkeypatch.setattr(Service, 'run', lambda app, **options: seen.append((app, options)))
    tremolo.run('my_site', '127.0.0.1', 0, app_dir='web', idle_timeout='5m')
    mine = Application()
    tremolo.run(mine)
    tremolo.run(lambda: mine, factory=True, port=0)
    tremolo.run(functools.partial(sys.modules['my_site'].wrapper), interface='asgi')
    assert [app for app, _ in seen[:3]] == [sys.modules['my_site'].app, mine, mine]
    assert isinstance(seen[3][0], AsgiApplication)
    nothing = {'host': None, 'port': None}
    assert [options for _, options in seen] == [
        {'host': '127.0.0.1', 'port': 0, 'idle_timeout': '5m'}, nothing,
        {'host': None, 'port': 0}, nothing]


def test_run_checks_its_options_before_it_looks(site, capsys):
    assert program('nowhere:app', prot=3) == 2
    assert capsys.readouterr().err.startswith('tremolo: error: prot: no such option, did you mean')
    assert program(3) == 2
    assert capsys.readouterr().err == (
        'tremolo: error: app: is of type int, neither a tremolo.Application nor an ASGI or '
        'WSGI application\n')


@pytest.mark.parametrize('how', ['"my_site:wrapped", interface="asgi"',
                                 '"my_site:create_asgi", interface="asgi", factory=True'])
def test_run_serves_until_a_signal_and_ends_with_status_0(site, how):
    code = f'import tremolo\ntremolo.run({how}, port=0, app_dir="web")'
    process = subprocess.Popen([sys.executable, '-c', code], cwd=site, stdout=subprocess.PIPE,
                               env={**os.environ, 'PYTHONPATH': str(ROOT)}, text=True)
    try:
        url = re.match(r'running on (http://\S+:[1-9]\d*) ', process.stdout.readline())[1]
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert answer.read() == b'asgi'
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


def test_importing_the_package_does_not_import_what_finds_applications():
    code = ("import sys, tremolo; print(sorted({'argparse', 'inspect', 'difflib',"
            " 'tremolo.importer'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, '-S', '-c', code], cwd=ROOT, capture_output=True,
                          text=True, timeout=PATIENCE)
    assert done.stdout == '[]\n', done.stderr


def test_an_attribute_that_is_computed_and_fails_is_the_application_s_affair(tmp_path, capsys):
    (tmp_path / 'computed.py').write_text(
        'def __getattr__(name):\n'
        "    raise RuntimeError('no settings')\n")
    try:
        assert serve('computed:app', app_dir=tmp_path) == 4
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules['computed']
    said = capsys.readouterr().err
    assert "RuntimeError: no settings" in said
    assert 'computed: reading app failed, see above' in said


def test_a_traceback_is_the_applications_alone():
    """Left out is what lies in the package's folder, wherever in it, and what imports modules."""
    package = os.path.dirname(tremolo.__file__)
    files = [f'{package}/importer.py', importlib.__file__, '<frozen importlib._bootstrap>',
             '/srv/app.py', '<frozen importlib._bootstrap>', f'{package}_site/part.py',
             f'{package}/web/routing.py', '/srv/converter.py']
    frames = [traceback.FrameSummary(file, 1, 'f', lookup_line=False) for file in files]
    assert [each.filename for each in tremolo.importer._their_frames(frames)] == [
        '/srv/app.py', f'{package}_site/part.py']
    assert os.path.isfile(os.path.join(package, 'loop', 'reactor.py'))
