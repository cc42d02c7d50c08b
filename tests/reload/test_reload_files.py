"""Which files are watched, and how the command line of a program is taken apart."""

import importlib
import os
import pty
import select
import socket
import sys
import termios
import zipfile

import pytest

from tremolo import SettingError
from tremolo.loop import Reactor
from tremolo.reload import files, reloading
from tremolo.reload.command import runner_command, split
from tremolo.reload.files import Folder, check_folders, counts, is_application, signature
from tremolo.reload.hints import Hints
from tremolo.reload.inside import Inside
from tremolo.reload.modes import Modes
from tremolo.reload.reloading import Reloading
from tremolo.reload.reports import Received, Reports
from tremolo.settings import Settings

LINUX = sys.platform == 'linux'


@pytest.mark.parametrize(('line', 'options', 'program'), [
    ('shop.py --fast -m x', '', 'shop.py --fast -m x'),
    ('-X dev -W error shop.py', '-X dev -W error', 'shop.py'),
    ('-Xdev -Werror -uB shop.py -c', '-Xdev -Werror -uB', 'shop.py -c'),
    ('-m shop.web 80', '', '-m shop.web 80'),
    ('-mshop -v', '', '-m shop -v'),
    ('-Bm shop', '-B', '-m shop'),
    ('-uW error -c pass a', '-uW error', '-c pass a'),
    ('-cpass a', '', '-c pass a'),
    ('--check-hash-based-pycs always shop.py', '--check-hash-based-pycs always', 'shop.py'),
    ('', '', ''), ('-', '', '-'), ('-i', '-i', ''), ('-m', '', '-m'),
])
def test_a_command_line_is_options_and_a_program(line, options, program):
    assert split(line.split()) == (options.split(), program.split())


@pytest.mark.parametrize('words', [[], ['-'], ['-i']])
def test_a_program_that_is_typed_in_is_refused(words):
    with pytest.raises(SettingError, match='typed in'):
        runner_command(['/', 'python3', *words])


@pytest.mark.parametrize('name', ['.env', 'a~', '#a#', 'a.pyc', 'a.log', 'a.log.3', '__pycache__',
                                  '.a.swp', 'a.tmp', '4913', 'a.py___jb_tmp___'])
def test_what_no_person_writes_does_not_count(name):
    assert not counts(name)
    assert counts('views.py')
    assert counts('log')


def test_the_library_and_what_is_installed_are_not_the_applications_and_keep_their_byte_code():
    assert not is_application(os.__file__)
    assert not is_application(files.__file__)
    assert is_application(files.__file__, [os.path.dirname(files.__file__)])
    installed = '/srv/venv/lib/python3.11/site-packages/flask/app.py'
    assert not is_application(installed)
    assert is_application(installed, [os.path.dirname(installed)])
    assert is_application('/srv/shop/views.py')
    assert not is_application('/srv/shop2/views.py/lib/dist-packages/x.py', ['/srv/shop'])


def test_a_further_folder_that_is_not_there_is_told_with_the_nearest_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'templates').mkdir()
    with pytest.raises(SettingError) as raised:
        check_folders(['template'])
    assert str(raised.value) == (
        'reload_dir: template: no such folder, did you mean templates?')
    with pytest.raises(SettingError, match=r'no such folder$'):
        check_folders(['no/where'])
    assert check_folders(['templates']) == [str(tmp_path / 'templates')]


@pytest.mark.parametrize('options', [{'workers': 2}, {'preload': True}])
def test_more_processes_are_refused(options):
    with pytest.raises(SettingError, match='reload: one process is watched'):
        Settings.load({'reload': True, **options}, {})


def test_a_link_that_leads_back_is_followed_once_and_a_folder_is_bounded(tmp_path, monkeypatch):
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / 'a').touch()
    (tmp_path / 'in' / 'back').symlink_to(tmp_path)
    assert [os.path.relpath(each, tmp_path) for each in sorted(Folder(str(tmp_path)).paths)] == [
        '.', 'in', 'in/a', 'in/back']
    monkeypatch.setattr(files, 'MOST_FILES', 2)
    assert Folder(str(tmp_path)).full


def test_a_single_file_may_be_watched(tmp_path):
    (tmp_path / '.env').touch()
    assert Folder(str(tmp_path / '.env')).paths == [str(tmp_path / '.env')]


def test_what_an_older_worker_tells_late_does_not_count(tmp_path):
    received = Received()
    try:
        old, new = (Reports(received.reports.files, received.reports.page, each) for each in (1, 2))
        received.reports.number = 2
        old.tell('/a.py', (1, 2, 3))
        new.tell('/b.py', None)
        os.write(received.reports.files, b'[2, "/torn\nnull\n')
        new.tell('/c.py', (1, 2, 3))
        new.tell('/' + 'x' * select.PIPE_BUF, (1, 2, 3))
        assert received.read() == [('/b.py', None), ('/c.py', (1, 2, 3))]
        assert received.read() == []
    finally:
        received.close()


