"""The first page says what is true: each of its programs is run."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from certificates import CA, CLIENT_CHAIN, LOCALHOST, client_context

import tremolo
from tremolo.asgi_app import AsgiApplication
from tremolo.settings import option_table

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / 'README.md').read_text(encoding='utf-8')
PROGRAMS = re.findall(r'```python\n(.*?)```', README, re.DOTALL)


def run(words: str, name: str = 'example') -> dict[str, Any]:
    """Run the program that has these words; give its names."""
    program, = [each for each in PROGRAMS if words in each]
    names: dict[str, Any] = {'__name__': name}
    exec(compile(program, f'README, {words}', 'exec'), names)
    return names


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a 308, as urllib does by itself from Python 3.11 on."""

    def http_error_308(self, req, fp, code, msg, headers):
        return self.http_error_302(req, fp, 307, msg, headers)


def get(url: str) -> bytes:
    with urllib.request.build_opener(Redirects).open(url, timeout=30) as answer:
        return answer.read()


def test_the_table_of_options_is_the_one_that_the_settings_give():
    assert option_table().strip() in README


def test_the_first_page_says_hello():
    with run('hello_world')['app'].start() as server:
        assert get(f'{server.url}/hello') == b'Hello world!'


def test_the_first_page_runs_as_it_is_written(monkeypatch):
    # All interfaces and port 8000, which may be taken here: only what it asks for is looked at.
    asked = []
    monkeypatch.setattr(tremolo.Tremolo, 'run', lambda self, *given, **more: asked.append(
        (given, more)))
    for words in 'hello_world', 'big.data':
        run(words, '__main__')
    assert asked == [(('0.0.0.0', 8000), {})] * 2
    run('app.listen(8001', '__main__')
    assert asked[2:] == [(('0.0.0.0', 8000), {'worker_num': 2})]


def test_a_thread_sends_by_hand():
    with run('response.write')['app'].start() as server:
        lines = get(f'{server.url}/squares').splitlines()
        assert (len(lines), lines[-1]) == (1000, b'999;998001')


def test_the_three_styles():
    with run('by_await')['app'].start() as server:
        assert get(f'{server.url}/generator') == b'Hello world!'
        assert get(f'{server.url}/coroutine') == b'Hello world!'
        with urllib.request.urlopen(f'{server.url}/function', timeout=30) as answer:
            assert answer.read() == b'Hello world!'
            assert answer.headers['Content-Type'] == 'text/html; charset=latin-1'


def test_the_pages_in_debug_mode(logged):
    app = run('prices')['app']
    for debug in True, False:
        with app.start(debug=debug) as server:
            for path, status, words in ('/price/plum', 500, b'KeyError'), (
                    '/prices/apple', 404, b'/price/&lt;fruit&gt;'):
                with pytest.raises(urllib.error.HTTPError, match=str(status)) as answered:
                    get(f'{server.url}{path}')
                with answered.value as answer:
                    assert (words in answer.read()) is debug
    assert logged.count("failed on GET '/price/plum'") == 2


def test_the_big_file(tmp_path, monkeypatch):
    content = bytes(range(256)) * 1000
    (tmp_path / 'big.data').write_bytes(content)
    names = run('big.data')
    monkeypatch.setitem(names, 'open', lambda _, mode: (tmp_path / 'big.data').open(mode))
    with names['app'].start() as server:
        url = f'{server.url}/my/url/big.data'
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.headers['Content-Type'] == 'application/octet-stream'
            assert answer.read() == content


