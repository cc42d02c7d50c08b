"""What a server in one process tells of its connections, and how it is shown."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from control_scene import APPLICATION, EXPECTED, differs, seen, staged
from server_support import Client, request, serving
from tls_support import context_of

from tremolo import Tremolo, top
from tremolo.asgi_app import AsgiApplication
from tremolo.control.look import LookFailed, look
from tremolo.control.rows import END
from tremolo.wsgi_app import WsgiApplication

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='TCP_INFO is on Linux')


def line_of(mark: str) -> int:
    lines = Path(__file__).read_text(encoding='utf-8').splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f'    {mark}'))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(top, '_TWICE', 0.02)


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / 'ctl')


@pytest.fixture
def app(tmp_path) -> Tremolo:
    """The application of the scene, whose lines have a name."""
    names: dict = {'__name__': 'example'}
    exec(compile(APPLICATION, str(tmp_path / 'example.py'), 'exec'), names)
    return names['app']


def test_each_connection_is_shown_for_what_it_is(app, path, capsys):
    with serving(app, control=path) as server, \
            staged(server.running.address) as clients:
        rows = seen(path, lambda rows: not differs(rows))
        process = rows[0]
        assert process['row'] == 'worker' and process['state'] == 'serves'
        assert sum(process['connections'].values()) == len(clients)
        assert process['connections']['upgraded'] == 1
        by_target = {row['what']: row for row in rows if row['row'] == 'connection'}
        upload, video = by_target["POST '/upload'"], by_target["GET '/video'"]
        assert upload['in'] > 100 and upload['out'] == 0
        assert video['kept'] > 0 and video['unread'] > 0
        for row in by_target.values():
            host, port = row['client'].split(':')
            assert host == '127.0.0.1' and int(port) and row['scheme'] == 'http'
            assert row['address'] == f'127.0.0.1:{server.running.port}'
            assert 0 <= row['since'] <= row['open']

        assert top.main(['--once', path]) == 0
        shown = capsys.readouterr().out
        for what, (kind, _, handler, place, waits) in EXPECTED.items():
            line = next(line for line in shown.splitlines()
                        if what in line and (what or ' idle' in line))
            assert handler in line and place in line and waits in line
            assert ('(WebSocket)' in line) == (kind == 'websocket')
            assert ('(event stream)' in line) == (kind == 'events')

        assert top.main(['--once', '--json', path]) == 0
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert {row['what'] for row in told} == {*EXPECTED}
        export = next(row for row in told if row['what'] == "GET '/export'")
        assert 0 <= export['out_rate'] < 100_000 and export['in_rate'] == 0


def test_bytes_and_rates_are_those_of_the_kernel(path):
    app = Tremolo()

    @app.route('/')
    def index(request):
        return bytes(100_000)

    with serving(app, control=path) as server:
        client = server.connect(request('/'))
        size = len(client.take().head) + 4 + 100_000
        row = next(row for row in seen(path, lambda rows: not rows[1]['unread'])
                   if row['row'] == 'connection')
        assert (row['in'], row['out'], row['kept']) == (len(request('/')), size, 0)


def test_an_asgi_application_is_shown_where_it_waits(path):
    async def application(scope, receive, send):
        if scope['type'] == 'http':
            await leaves(receive)

    async def leaves(receive):
        while (await receive())['type'] != 'http.disconnect':    # HERE
            pass

    with serving(AsgiApplication(application), control=path) as server:
        server.connect(request('/asgi'))
        row = seen(path, lambda rows: len(rows) == 2 and rows[1]['place'])[1]
        assert row['handler'] == 'leaves' and row['what'] == "GET '/asgi'"
        assert row['waits'] == f'handler waits at {Path(__file__).name}:{line_of("# HERE")}'
        server.clients[0].reset()


def test_a_wsgi_application_is_shown_where_its_thread_is(path):
    go = threading.Event()

    def application(environ, start_response):
        go.wait(30)    # THERE
        start_response('204 No Content', [])
        return []

    with serving(WsgiApplication(application), control=path) as server:
        server.connect(request('/wsgi'))
        row = seen(path, lambda rows: len(rows) == 2 and rows[1]['place'])[1]
        assert row['handler'] == 'application' and row['what'] == "GET '/wsgi'"
        assert row['waits'] == f'its thread is at {Path(__file__).name}:{line_of("# THERE")}'
        go.set()


def test_a_client_of_a_unix_socket_has_no_address(path, tmp_path, capsys):
    app = Tremolo()

    @app.route('/')
    def index(app):
        yield b'begun'
        yield app.stopping

    with serving(app, control=path, bind=f'unix:{tmp_path}/app') as server:
        server.connect(request('/')).until(b'begun')
        row = seen(path, lambda rows: len(rows) == 2 and rows[1]['out'])[1]
        assert (row['client'], row['proxy']) == ('', '')
        assert row['address'] == f'unix:{tmp_path}/app'
        # (The kernel counts nothing there; what it has taken is known.)
        assert row['in'] is None and row['out'] > 0
        assert top.main(['--once', path]) == 0
        assert ' unix ' in capsys.readouterr().out


@pytest.mark.parametrize('option', [
    'download_rate', 'worker_download_rate', 'upload_rate', 'worker_upload_rate'])
def test_what_is_throttled_names_the_option(path, option):
    app = Tremolo()

    @app.route('/', methods=['GET', 'POST'])
    def index(request):
        yield request.body()
        yield bytes(200_000)

    upload = 'upload' in option
    data = request('/', 'POST', body=bytes(20_000)) if upload else request('/')
    with serving(app, control=path, **{option: 1000}) as server:
        client = server.connect(data)
        seen(path, lambda rows: len(rows) == 2 and rows[1]['waits'] == f'throttled ({option})')
        client.reset()


def test_a_client_is_named_as_its_proxy_names_it(path):
    app = Tremolo()

    @app.route('/')
    def index(app):
        yield b''
        yield app.stopping

    with serving(app, control=path, trusted_proxies='127.0.0.1') as server:
        server.connect(request('/', 'GET', 'X-Forwarded-For: 203.0.113.7',
                               'X-Forwarded-Proto: https'))
        row = seen(path, lambda rows: len(rows) == 2 and rows[1]['what'])[1]
        assert row['client'] == '203.0.113.7' and row['scheme'] == 'https'
        assert row['proxy'].startswith('127.0.0.1:')


def test_a_handshake_that_does_not_begin_is_arriving(path):
    app = Tremolo()
    with serving(app, control=path, ssl_context=context_of(), shutdown_timeout=0.1) as server:
        Client(server.running.address).close()
        with socket.create_connection(server.running.address):
            row = seen(path, lambda rows: len(rows) == 2)[1]
        assert (row['kind'], row['phase'], row['id']) == ('arriving', 'arriving', None)
        assert row['waits'] == 'waits for the TLS handshake'


def test_a_target_is_escaped_and_cut(path, capsys):
    app = Tremolo()

    @app.route('/<path:rest>')
    def index(rest, app):
        yield b''
        yield app.stopping

    with serving(app, control=path) as server:
        server.connect(request("/'%1B[2J" + 'x' * 1000))
        row = seen(path, lambda rows: len(rows) == 2 and rows[1]['what'])[1]
        assert row['what'] == 'GET "/\'%1B[2J' + 'x' * 192 + '"'
        assert top.main(['--once', path]) == 0
    shown = capsys.readouterr().out
    assert shown.replace('\n', '').isprintable() and max(map(len, shown.splitlines())) <= 160


def patient(path: str) -> Client:
    """Connect as soon as the kernel's queue has room."""
    while True:
        try:
            return Client(path)
        except BlockingIOError:
            pass


