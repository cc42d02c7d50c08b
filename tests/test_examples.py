"""Each example runs as its tour says, and does what it says."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import runpy
import select
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from websocket_peer import Peer

import tremolo.examples

PATIENCE = 30
ROOT = Path(__file__).resolve().parent.parent
TOUR = (Path(tremolo.examples.__file__).parent / 'README.md').read_text(encoding='utf-8')


@contextmanager
def example(name, *arguments, folder=ROOT):
    """Run an example; give its URL."""
    environment = {**os.environ, 'TREMOLO_PORT': '0', 'PYTHONPATH': str(ROOT)}
    with subprocess.Popen(
            [sys.executable, '-m', f'tremolo.examples.{name}', *arguments], cwd=folder,
            env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert select.select([process.stdout], [], [], PATIENCE)[0]
            yield process.stdout.readline().split()[2]
            if name != 'embedded':
                process.terminate()
            assert process.wait(PATIENCE) in (0, -15)
        finally:
            process.kill()


def get(url, data=None):
    with urllib.request.urlopen(url, data, timeout=PATIENCE) as answer:
        return answer.read()


def test_the_tour_names_them_all():
    files = {each.stem for each in Path(tremolo.examples.__file__).parent.glob('[a-z]*.py')}
    assert set(re.findall(r'`python -m tremolo\.examples\.(\w+)', TOUR)) == files


def test_upload(tmp_path):
    folder = tmp_path / 'new'
    with example('upload', str(folder)) as url:
        assert b'<li>nothing yet' in get(url)
        contents = {'é/../\\<b>.txt': b'one', 'CON': b'x' * 2_000_000, '': b''}
        body = b''.join(
            b'--b\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\n\r\n%b\r\n' % (
                name.encode(), content) for name, content in contents.items()) + b'--b--\r\n'
        kind = {'Content-Type': 'multipart/form-data; boundary=b'}
        page = get(urllib.request.Request(url, body, kind)).decode()
        assert page.count('<li>') == 2
        assert '_b_.txt <small>3 bytes</small>' in page
        assert 'CON <small>2,000,000 bytes</small>' in page
    assert sorted(each.read_bytes() for each in folder.iterdir()) == [b'one', b'x' * 2_000_000]


def test_hello():
    with example('hello') as url:
        with ThreadPoolExecutor(3) as pool:
            paths = (url, f'{url}/yield', f'{url}/async')
            assert list(pool.map(get, paths)) == [b'Hello world!'] * 3
        assert json.loads(get(f'{url}/return/you')) == {'hello': 'you'}


def test_big_file(tmp_path):
    content = os.urandom(3 << 20)
    (tmp_path / 'film.mkv').write_bytes(content)
    with example('big_file', 'film.mkv', folder=tmp_path) as url:
        with urllib.request.urlopen(f'{url}/film.mkv', timeout=PATIENCE) as answer:
            assert answer.headers['Content-Length'] == str(len(content))
            assert answer.headers['Content-Type'] == 'application/octet-stream'
            assert hashlib.md5(answer.read()).digest() == hashlib.md5(content).digest()
        with pytest.raises(urllib.error.HTTPError, match='404'):
            get(f'{url}/secret')


def test_download(tmp_path):
    content = os.urandom(3 << 20)
    folder = tmp_path / 'files'
    folder.mkdir()
    (folder / 'a film & more.mkv').write_bytes(content)
    (folder / '.hidden').write_bytes(content)
    (folder / 'link').symlink_to('/etc/passwd')
    (tmp_path / 'secret').write_bytes(content)
    with example('download', str(folder)) as url:
        page = get(url).decode()
        assert re.findall('href="(.*?)">(.*)</a>', page) == [
            ('/files/a%20film%20%26%20more.mkv', 'a film &amp; more.mkv')]
        link = f'{url}/files/a%20film%20%26%20more.mkv'
        with urllib.request.urlopen(link, timeout=PATIENCE) as answer:
            part, etag = answer.read(100_000), answer.headers['ETag']
            assert answer.headers['Content-Disposition'] == (
                'attachment; filename="a film & more.mkv"')
        asked = urllib.request.Request(link, headers={'Range': 'bytes=100000-', 'If-Range': etag})
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            assert (answer.status, part + answer.read()) == (206, content)
        for name in ('.hidden', 'link', 'nothing', '..%2fsecret', '%2e%2e%2fsecret', '%00', '..'):
            with pytest.raises(urllib.error.HTTPError, match='404'):
                get(f'{url}/files/{name}')


@pytest.mark.parametrize(('name', 'arguments'), [
    ('download', ()), ('download', ('/no/such/folder',)),
    ('big_file', ()), ('big_file', ('/no/such/file',)), ('outbound', ()), ('outbound', ('a',)),
    ('site', ('/no/such/folder',)), ('site', ('.', '.'))])
def test_what_is_missing_is_said(name, arguments):
    ended = subprocess.run([sys.executable, '-m', f'tremolo.examples.{name}', *arguments],
                           capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=ROOT)
    assert (ended.returncode, ended.stdout) == (1, '')
    assert ended.stderr.startswith('usage: ')


def test_throttled():
    with example('throttled') as url:
        began = time.monotonic()
        assert len(get(f'{url}/sample?key=1')) == 1 << 20
        assert get(f'{url}/upload', bytes(200_000)) == b'200000 bytes\n'
        assert time.monotonic() - began > 0.5
        began = time.monotonic()
        with urllib.request.urlopen(f'{url}/film', timeout=PATIENCE) as answer:
            answer.read(600_000)
            assert time.monotonic() - began > 0.4


def test_outbound():
    app = tremolo.Tremolo()

    @app.route('/slow')
    def slow(stream=True):
        yield b'one '
        yield tremolo.sleep(0.3)
        yield b'two'

    @app.route('/quick')
    def quick():
        return 'quick'

    with app.start() as upstream, example('outbound', '127.0.0.1', str(upstream.port)) as url:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(get(f'{url}/slow')))
        thread.start()
        assert get(f'{url}/quick') == b'quick'
        thread.join()
        assert answers == [b'one two']
        with pytest.raises(urllib.error.HTTPError, match='404'):
            get(f'{url}/nothing')
        upstream.stop()
        with pytest.raises(urllib.error.HTTPError, match='502'):
            get(f'{url}/quick')


def asked(url, data=None, method=None, **headers):
    """Give status, headers and body; redirects are not followed."""
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    names = {name.replace('_', '-'): value for name, value in headers.items()}
    sent = urllib.request.Request(url, data, names, method=method)
    try:
        with urllib.request.build_opener(Stay).open(sent, timeout=PATIENCE) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_site(tmp_path):
    with example('site') as url:
        status, headers, page = asked(url)
        assert (status, headers['Cache-Control']) == (200, 'no-cache')
        assert b'href="style.css"' in page and b'color-scheme' in get(f'{url}/style.css')
        status, headers, packed = asked(f'{url}/style.css', Accept_Encoding='gzip')
        assert (headers['Content-Encoding'], headers['Vary']) == ('gzip', 'Accept-Encoding')
        assert gzip.decompress(packed) == get(f'{url}/style.css')
        assert re.fullmatch(rb'\d\d:\d\d:\d\d', get(f'{url}/time'))
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'docs' / 'index.html').write_bytes(b'docs')
    with example('site', str(tmp_path)) as url:
        status, headers, _ = asked(f'{url}/docs')
        assert (status, headers['Location']) == (308, '/docs/')
        assert get(f'{url}/docs/') == b'docs'
        assert asked(url)[0] == asked(f'{url}/../x')[0] == 404


def test_json_api():
    with example('json_api') as url:
        status, headers, body = asked(f'{url}/notes', b'{"text": "<buy> milk"}')
        assert (status, headers['Location']) == (201, '/notes/1')
        assert json.loads(body) == json.loads(get(f'{url}/notes/1')) == {
            'id': 1, 'text': '<buy> milk'}
        assert json.loads(get(f'{url}/notes')) == [{'id': 1, 'text': '<buy> milk'}]
        page = asked(f'{url}/notes', Accept='text/html,*/*;q=0.8')
        assert b'<li>&lt;buy&gt; milk' in page[2] and page[1]['Vary'] == 'Accept'
        assert asked(f'{url}/notes', Accept='image/png')[0] == 406
        assert asked(f'{url}/notes', b'{"text": ')[::2] == (400, b'the body is not JSON')
        assert json.loads(asked(f'{url}/notes', b'[]')[2])['error']
        assert asked(f'{url}/notes/1', method='DELETE')[::2] == (204, b'')
        assert [asked(f'{url}/notes/1', method=each)[0] for each in ('GET', 'DELETE')] == [404, 404]


def test_sessions():
    with example('sessions') as url:
        assert b'Log in' in get(url)
        status, headers, _ = asked(f'{url}/login', b'name=Ada+%3CL%3E')
        assert (status, headers['Location']) == (303, '/')
        cookie, _, attributes = headers['Set-Cookie'].partition('; ')
        assert attributes == 'Max-Age=86400; Path=/; HttpOnly; SameSite=Lax'
        for visit in 1, 2:
            _, headers, page = asked(url, Cookie=cookie)
            assert b'Hello Ada &lt;L&gt;, this is visit %d.' % visit in page
            cookie = headers['Set-Cookie'].partition(';')[0]
        assert b'Log in' in asked(url, Cookie=cookie.replace('.', 'x', 1))[2]
        assert asked(f'{url}/login', b'name=+')[0] == 400
        assert 'Max-Age=0' in asked(f'{url}/logout', b'')[1]['Set-Cookie']


def test_chat():
    with example('chat') as url:
        port = int(url.rsplit(':', 1)[1])
        assert b'new WebSocket(' in get(url)
        with Peer(port, '/chat/0?name=Ada') as ada, Peer(port, '/chat/0') as bob:
            assert [json.loads(peer.receive()) for peer in (ada, bob)] == [[], []]
            ada.send('key1 hello all')
            first, = json.loads(bob.receive())
            assert json.loads(ada.receive()) == [first]
            assert (first['key'], first['name'], first['text']) == ('key1', 'Ada', 'hello all')
            bob.close()
            ada.send('key2 <again>')
            second, = json.loads(ada.receive())
            # Who comes back says what was seen last, and gets the rest.
            for seen, missed in (first['number'], [second]), (second['number'], []):
                with Peer(port, f'/chat/{seen}') as back:
                    assert json.loads(back.receive()) == missed
                    assert back.close() == (1000, '')
            ada.close()


@pytest.mark.parametrize(('arguments', 'expected'), [
    ([], ('127.0.0.1', True)), (['0.0.0.0'], ('0.0.0.0', False)), (['::'], ('::', False))])
def test_chat_has_no_debug_mode_for_other_machines(arguments, expected, monkeypatch):
    runs = []
    monkeypatch.setattr(tremolo.Tremolo, 'run', lambda app, host, debug, **options: runs.append(
        (host, debug)))
    monkeypatch.setattr(sys, 'argv', ['chat', *arguments])
    runpy.run_module('tremolo.examples.chat', run_name='__main__')
    assert runs == [expected]


def test_embedded():
    with example('embedded') as url:
        first = json.loads(get(url))
        assert first['count'] >= 1
        while json.loads(get(url))['count'] == first['count']:
            pass
        assert get(f'{url}/quit', b'') == b'bye\n'
