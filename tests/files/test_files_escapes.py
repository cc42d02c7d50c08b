"""No spelling of a path leads out of a static folder: each is 404, or the file that is meant.

The targets go to a real socket as they stand here. Outside the folder lie files that say so.
"""

from __future__ import annotations

import os
import socket
import sys

import pytest
from each_case import for_each
from server_support import request, serving

from tremolo import Tremolo

A, B, INDEX = b'this is a', b'this is b', b'the index'


def make_tree(base):
    """Make a served folder, `site`, with what must not be served around it and within it."""
    def file(name, content=b'SECRET'):
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    for name in ('secret.txt', 'site-evil/x.txt', 'site.txt', 'evil/b.txt', 'site/.env', 'a.txt.gz',
                 'site/.git/config', 'site/sub/.hidden', 'site/.well-known/.key', 'site/...'):
        file(name)
    file('site/a.txt', A)
    file('site/a b.txt', A)
    file('site/100%.txt', A)
    file('site/%2e%2e.txt', A)
    file('site/é.txt', A)
    file('site/sub/b.txt', B)
    file('site/sub/index.html', INDEX)
    file('site/index.html', INDEX)
    file('site/.well-known/security.txt', B)
    file('site/a..b', B)
    if sys.platform != 'win32':
        file('site/back\\slash', B)
        file('site/c:', B)
        for name, target in (
            ('in', 'a.txt'), ('in-dir', 'sub'), ('in-sub', 'sub/../a.txt'),
            ('in-dot', '.git/../a.txt'),
            ('in-absolute', f'{base}/site/a.txt'), ('in-hidden', '.hidden-by-choice/b.txt'),
            ('sub/up', '../a.txt'), ('here', '.'), ('out', '../secret.txt'), ('out-dir', '..'),
            ('out-evil', '../site-evil'), ('out-absolute', f'{base}/secret.txt'),
            ('out-root', '/'), ('out-etc', '/etc'), ('out-prefix', f'{base}/site-evil/x.txt'),
            ('out-back', f'{base}/site/../secret.txt'), ('sub/out', '../../secret.txt'),
            ('out-in', '../site/a.txt'), ('out-proc', '/proc/self/root/etc/passwd'),
            ('loop', 'loop'),
            ('ping', 'pong'), ('pong', 'ping'), ('nowhere', 'gone'),
            ('via', 'in-dir/../../secret.txt'),
            ('slash', '/..//../secret.txt'), ('long', 'x' * 300)):
            os.symlink(target, base / 'site' / name)
        file('site/.hidden-by-choice/b.txt', B)
        os.mkfifo(base / 'site/fifo')
        bound = socket.socket(socket.AF_UNIX)
        os.chdir(base / 'site')    # (The path of a socket must be short.)
        bound.bind('socket')
        bound.close()
    return base / 'site'


@pytest.fixture(scope='module')
def ask(tmp_path_factory):
    """Return a function that asks for a target, on a connection that is kept."""
    before = os.getcwd()
    site = make_tree(tmp_path_factory.mktemp('tree'))
    os.chdir(before)
    app = Tremolo()
    app.static('/assets', site)
    # (The whole site, too: there a path begins with what a client chooses.)
    whole = Tremolo()
    whole.static('/', site)
    with serving(app, port=0) as one, serving(whole, port=0) as other:
        clients = {'/assets': one.connect(), '': other.connect()}

        def ask(target, prefix='/assets', method='GET', *lines):
            client = clients[prefix]
            client.send(request(target, method, *lines))
            return client.take(method)

        # (From now on no test opens a descriptor that stays.)
        assert ask('/assets/a.txt').body == ask('/a.txt', '').body == A
        yield ask


