"""Static folders: which file answers, what is said of it, and what is told at registration."""

from __future__ import annotations

import errno
import gc
import os
import re
import sys
from pathlib import Path

import pytest
from server_support import request, serving, virtual

from tremolo import Tremolo
from tremolo.exceptions import HeaderError
from tremolo.files import safe_open

posix = pytest.mark.skipif(sys.platform == 'win32', reason='links of POSIX')


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / 'site'
    (folder / 'sub').mkdir(parents=True)
    (folder / 'app.js').write_bytes(b'plain ' * 100)
    (folder / 'app.js.br').write_bytes(b'br')
    (folder / 'app.js.gz').write_bytes(b'gzip')
    (folder / 'only.css').write_bytes(b'css')
    (folder / 'only.css.gz').write_bytes(b'gzip')
    (folder / 'alone.txt').write_bytes(b'0123456789')
    (folder / 'index.html').write_bytes(b'index')
    (folder / 'index.html.gz').write_bytes(b'gzip')
    (folder / 'sub' / 'a.txt').write_bytes(b'sub a')
    return folder


def served(folder: Path, **options: object) -> Tremolo:
    app = Tremolo()
    app.static('/assets', folder, **options)
    return app


def ask(app: Tremolo, target: str, *lines: str, method: str = 'GET'):
    with virtual(app) as host:
        return host.connect(request(target, method, *lines)).take(method)


# -- what is said of a file -----------------------------------------------------------------------


@pytest.mark.parametrize(('name', 'kind'), [
    ('alone.txt', 'text/plain; charset=utf-8'), ('app.js', 'text/javascript; charset=utf-8'),
    ('only.css', 'text/css; charset=utf-8'), ('', 'text/html; charset=utf-8'),
    ('app.js.gz', 'application/gzip')])
def test_a_file_has_its_type_its_etag_and_its_time(site, name, kind):
    answer = ask(served(site), f'/assets/{name}')
    path = site / (name or 'index.html')
    found = path.stat()
    assert (answer.status, answer.body) == (200, path.read_bytes())
    assert answer.headers['content-type'] == kind
    assert answer.headers['etag'] == f'"{found.st_size}-{found.st_mtime_ns}"'
    assert answer.headers['accept-ranges'] == 'bytes'
    assert 'last-modified' in answer.headers and 'cache-control' not in answer.headers
    head = ask(served(site), f'/assets/{name}', method='HEAD')
    assert {**answer.headers, 'date': ''} == {**head.headers, 'date': ''}


def test_conditions_and_ranges_are_those_of_send_file(site):
    with serving(served(site, cache_control='max-age=60'), port=0) as host:
        client = host.connect()

        def get(*lines):
            client.send(request('/assets/alone.txt', 'GET', *lines))
            return client.take()

        first = get()
        assert first.headers['cache-control'] == 'max-age=60'
        known = get(f'If-None-Match: {first.headers["etag"]}')
        assert (known.status, known.body) == (304, b'')
        assert known.headers['cache-control'] == 'max-age=60'
        assert get(f'If-Modified-Since: {first.headers["last-modified"]}').status == 304
        unmet = get('If-Match: "other"')
        assert (unmet.status, unmet.headers.get('cache-control')) == (412, None)
        part = get('Range: bytes=2-4')
        assert (part.status, part.body) == (206, b'234')
        # A cache that kept this would answer with it who asks for all of the file.
        beyond = get('Range: bytes=100-')
        assert (beyond.status, beyond.headers.get('cache-control')) == (416, None)
        assert beyond.headers['content-range'] == 'bytes */10'
        assert get('Range: bytes=2-4', 'If-Range: "other"').body == b'0123456789'


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'BREW'])
@pytest.mark.parametrize('path', ['/assets/alone.txt', '/assets/none', '/assets'])
def test_another_method_is_405(site, method, path):
    answer = ask(served(site), path, method=method)
    status = 204 if method == 'OPTIONS' else 405
    assert (answer.status, answer.headers['allow']) == (status, 'GET, HEAD, OPTIONS')


def test_the_server_as_a_whole_has_its_methods(site):
    assert ask(served(site), '*', method='OPTIONS').headers['allow'] == 'GET, HEAD, OPTIONS'


