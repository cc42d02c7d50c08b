"""The table of what meets what, in the README.md of server/: a test for each cell.

A test is named `test_<row>_meets_<column>`, and the first one sees that none is missing.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from server_support import answers, bodies, read_answer, request, virtual

from tremolo import Tremolo, sleep
from tremolo.loop.stream import READ_SIZE

README = Path(__file__).parents[2] / 'tremolo' / 'server' / 'README.md'

EXPECT = ('Expect: 100-continue', 'Content-Length: 4')
UPGRADE = ('Connection: upgrade', 'Upgrade: echo')
CONTINUE = b'HTTP/1.1 100 Continue\r\n\r\n'

ROWS = {'Expect (unsent)': 'expect', 'pipelined': 'pipelined', 'half- closed': 'half_closed',
        'upgraded': 'upgraded', 'draining': 'draining'}
COLUMNS = {'Expect': 'expect', 'pipelining': 'pipelining', 'half-close': 'half_close',
           'upgrade': 'upgrade', 'draining': 'drain'}


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()
    app.context.began = []

    @app.route('/now/<name>', methods=['GET', 'POST'])
    def now(name):
        app.context.began.append(name)
        return name

    @app.route('/wait/<name>', methods=['GET', 'POST'])
    def wait(name):
        app.context.began.append(name)
        yield sleep(0.5)
        yield name

    @app.route('/read', methods=['POST'])
    def read(request):
        yield sleep(0.5)
        data = yield request.body()
        yield data

    @app.route('/upgrade', methods=['GET', 'POST'])
    def upgrade(response):
        yield sleep(0.5)
        stream = response.upgrade('echo')
        while True:
            data = yield stream.read()
            stream.write(b'<%s>' % data)
            if not data:
                return

    return app


@pytest.fixture
def host(app):
    with virtual(app) as host:
        yield host


def table() -> dict[str, dict[str, str]]:
    """Read the table: its cells by row and column."""
    lines = README.read_text(encoding='utf-8').splitlines()
    start = next(at for at, line in enumerate(lines) if '| Expect ' in line)
    columns = [part.strip() for part in lines[start].split('|')[1:]]
    rows: list[list[str]] = []
    for line in lines[start + 1:]:
        if '|' not in line:
            break
        parts = [part.strip() for part in line.split('|')]
        if any(name.split()[0] == parts[0] for name in ROWS):
            rows.append(parts)
        else:
            rows[-1] = [f'{a} {b}'.strip() for a, b in zip(rows[-1], parts)]
    return {row[0]: dict(zip(columns, row[1:])) for row in rows}


def test_the_table_has_no_empty_cell_and_each_cell_has_a_test():
    cells = table()
    assert set(cells) == set(ROWS)
    for row, by_column in cells.items():
        assert set(by_column) == set(COLUMNS)
        for column, text in by_column.items():
            assert text
            assert f'test_{ROWS[row]}_meets_{COLUMNS[column]}' in globals()


# -- a client that waits for 100 ------------------------------------------------------------------


def test_expect_meets_expect(host):
    client = host.connect(request('/read', 'POST', *EXPECT))
    client.until(CONTINUE)
    host.advance(5)
    assert client.received == CONTINUE
    client.send(b'body')
    client.until(b'body')
    assert client.received.count(CONTINUE) == 1


def test_expect_meets_pipelining(host):
    client = host.connect(request('/read', 'POST', 'Expect: 100-continue', 'Content-Length: 50')
                          + request('/now/smuggled') * 2)
    client.until(b'smuggled')
    answer = read_answer(client.received.replace(CONTINUE, b''))[0]
    assert answer.body == (request('/now/smuggled') * 2)[:50]
    client = host.connect(request('/now/unread', 'POST', *EXPECT) + request('/now/smuggled'))
    client.until_ended()
    assert bodies(client.received) == [b'unread']


def test_expect_meets_half_close(host):
    client = host.connect(request('/read', 'POST', *EXPECT) + b'bo')
    client.fin()
    client.until_ended()
    answer, = answers(client.received)
    assert answer.status == 400
    client = host.connect(request('/now/unread', 'POST', *EXPECT) + b'bo')
    client.fin()
    client.until_ended()
    assert bodies(client.received) == [b'unread']


def test_expect_meets_upgrade(host, logged):
    client = host.connect(request('/upgrade', 'POST', *UPGRADE, *EXPECT))
    client.until_ended()
    answer, = answers(client.received)
    assert answer.status == 500
    assert 'this request cannot be upgraded' in logged.text


def test_expect_meets_drain(host):
    client = host.connect(request('/read', 'POST', *EXPECT))
    host.settle()
    host.server.drain()
    client.until(CONTINUE)
    client.send(b'body')
    client.until_ended()
    answer = answers(client.received)[1]
    assert (answer.body, answer.headers['connection']) == (b'body', 'close')


# -- a client that sent more than one request -----------------------------------------------------


def test_pipelined_meets_expect(host):
    client = host.connect(request('/wait/first') + request('/read', 'POST', *EXPECT))
    host.advance(0.7)
    assert bodies(client.received) == [b'first']
    client.until(CONTINUE)
    client.send(b'one.' + request('/read', 'POST', *EXPECT))
    client.until(CONTINUE, 2)
    client.send(b'two.')
    client.until(b'two.')
    assert [answer.status for answer in answers(client.received)] == [200, 100, 200, 100, 200]


def test_pipelined_meets_pipelining(app):
    with virtual(app, pipeline_size=500) as host:
        client = host.connect(request('/wait/first') + request('/now/next') * 2000)
        host.advance(0.3)
        one, = host.server.connections
        assert one.stream.paused
        assert one.parser.buffered < 500 + READ_SIZE
        client.until(b'next', 2000)


def test_pipelined_meets_half_close(host):
    client = host.connect(request('/now/a') + request('/wait/b') + request('/now/c')
                          + request('/now/part')[:20])
    client.fin()
    client.until_ended()
    assert bodies(client.received) == [b'a', b'b', b'c']
    assert host.closed == {'truncated': 1}


def test_pipelined_meets_upgrade(host):
    client = host.connect(request('/now/a') + request('/upgrade', 'GET', *UPGRADE)
                          + request('/now/c'))
    assert client.take().body == b'a'
    assert client.take().status == 101
    client.until(b'>')
    assert client.received == b'<' + request('/now/c') + b'>'


def test_pipelined_meets_drain(app, host):
    client = host.connect(request('/wait/a') + request('/now/b') + request('/now/c'))
    host.settle()
    host.server.drain()
    client.until_ended()
    answer, = answers(client.received)
    assert (answer.body, answer.headers['connection']) == (b'a', 'close')
    assert app.context.began == ['a']


# -- a client that has ended its side -------------------------------------------------------------


def test_half_closed_meets_expect(host):
    client = host.connect(request('/read', 'POST', *EXPECT) + b'body')
    client.fin()
    client.until_ended()
    answer, = answers(client.received)
    assert (answer.status, answer.body) == (200, b'body')


def test_half_closed_meets_pipelining(host):
    client = host.connect(request('/now/a') * 40 + request('/wait/b') * 3)
    client.fin()
    client.until_ended()
    assert bodies(client.received) == [b'a'] * 40 + [b'b'] * 3
    assert host.closed == {'client': 1}


def test_half_closed_meets_half_close(app):
    with virtual(app, half_close_timeout=50) as host:
        client = host.connect(request('/wait/a'))
        client.fin()
        host.advance(0.1)
        one, = host.server.connections
        assert one.stream.paused
        before = host.reactor.turns
        host.advance(0.3)
        assert host.reactor.turns - before < 5


def test_half_closed_meets_upgrade(app):
    with virtual(app, half_close_timeout=50) as host:
        client = host.connect(request('/upgrade', 'GET', *UPGRADE) + b'ahead')
        client.fin()
        client.until_ended()
        answer, rest = read_answer(client.received)
        assert (answer.status, rest) == (101, b'<ahead><>')


def test_half_closed_meets_drain(app):
    with virtual(app, half_close_timeout=50) as host:
        client = host.connect(request('/wait/a'))
        client.fin()
        host.advance(0.1)
        host.server.drain()
        client.until_ended()
        answer, = answers(client.received)
        assert answer.body == b'a'
        assert host.server.stopped.result() == 0


# -- a stream that is the handler's ---------------------------------------------------------------


def upgraded(host):
    client = host.connect(request('/upgrade', 'GET', *UPGRADE))
    assert client.take().status == 101
    return client


def test_upgraded_meets_expect(host):
    client = host.connect(request('/upgrade', 'GET', *UPGRADE, 'Expect: 100-continue'))
    assert client.take().status == 101
    client.send(request('/read', 'POST', *EXPECT))
    client.until(b'>')
    assert CONTINUE not in client.received


def test_upgraded_meets_pipelining(host):
    client = upgraded(host)
    client.send(request('/now/a') * 3)
    client.until(b'>')
    assert client.received == b'<' + request('/now/a') * 3 + b'>'


def test_upgraded_meets_half_close(host):
    client = upgraded(host)
    client.fin()
    client.until_ended()
    assert client.received == b'<>'
    assert host.closed == {'upgraded': 1}


def test_upgraded_meets_upgrade(app, host, logged):
    @app.route('/twice')
    def twice(response):
        response.upgrade('echo')
        response.upgrade('echo')
        yield

    client = host.connect(request('/twice', 'GET', *UPGRADE))
    assert client.take().status == 101
    client.until_ended()
    assert client.received == b''
    assert 'HandlerError' in logged.text


def test_upgraded_meets_drain(app, logged):
    with virtual(app, shutdown_timeout=20) as host:
        client, other = upgraded(host), upgraded(host)
        host.server.drain()
        host.advance(19)
        client.send(b'x')
        client.until(b'<x>')
        client.fin()
        client.until_ended()
        start = host.now
        other.until_ended()
        assert start < other.ended_at < 23
        assert host.server.stopped.result() == 1


# -- a server that stops --------------------------------------------------------------------------


def test_draining_meets_expect(host):
    client = host.connect(request('/read', 'POST', *EXPECT)[:30])
    host.settle()
    host.server.drain()
    client.send(request('/read', 'POST', *EXPECT)[30:])
    client.until(CONTINUE)
    client.send(b'body')
    client.until_ended()
    assert answers(client.received)[1].headers['connection'] == 'close'


def test_draining_meets_pipelining(app, host):
    client = host.connect(request('/now/a')[:10])
    host.settle()
    host.server.drain()
    client.send(request('/now/a')[10:] + request('/now/b'))
    client.until_ended()
    assert bodies(client.received) == [b'a']
    assert app.context.began == ['a']


def test_draining_meets_half_close(host):
    client = host.connect(request('/wait/a'))
    host.settle()
    host.server.drain()
    client.fin()
    client.until_ended()
    answer, = answers(client.received)
    assert (answer.body, answer.headers['connection']) == (b'a', 'close')


def test_draining_meets_upgrade(host):
    client = host.connect(request('/upgrade', 'GET', *UPGRADE))
    host.settle()
    host.server.drain()
    assert client.take().status == 101
    client.send(b'x')
    client.until(b'<x>')


def test_draining_meets_drain(app, logged):
    with virtual(app, shutdown_timeout=0.4) as host:
        client = host.connect(request('/wait/a'))
        host.settle()
        first = host.server.drain()
        host.advance(0.3)
        assert host.server.drain() is first
        client.until_ended()
        assert client.ended_at == pytest.approx(0.4, abs=0.01)