# Below the path of the folder; beside each the file that is meant, None for 404.
SPELLINGS = [
    # Up, in all encodings.
    ('/../secret.txt', None), ('/%2e%2e/secret.txt', None), ('/.%2e/secret.txt', None),
    ('/%2E./secret.txt', None), ('/..%2fsecret.txt', None), ('/%2e%2e%2fsecret.txt', None),
    ('/..%5csecret.txt', None), ('/..\\secret.txt', None), ('/%252e%252e/secret.txt', None),
    ('/%25252e%25252e%25252fsecret.txt', None), ('/..%c0%afsecret.txt', None),
    ('/%c0%ae%c0%ae/secret.txt', None), ('/%e0%80%ae%e0%80%ae/secret.txt', None),
    ('/..%u2216secret.txt', None), ('/%uff0e%uff0e/secret.txt', None),
    ('/%ef%bc%8e%ef%bc%8e/secret.txt', None), ('/..;/secret.txt', None),
    ('/..;a=b/secret.txt', None),
    ('/.../secret.txt', None), ('/....//secret.txt', None), ('/..././secret.txt', None),
    ('/..%00/secret.txt', None), ('/..%0d%0a/secret.txt', None), ('/..%20/secret.txt', None),
    ('/sub/../../secret.txt', None), ('/sub/%2e%2e/%2e%2e/secret.txt', None),
    ('/sub/..%2f..%2fsecret.txt', None), ('/nothing/../../secret.txt', None),
    ('/sub/../a.txt', None), ('/./a.txt', None), ('/%2e/a.txt', None),
    # A sibling with the same prefix (fault 31 of tremolo 0.5), and names that only begin alike.
    ('/../site-evil/x.txt', None), ('/.well-known/../../site-evil/x.txt', None),
    ('/.well-known/%2e%2e/%2e%2e/site-evil/x.txt', None), ('-evil/x.txt', None), ('.txt', None),
    ('%2f..%2fsite-evil/x.txt', None), ('%2e%2e/secret.txt', None),
    # Roots, drives, other systems' separators and names.
    ('//etc/passwd', None), ('/%2fetc%2fpasswd', None), ('///etc/passwd', None),
    ('/C:/Windows/win.ini', None), ('/c:%5cWindows%5cwin.ini', None), ('/C%3A%2FWindows', None),
    ('/%5c%5cserver%5cshare%5cx', None), ('/file:///etc/passwd', None), ('/~root/.bashrc', None),
    ('/a.txt::$DATA', None), ('/a.txt.', None), ('/a.txt%20', None), ('/NUL', None),
    ('/con.txt', None),
    # Cut or hidden names.
    ('/a.txt%00', None), ('/a.txt%00.html', None), ('/%00', None),
    ('/secret.txt%00/../a.txt', None),
    ('/a.txt/', None), ('/a.txt/x', None), ('/a.txt/..', None), ('/a.txt%2f', None),
    ('/a%2ftxt', None),
    ('/sub%2fb.txt', None), ('/sub//b.txt', None), ('//a.txt', None), ('/sub%5cb.txt', None),
    ('/.env', None), ('/%2eenv', None), ('/.git/config', None), ('/.git', None), ('/.git/', None),
    ('/sub/.hidden', None), ('/.well-known/.key', None), ('/.well-known/', None), ('/.', None),
    ('/..', None), ('/...', None), ('/sub/..', None), ('/%2e%2e', None),
    ('/.well-known%2f.key', None),
    ('/.WELL-KNOWN/security.txt', None),
    # Names that a file has.
    ('/a.txt', A), ('/%61%2e%74xt', A), ('/a%20b.txt', A), ('/100%25.txt', A), ('/100%.txt', A),
    ('/%252e%252e.txt', A), ('/%C3%A9.txt', A), ('/é.txt'.encode().decode('latin-1'), None),
    ('/sub/b.txt', B), ('/a..b', B), ('/.well-known/security.txt', B),
    ('/%2ewell-known/security.txt', B),
    ('/a.txt?../../secret.txt', A), ('/a.txt?/../secret.txt', A), ('/', INDEX), ('/sub/', INDEX),
    ('/A.TXT', None), ('/a.txt;x=y', None), ('/a+b.txt', None)]