def test_a_folder_has_no_listing_and_its_index_is_a_file(site):
    app = served(site)
    assert ask(app, '/assets/sub/').status == 404
    (site / 'sub' / 'index.html').mkdir()
    assert ask(app, '/assets/sub/').status == 404
    assert ask(app, '/assets/sub/index.html').status == 308
    assert ask(app, '/assets/sub/index.html/').status == 404


# -- compressed siblings --------------------------------------------------------------------------


@pytest.mark.parametrize(('name', 'accept', 'coding'), [
    ('app.js', None, ''), ('app.js', '', ''), ('app.js', 'gzip, deflate, br', 'br'),
    ('app.js', 'gzip', 'gzip'), ('app.js', 'br;q=0.5, gzip;q=0.6', 'gzip'), ('app.js', '*', 'br'),
    ('app.js', 'br;q=0, *', 'gzip'), ('app.js', 'identity', ''), ('app.js', 'gzip;q=0', ''),
    ('app.js', 'gzip;q=0.5, identity;q=0.9', ''), ('app.js', 'identity;q=0, gzip', 'gzip'),
    ('app.js', 'deflate', ''), ('only.css', 'br, gzip;q=0.1', 'gzip'), ('only.css', 'br', ''),
    ('', 'gzip', 'gzip')])
def test_a_sibling_is_sent_to_who_prefers_it(site, name, accept, coding):
    answer = ask(served(site), f'/assets/{name}', *([] if accept is None
                                                   else [f'Accept-Encoding: {accept}']))
    path = site / (name or 'index.html')
    suffix = {'': '', 'br': '.br', 'gzip': '.gz'}[coding]
    assert (answer.status, answer.body) == (200, path.with_name(path.name + suffix).read_bytes())
    assert answer.headers.get('content-encoding', '') == coding
    assert answer.headers['vary'] == 'Accept-Encoding'
    assert answer.headers['etag'].endswith({'': '"', 'br': '-br"', 'gzip': '-gzip"'}[coding])
    assert answer.headers['content-type'].endswith('; charset=utf-8')


def test_a_file_without_siblings_varies_with_nothing(site):
    answer = ask(served(site), '/assets/alone.txt', 'Accept-Encoding: br, gzip')
    assert 'vary' not in answer.headers and 'content-encoding' not in answer.headers


def test_two_lines_of_accept_encoding_are_one(site):
    answer = ask(served(site), '/assets/app.js', 'Accept-Encoding: br;q=0', 'Accept-Encoding: *')
    assert answer.headers['content-encoding'] == 'gzip'


def test_a_sibling_alone_is_no_file_and_a_folder_is_no_sibling(site):
    (site / 'gone.js.gz').write_bytes(b'gzip')
    (site / 'alone.txt.gz').mkdir()
    app = served(site)
    assert ask(app, '/assets/gone.js', 'Accept-Encoding: gzip').status == 404
    answer = ask(app, '/assets/alone.txt', 'Accept-Encoding: gzip')
    assert (answer.body, answer.headers.get('vary')) == (b'0123456789', None)


def test_a_304_of_a_sibling_says_what_it_varies_with(site):
    app = served(site)
    etag = ask(app, '/assets/app.js', 'Accept-Encoding: br').headers['etag']
    answer = ask(app, '/assets/app.js', 'Accept-Encoding: br', f'If-None-Match: {etag}')
    assert (answer.status, answer.headers['vary']) == (304, 'Accept-Encoding')
    # The same ETag of another coding is another one.
    assert ask(app, '/assets/app.js', f'If-None-Match: {etag}').status == 200


@posix
def test_a_sibling_that_leads_outside_is_none(site):
    (site.parent / 'secret.gz').write_bytes(b'SECRET')
    os.symlink('../secret.gz', site / 'alone.txt.gz')
    answer = ask(served(site), '/assets/alone.txt', 'Accept-Encoding: gzip')
    assert answer.body == b'0123456789'


# -- routes and folders ---------------------------------------------------------------------------


