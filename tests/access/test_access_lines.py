"""What a line says: the formats, the escapes, and that no client writes a line of his own."""

from __future__ import annotations

import json
import random
import re
from types import SimpleNamespace

import pytest
from server_support import request, serving, virtual

from tremolo import Tremolo
from tremolo.access.lines import MOST_KEPT
from tremolo.access.parts import lines_of

app = Tremolo()
app.route('/')(lambda: b'hello')
app.route('/large')(lambda: bytes(30_000))

# What `combined` may look like: parts without a quote or a backslash, but for escapes.
_TEXT = r'(?:[ !#-\[\]-~]|\\x[0-9A-F]{2})*'
COMBINED = re.compile(
    r'[0-9a-f.:-]+ - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] '
    rf'"(?:-|([^ ]+) ([^ "]+) (HTTP/1\.[01]))" (\d{{3}}|-) (\d+|-) "({_TEXT})" "({_TEXT})"')
EVERY = ('time', 'client', 'method', 'target', 'path', 'query', 'protocol', 'status', 'bytes', 'ms',
         'host', 'scheme', 'referer', 'user_agent', 'request_id', 'reason', 'pid')


def test_the_format_combined(kept):
    with virtual(app, access_log=True) as host:
        host.ask(request('/', 'GET', 'Referer: https://here/', 'User-Agent: test/1',
                         'Connection: close'))
    [line] = kept.lines
    assert re.fullmatch(
        r'127\.0\.0\.1 - - \[.+ \+0000\] "GET / HTTP/1.1" 200 5 "https://here/" "test/1"', line)
    assert COMBINED.fullmatch(line)


def test_the_format_json(kept):
    with virtual(app, access_log=True, access_logformat='json') as host:
        host.ask(request('/?a=1', 'GET', 'User-Agent: t\u00e9st "1"', 'Connection: close'))
    [line] = kept.lines
    entry = json.loads(line)
    assert list(entry) == ['time', 'client', 'method', 'target', 'protocol', 'status', 'bytes',
                           'ms', 'referer', 'user_agent', 'request_id', 'reason', 'pid']
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', entry['time'])
    assert entry['status'] == 200 and entry['bytes'] == 5 and entry['ms'] >= 0
    assert (entry['target'], entry['user_agent']) == ('/?a=1', 't\u00e9st "1"')
    assert entry['referer'] is entry['request_id'] is entry['reason'] is None


def test_a_template_has_what_it_names(kept):
    form = '|'.join(f'{{{name}}}' for name in EVERY) + '|100% {{}} %s'
    with virtual(app, access_log=True, access_logformat=form) as host:
        host.ask(request('/x%20y?a=1&b', 'GET', 'Referer: r', 'User-Agent: u',
                         'X-Request-ID: not-asked-for', 'Connection: close'))
    [line] = kept.lines
    values = dict(zip((*EVERY, 'rest'), line.split('|')))
    assert values['rest'] == '100% {} %s'
    assert re.fullmatch(r'\d+\.\d{3}', values.pop('ms'))
    assert values.pop('time').endswith(' +0000') and values.pop('pid').isdigit()
    assert values.pop('client') and int(values.pop('bytes')) > 100
    assert values == {
        'method': 'GET', 'target': '/x%20y?a=1&b', 'path': '/x%20y', 'query': 'a=1&b',
        'protocol': 'HTTP/1.1', 'status': '404', 'host': 'test', 'scheme': 'http', 'referer': 'r',
        'user_agent': 'u', 'request_id': '-', 'reason': '-', 'rest': '100% {} %s'}


@pytest.mark.parametrize('form', ['combined', 'json'])
def test_the_line_made_of_parts_is_that_of_the_template(form):
    """`combined` and `json` are made twice: of parts, for speed, and by the names of the values."""
    fields = ((), ('Referer: a"b', 'User-Agent: \\'), ('User-Agent: u', 'Cookie: c', 'Referer: r'),
              ('X-A: 1', 'Accept: */*'), ('Accept: */*', 'User-Agent: ' + 'u' * 5000))
    seen, asked = [], 0
    with virtual(app, request_id=True) as host:
        lines = lines_of(host.reactor, form)
        host.server.at_connect.append(lambda connection: connection.addresses)
        parts = []
        lines.writer = SimpleNamespace(write=parts.append)
        host.server.request_observers.append(lines.observer())
        host.server.request_observers.append(lambda response, reason: lines.tell() or seen.append(
            (parts.pop(), lines.line(lines.values(
                response, response.status, response.size, '', response.connection.since)))))
        for path in ('/', '/none?x="', '/large'):
            for version in ('1.1', '1.0'):
                # (From the third request on a head begins with the lines of the others.)
                client = host.connect(b''.join(
                    request(path, method, 'Connection: keep-alive', *more, version=version)
                    for more in fields for method in ('GET', 'HEAD', 'GET', 'X-Y')))
                asked += 20
                host.until(lambda asked=asked: len(seen) == asked)
                client.close()
                host.settle()
    assert len(seen) == 120
    for of_parts, of_template in seen:
        assert of_parts == of_template


