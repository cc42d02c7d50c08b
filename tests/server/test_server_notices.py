"""What the log is told of cuts and refusals: one line each, as many as a disk can take."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest
from server_support import chunked, request, serving, virtual
from simulated import World

from tremolo import Tremolo, sleep
from tremolo.server import REASONS
from tremolo.server.notices import CUTS, why
from tremolo.settings import OPTIONS

# The ends that are in good order, or the client's own doing.
QUIET = {'done', 'client', 'first_byte_timeout', 'idle_timeout', 'truncated', 'hang-up', 'reset',
         'upgraded', 'handed over'}


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/', methods=['GET', 'POST'])
    def index():
        yield b'hello'

    @app.route('/read', methods=['POST'])
    def read(request):
        yield (yield request.body())

    @app.route('/wait', methods=['GET', 'POST'])
    def wait():
        yield sleep(1000)

    @app.route('/begun')
    def begun():
        yield b'begun'
        yield sleep(1000)

    @app.route('/endless')
    def endless():
        while True:
            yield b'x' * 10_000

    @app.route('/fails')
    def fails():
        yield b'begun'
        yield sleep(0.1)
        raise ValueError('a mistake')

    return app


# -- the table ------------------------------------------------------------------------------------


def test_each_reason_either_has_a_line_or_is_an_end_in_good_order():
    assert set(CUTS) | QUIET == set(REASONS)
    assert not set(CUTS) & QUIET


def test_the_options_of_the_table_exist():
    names = {option.name for option in OPTIONS}
    assert {name for cut in CUTS.values() for name in cut.options} <= names


def test_a_reason_with_its_sentence_and_its_options():
    assert why('min_download_rate') == (
        'min_download_rate: an answer was taken too slowly (min_download_rate, rate_grace)')
    assert why('head_timeout') == (
        'head_timeout: a head did not become whole in time (408, head_timeout)')
    assert why('reset') == 'reset: the connection broke'
    assert why('') == ''
    assert isinstance(REASONS['unread'], str)


# -- one line for each ----------------------------------------------------------------------------


def slow_head(host: Any) -> None:
    host.connect(b'GET / HTTP').until_ended()


def slow_body(host: Any) -> None:
    host.connect(request('/read', 'POST', 'Content-Length: 10')).until_ended()


def slow_reader(host: Any) -> None:
    client = host.connect(request('/endless'))
    client.reading = False
    host.until(lambda: host.server.closed)


def half_closed(host: Any) -> None:
    client = host.connect(request('/wait'))
    host.settle()
    client.fin()
    client.until_ended()


def unread(host: Any) -> None:
    host.connect(request('/', 'POST', 'Content-Length: 9000000')).until_ended()


def never_comes(host: Any) -> None:
    host.connect(request('/', 'POST', 'Content-Length: 10')).until_ended()


def slow_handler(host: Any) -> None:
    host.connect(request('/wait')).until_ended()


def slow_stream(host: Any) -> None:
    host.connect(request('/begun')).until_ended()


def failing(host: Any) -> None:
    host.connect(request('/fails')).until_ended()


def nonsense(host: Any) -> None:
    host.connect(b'nonsense\r\n\r\n').until_ended()


def many_fields(host: Any) -> None:
    host.connect(request('/', 'GET', *['A: b'] * 129)).until_ended()


def large_body(host: Any) -> None:
    host.connect(request('/read', 'POST', 'Content-Length: 1001')).until_ended()


def large_chunked_body(host: Any) -> None:
    host.connect(request('/read', 'POST', 'Transfer-Encoding: chunked')
                 + chunked(b'x' * 1001)).until_ended()


def half_a_body(host: Any) -> None:
    client = host.connect(request('/read', 'POST', 'Content-Length: 10') + b'half')
    client.fin()
    client.until_ended()


def one_too_many(host: Any) -> None:
    host.connect(request('/wait'))
    host.settle()
    host.connect(request('/')).until_ended()


def ended_at_once(host: Any) -> None:
    host.connect(request('/wait'))
    host.connect(request('/')).take()
    host.server.close()
    host.settle()


SCARCE = {'connections': 1}
INFO, ERROR = logging.INFO, logging.ERROR
UNREAD = ("cut: unread: the answer came before the body's end: the rest is too long, too slow, or "
          'of no known length')
LINES = [
    (slow_head, {}, INFO, 'cut: head_timeout: a head did not become whole in time (408, '
                          'head_timeout)'),
    (slow_body, SCARCE, INFO, 'cut: min_upload_rate: a body came too slowly (408, min_upload_rate, '
                          "rate_grace): POST '/read'"),
    (slow_reader, SCARCE, INFO, 'cut: min_download_rate: an answer was taken too slowly '
                            "(min_download_rate, rate_grace): GET '/endless'"),
    (half_closed, {}, INFO, 'cut: half_closed: the client had ended its side and took nothing '
                            "(half_close_timeout): GET '/wait'"),
    (unread, {}, INFO, f"{UNREAD} (discard_size, stall_timeout, min_upload_rate): POST '/'"),
    (never_comes, {}, INFO, f"{UNREAD} (discard_size, stall_timeout, min_upload_rate): POST '/'"),
    (slow_handler, {'handler_timeout': 4}, ERROR, 'cut: handler_timeout: the handler took too long '
                                                  "(handler_timeout): GET '/wait'"),
    (slow_stream, {'handler_timeout': 4}, ERROR, 'cut: handler_timeout: the handler took too long '
                                                 "(handler_timeout): GET '/begun'"),
    (failing, {}, INFO, "cut: failed: the handler failed after the head was sent: GET '/fails'"),
    (nonsense, {}, INFO, "refused: 400: the request line is malformed: b'nonsense'"),
    (many_fields, {}, INFO, 'refused: 431: the head has more than 128 fields (field_count)'),
    (large_body, {'body_size': 1000}, INFO,
     'refused: 413: the body exceeds 1000 bytes (body_size): 1001'),
    (large_chunked_body, {'body_size': 1000}, INFO,
     "refused: 413: the body exceeds 1000 bytes (body_size): POST '/read'"),
    (half_a_body, {}, INFO, "refused: 400: the body ends too early: POST '/read'"),
    (one_too_many, {'limit_concurrency': 1}, INFO,
     'refused: limit_concurrency: more requests were in hand than may be (503, limit_concurrency): '
     "GET '/'"),
    (ended_at_once, {}, INFO,
     "cut: shutdown: the server stopped (shutdown_timeout): GET '/wait'"),
]


@pytest.mark.parametrize(('run', 'options', 'level', 'line'), LINES,
                         ids=[case[0].__name__ for case in LINES])
def test_each_cut_and_each_refusal_is_one_line(app, run, options, level, line, lines, logged):
    with virtual(app, World(seed=1, buffer_size=20_000), **options) as host:
        run(host)
        assert lines.texts == [f'CLIENT: {line}']
        assert lines.records[0].levelno == level


def test_ends_in_good_order_have_no_line(app, lines):
    with virtual(app) as host:
        host.connect()                                                  # first_byte_timeout
        host.connect(request())                                         # idle_timeout
        host.connect(request('/', 'GET', 'Connection: close'))          # done
        host.connect(request()).fin()                                   # client
        host.connect(b'GET / HT').fin()                                 # truncated
        leaving = host.connect(request('/wait'))
        host.settle()
        leaving.reset()                                                 # reset
        host.until(lambda: not host.server.connections)
        assert set(host.closed) <= QUIET and len(host.closed) >= 5
        host.connect(request()).take()
        host.server.drain()                                             # shutdown, when idle
        host.until(lambda: not host.server.connections)
    assert lines.texts == []


def test_a_connection_that_the_server_warned_of_at_the_stop_has_no_second_line(app, lines, logged):
    with virtual(app, shutdown_timeout=3) as host:
        host.connect(request('/wait'))
        host.settle()
        host.server.drain()
        host.advance(4)
        assert lines.texts == ["shutdown_timeout is over: cut GET '/wait'"]


def test_an_idle_connection_that_still_takes_its_answer_is_cut_by_an_end_at_once(app, lines):
    @app.route('/long')
    def long():
        return b'x' * 1_000_000

    with virtual(app, World(seed=1, buffer_size=20_000)) as host:
        client = host.connect(request('/long'))
        client.reading = False
        host.connect(request()).take()
        host.settle()
        host.server.close()
        assert lines.texts == ['CLIENT: cut: shutdown: the server stopped (shutdown_timeout)']


def test_a_body_that_its_reader_refuses_has_one_line_whatever_the_handler_does(app, lines):
    @app.route('/catches', methods=['POST'])
    def catches(request):
        try:
            yield request.body()
        except Exception as error:
            yield f'I saw {error}'

    with virtual(app) as host:
        client = host.connect(request('/catches', 'POST', 'Transfer-Encoding: chunked') + b'zz\r\n')
        client.until_ended()
        assert b'I saw 400: ' in client.received
        assert len(lines.texts) == 1
        assert lines.texts[0].startswith('CLIENT: refused: 400: a chunk size line is malformed')
        assert lines.texts[0].endswith(": POST '/catches'")
        assert host.closed == {'refused': 1}


def test_a_refused_request_too_many_is_counted_by_its_own_reason(app, lines):
    with virtual(app, limit_concurrency=1) as host:
        one_too_many(host)
        assert host.closed == {'limit_concurrency': 1}


def test_a_line_holds_no_control_character_and_is_short(app, lines):
    """Nothing of a request can begin another line, or colour a terminal."""
    evil = ''.join(map(chr, (*range(0x21, 0x7f), *range(0x80, 0x100))))
    with virtual(app, handler_timeout=4) as host:
        for data in (
                b'GET /' + evil.encode('latin-1') + b' HTTP/1.1\r\n\r\n',
                b'\x1b[31mGET / HTTP/1.1\r\n\r\n',
                b'GET / HTTP/1.1\r\nHost: a\r\nA\xff\x9b: b\r\n\r\n',
                b'GET / HTTP/1.1\r\nHost: a\nINFO forged: line\r\n\r\n',
                b'X' * 8000 + b' /' + b'"\'%0a' * 2000 + b' HTTP/1.1\r\nHost: a\r\n'
                b'Content-Length: 99999999\r\n\r\n',
                request('/', 'POST', f'Content-Length: {"9" * 19}'),
                request('/' + '%0d%0aforged' * 100, 'POST', 'Content-Length: 9999999'),
        ):
            host.connect(data).until_ended()
    assert len(lines.texts) == 7
    for text in lines.texts:
        assert text.isascii() and text.isprintable(), text
        assert len(text) < 500, text


# -- who it was -----------------------------------------------------------------------------------


def test_the_client_is_named_by_its_address(app, lines):
    with serving(app) as host:
        client = host.connect(b'nonsense\r\n\r\n')
        host_name, port = client.sock.getsockname()
        client.read_all()
    assert lines.records[0].getMessage().startswith(f'{host_name}:{port}: refused: 400: ')


def test_an_address_of_ipv6_is_in_brackets(app, lines):
    with serving(app, host='::1') as host, \
            socket.create_connection(host.running.address[:2], timeout=30) as sock:
        sock.sendall(b'nonsense\r\n\r\n')
        port = sock.getsockname()[1]
        assert sock.recv(1000).startswith(b'HTTP/1.1 400')
    assert lines.records[0].getMessage().startswith(f'[::1]:{port}: refused: 400: ')


def test_a_client_on_a_unix_socket_is_named_by_our_path(app, lines, tmp_path):
    with serving(app, bind=f'unix:{tmp_path}/socket') as host:
        host.connect(b'nonsense\r\n\r\n').read_all()
    assert lines.records[0].getMessage().startswith(
        f'a client of unix:{tmp_path}/socket: refused: 400: ')


def test_a_client_that_has_lost_its_address_is_told_all_the_same(app, lines):
    with virtual(app) as host:
        client = host.connect(b'GET')
        host.settle()
        connection, = host.server.connections
        client.reset()
        host.world.wait_until(host.now)
        connection.abort('half_closed')
    assert lines.texts == ['a client: cut: half_closed: the client had ended its side and took '
                           'nothing (half_close_timeout)']


# -- how many -------------------------------------------------------------------------------------



def test_ten_lines_a_second_and_then_a_count_every_ten_seconds(app, lines):
    with virtual(app) as host:
        for _ in range(25):
            host.connect(b'nonsense\r\n\r\n')
        host.settle()
        assert len(lines.texts) == 10
        host.advance(1.5)
        for _ in range(12):
            host.connect(b'nonsense\r\n\r\n')
        host.settle()
        assert len(lines.texts) == 20
        assert all(': refused: 400: ' in text for text in lines.texts)
        host.advance(8)
        assert len(lines.texts) == 20
        host.advance(1)
        assert lines.texts[20:] == ['refused: 17 more connections in the last 10 s']
        assert lines.records[20].levelno == logging.INFO
        # It is told once, and then there is nothing to tell.
        host.advance(100)
        assert len(lines.texts) == 21
        host.connect(b'nonsense\r\n\r\n')
        host.settle()
        assert len(lines.texts) == 22


def test_each_reason_has_lines_of_its_own(app, lines):
    with virtual(app, half_close_timeout=0.5) as host:
        for _ in range(20):
            host.connect(b'nonsense\r\n\r\n')
        host.settle()
        half_closed(host)
        assert 'cut: half_closed: ' in lines.texts[-1]
        assert len(lines.texts) == 11


def test_the_counts_are_told_when_the_server_ends(app, lines):
    with virtual(app, backlog=2000) as host:
        for _ in range(1234):
            host.connect(b'nonsense\r\n\r\n')
        host.settle()
        host.advance(3)
        assert len(lines.texts) == 10
        host.server.close()
        assert lines.texts[10:] == ['refused: 1,224 more connections in the last 3 s']
        host.advance(100)
        assert len(lines.texts) == 11


def test_the_parts_of_a_server_write_together(app, lines):
    app.listen(8001, idle_timeout=5)
    with virtual(app) as host:
        for number in range(20):
            host.connect(b'nonsense\r\n\r\n', listener=number % 2)
        host.settle()
        assert len(lines.texts) == 10


def test_an_address_is_asked_only_for_a_line_that_is_written(app, lines, monkeypatch):
    from tremolo.server import lifetime
    asked = []
    addresses_of = lifetime.addresses_of

    def counted(stream: Any) -> Any:
        asked.append(stream)
        return addresses_of(stream)

    monkeypatch.setattr(lifetime, 'addresses_of', counted)
    with virtual(app) as host:
        for _ in range(100):
            host.connect(b'nonsense\r\n\r\n')
        host.connect(request())
        host.settle()
        assert len(asked) == len(lines.texts) == 10
        logging.getLogger('tremolo.server').setLevel(logging.WARNING)
        host.advance(5)
        for _ in range(100):
            host.connect(b'nonsense\r\n\r\n')
        host.settle()
        assert len(asked) == 10


@pytest.mark.parametrize('error', [ValueError, OSError])
def test_a_log_that_fails_keeps_no_connection(app, error, lines, monkeypatch):
    def fails(record: logging.LogRecord) -> None:
        raise error('no space left on device')

    monkeypatch.setattr(lines, 'emit', fails)
    with virtual(app, World(seed=1, buffer_size=20_000)) as host:
        slow_reader(host)
        assert host.closed == {'stall_timeout': 1}
        for _ in range(20):
            nonsense(host)
        host.advance(20)
        assert host.closed == {'stall_timeout': 1, 'refused': 20}
        assert host.connect(request()).take().body == b'hello'