def test_the_files(tmp_path, monkeypatch):
    content = bytes(range(256)) * 1000
    (tmp_path / 'report.pdf').write_bytes(content)
    (tmp_path / 'movie.mp4').write_bytes(content)
    monkeypatch.chdir(tmp_path)
    with run('send_file')['app'].start() as server:
        with urllib.request.urlopen(f'{server.url}/report', timeout=30) as answer:
            assert answer.read() == content
            assert answer.headers['Content-Type'] == 'application/pdf'
            assert "filename*=UTF-8''Jahresbericht%20f%C3%BCr" in (
                answer.headers['Content-Disposition'])
        part = urllib.request.Request(f'{server.url}/movie', headers={'Range': 'bytes=1-3'})
        with urllib.request.urlopen(part, timeout=30) as answer:
            assert (answer.status, answer.read()) == (206, content[1:4])
        known = urllib.request.Request(f'{server.url}/version', headers={'If-None-Match': '"7"'})
        with pytest.raises(urllib.error.HTTPError, match='304') as raised:
            urllib.request.urlopen(known, timeout=30)
        raised.value.close()


def test_the_tests_of_an_application_pass(tmp_path):
    run('pytest.fixture')
    program, = [each for each in PROGRAMS if 'pytest.fixture' in each]
    (tmp_path / 'test_notes.py').write_text(program, encoding='utf-8')
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-W', 'error', tmp_path],
        cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True,
        timeout=60, check=False)
    assert '2 passed' in done.stdout, done.stdout


def test_the_test_client_is_a_guest_of_asyncio(capsys):
    run("client.get('/slow')")
    assert capsys.readouterr().out == 'at last at last\n'


def test_the_digest_and_the_numbered_page_work():
    with run('hashlib')['app'].start() as server:
        upload = urllib.request.Request(f'{server.url}/digest', data=b'x' * 100_000, method='PUT')
        with urllib.request.urlopen(upload) as answer:
            assert answer.read().startswith(b'100000 bytes\n')
        with urllib.request.urlopen(f'{server.url}/page/7') as answer:
            assert answer.read() == b'{"page": 7}'
            assert answer.headers['Set-Cookie'] == 'last=7; Path=/; HttpOnly'


def read_events(url: str, last_id: str = '', count: int = 99) -> list[str]:
    """Read the events of a stream, each as its lines with a bar between them."""
    asked = urllib.request.Request(url, headers={'Last-Event-ID': last_id} if last_id else {})
    events: list[str] = []
    with urllib.request.urlopen(asked, timeout=30) as answer:
        lines: list[str] = []
        while len(events) < count and (line := answer.readline()):
            if line != b'\n':
                lines.append(line.decode().rstrip())
            else:
                if lines != [':']:    # (A comment is no event.)
                    events.append('|'.join(lines))
                lines = []
    return events


def test_the_events():
    with run('sse.last_id')['app'].start() as server:
        for text in 'one', 'two', 'three':
            urllib.request.urlopen(f'{server.url}/news', text.encode(), timeout=30).close()
        assert read_events(f'{server.url}/news', count=3) == [
            'id: 0|data: one', 'id: 1|data: two', 'id: 2|data: three']
        assert read_events(f'{server.url}/news', '1', 1) == ['id: 2|data: three']
        assert read_events(f'{server.url}/clock') == [
            'event: state|retry: 10000|data: soon', 'data: 0|data: seconds',
            'data: 1|data: seconds', 'data: 2|data: seconds']
        assert read_events(f'{server.url}/steps') == ['data: one', 'data: two']


def test_the_background_jobs(monkeypatch):
    names = run('smtplib')
    sent = []
    monkeypatch.setitem(names, 'send_mail', sent.append)
    with names['app'].start() as server:
        data = b'address=ann%40example.org'
        with urllib.request.urlopen(f'{server.url}/order', data, timeout=30) as answer:
            assert answer.read() == b'thank you'
    # The stop has waited for the mail, and told the report.
    assert sent == ['ann@example.org']