def test_a_route_wins_over_a_file_whenever_it_was_registered(site):
    app = Tremolo()
    app.route('/assets/alone.txt')(lambda: 'first')
    app.static('/assets', site)
    app.route('/assets/sub/<name>')(lambda name: name)
    app.route('/assets/app.js', methods=['POST'])(lambda: 'posted')
    assert ask(app, '/assets/alone.txt').body == b'first'
    assert ask(app, '/assets/sub/a.txt').body == b'a.txt'
    assert ask(app, '/assets/only.css').body == b'css'
    # What no route of the path has is the folder's: a path that has the method is no 405.
    assert ask(app, '/assets/app.js', method='POST').body == b'posted'
    assert ask(app, '/assets/app.js').body == (site / 'app.js').read_bytes()
    refused = ask(app, '/assets/app.js', method='PUT')
    assert (refused.status, refused.headers['allow']) == (405, 'GET, HEAD, OPTIONS, POST')


def test_of_two_folders_the_longer_path_counts_in_any_order(site):
    for paths in [('/', '/assets', '/assets/sub'), ('/assets/sub', '/assets', '/')]:
        app = Tremolo()
        for path in paths:
            app.static(path, site / 'sub' if path == '/assets/sub' else site)
        assert ask(app, '/alone.txt').body == ask(app, '/assets/alone.txt').body == b'0123456789'
        assert ask(app, '/assets/sub/a.txt').body == ask(app, '/sub/a.txt').body == b'sub a'
        # What it has not is not looked for in the other ones.
        assert ask(app, '/assets/sub/alone.txt').status == 404
        assert ask(app, '/assetsx').status == 404


def test_a_path_is_served_by_one_folder(site):
    app = served(site)
    for path in '/assets', '/assets/':
        with pytest.raises(ValueError, match='/assets/ is served already'):
            app.static(path, site / 'sub')
    app.static('/assets/sub', site / 'sub')
    app.route('/assets')(lambda: 'a page')
    assert ask(app, '/assets').body == b'a page'


@pytest.mark.parametrize(('path', 'why'), [
    ('assets', 'begins neither'), ('', 'begins neither'), ('^/assets', 'is plain'), (7, 'is str'),
    ('/<name>', 'is plain'), ('/a%20b', 'percent-encoded'), ('/{name}', 'as other frameworks')])
def test_a_path_that_is_none_is_told(site, path, why):
    with pytest.raises(ValueError, match=why):
        Tremolo().static(path, site)


def test_a_folder_that_is_none_is_told_at_once(site):
    for folder in site / 'none', site / 'alone.txt', '', 'a\0b':
        with pytest.raises(ValueError, match=r'is no folder|null'):
            Tremolo().static('/', folder)
    with pytest.raises(ValueError, match=re.escape(f"'no/such' is no folder in {os.getcwd()}")):
        Tremolo().static('/', 'no/such')
    with pytest.raises(HeaderError):
        Tremolo().static('/', site, cache_control='max-age=1\r\n')


def test_a_relative_folder_is_that_of_the_working_directory_of_then(site, monkeypatch):
    monkeypatch.chdir(site.parent)
    app = served('site')
    monkeypatch.chdir('/')
    assert ask(app, '/assets/alone.txt').status == 200


def test_a_folder_may_be_added_while_it_is_served(site):
    app = Tremolo()
    with serving(app, port=0) as host:
        client = host.connect(request('/assets/alone.txt'))
        assert client.take().status == 404
        host.on_loop(lambda: app.static('/assets', str(site)))
        client.send(request('/assets/alone.txt'))
        assert client.take().body == b'0123456789'


def test_a_path_with_blanks_and_other_letters(site):
    app = Tremolo()
    app.static('/mö bel', site)
    assert ask(app, '/m%C3%B6%20bel/alone.txt').status == 200
    assert ask(app, '/m%C3%B6%20bel').headers['location'] == '/m%C3%B6%20bel/'


# -- links, and what the system does --------------------------------------------------------------


@posix
def test_the_served_folder_may_be_a_link_which_is_read_anew(site):
    other = site.parent / 'other'
    other.mkdir()
    (other / 'alone.txt').write_bytes(b'other')
    current = site.parent / 'current'
    current.symlink_to('site')
    (site / 'in').symlink_to(current / 'alone.txt')
    (site / 'in-real').symlink_to(site / 'alone.txt')
    app = served(current)
    with serving(app, port=0) as host:
        client = host.connect(request('/assets/alone.txt') + request('/assets/in')
                              + request('/assets/in-real'))
        assert [client.take().body for _ in range(3)] == [b'0123456789'] * 3
        # The next release.
        (site.parent / 'next').symlink_to('other')
        (site.parent / 'next').replace(current)
        client.send(request('/assets/alone.txt'))
        assert client.take().body == b'other'


