"""The cases of X-Forwarded-* and Forwarded with others: where they differ, and why.

nginx with `real_ip_recursive on`, uvicorn's `--proxy-headers`, and werkzeug's ProxyFix read
X-Forwarded-*; hypercorn's ProxyFixMiddleware in its mode `modern` reads Forwarded. Each gets all
cases. A difference that no row of `DIFFERENCES` explains is a failure, and so is a row that
explains nothing.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from forwarded_cases import FORWARDED, HOST, PEER, STRANGER, TRUSTED, UNIX, X_FORWARDED, Case
from fronts import running_nginx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NETWORKS = [name for name in TRUSTED if name != 'unix']
# (Peers that a test can be: those of nginx are on 127.0.0.1.)
PEERS = (PEER, STRANGER, UNIX)


def fields(case: Case) -> list[tuple[str, str]]:
    lines = [f'Host: {HOST}', *case.lines]
    return [(name.lower(), value.strip(' \t'))
            for name, _, value in (line.partition(':') for line in lines)]


def value_of(case: Case, name: str) -> str:
    """All values of a field, as one list."""
    return ', '.join(value for field, value in fields(case) if field == name)


def last(case: Case, name: str) -> str:
    return value_of(case, name).rpartition(',')[2].strip()


def is_ip(text: str) -> bool:
    for family in socket.AF_INET, socket.AF_INET6:
        try:
            socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False


# -- why they differ ------------------------------------------------------------------------------

FOR, PROTO, XHOST = 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host'


def has_empty(value: str) -> bool:
    return bool(re.search(r',\s*(,|$)', value))


# (why, whether it explains this case and what they say)
DIFFERENCES: dict[str, list[tuple[str, Any]]] = {
    'nginx': [
        ('an empty element is passed over; here it ends the search, since a proxy that had no '
         'address to add leaves one', lambda case, told: has_empty(value_of(case, FOR))),
        ('a mapped address stays one of IPv6: it is shown so, and a network that is written so '
         'holds none of IPv4', lambda case, told: '::ffff' in told[0] or '172.16.' in told[0]),
        ('IPv6 in brackets has to have a port',
         lambda case, told: re.search(r'\[[^]]*\]$', last(case, FOR))),
        ('a port of 0 is none', lambda case, told: last(case, FOR).endswith(':0')),
        ('255.255.255.255 is its value for no address',
         lambda case, told: last(case, FOR) == '255.255.255.255'),
        ('zeros at the front are passed over; to others they mean octal',
         lambda case, told: re.search(r'\b0\d', last(case, FOR))),
        ('a blank separates elements, too, and a tab is part of one',
         lambda case, told: re.search(r'\d[ \t]+(\d|,)|\t', value_of(case, FOR))),
    ],
    'uvicorn': [
        ('what is no address is the client as well',
         lambda case, told: told[0] and not is_ip(told[0][0])),
        ('a port is what `int` takes, and brackets may stand around anything',
         lambda case, told: re.search(r':[+-]\d|:\d{6}|:65536|\]:$|\[[\d.]+\]',
                                       last(case, FOR))),
        ('a mapped address is not one of IPv4', lambda case, told: (
            '::ffff' in str(told[0]).lower() or '172.16.' in str(told[0]))),
        ('an address is as the proxy wrote it', lambda case, told: (
            told[0] and told[0][0] in value_of(case, FOR) and ':' in told[0][0])),
        ('with an empty element the client is the peer', lambda case, told: (
            has_empty(value_of(case, FOR)))),
        ('X-Forwarded-Proto is one value, in lower case', lambda case, told: (
            ',' in value_of(case, PROTO) or not value_of(case, PROTO).islower())),
        ('ws and wss are schemes of any request',
         lambda case, told: value_of(case, PROTO) in ('ws', 'wss')),
        ('on a UNIX socket it believes `*` alone', lambda case, told: case.peer is UNIX),
    ],
    'werkzeug': [
        ('it believes every peer: the server in front of it has to choose',
         lambda case, told: case.peer not in (PEER, UNIX)),
        ('it counts proxies, here one, and does not know their addresses', lambda case, told: (
            ',' in value_of(case, FOR) and told[0] in value_of(case, FOR))),
        ('whatever is said is the client, as it is written', lambda case, told: (
            told[0] == value_of(case, FOR) != '')),
        ('any text is a scheme', lambda case, told: value_of(case, PROTO)),
        ('any text is a host', lambda case, told: value_of(case, XHOST)),
    ],
    'hypercorn': [
        ('it believes every peer: the server in front of it has to choose',
         lambda case, told: case.peer not in (PEER, UNIX)),
        ('without Forwarded it reads X-Forwarded-*, so whoever asks may choose the kind',
         lambda case, told: not value_of(case, 'forwarded')),
        ('quotes stay, and what they hold is cut at commas and semicolons',
         lambda case, told: '"' in value_of(case, 'forwarded')),
        ('it counts proxies, here one, and does not know their addresses',
         lambda case, told: ',' in value_of(case, 'forwarded')),
        ('names are in lower case, without a blank before them',
         lambda case, told: re.search('(For|FOR)=|;[ \t]', value_of(case, 'forwarded'))),
        ('whatever is said is the client, the scheme or the host, as it is written',
         lambda case, told: any(f'={each}' in value_of(case, 'forwarded')
                                for each in (told[0][0], *told[1:]))),
    ],
}


def explain(name: str, cases: list[Case], ours: list[Any], theirs: list[Any]) -> None:
    """Find a reason for each difference."""
    unexplained, used = [], set()
    for case, mine, other in zip(cases, ours, theirs):
        if mine != other:
            why = [reason for reason, holds in DIFFERENCES[name] if holds(case, other)]
            used.update(why[:1])
            if not why:
                unexplained.append(f'{case.lines} of {case.peer}: ours {mine}, theirs {other}')
    assert not unexplained, f'{len(unexplained)} of {len(cases)}:\n' + '\n'.join(unexplained)
    assert [reason for reason, _ in DIFFERENCES[name] if reason not in used] == []
    same = sum(mine == other for mine, other in zip(ours, theirs))
    tour = (ROOT / 'tremolo' / 'proxies' / 'README.md').read_text(encoding='utf-8')
    row, = re.findall(rf'^\| {name}, .*', tour, re.MULTILINE)
    assert row.split(' | ')[1] == f'{same} of {len(cases)}'


# -- nginx ----------------------------------------------------------------------------------------

CONFIG = '''
    large_client_header_buffers 4 16k;
    keepalive_requests 1000;
    real_ip_header X-Forwarded-For;
    real_ip_recursive on;
    server {{
        listen 127.0.0.1:{port};
        listen unix:{folder}/nginx.sock;
        set_real_ip_from 127.0.0.1;
        set_real_ip_from unix:;
        {trusted}
        location / {{ return 200 "$remote_addr|$remote_port"; }}
    }}
    server {{
        listen 127.0.0.1:{strange};
        {trusted}
        location / {{ return 200 "$remote_addr|$remote_port"; }}
    }}
'''


class UnixConnection(http.client.HTTPConnection):
    """A connection to a path."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.host)