def test_the_forms_and_uploads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program, = [each for each in PROGRAMS if 'part.save' in each]
    monkeypatch.setattr(sys.modules[__name__], 'PROGRAMS', [program.replace('/tmp/', '')])
    with run('part.save')['app'].start() as server:
        data = b'name=Ann&fruit=fig&fruit=plum'
        with urllib.request.urlopen(f'{server.url}/order', data, timeout=30) as answer:
            assert answer.read() == b'Ann orders fig, plum'
        data = (b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nmine\r\n'
                b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\n'
                b'hello\r\n--b--\r\n')
        kind = {'Content-Type': 'multipart/form-data; boundary=b'}
        asked = urllib.request.Request(f'{server.url}/upload', data, kind)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert answer.read() == b'note is mine\na.txt: 5 bytes\n'
    assert (tmp_path / 'upload-1').read_bytes() == b'hello'


def test_the_static_folders(tmp_path, monkeypatch):
    for name in 'build/assets/app.js', 'site/index.html', 'site/hello':
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    with run('app.static(')['app'].start() as server:
        assert get(server.url) == b'site/index.html'
        with urllib.request.urlopen(f'{server.url}/assets/app.js') as answer:
            assert answer.headers['Cache-Control'] == 'max-age=3600'
            assert answer.read() == b'build/assets/app.js'
        assert get(f'{server.url}/hello') == b'a route wins over a file'


def test_the_signed_cookie(monkeypatch):
    monkeypatch.setenv('SECRET_KEY', 'k' * 64)
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with run('secret_keys')['app'].start() as server:
        assert browser.open(server.url).read() == b'You are nobody'
        assert browser.open(f'{server.url}/login', b'name=Ada').read() == b'You are Ada'
        assert browser.open(server.url).read() == b'You are Ada'


def test_a_thing_moves_and_is_what_the_client_likes():
    with run('redirect(f')['app'].start() as server:
        with urllib.request.urlopen(f'{server.url}/things/a%20b') as answer:
            assert answer.read() == b'<h1>a b</h1>'
        with socket.create_connection(('127.0.0.1', server.port)) as client:
            client.sendall(b'GET /old/a%20b HTTP/1.0\r\n\r\n')
            assert b'\r\nLocation: /things/a%20b\r\n' in client.makefile('rb').read()
        asked = urllib.request.Request(f'{server.url}/things/a', headers={
            'Accept': 'application/json'})
        with urllib.request.urlopen(asked) as answer:
            assert answer.read() == b'{"name": "a"}'
        put = urllib.request.Request(f'{server.url}/things/a', b'[1]', method='PUT')
        with urllib.request.urlopen(put) as answer:
            assert answer.read() == b'{"name": "a", "kept": [1]}'