def test_a_descriptor_that_the_program_has_closed_is_not_written_to(tmp_path):
    received = Received()
    reports = received.reports
    with (tmp_path / 'theirs').open('w') as theirs:
        for fd in (reports.files, reports.page):
            os.dup2(theirs.fileno(), fd)
        reports.tell('/a.py', (1, 2, 3))
        reports.write_page({'status': 500})
        received.close()
    assert (tmp_path / 'theirs').read_text() == ''


def test_a_page_that_is_half_written_is_no_page():
    received = Received()
    try:
        for data in (b'', b'{"status": 5', b'[]', b'\xff'):
            os.ftruncate(received.reports.page, 0)
            os.pwrite(received.reports.page, data, 0)
            assert received.reports.read_page() == {}
    finally:
        received.close()


def test_an_application_in_a_zip_file_is_watched_by_that(tmp_path, monkeypatch):
    path = tmp_path / 'app.zip'
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('zipped_shop.py', '')
    monkeypatch.syspath_prepend(str(path))
    importlib.import_module('zipped_shop')
    received = Received()
    try:
        Inside(received.reports, [], False).served()
        told = dict(received.read())
        assert told[str(path)] == signature(str(path))
    finally:
        del sys.modules['zipped_shop']
        received.close()


def test_the_terminal_is_given_back_after_a_worker_was_killed_in_a_debugger():
    pid, fd = pty.fork()
    if not pid:
        status = 1
        try:
            modes = Modes()
            kept = termios.tcgetattr(0)
            termios.tcsetattr(0, termios.TCSANOW, [*kept[:3], 0, *kept[4:]])
            modes.give_back()
            status = int(termios.tcgetattr(0) != kept)
        finally:
            os._exit(status)
    try:
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        os.close(fd)


@pytest.fixture
def watching(tmp_path, monkeypatch):
    """A `Reloading` on a reactor, and what it has noticed so far."""
    monkeypatch.setattr(reloading, '_LOOK', 0.01)
    monkeypatch.setattr(reloading, '_RARELY', 0.01)
    monkeypatch.setattr(reloading, '_SETTLE', 0.01)
    made = Reloading(Settings(reload=True, reload_dir=str(tmp_path)), lambda slot: 0,
                     lambda reports, slot: 0, [])
    noticed = []
    made.renew = lambda: noticed.append(1)
    with Reactor() as reactor:
        made.begin(reactor)
        made.begins()
        yield tmp_path, reactor, noticed
        made.close()
    made.close()


@pytest.mark.parametrize('change', [
    lambda path: os.utime(path, ns=(1, 1)),
    lambda path: path.write_text('longer'),
    lambda path: path.unlink(),
    lambda path: os.replace(path.with_name('other'), path),
    lambda path: path.with_name('new').touch(),
    lambda path: path.with_name('sub').mkdir() or (path.parent / 'sub' / 'x').touch(),
    lambda path: path.unlink() or path.symlink_to('other'),
])
def test_each_change_is_noticed_once(watching, change):
    folder, reactor, noticed = watching
    # (They are there from the start: this is what the next looks find.)
    (folder / 'file').write_text('text')
    (folder / 'other').write_text('text')
    while not noticed:
        reactor.step(1)
    noticed.clear()
    change(folder / 'file')
    while not noticed:
        reactor.step(1)
    for _ in range(5):
        reactor.step(0.02)
    assert noticed == [1]


@pytest.mark.parametrize('change', [
    lambda path: path.write_text('other'),
    lambda path: path.open('r+').close() or os.utime(path, ns=(1, 1)),
    lambda path: path.with_name('new').touch(),
    lambda path: os.replace(path.with_name('beside'), path),
    lambda path: (path.parent.parent / 'target').write_text('other'),
    lambda path: (path.parent.parent / 'second').write_text('other'),
    lambda path: path.parent.rename(path.parent.with_name('away')),
])
def test_no_look_is_left_out_when_something_has_changed(tmp_path, change):
    """In place, beside it, through a link, by its second name, and the whole folder."""
    folder = tmp_path / 'folder'
    folder.mkdir()
    for name in ('target', 'second', 'folder/file', 'folder/beside'):
        (tmp_path / name).write_text('text!')
    (folder / 'link').symlink_to(tmp_path / 'target')
    os.link(tmp_path / 'second', folder / 'hard')
    paths = [str(folder / name) for name in ('file', 'beside', 'link', 'hard', 'none')]
    with Reactor() as reactor:
        hints = Hints(reactor)
        hints.begin()
        hints.arm(paths, True)
        reactor.step(0)
        assert hints.quiet() == LINUX
        change(folder / 'file')
        reactor.step(0)
        assert not hints.quiet()
        hints.arm(paths, False)
        reactor.step(0)
        assert hints.quiet() == LINUX
        hints.close()


def test_a_change_is_noticed_within_half_a_second():
    look = max(reloading._LOOK, reloading._RARELY)
    assert look + reloading._SETTLE < 0.5


def test_the_signature_of_what_cannot_be_read_is_none(tmp_path):
    assert signature(str(tmp_path / 'none')) is None
    assert signature('a\0b') is None
    with socket.socket(socket.AF_UNIX):
        assert signature(str(tmp_path)) is not None