@posix
@pytest.mark.parametrize(('links', 'status'), [(1, 200), (40, 200), (41, 404)])
def test_at_most_forty_links(site, links, status):
    for number in range(links):
        target = 'alone.txt' if number == 0 else f'link-{number - 1}'
        (site / f'link-{number}').symlink_to(target)
    assert ask(served(site), f'/assets/link-{links - 1}').status == status


@posix
def test_a_link_of_many_steps_opens_no_more_than_two_hundred_folders(site):
    (site / 'few').symlink_to('sub/../' * 190 + 'alone.txt')
    (site / 'many').symlink_to('sub/../' * 250 + 'alone.txt')
    app = served(site)
    assert [ask(app, f'/assets/{name}').status for name in ('few', 'many')] == [200, 404]


@posix
def test_a_folder_that_may_not_be_listed_is_walked_through(site):
    (site / 'sub').chmod(0o711)
    try:
        assert ask(served(site), '/assets/sub/a.txt').body == b'sub a'
    finally:
        (site / 'sub').chmod(0o755)


@posix
def test_a_file_that_may_not_be_read_is_404(site, monkeypatch):
    # (Also for root, who may read all.)
    def refuse(path, *args, open=os.open, **options):
        if path == b'alone.txt':
            raise PermissionError(errno.EACCES, 'permission denied')
        return open(path, *args, **options)

    monkeypatch.setattr(os, 'open', refuse)
    assert ask(served(site), '/assets/alone.txt').status == 404


def test_a_path_of_more_names_than_can_be_walked_is_not_even_decoded(site, monkeypatch):
    app, decoded = served(site), []
    monkeypatch.setattr('tremolo.files.static.unquote_to_bytes', decoded.append)
    assert ask(app, '/assets' + '/a' * 10_000).status == 404
    assert not decoded


@pytest.mark.parametrize('failing', range(4))
@pytest.mark.parametrize(('code', 'status'), [(errno.EMFILE, 503), (errno.EIO, 500)])
def test_a_system_that_fails_is_told_and_nothing_stays_open(site, failing, code, status,
                                                            monkeypatch, logged):
    calls = []
    app = served(site)

    def fail(path, *args, open=os.open, **options):
        calls.append(path)
        if len(calls) > failing:
            raise OSError(code, 'it failed')
        return open(path, *args, **options)

    with serving(app, port=0) as host:
        client = host.connect(request('/assets/app.js', 'GET', 'Accept-Encoding: gzip'))
        assert client.take().status == 200
        before = os.listdir('/proc/self/fd') if os.path.isdir('/proc/self/fd') else []
        monkeypatch.setattr(os, 'open', fail)
        client.send(request('/assets/app.js', 'GET', 'Accept-Encoding: gzip'))
        answer = client.take()
        monkeypatch.undo()
        assert (answer.status, answer.headers.get('retry-after')) == (
            status, '1' if status == 503 else None)
        assert before == (os.listdir('/proc/self/fd') if before else [])
    assert ('it failed' in logged.text) is (status == 500)


def test_each_descriptor_is_closed_exactly_once(site, monkeypatch):
    # (To close one a second time raises EBADF, which would be 500, and in the log.)
    opened = []

    def note_open(*args, open=os.open, **options):
        fd = open(*args, **options)
        opened.append(fd)
        return fd

    with serving(served(site), port=0) as host:
        client = host.connect(request('/assets/alone.txt'))
        client.take()
        monkeypatch.setattr(os, 'open', note_open)
        for target in ('/assets/app.js', '/assets/sub/a.txt', '/assets/sub', '/assets/none',
                       '/assets/', '/assets/sub/', '/assets/sub/a.txt/b'):
            for lines in [], ['Accept-Encoding: br'], ['If-None-Match: *'], ['Range: bytes=99999-']:
                for method in 'GET', 'HEAD':
                    client.send(request(target, method, *lines))
                    client.take(method)
        monkeypatch.undo()
    assert len(opened) > 100
    gc.collect()
    for fd in set(opened):
        if os.path.isdir('/proc/self/fd'):
            assert not os.path.realpath(f'/proc/self/fd/{fd}').startswith(str(site))