def test_the_trailers():
    with run('trailers=')['app'].start() as server, socket.create_connection(
            ('127.0.0.1', server.port)) as client:
        client.sendall(b'GET /counted HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
        assert client.makefile('rb').read().endswith(b'0\r\nX-Count: 10000\r\n\r\n')


def test_it_serves_asgi(capsys):
    run('AsgiApplication(app)')
    assert capsys.readouterr().out.startswith('http://127.0.0.1:')
    names = run("assert scope['type'] == 'http'")
    # Its lifespan is refused by the assertion, and it is served all the same.
    with AsgiApplication(names['app']).start() as server:
        assert get(server.url) == b'Hello world!'


def test_a_program_names_its_application_and_uvloop(monkeypatch):
    asked = []
    monkeypatch.setattr(tremolo, 'run', lambda *given, **more: asked.append((given, more)))
    run("loop='uvloop'", '__main__')
    assert asked == [(('example:app',), {
        'host': '127.0.0.1', 'port': 8000, 'debug': True, 'loop': 'uvloop', 'worker_num': 2})]
    tremolo.settings.Settings(**asked[0][1])


def test_it_serves_inside_another_program(capsys):
    run('served from a thread')
    assert capsys.readouterr().out == 'served from a thread\n'


def test_it_serves_inside_an_asyncio_program(capsys):
    run('served beside you')
    assert capsys.readouterr().out.startswith('http://127.0.0.1:')


def test_the_hooks_of_a_worker_are_called():
    app = run('context.pool')['app']
    with app.start() as server:
        assert get(server.url) == b'1 connections'
    assert app.context.pool == []


def test_the_lock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with run('lock.acquire')['app'].start() as server:
        threads = [threading.Thread(target=get, args=(f'{server.url}/{path}',))
                   for path in ('count', 'slow', 'impatient') * 5]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert get(f'{server.url}/count') == b'6'


def test_it_listens_at_several_addresses(tmp_path, monkeypatch):
    # With a free port and a folder that is there.
    listen = tremolo.Tremolo.listen

    def elsewhere(self, port, **options):
        listen(self, f'unix:{tmp_path}/hello.sock' if isinstance(port, str) else 0, **options)

    monkeypatch.setattr(tremolo.Tremolo, 'listen', elsewhere)
    with run('app.listen(8001')['app'].start() as server:
        first, second, third = server.server.urls
        assert get(first) == get(second) == b'Hello world!'
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(third[5:])
            sock.sendall(b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
            with sock.makefile('rb') as answer:
                assert answer.read().endswith(b'\r\n\r\nHello world!')


def test_one_address_speaks_tls(monkeypatch):
    # With a free port, and the certificates of the tests.
    listen = tremolo.Tremolo.listen
    files = {'ssl_certfile': LOCALHOST.cert, 'ssl_keyfile': LOCALHOST.key, 'ssl_ca_certs': CA}

    def elsewhere(self, port, **options):
        assert options.keys() > files.keys()
        listen(self, 0, **{**options, **files})

    monkeypatch.setattr(tremolo.Tremolo, 'listen', elsewhere)
    with run('app.listen(8443')['app'].start() as server:
        plain, secure = server.server.urls
        assert get(plain) == b'in the clear'
        for client, body in ((None, b'somebody, by TLSv1.3'), (CLIENT_CHAIN, b'CN=bob')):
            with urllib.request.urlopen(secure, context=client_context(client)) as answer:
                assert answer.read() == body


def test_wsgi_runs_on_threads(monkeypatch):
    said = []

    def show(url):
        said.append(get(url))

    monkeypatch.setattr('builtins.print', show)
    run('WsgiApplication')
    assert said == [b'Hello from a thread!']


def test_it_throttles():
    with run('def film(')['app'].start() as server:
        began = time.monotonic()
        assert len(get(f'{server.url}/film')) == 1 << 20
        assert time.monotonic() - began > 0.9
        for query in ('', '?key=1'):
            assert len(get(f'{server.url}/sample{query}')) == 16384


def test_an_event_stream_ends_politely_at_a_stop():
    app = run('text/event-stream')['app']
    with app.start() as server, urllib.request.urlopen(f'{server.url}/clock', timeout=30) as answer:
        assert answer.headers['Content-Type'] == 'text/event-stream'
        assert answer.readline().startswith(b'data: ')
        assert not app.stopping.done()
        app.stop()
        assert answer.read().endswith(b'event: end\ndata: the server stops\n\n')


def open_socket(server, path, *lines):
    """Open a WebSocket; give the connection, its file and the answer's first line."""
    sock = socket.create_connection(server.address, timeout=30)
    fields = ['Host: x', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
              'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', *lines]
    sock.sendall('\r\n'.join([f'GET {path} HTTP/1.1', *fields, '', '']).encode())
    file = sock.makefile('rb')
    first = file.readline().decode()
    while file.readline() != b'\r\n':
        pass
    return sock, file, first


def say(sock, text):
    """Send a small message; the mask is 0."""
    sock.sendall(bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text.encode())


def hear(file):
    """Wait for a small message, or for the close: its code."""
    first, size = file.read(2)
    payload = file.read(size)
    return payload.decode() if first == 0x81 else int.from_bytes(payload[:2], 'big')


def test_the_chat():
    with run('def chat(')['app'].start() as server, contextlib.ExitStack() as stack:
        rooms = []
        for path in '/chat/red', '/chat/red', '/chat/blue':
            sock, file, _ = open_socket(server, path)
            stack.enter_context(sock)
            stack.enter_context(file)
            rooms.append((sock, file))
        for number, text in enumerate(('hello', 'and you?', 'alone')):
            say(rooms[number][0], text)
            for _, file in rooms[:2] if number < 2 else rooms[2:]:
                assert hear(file) == text


def test_the_styles_of_sockets():
    with run('websocket.stream()')['app'].start() as server:
        for path, lines, said, heard in (
                ('/echo', ['Cookie: user=7', 'Origin: https://example.org'], 'hi', ['hi']),
                ('/count', ['Origin: http://localhost:8000'], 'hello', ['5']),
                ('/', [], '', ['hello', 1000]), ('/upload', [], 'x' * 100, ['100 bytes', 1000])):
            sock, file, first = open_socket(server, path, *lines)
            with sock, file:
                assert first.startswith('HTTP/1.1 101 ')
                say(sock, said)
                for each in heard:
                    assert hear(file) == each
        for path, lines in (('/echo', []), ('/count', ['Origin: https://evil.example'])):
            sock, file, first = open_socket(server, path, *lines)
            with sock, file:
                assert first.startswith('HTTP/1.1 403 ')
        assert b'<script>' in get(server.url)


def test_every_program_is_tried_here():
    source = Path(__file__).read_text(encoding='utf-8')
    words = re.findall(r'\brun\((["\'])(.*?)\1', source)
    words += [('', each) for each in ('hello_world', 'big.data')]
    for program in PROGRAMS:
        assert any(each in program for _, each in words), program


def test_the_middleware_wraps():
    import urllib.error
    with run('def only_ours')['app'].start() as server:
        asked = urllib.request.Request(f'{server.url}/', headers={'X-Key': 'ours'})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert answer.read() == b'HELLO WORLD!'
            assert answer.headers['Server-Timing'].startswith('app;dur=')
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f'{server.url}/')
        assert refused.value.code == 403
        assert refused.value.headers['Server-Timing']
        refused.value.close()


def test_the_error_handlers_answer():
    with run('class OutOfStock')['app'].start() as server:
        for path, status, body in (('/x', 404, b'There is no /x'), ('/buy', 409, b'sold out')):
            with pytest.raises(urllib.error.HTTPError) as raised:
                get(server.url + path)
            assert (raised.value.code, raised.value.read()) == (status, body)
            raised.value.close()


def test_the_mounts_are_there():
    with run("app.mount('/asgi', asgi)")['app'].start(lifespan='off') as server:
        assert get(f'{server.url}/admin') == b'/admin/ in /admin'
        assert get(f'{server.url}/asgi/') == b'/asgi'
        assert get(f'{server.url}/wsgi/x') == b'/x'


def test_the_hooks_count_connections():
    with run('@app.on_connect')['app'].start() as server:
        assert get(f'{server.url}/') == b'1 open'


def test_the_routes():
    with run('app.converters')['app'].start() as server:
        url = get(server.url).decode()
        assert url == '/on/2026-11-30/tea%20&%20talk'
        assert get(server.url + url) == b'tea & talk on 30.11.2026'
        assert get(f'{server.url}/notes/7') == b'{"id": 7}'
        put = urllib.request.Request(f'{server.url}/notes/7', data=b'"x"', method='PUT')
        with urllib.request.urlopen(put, timeout=30) as answer:
            assert answer.read() == b'{"id": 7, "note": "x"}'


def test_the_ids_of_requests(capsys):
    names = run('RequestIdFilter')
    try:
        with names['app'].start(request_id=True) as server:
            first, second = get(f'{server.url}/order').split()
            assert first == second != b''
        assert f'WARNING {first.decode()} out of stock' in capsys.readouterr().err
    finally:
        names['log'].removeHandler(names['handler'])