def test_nothing_is_read_from_a_client_and_nothing_it_does_holds_the_server(path):
    app = Tremolo()

    @app.route('/')
    def index():
        return 'good'

    with serving(app, control=path) as server:
        crowd = [patient(path) for _ in range(24)]
        for number, client in enumerate(crowd):
            if number % 3 == 0:
                client.fin()
            elif number % 3 == 1:
                with suppress(OSError):    # (It may have its answer, and be closed.)
                    client.send(b'GET / HTTP/1.1\r\n\r\n' * 100)
        assert server.ask(request('/', 'GET', 'Connection: close'))[0].body == b'good'
        for number, client in enumerate(crowd):
            if number % 3 != 1:    # (What was sent in vain may be answered by a reset.)
                assert client.read_all().endswith(END)
            client.close()
        assert look(path)[0]['row'] == 'worker'


def test_a_client_that_does_not_read_has_its_time(path, monkeypatch):
    from tremolo.control import desk, telling
    monkeypatch.setattr(desk, '_LONGEST', 0.05)
    monkeypatch.setattr(desk, '_MOST', 1)
    endless = ({'row': 'x', 'text': 'x' * 10_000} for _ in iter(int, 1))
    monkeypatch.setattr(telling, 'rows', lambda *_: endless)
    turns = []
    with serving(Tremolo(), control=path) as server:
        client, second = Client(path), Client(path)
        for each in (client, second):
            # The loop goes on meanwhile, and what is kept is bounded.
            while server.on_loop(lambda: turns.append(0)) or len(turns) % 10:
                pass
            with pytest.raises(AssertionError):
                each.until(END)
            each.close()