@pytest.fixture
def nginx(tool, tmp_path):
    """Connections to an nginx that believes its peer, and to one that does not, and by a path."""
    with socket.create_server(('127.0.0.1', 0)) as one, socket.create_server(
            ('127.0.0.1', 0)) as other:
        ports = [each.getsockname()[1] for each in (one, other)]
        config = CONFIG.format(
            folder=tmp_path, port=ports[0], strange=ports[1],
            trusted=' '.join(f'set_real_ip_from {name};' for name in NETWORKS))
        connections = {
            PEER: http.client.HTTPConnection('127.0.0.1', ports[0], timeout=30),
            STRANGER: http.client.HTTPConnection('127.0.0.1', ports[1], timeout=30),
            UNIX: UnixConnection(f'{tmp_path}/nginx.sock')}
        with running_nginx(tool('nginx'), tmp_path, config, one, other):
            yield connections
        for connection in connections.values():
            connection.close()


def ask_nginx(connections: Any, case: Case) -> Any:
    connection = connections[case.peer]
    connection.putrequest('GET', '/', skip_host=True, skip_accept_encoding=True)
    for name, value in fields(case):
        connection.putheader(name, value.encode('latin-1'))
    connection.endheaders()
    answer = connection.getresponse()
    host, port = answer.read().decode('latin-1').split('|')
    assert answer.status == 200
    if host == 'unix:':
        return None
    if host == '127.0.0.1' and int(port or 0) == connection.sock.getsockname()[1]:
        return list(case.peer)
    return [host, int(port or 0)]