@posix
def test_what_is_changed_during_the_walk_leads_nowhere_else(site, monkeypatch):
    """A folder becomes a link after it was looked at: the walk is in the old one, or refuses."""
    (site.parent / 'secret').mkdir()
    (site.parent / 'secret' / 'a.txt').write_bytes(b'SECRET')
    moments = []

    def swap(moment):
        def change(path, *args, open=os.open, **options):
            moments.append(path)
            if len(moments) == moment:
                (site / 'sub').rename(site / 'old')
                (site / 'sub').symlink_to('../secret')
            return open(path, *args, **options)
        return change

    app = served(site)
    for moment, status in (1, 404), (2, 404), (3, 200):
        moments.clear()
        monkeypatch.setattr(os, 'open', swap(moment))
        answer = ask(app, '/assets/sub/a.txt')
        monkeypatch.undo()
        assert (answer.status, b'SECRET' in answer.body) == (status, False)
        (site / 'sub').unlink()
        (site / 'old').rename(site / 'sub')


# -- a system that cannot walk --------------------------------------------------------------------


@pytest.mark.parametrize('name', [
    b'a:b', b'C:', b'a\\b', b'a\nb\nc', b'NUL', b'nul.txt', b'COM1', b'lpt9.x', b'CON', b'conin$',
    b'a.', b'a ', b'a.txt::$DATA', b'a*', b'a?', b'"', b'<', b'|', b'a.txt. .'])
def test_names_that_windows_reads_otherwise_are_none(site, name, monkeypatch):
    (site / os.fsdecode(name)).write_bytes(b'x')
    monkeypatch.setattr(safe_open, 'WALKS', False)
    with safe_open.walk_in(os.fsencode(site)) as walk, pytest.raises(FileNotFoundError):
        walk.open(name)


@posix
def test_without_dir_fd_real_paths_are_compared(site, monkeypatch):
    monkeypatch.setattr(safe_open, 'WALKS', False)
    (site.parent / 'site-evil').mkdir()
    (site.parent / 'site-evil' / 'x.txt').write_bytes(b'SECRET')
    (site / 'in').symlink_to('sub')
    (site / 'out').symlink_to('../site-evil')
    (site / 'out-file').symlink_to('../site-evil/x.txt')
    (site / 'loop').symlink_to('loop')
    app = served(site)
    assert ask(app, '/assets/app.js', 'Accept-Encoding: gzip').body == b'gzip'
    assert ask(app, '/assets/in/a.txt').body == b'sub a'
    assert ask(app, '/assets/sub').headers['location'] == '/assets/sub/'
    assert ask(app, '/assets/').body == b'index'
    for path in 'out/x.txt', 'out-file', 'out', 'none', 'loop', '../site-evil/x.txt', 'sub/':
        assert ask(app, f'/assets/{path}').status == 404


# -- what failed in tremolo 0.5 -------------------------------------------------------------------


def test_fault_31_a_sibling_folder_with_the_same_prefix_is_not_served(site):
    (site / '.well-known').mkdir()
    (site.parent / 'site-evil').mkdir()
    (site.parent / 'site-evil' / 'x.txt').write_bytes(b'SECRET')
    app = Tremolo()
    app.static('/', site)
    for path in '/.well-known/../../site-evil/x.txt', '/../site-evil/x.txt', '/-evil/x.txt':
        assert ask(app, path).status == 404


@posix
def test_fault_31_a_link_in_the_middle_of_a_path_is_not_followed_outside(site):
    (site.parent / 'secret').mkdir()
    (site.parent / 'secret' / 'x.txt').write_bytes(b'SECRET')
    (site / 'link').symlink_to('../secret', target_is_directory=True)
    assert ask(served(site), '/assets/link/x.txt').status == 404


def test_fault_6_a_file_that_is_replaced_is_sent_anew_on_the_same_connection(site):
    with serving(served(site), port=0) as host:
        client = host.connect(request('/assets/alone.txt'))
        assert client.take().body == b'0123456789'
        (site / 'new').write_bytes(b'newer, longer content')
        (site / 'new').replace(site / 'alone.txt')
        client.send(request('/assets/alone.txt'))
        assert client.take().body == b'newer, longer content'
        (site / 'alone.txt').unlink()
        client.send(request('/assets/alone.txt'))
        assert client.take().status == 404