def injections():
    """More than a hundred ways to write into the log, by each thing that a client chooses."""
    chance = random.Random(42)
    forged = '127.0.0.1 - - [30/Nov/2026:10:19:03 +0000] "GET /forged HTTP/1.1" 200 1 "-" "-"'
    texts = ['"', '\\', '\\"', '" 200 1 "', '\\x0a', '%0a', '%0d%0a' + forged, '\x80\x9b31m',
             '\xff', 'a\tb', '{status}', '%s', '%(x)s', '","status":500,"x":"', '\\u000a', '}{',
             "'", '`', '\u00e9\u00e8']
    odd = '"\\%{A\x80\x85\x9b\xa0\xff'
    texts += [''.join(chance.choices(odd, k=20)) for _ in range(20)]
    for text in texts:
        yield request('/', 'GET', f'Referer: {text}')
        yield request('/', 'GET', f'User-Agent: {text}')
        yield request('/', 'GET', f'X-Request-ID: {text}')
        yield request('/' + re.sub('[^!-~]|#', '', text))
        yield request('/?' + re.sub('[^!-~]|#', '', text))
    for method in ("GE!#$%&'*+-.^_`|~T", '%0A', '%s', 'GET"', 'G\\', 'GET\x1b[31m', 'G\nT'):
        yield request('/', method)
    for byte in (*range(1, 33), 0x22, 0x5c, 0x7f, 0x80, 0x9b, 0xff):
        name = chr(byte)
        yield request(f'/{name}x')
        yield request('/', 'GET', f'User-Agent: a{name}{forged}')
        yield request('/', 'GET').replace(b'Host: test', b'Host: a' + bytes([byte]) + b'b')


@pytest.mark.parametrize('form', ['combined', 'json', '{target}|{referer}|{user_agent}|{host}|'
                                  '{request_id}|{method}'])
@pytest.mark.usefixtures('logged')
def test_no_client_writes_a_line_of_his_own(kept, form):
    tries = list(injections())
    assert len(tries) > 250
    answered = 0
    with virtual(app, access_log=True, access_logformat=form, request_id=True) as host:
        for data in tries:
            before = len(kept.lines)
            client = host.connect(data)
            client.until(b'\r\n\r\n')
            client.close()
            host.settle()
            # (A bare LF in a head ends no line: it is refused, or is one request; never two.)
            assert len(kept.lines) - before == client.received.count(b'HTTP/1.1 ') == 1, data
            answered += 1
    assert answered == len(tries) == len(kept.lines)
    for line in kept.lines:
        if form == 'combined':
            assert COMBINED.fullmatch(line), line
        elif form == 'json':
            assert len(json.loads(line)) == 13


def test_what_may_be_secret_is_not_kept_and_what_is_kept_is_bounded(reactor):
    lines = lines_of(reactor, 'combined')
    for secret in (b'/reset?token=1', b'https://user:pw@host/', b'x' * 257):
        assert secret in lines.asked['GET', secret, 1]
        assert not lines.asked and secret not in lines.texts
    for number in range(3 * MOST_KEPT):
        lines.asked['GET', b'/%d' % number, 1]
        lines.clients[f'10.0.0.{number}']
        assert max(map(len, (lines.texts, lines.asked, lines.clients))) <= MOST_KEPT


def test_the_second_is_made_once_and_changes(kept):
    with virtual(app, access_log=True, access_logformat='{time}') as host:
        for _ in range(3):
            host.ask(request('/', 'GET', 'Connection: close'))
            host.advance(1.0)
    assert len(set(kept.lines)) == 3


def test_lines_equal_answers_of_many_pipelined_requests(tmp_path):
    path = tmp_path / 'log'
    with serving(app, access_logfile=str(path), access_logformat='{target} {status}') as host:
        client = host.connect()
        client.send(b''.join(request(f'/?{number}') for number in range(500))
                    + request('/?500', 'GET', 'Connection: close'))
        assert client.read_all().count(b'HTTP/1.1 200') == 501
    assert path.read_text().splitlines() == [f'/?{number} 200' for number in range(501)]