POSIX = [
    # Links that stay inside, also to a hidden name, and links that do not.
    ('/in', A), ('/in-dir/b.txt', B), ('/in-sub', A), ('/in-dot', A), ('/in-absolute', A),
    ('/in-hidden', B), ('/sub/up', A), ('/here/a.txt', A), ('/here/here/sub/up', A),
    ('/in-dir/', INDEX), ('/here/', INDEX), ('/in-dir/up', A),
    ('/out', None), ('/out-dir/secret.txt', None), ('/out-evil/x.txt', None),
    ('/out-absolute', None),
    ('/out-root/etc/passwd', None), ('/out-etc/passwd', None), ('/out-prefix', None),
    ('/out-back', None), ('/sub/out', None), ('/out-in', None), ('/out-dir/site/a.txt', None),
    ('/out-proc', None), ('/loop', None), ('/ping', None), ('/ping/a.txt', None),
    ('/nowhere', None),
    ('/via', None), ('/slash', None), ('/long', None), ('/out-dir', None), ('/out-dir/', None),
    # What is no regular file, and does not hold up the server either.
    ('/fifo', None), ('/socket', None), ('/fifo/', None),
    # Names that are ordinary here.
    ('/back%5cslash', B), ('/back\\slash', B), ('/c:', B), ('/c%3a', B)]


@pytest.mark.parametrize('prefix', ['/assets', ''])
@for_each(('spelling', 'meant'), SPELLINGS + (POSIX if sys.platform != 'win32' else []))
def test_each_spelling_is_404_or_the_file_that_is_meant(ask, spelling, meant, prefix):
    target = prefix + spelling
    if not target.startswith('/'):
        target = f'/{target}'
    if not target.isascii():
        return    # (That is no target of HTTP; the parser refuses it and ends the connection.)
    answer = ask(target, prefix)
    assert b'SECRET' not in answer.body and b'root:' not in answer.body
    if meant is None:
        assert answer.status == 404
    else:
        assert (answer.status, answer.body) == (200, meant)
    assert ask(target, prefix, 'HEAD').status == answer.status


def test_there_are_at_least_sixty_spellings_of_escape():
    assert len([each for each, meant in SPELLINGS if meant is None]) >= 60


@pytest.mark.parametrize('target', ['/assets/../secret.txt', 'http://a/assets/../secret.txt',
                                    'http://a/assets/%2e%2e/secret.txt', 'http://a/assets/.env'])
def test_an_absolute_target_leads_no_further(ask, target):
    assert ask(target).status == 404
    assert ask('http://a/assets/a.txt').body == A


@pytest.mark.parametrize('path', [
    '%61ssets/a.txt', 'assets%2fa.txt', '/assets/a.txt', 'x/../assets/a.txt'])
def test_the_path_of_the_folder_is_decoded_too(ask, path):
    answer = ask(f'/{path}')
    assert (answer.status, answer.body == A) == ((200, True) if path[0] == '%' else (404, False))


@pytest.mark.parametrize('prefix', ['/assets', ''])
@pytest.mark.parametrize(('path', 'location'), [
    ('/sub', '/sub/'), ('/sub?a=b&c=%2f', '/sub/?a=b&c=%2f'), ('/%73ub', '/%73ub/'),
    ('/sub?', '/sub/'),
    ('/sub?//evil', '/sub/?//evil'), ('/in-dir?x', '/in-dir/?x'), ('/.well-known', '/.well-known/'),
    ('/here/sub?"', '/here/sub/?%22'), ('/sub?\\', '/sub/?%5C')])
def test_a_folder_without_its_slash_is_308_with_the_query(ask, prefix, path, location):
    if ('-' in path or 'here' in path) and sys.platform == 'win32':
        return
    answer = ask(prefix + path, prefix)
    assert (answer.status, answer.headers['location']) == (308, prefix + location)


@pytest.mark.parametrize('path', [
    '//sub', '///sub', '//evil.example/sub', '//evil.example/..', '//sub?a', '/\\evil.example',
    '/%2fevil.example', '/%5cevil.example', '//', '///', '//evil.example//'])
def test_no_redirect_leads_to_another_host(ask, path):
    answer = ask(path, '')
    assert (answer.status, 'location' in answer.headers) == (404, False)


def test_the_folder_itself_without_its_slash(ask):
    assert ask('/assets').headers['location'] == '/assets/'
    assert ask('/assets?a=//b').headers['location'] == '/assets/?a=//b'
    assert ask('/assets%2f').status == 404
