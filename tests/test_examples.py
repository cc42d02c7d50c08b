"""Each example runs as its tour says, and does what it says."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import runpy
import select
import sqlite3
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from forked import start
from server_support import serving
from websocket_peer import Peer

import tremolo.examples

PATIENCE = 30
ROOT = Path(__file__).resolve().parent.parent
TOUR = (Path(tremolo.examples.__file__).parent / 'README.md').read_text(encoding='utf-8')


SERVERS = {}    # by whether they have imported asyncio


@pytest.fixture(scope='module', autouse=True)
def are_forked(fork_servers):
    """Examples are forked: most of their time went into the start of an interpreter."""
    SERVERS.update(fork_servers)
    yield
    SERVERS.clear()


def start_example(name, *arguments, folder=ROOT):
    environment = {**os.environ, 'TREMOLO_PORT': '0', 'PYTHONPATH': str(ROOT)}
    return start(SERVERS.get(False), ('-m', f'tremolo.examples.{name}', *arguments), folder,
                 environment, 2)


@contextmanager
def example(name, *arguments, folder=ROOT):
    """Run an example; give its URL."""
    with start_example(name, *arguments, folder=folder) as process:
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


def get_nothing(url, status):
    """Ask for what is answered with this status."""
    with pytest.raises(urllib.error.HTTPError, match=status) as raised:
        get(url)
    raised.value.close()


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
        get_nothing(f'{url}/secret', '404')


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
            get_nothing(f'{url}/files/{name}', '404')


@pytest.mark.parametrize(('name', 'arguments'), [
    ('download', ()), ('download', ('/no/such/folder',)),
    ('big_file', ()), ('big_file', ('/no/such/file',)), ('outbound', ()), ('outbound', ('a',)),
    ('site', ('/no/such/folder',)), ('site', ('.', '.'))])
def test_what_is_missing_is_said(name, arguments, capfd):
    with start_example(name, *arguments) as process:
        assert (process.stdout.read(), process.wait(PATIENCE)) == ('', 1)
    assert capfd.readouterr().err.startswith('usage: ')


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


class Events:
    """The events of an address, one after the other."""

    def __init__(self, url, last_id=None):
        headers = {} if last_id is None else {'Last-Event-ID': last_id}
        self.stream = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=PATIENCE)
        assert self.stream.headers['Content-Type'] == 'text/event-stream; charset=utf-8'

    def next(self):
        """Give the fields of the next event; comments are no events."""
        fields = {}
        while (line := self.stream.readline().decode().rstrip('\n')) or not fields:
            name, _, value = line.partition(': ')
            if name.strip(':'):
                fields[name] = value
        return fields

    def ids(self, last):
        found = []
        while not found or found[-1] != last:
            found.append(self.next()['id'])
        return found


def test_sse(tmp_path):
    with example('sse', folder=tmp_path) as url:
        def write(*lines):
            for line in lines:
                assert get(f'{url}/lines', f'line={line}'.encode()) == b''

        assert b'new EventSource' in get(url)
        write(*range(1, 31))
        with Events(f'{url}/events', '7').stream as stream:
            assert stream.readline() == b'id: 8\n'
        live = Events(f'{url}/events')
        first = live.next()
        # (How many of them it gets depends on the look of that moment.)
        assert first['data'] == first['id'] and first['retry'] == '1000'
        if first['id'] != '30':
            live.ids('30')
        write('%0A%3Cb%3E%C3%A9', '', 'two')
        assert (live.next()['data'], live.next()) == (
            '<b>é', {'id': '32', 'retry': '1000', 'data': 'two'})
        # (A stream reads the lines themselves; which is the newest is looked for every 0.1 s.)
        for _ in range(1000):
            with Events(f'{url}/events').stream as stream:
                if stream.readline() == b'id: 13\n':
                    break
        for bad in ('-1', '1e9', '9' * 30, 'x', '%C3%A9'):
            with Events(f'{url}/events', bad).stream as stream:
                assert stream.readline() == b'id: 13\n'
        last = Events(f'{url}/events', '31')
        assert last.next()['id'] == '32'
    # At the stop both streams have ended in good order.
    for each in live, last:
        with each.stream:
            assert each.stream.read() == b''
    # The next process has the lines.
    with example('sse', folder=tmp_path) as url, Events(f'{url}/events', '31').stream as stream:
        assert stream.readline() == b'id: 32\n'


def test_jobs():
    with example('jobs') as url:
        assert b'new EventSource' in get(url)
        events = Events(f'{url}/events')
        for number, name in enumerate('abc', 1):
            with urllib.request.urlopen(f'{url}/jobs', f'name={name}'.encode()) as answer:
                assert (answer.status, json.load(answer)['number']) == (202, number)
        states = {}
        while not states.get(1, '').startswith('done: '):
            job = json.loads(events.next()['data'])
            states[job['number']] = job['state']
            assert list(states.values()).count('runs') <= 2
        digest = b'a'
        for _ in range(20):
            digest = hashlib.pbkdf2_hmac('sha256', digest, b'salt', 20_000)
        assert states[1] == f'done: {digest.hex()[:8]}'
        # (The other jobs have not ended; they are told that the server stops.)
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 5
    with events.stream:
        assert events.stream.read() is not None    # It ends in good order.


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
        get_nothing(f'{url}/nothing', '404')
        upstream.stop()
        get_nothing(f'{url}/quick', '502')


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


def test_gzip():
    with example('gzip') as url:
        _, headers, plain = asked(url)
        assert (headers['ETag'], headers['Vary']) == ('"1"', 'Accept-Encoding')
        for accepted in 'gzip', 'br, GZIP;q=0.5', 'gzip; q=0.001':
            _, headers, packed = asked(url, Accept_Encoding=accepted)
            assert gzip.decompress(packed) == plain and len(packed) < len(plain) / 5
            assert headers['ETag'] == 'W/"1"' and headers['Content-Length'] == str(len(packed))
        for refused in 'gzip;q=0', 'gzip ; q=0.00, br', 'x-notgzip', '':
            assert asked(url, Accept_Encoding=refused)[2] == plain
        known = {'Accept_Encoding': 'gzip', 'If_None_Match': 'W/"1"'}
        status, headers, body = asked(url, **known)
        assert (status, headers['ETag'], headers['Vary']) == (304, 'W/"1"', 'Accept-Encoding')
        # (A cache would give the body that it has a field that is not true.)
        assert 'Content-Encoding' not in headers and not body
        _, headers, _ = asked(url, method='OPTIONS', Accept_Encoding='gzip')
        assert 'Content-Encoding' not in headers
        assert asked(url, method='HEAD', Accept_Encoding='gzip')[2] == b''
        # What goes on is there as soon as it was yielded, in spite of the packer.
        ticks = urllib.request.Request(f'{url}/ticks', headers={'Accept-Encoding': 'gzip'})
        unpacker = zlib.decompressobj(31)
        with urllib.request.urlopen(ticks, timeout=PATIENCE) as answer:
            assert answer.headers['Content-Encoding'] == 'gzip'
            text = b''
            while not text:
                text = unpacker.decompress(answer.read1())
            assert text == b'tick 0\n' and not unpacker.eof


def test_cors():
    one, other = 'http://one.example', 'http://other.example'
    with example('cors', one) as url:
        before = {'Access_Control_Request_Method': 'DELETE', 'method': 'OPTIONS'}
        status, headers, _ = asked(f'{url}/notes/1', Origin=one, **before)
        assert (status, headers['Access-Control-Allow-Methods']) == (204, 'GET, POST, DELETE')
        assert headers['Access-Control-Allow-Headers'] == 'Content-Type'
        status, headers, _ = asked(f'{url}/notes', b'{"a": 1}', Origin=one)
        assert (status, headers['Location']) == (201, '/notes/1')
        for path, data, expected in [('/notes', None, 200), ('/none', None, 404),
                                     ('/notes', b'{', 400), ('/notes/1', b'', 405)]:
            status, headers, _ = asked(url + path, data, Origin=one)
            assert (status, headers['Access-Control-Allow-Origin']) == (expected, one)
            assert headers['Vary'] == 'Origin'
        for foreign in {'Origin': other}, {'Origin': 'null'}, {}:
            for how in {}, before:
                _, headers, _ = asked(f'{url}/notes', **foreign, **how)
                assert headers['Vary'] == 'Origin'
                assert not [name for name in headers if name.startswith('Access-Control')]


class Guest:
    """A visitor of the guestbook: a cookie, and the token of the page."""

    def __init__(self, url):
        self.url = url
        _, headers, self.page = asked(url)
        self.keep(headers)

    def keep(self, headers):
        self.cookie = headers['Set-Cookie'].partition(';')[0]
        self.load()

    def load(self):
        self.page = asked(self.url, Cookie=self.cookie)[2].decode()
        self.token = re.search('name="token" value="(.*?)"', self.page)[1]

    def post(self, path, **fields):
        data = urllib.parse.urlencode({'token': self.token, **fields}).encode()
        return asked(self.url + path, data, Cookie=self.cookie)

    def log_in(self, name, password):
        status, headers, _ = self.post('/login', name=name, password=password)
        if status == 303:
            self.keep(headers)
        return status

    def write(self, text, picture=b'', name=b'a.png', **fields):
        parts = {'token': self.token, 'text': text, **fields}
        body = b''.join(
            f'--b\r\nContent-Disposition: form-data; name="{each}"\r\n\r\n{value}\r\n'.encode()
            for each, value in parts.items())
        body += (b'--b\r\nContent-Disposition: form-data; name="picture"; filename="%b"\r\n'
                 b'Content-Type: text/html\r\n\r\n%b\r\n--b--\r\n' % (name, picture))
        return asked(f'{self.url}/entries', body, Cookie=self.cookie,
                     Content_Type='multipart/form-data; boundary=b')[0]


PNG = b'\x89PNG\r\n\x1a\n' + b'<script>' * 100


def test_guestbook(tmp_path):
    with example('guestbook', str(tmp_path / 'book.db')) as url:
        ada, eve = Guest(url), Guest(url)
        assert ada.log_in('Ada <L>', 'short') == 400
        assert ada.log_in('Ada <L>', 'correct horse') == 303
        assert 'Ada &lt;L&gt;' in ada.page and 'Log out' in ada.page
        # Another one cannot take the name, forge a form, or write without a name.
        assert eve.log_in('Ada <L>', 'battery staple') == 403
        assert eve.write('as nobody') == 403
        assert ada.write('forged', token=eve.token) == ada.write('forged', token='') == 403
        assert ada.post('/logout', token='é')[0] == 403
        live = urllib.request.Request(f'{url}/live/0')
        with urllib.request.urlopen(live, timeout=PATIENCE) as events:
            assert events.headers['Content-Type'].startswith('text/event-stream')
            assert ada.write('<b>one</b>\r\ntwo', PNG) == 303
            line = b':'
            while not line.startswith(b'data'):
                line = events.readline()
            assert b'&lt;b&gt;one&lt;/b&gt;' in line
        ada.load()
        assert 'data-newest="1"' in ada.page and '<b>one' not in ada.page
        # A picture is what its first bytes say, and is sent as nothing else.
        assert ada.write('a page', b'<!doctype html>') == 415
        assert ada.write('large', PNG + bytes(2 << 20)) == 413
        status, headers, content = asked(f'{url}/pictures/1')
        assert (status, headers['Content-Type'], content) == (200, 'image/png', PNG)
        assert headers['X-Content-Type-Options'] == 'nosniff'
        entry, = json.loads(get(f'{url}/entries'))
        assert (entry['name'], entry['text']) == ('Ada <L>', '<b>one</b>\r\ntwo')
        for path in '/pictures/2', f'/pictures/{10 ** 30}', '/none':
            status, headers, page = asked(url + path)
            assert (status, b'There is no such page' in page) == (404, True)
            assert "default-src 'self'" in headers['Content-Security-Policy']
        assert 'Max-Age=0' in ada.post('/logout')[1]['Set-Cookie']
        # A page that comes back gets all that it has missed: more than one query gives.
        with contextlib.closing(sqlite3.connect(tmp_path / 'book.db')) as db, db:
            db.executemany("INSERT INTO entries VALUES (?, 'Bob', 'late', 0, NULL, NULL)",
                           [[number] for number in range(2, 121)])
        live = urllib.request.Request(f'{url}/live/0', headers={'Last-Event-ID': '3'})
        with urllib.request.urlopen(live, timeout=PATIENCE) as events:
            assert first_ids(events, 117) == list(range(4, 121))


def test_guestbook_has_threads_for_its_pages_while_many_log_in(tmp_path, monkeypatch):
    from tremolo.examples import guestbook
    tried, go_on = [], threading.Event()

    def hashed(password, salt):
        tried.append(password)
        go_on.wait(PATIENCE)
        return b'key'

    monkeypatch.setattr(guestbook, 'FILE', str(tmp_path / 'book.db'))
    monkeypatch.setattr(guestbook, 'hashed', hashed)
    with serving(guestbook.app, threads=4) as host, ThreadPoolExecutor(6) as pool:
        url = host.running.url
        try:
            guests = [Guest(url) for _ in range(6)]
            found = [pool.submit(guest.log_in, f'guest {number}', 'correct horse')
                     for number, guest in enumerate(guests)]
            host.wait_for(lambda: sum(each.task is not None
                                      for each in host.server.connections) == 6)
            host.wait_for(lambda: len(tried) >= 2)
            assert b'Your name' in get(url)
            assert len(tried) == 2
        finally:
            go_on.set()
        assert [each.result() for each in found] == [303] * 6


def first_ids(events, count):
    """Read the ids of so many events."""
    ids = []
    while len(ids) < count:
        line = events.readline()
        if line.startswith(b'id:'):
            ids.append(int(line[3:]))
    return ids


def test_embedded():
    with example('embedded') as url:
        first = json.loads(get(url))
        assert first['count'] >= 1
        while json.loads(get(url))['count'] == first['count']:
            pass
        assert get(f'{url}/quit', b'') == b'bye\n'
