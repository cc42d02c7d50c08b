"""Forwarding in the whole server: who is believed where, and what all of it has to do with that."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from forwarded_cases import HOST, Case, case
from linear import is_linear
from server_support import Client, request, serving, virtual
from test_forwarded import KINDS, Site, native, site

from tremolo import SettingError, Tremolo, exceptions, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.edge.forwarding import Forwarding
from tremolo.proxies.forwarded import read_forwarded
from tremolo.proxies.trusted import TrustedProxies
from tremolo.proxies.x_forwarded import read_x_forwarded
from tremolo.wsgi_app import WsgiApplication

ROOT = Path(__file__).resolve().parents[2]
SAID = {'X-Forwarded-For': '203.0.113.7', 'X-Forwarded-Proto': 'https',
        'X-Forwarded-Host': 'shop.example'}
LINES = tuple(f'{name}: {value}' for name, value in SAID.items())
FORGED = (*LINES, 'Forwarded: for=203.0.113.7;proto=https;host=shop.example',
          'X_Forwarded_For: 203.0.113.7')
EVERY_KIND = pytest.mark.parametrize('kind', ['native', 'asgi', 'wsgi'])


@EVERY_KIND
def test_x_forwarded_fields_of_anyone_are_believed_by_nobody(kind):
    """Fault 26 of the earlier tremolo: it took client, scheme and host from whoever sent them."""
    for options in {}, {'trusted_proxies': '192.0.2.1'}, {'trusted_proxies': 'unix'}:
        with site(kind, **options) as made:
            client, scheme, host, _ = made.ask(Case(FORGED))
            assert (client, scheme, host) == (['10.0.0.9', 40000], 'http', HOST)


@EVERY_KIND
def test_without_a_list_the_fields_reach_the_application_untouched(kind):
    with site(kind) as made:
        lines = made.ask(Case(FORGED))[3]
    sent = [list(line.split(': ', 1)) for line in FORGED]
    if kind == 'wsgi':
        sent.pop()    # (There a name with an underscore could pass for that with a dash.)
    assert lines == [[name.lower(), value] for name, value in sent]


@EVERY_KIND
@pytest.mark.parametrize('names', ['10.0.0.0/8', '*', '192.0.2.1'])
def test_off_removes_both_kinds_from_everyone(kind, names):
    with site(kind, trusted_proxies=names, forwarded='off') as made:
        assert made.ask(Case(FORGED)) == [['10.0.0.9', 40000], 'http', HOST, []]


@EVERY_KIND
def test_a_star_believes_all_so_the_left_most_is_the_client(kind):
    with site(kind, trusted_proxies='*') as made:
        for peer in ('198.51.100.99', 40000), ('fe80::5%eth0', 5), None:
            told = made.ask(case('X-Forwarded-For: 192.0.2.1, 203.0.113.7', peer=peer))
            assert told[0] == ['192.0.2.1', 0]


# -- all kinds of handlers, and of applications ----------------------------------------------------


def all_handlers() -> Tremolo:
    app = Tremolo()

    @app.route('/plain')
    def plain(request):
        return [request.client, request.scheme, request.is_secure, request.host]

    @app.route('/generator')
    def generator(request):
        yield sleep(0)
        yield json.dumps(plain(request))

    @app.route('/thread')
    def thread(request, thread=True):
        return plain(request)

    @app.route('/async')
    async def coroutine(request):
        return plain(request)

    @app.route('/socket')
    async def talk(websocket, request):
        await websocket.accept()
        await websocket.send(json.dumps(plain(request)))

    return app


WANTED = [['203.0.113.7', 0], 'https', True, 'shop.example']


@pytest.mark.parametrize('path', ['/plain', '/generator', '/thread', '/async'])
@pytest.mark.parametrize('mounted', [False, True])
def test_each_handler_sees_the_same_also_in_a_mounted_application(path, mounted):
    app = all_handlers()
    if mounted:
        outer, path = Tremolo(), '/inside' + path
        outer.mount('/inside', app)
        app = outer
    with app.client(trusted_proxies='127.0.0.1') as client:
        assert client.get(path, headers=SAID).json() == WANTED


@pytest.mark.parametrize('proto', ['https', 'wss', 'WSS'])
def test_a_websocket_has_the_client_and_the_scheme_that_were_forwarded(proto):
    headers = {**SAID, 'X-Forwarded-Proto': proto}
    with all_handlers().client(trusted_proxies='127.0.0.1') as client, client.websocket(
            '/socket', headers=headers) as talk:
        assert json.loads(talk.receive()) == WANTED


@pytest.mark.parametrize(('proto', 'scheme'), [
    ('https', 'wss'), ('wss', 'wss'), ('http', 'ws'), ('ws', 'ws'), ('nonsense', 'ws')])
def test_the_scope_of_a_websocket_has_the_scheme_wss(proto, scheme):
    scopes = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await receive()
        await send({'type': 'websocket.accept'})
        await send({'type': 'websocket.close'})

    headers = {**SAID, 'X-Forwarded-Proto': proto}
    with AsgiApplication(app).client(
            trusted_proxies='127.0.0.1', lifespan='off') as client, client.websocket(
                '/', headers=headers):
        pass
    scope, = scopes
    assert (scope['type'], scope['scheme'], scope['client']) == (
        'websocket', scheme, ('203.0.113.7', 0))
    assert dict(scope['headers'])[b'host'] == b'shop.example'
    assert scope['server'] == ('localhost', 80)


def test_a_page_of_another_origin_is_refused_behind_a_proxy_too():
    app = Tremolo()

    @app.route('/', origins=['https://shop.example'])
    async def talk(websocket):
        await websocket.accept()
        await websocket.send('welcome')

    with app.client(trusted_proxies='127.0.0.1') as client:
        with client.websocket('/', headers={**SAID, 'Origin': 'https://shop.example'}) as talking:
            assert talking.receive() == 'welcome'
        with pytest.raises(exceptions.WebSocketRefused), client.websocket(
                '/', headers={**SAID, 'Origin': 'https://evil.example'}):
            pass


def test_environ_has_a_remote_port_and_the_servers_own_name():
    environs = []

    def app(environ: Any, start_response: Any) -> Any:
        environs.append(environ)
        start_response('200 OK', [])
        return [b'']

    with WsgiApplication(app).client(trusted_proxies='127.0.0.1') as client:
        client.get('/', headers={**SAID, 'X-Forwarded-For': '203.0.113.7:4711'})
    environ, = environs
    assert (environ['REMOTE_ADDR'], environ['REMOTE_PORT']) == ('203.0.113.7', '4711')
    assert (environ['SERVER_NAME'], environ['SERVER_PORT']) == ('localhost', '80')
    assert (environ['HTTP_HOST'], environ['wsgi.url_scheme']) == ('shop.example', 'https')


# -- heads of all kinds ---------------------------------------------------------------------------


def ask(made: Any, head: str) -> Any:
    client = made.connect(('10.0.0.9', 40000))
    client.send(head.encode('latin-1'))
    answer = client.take()
    client.close()
    return json.loads(answer.body)


@EVERY_KIND
def test_a_forwarded_host_wins_over_a_target_that_names_one_and_stands_in_for_none(kind):
    forwarded = 'X-Forwarded-Host: Shop.example:8443\r\n\r\n'
    with site(kind, trusted_proxies='10.0.0.0/8') as made:
        for head in ('GET http://other.example/ HTTP/1.1\r\nHost: a\r\n',
                     'GET / HTTP/1.0\r\nConnection: keep-alive\r\n',
                     'GET / HTTP/1.0\r\nHost: a\r\n'):
            assert ask(made, head + forwarded)[2] == 'shop.example:8443'


@EVERY_KIND
def test_a_large_head_is_rewritten_as_a_small_one(kind):
    lines = ('X-Long: ' + 'x' * 5000, *LINES, 'Forwarded: for=192.0.2.1')
    with site(kind, trusted_proxies='10.0.0.0/8') as made:
        told = made.ask(Case(lines))
        assert told[:3] == [['203.0.113.7', 0], 'https', 'shop.example']
        assert [name for name, _ in told[3]] == ['x-long', *(name.lower() for name in SAID)]


@EVERY_KIND
def test_requests_of_many_clients_on_one_connection_are_not_mixed(kind):
    with site(kind, trusted_proxies='10.0.0.0/8') as made:
        for number in range(30):
            host, lines = f'203.0.113.{number}', ()
            if number % 3:
                lines = (f'X-Forwarded-For: {host}', *LINES[1:number % 3])
            wanted = [[host, 0] if lines else ['10.0.0.9', 40000],
                      'https' if number % 3 == 2 else 'http', HOST]
            assert made.ask(Case(lines))[:3] == wanted


def test_a_server_and_the_parts_of_it_read_a_request_once(tmp_path):
    app = native()
    app.listen(f'unix:{tmp_path}/s.sock', body_size='1KiB')
    app.listen(0, idle_timeout=9)
    with serving(app, trusted_proxies='unix') as host:
        parts = {host.server, *host.server.parts.values()}
        assert len(parts) == 3 and len({part.handle for part in parts}) == 1
        handle = host.server.handle.__self__
        assert isinstance(handle, Forwarding)
        assert not isinstance(getattr(handle._handle, '__self__', None), Forwarding)
        sent = request('/', 'GET', *LINES)
        client = Client(os.fspath(tmp_path / 's.sock'))
        host.clients.append(client)
        client.send(sent)
        assert json.loads(client.take().body)[:3] == [['203.0.113.7', 0], 'https', 'shop.example']
        client = host.connect(sent)
        told = json.loads(client.take().body)
        assert (told[0][0], *told[1:]) == ('127.0.0.1', 'http', 'test', [])


def test_trust_is_a_matter_of_the_whole_server():
    for name in 'trusted_proxies', 'forwarded':
        with pytest.raises(SettingError, match=f'{name}: is an option of the whole server'):
            Tremolo().listen(0, **{name: 'off'})


def test_a_server_that_believes_nobody_has_nothing_before_its_handlers():
    with serving(native()) as host:
        assert not isinstance(getattr(host.server.handle, '__self__', None), Forwarding)


def test_the_client_for_tests_is_believed_as_127_0_0_1():
    app = all_handlers()
    for names, wanted in (('127.0.0.0/8', WANTED), ('*', WANTED),
                          ('10.0.0.0/8', [['127.0.0.1', 50000], 'http', False, 'localhost'])):
        with app.client(trusted_proxies=names) as client:
            assert client.get('/plain', headers=SAID).json() == wanted


def handlers_of_bodies() -> Tremolo:
    app = Tremolo()

    @app.route('/generator', methods=['POST'])
    def generator(request):
        yield request.body()
        yield json.dumps([name.decode() for name, _ in request.trailers])

    @app.route('/thread', methods=['POST'])
    def thread(request, thread=True):
        request.body().result()
        return [name.decode() for name, _ in request.trailers]

    @app.route('/async', methods=['POST'])
    async def coroutine(request):
        await request.body()
        return [name.decode() for name, _ in request.trailers]

    return app


@pytest.mark.parametrize('path', ['/generator', '/thread', '/async'])
@pytest.mark.parametrize('options', [{}, {'trusted_proxies': '*'}])
def test_no_field_of_a_proxy_comes_behind_the_body(path, options):
    lines = '\r\n'.join([*FORGED, 'X-Forwarded-Port: 443', 'X-Forwarded-Prefix: /evil',
                         'X-Forwarded: a', 'X-Real-IP: 192.0.2.1', 'X-Sum: 1'])
    sent = f'1\r\na\r\n0\r\n{lines}\r\n\r\n'.encode()
    with serving(handlers_of_bodies(), **options) as host:
        client = host.connect(request(path, 'POST', 'Transfer-Encoding: chunked') + sent)
        assert json.loads(client.take().body) == ['x-sum']


# -- the log --------------------------------------------------------------------------------------


def test_a_line_of_the_log_names_the_client_and_the_proxy(caplog):
    app = Tremolo()

    @app.route('/', methods=['POST'])
    def read(request):
        yield (yield request.body())

    caplog.set_level(logging.INFO, 'tremolo.server')
    with virtual(app, trusted_proxies='127.0.0.1') as host:
        for lines in (), ('X-Forwarded-For: 203.0.113.7',), ('X-Forwarded-For: [2001:db8::1]:80',):
            host.connect(request('/', 'POST', 'Content-Length: 10', *lines)).until_ended()
        host.connect(b'nonsense\r\n\r\n').until_ended()
    clients = [record.getMessage().partition(': ')[0] for record in caplog.records
               if 'stall_timeout' in record.getMessage() or 'refused' in record.getMessage()]
    assert len(clients) == 4
    peers = [client.rpartition(' ')[2] for client in clients]
    assert all(peer.startswith('127.0.0.1:') for peer in peers)
    assert [client.rpartition(' ')[0] for client in clients] == [
        '', '203.0.113.7 via', '[2001:db8::1]:80 via', '']


def test_a_line_of_the_log_names_the_socket_of_a_local_proxy(caplog):
    caplog.set_level(logging.INFO, 'tremolo.server')
    app = Tremolo()

    @app.route('/', methods=['POST'])
    def read(request):
        yield (yield request.body())

    with serving(app, trusted_proxies='unix', stall_timeout=0.05) as host:
        client = Site(host).connect(None)
        client.send(request('/', 'POST', 'Content-Length: 10', 'X-Forwarded-For: 203.0.113.7'))
        client.read_all()
    line, = [record.getMessage() for record in caplog.records if 'cut' in record.getMessage()]
    assert line.startswith('203.0.113.7 via unix:/run/app.sock: cut: stall_timeout')


# -- hostile heads --------------------------------------------------------------------------------

# A value is so many times the middle one, between two others.
HOSTILE = [
    ('', ',', ''), ('', '10.0.0.1,', ''), ('10.0.0.1', ' ', ''), ('', ' ,', ''), ('', '1', ''),
    ('', '[', ''), ('', ':', ''), ('', '::1,', ''), ('', '"', ''), ('', '\\', ''), ('', '"\\', ''),
    ('"', '\\', ''), ('for="', '\\"', '"'), ('for=', '_', ''), ('', ';', ''), ('', '; ', ''),
    (';', ' ', 'x'), ('for=10.0.0.1;', ' ', 'x'), ('for=10.0.0.1', ' ', 'x'), ('', 'a=b;', ''),
    ('', 'for="a,",', ''), ('for=10.0.0.1;x="', ',"', ''), ('host="', 'a', '"'), ('', '%41', ''),
    ('', 'for=10.0.0.1,', ''), ('for="', ':_', '"'), ('for="1.2.3.4', ':_a', '"')]


@pytest.mark.parametrize(('begin', 'middle', 'end'), HOSTILE)
@pytest.mark.parametrize(('name', 'read'), [
    (b'x-forwarded-for', read_x_forwarded), (b'x-forwarded-host', read_x_forwarded),
    (b'x-forwarded-proto', read_x_forwarded), (b'forwarded', read_forwarded)])
def test_a_hostile_value_takes_time_as_it_is_long(name, read, begin, middle, end):
    trusted = TrustedProxies(('10.0.0.0/8', '::1'))
    assert is_linear(lambda value: read([(name, value)] * 2, trusted, False),
                     lambda size: (begin + middle * size + end).encode())


def test_a_head_as_large_as_it_may_be_is_answered():
    with site('native', trusted_proxies='10.0.0.0/8') as made:
        told = made.ask(Case(('X-Forwarded-For: ' + ',' * 16_000,)))
        assert told == [['10.0.0.9', 40000], 'http', HOST, []]
        told = made.ask(Case(('X-Forwarded-For: 203.0.113.7, ' + '10.0.0.1, ' * 99 + '10.0.0.2',)))
        assert told[0] == ['10.0.0.1', 0]


@EVERY_KIND
def test_the_client_that_proxy_names_has_to_be_trusted_before_its_fields_count(kind):
    lines = [f'GET / HTTP/1.1\r\nHost: {HOST}\r\n', *(f'{line}\r\n' for line in LINES), '\r\n']
    with serving(KINDS[kind](), trusted_proxies='127.0.0.1,10.0.0.0/8',
                 proxy_protocol='v1') as host:
        for named, told in (
                ('198.51.100.3', [['198.51.100.3', 4000], 'http', HOST, []]),
                ('10.0.0.5', [['203.0.113.7', 0], 'https', 'shop.example'])):
            client = host.connect(
                f'PROXY TCP4 {named} 10.0.0.1 4000 80\r\n{"".join(lines)}'.encode())
            assert json.loads(client.take().body)[:len(told)] == told


def test_a_scheme_is_what_the_proxy_says_also_where_its_own_connection_is_encrypted():
    with site('native', trusted_proxies='10.0.0.0/8') as made:
        client = made.connect(('10.0.0.9', 40000), 'https')
        for lines, scheme in ((), 'https'), (('X-Forwarded-Proto: http',), 'http'):
            client.send(request('/', 'GET', *lines))
            assert json.loads(client.take().body)[1] == scheme
        client.close()


def test_no_request_imports_anything():
    """(A server may have no descriptor left when a proxy first names a client.)"""
    program = '\n'.join([
        'import sys; from tremolo import Tremolo',
        'app = Tremolo(); app.route("/")(lambda request: str(request.client))',
        'sent = {"X-Forwarded-For": "x, 192.0.2.1, ::ffff:10.0.0.1, [::1]:80", "Forwarded":',
        '        "for=unknown, for=_x;host=\\"a b\\";proto=https, for=\\"[::1]:80\\""}',
        'for kind in "x-forwarded", "forwarded":',
        '    trusted = "127.0.0.1,10.0.0.0/8,::1"',
        '    with app.client(trusted_proxies=trusted, forwarded=kind) as client:',
        '        client.get("/"); before = {*sys.modules}',
        '        print(client.get("/", headers=sent).text, {*sys.modules} - before)'])
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True,
                          check=True, timeout=60, cwd=ROOT)
    assert done.stdout == "('192.0.2.1', 0) set()\n('_x', 0) set()\n"