def test_nginx_finds_the_same_client_but_where_the_table_says_why(nginx):
    cases = [case for case in X_FORWARDED if case.peer in PEERS]
    ours = [list(case.client) if case.client else None for case in cases]
    explain('nginx', cases, ours, [ask_nginx(nginx, case) for case in cases])


# -- the servers and middleware of others ----------------------------------------------------------


@pytest.fixture(scope='module')
def others(frameworks_python):
    """What each of them says of all its cases."""
    cases = {'uvicorn': X_FORWARDED, 'werkzeug': X_FORWARDED, 'hypercorn': FORWARDED}
    given = {'trusted': NETWORKS, 'cases': {
        name: [(fields(case), case.peer) for case in each] for name, each in cases.items()}}
    script = HERE / 'frameworks' / 'forwarded_others.py'
    done = subprocess.run([frameworks_python, str(script)], input=json.dumps(given).encode(),
                          capture_output=True, timeout=60)
    assert not done.stderr, done.stderr.decode()
    return json.loads(done.stdout)


def expected(case: Case) -> list[Any]:
    return [list(case.client) if case.client else None, case.scheme, case.host]


@pytest.mark.parametrize('name', ['uvicorn', 'werkzeug', 'hypercorn'])
def test_others_are_told_the_same_but_where_the_table_says_why(name, others):
    cases = FORWARDED if name == 'hypercorn' else X_FORWARDED
    ours = [expected(case) for case in cases]
    theirs = others[name]
    if name == 'uvicorn':    # (It leaves the host to others.)
        ours = [each[:2] for each in ours]
        theirs = [each[:2] for each in theirs]
    if name == 'werkzeug':    # (WSGI has no port of the client by which to compare.)
        ours = [[each[0][0] if each[0] else '', *each[1:]] for each in ours]
        theirs = [each if isinstance(each, str) else [each[0][0], *each[1:]] for each in theirs]
    explain(name, cases, ours, theirs)


# -- nginx in front, as the README has it ----------------------------------------------------------

APP = '''
from tremolo import Tremolo

app = Tremolo()

@app.route('/')
def told(request):
    return [request.client, request.scheme, request.host, request.headers.items()]
'''


@pytest.fixture
def behind_nginx(serve, tool, tmp_path):
    """The port of an nginx with the lines of the README, in front of an application."""
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    snippet, = re.findall(r'\n(    upstream tremolo \{\n.*?\n    server \{\n.*?\n    \})\n', readme,
                          re.DOTALL)
    (tmp_path / 'told.py').write_text(APP)
    with serve(str(tmp_path / 'told.py'), '--trusted-proxies', '127.0.0.1') as server, \
            socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]
        snippet = snippet.replace('127.0.0.1:8000', f'127.0.0.1:{server.port}')
        snippet = snippet.replace('listen 80;', f'listen 127.0.0.1:{port};')
        with running_nginx(tool('nginx'), tmp_path, snippet, listener):
            yield port


def test_nginx_with_the_lines_of_the_readme_names_the_client_and_a_forger_fails(behind_nginx):
    forged = {'Host': 'shop.example', 'X-Forwarded-For': '203.0.113.7',
              'X-Forwarded-Proto': 'https', 'Forwarded': 'for=203.0.113.7;proto=https'}
    # (A client of another address than the proxy.)
    connection = http.client.HTTPConnection(
        '127.0.0.1', behind_nginx, timeout=30, source_address=('127.0.0.2', 0))
    try:
        for fields_sent in {'Host': 'shop.example'}, forged:
            connection.request('GET', '/', headers=fields_sent)
            client, scheme, host, lines = json.loads(connection.getresponse().read())
            assert (client, scheme, host) == (['127.0.0.2', 0], 'http', 'shop.example')
            said = {name: value for name, value in lines if 'forwarded' in name}
            assert said == {'x-forwarded-for': '127.0.0.2', 'x-forwarded-proto': 'http'}
    finally:
        connection.close()