def test_many_connections_are_told_in_slices(path, monkeypatch):
    from tremolo.control import telling
    rows = [{'row': 'x', 'text': 'x' * 300} for _ in range(5_000)]
    monkeypatch.setattr(telling, 'rows', lambda *_: iter(rows))
    # (However fast the machine is.)
    monkeypatch.setattr(telling, '_SLICE', 0.0005)
    with serving(Tremolo(), control=path) as server:
        before = server.on_loop(lambda: server.reactor.turns)
        client = Client(path)
        client.until(END)
        client.close()
        assert client.received.count(b'\n') == 5_001
        assert server.on_loop(lambda: server.reactor.turns) - before > 10


def test_an_error_of_the_rows_is_told_once_and_hurts_nobody(path, monkeypatch, logged):
    from tremolo.control import rows, telling
    monkeypatch.setattr(rows, 'waits_for', lambda *_: 1 / 0)
    app = Tremolo()

    @app.route('/')
    def index():
        return ''

    with serving(app, control=path) as server:
        server.connect(request('/')).take()
        assert [row['row'] for row in look(path)] == ['worker']
        monkeypatch.setattr(telling, 'rows', lambda *_: (1 / 0 for _ in '1'))
        with pytest.raises(LookFailed):
            look(path)
        server.connect(request('/')).take()
    assert logged.count('a connection could not be told of') == 1


def test_the_loop_says_how_late_it_was(path, monkeypatch):
    from tremolo.control import tally
    monkeypatch.setattr(tally, '_BEAT', 0.02)
    app = Tremolo()
    go = threading.Event()

    @app.route('/')
    def index():
        go.wait(0.1)
        return ''

    with serving(app, control=path) as server:
        server.connect(request('/')).take()
        assert seen(path, lambda rows: rows[0]['lag'] > 0.05)


def test_without_the_option_nothing_is_noted(tmp_path):
    with serving(Tremolo()) as server:
        assert server.server.tell is None and not server.server.request_observers
        assert not server.server.at_connect


def test_the_readme_names_all_that_a_row_has(app, path):
    text = (Path(top.__file__).parent / 'control' / 'README.md').read_text(encoding='utf-8')
    with serving(app, control=path) as server:
        client = server.connect(request('/'))
        client.take()
        rows = seen(path, lambda rows: len(rows) == 2)
    for row in rows:
        for name in row:
            assert re.search(f'`{name}`', text), name
