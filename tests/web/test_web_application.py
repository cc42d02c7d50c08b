"""The application: what requests see, what it is given, and how it is run."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
import sys
import threading

import pytest
from server_support import Client, request, serving, virtual

from tremolo import Application, Tremolo
from tremolo.exceptions import HeaderError


@pytest.fixture
def app() -> Tremolo:
    return Tremolo()


@pytest.fixture
def quiet():
    """Put the log level back that `run` sets."""
    logger = logging.getLogger('tremolo')
    level = logger.level
    yield
    logger.setLevel(level)


def test_tremolo_and_application_are_the_same():
    assert Tremolo is Application


# -- what a request shows -------------------------------------------------------------------------


def test_a_request_shows_its_head(app):
    @app.route('/pa th', methods=['POST'])
    def show(request):
        return [request.method, request.version, request.path, request.raw_path.decode(),
                request.query_string.decode(), request.host, request.content_type,
                request.content_length, request.headers['x-a'], request.headers.get_all('X-A'),
                request.cookies, request.query, request.headers.get('none')]

    with virtual(app) as host:
        client = host.connect(request(
            '/pa%20th?a=1&b=&a=2', 'POST', 'X-A: one', 'x-a: two ', 'Cookie: c=d; e="f"',
            'Content-Type: text/x', body=b'abc'))
        assert client.take().body == (
            b'["POST", "1.1", "/pa th", "/pa%20th", "a=1&b=&a=2", "test", "text/x", 3, "one", '
            b'["one", "two"], {"c": "d", "e": "f"}, {"a": ["1", "2"], "b": [""]}, null]')


def test_a_request_shows_what_is_missing(app):
    @app.route('/')
    def show(request):
        return [request.version, request.host, request.content_type, request.content_length,
                request.cookies, request.query]

    with virtual(app) as host:
        client = host.connect(b'GET / HTTP/1.0\r\n\r\n')
        assert client.take().body == b'["1.0", "", "", null, {}, {}]'


def test_a_request_shows_its_client(app, tmp_path):
    @app.route('/')
    def show(request):
        return repr(request.client)

    with serving(app) as host:
        client = host.connect(request())
        assert client.take().body.decode() == repr(client.sock.getsockname())
    with app.start(bind=f'unix:{tmp_path}/socket') as running:
        client = Client(running.address)
        client.send(request())
        assert client.take().body == b'None'
        client.close()


# -- what a response can be given -----------------------------------------------------------------


def test_a_response_has_status_headers_and_cookies(app):
    @app.route('/')
    def handler(response):
        response.status = 201
        response.content_type = 'text/x'
        response.headers['X-A'] = 'one'
        response.headers.add('x-a', 'two')
        response.set_cookie('name', 'value', secure=True)
        with pytest.raises(HeaderError):
            response.set_cookie('na me', 'value')
        assert response.status == 201
        return 'x'

    with virtual(app) as host:
        answer = host.connect(request()).take()
        assert (answer.status, answer.reason) == (201, 'Created')
        assert answer.headers['content-type'] == 'text/x'
        assert answer.headers['x-a'] == 'one, two'
        assert answer.headers['set-cookie'] == 'name=value; Path=/; Secure'


def test_globals_last_as_long_as_the_application(app):
    @app.route('/')
    def count(globals):
        globals.count = getattr(globals, 'count', 0) + 1
        return str(globals.count)

    with virtual(app) as host:
        client = host.connect(request() * 3)
        assert [client.take().body for _ in range(3)] == [b'1', b'2', b'3']
    assert app.context.count == 3
    assert app.context.options['port'] == 0


# -- serving --------------------------------------------------------------------------------------


def test_listen_adds_addresses(app):
    app.route('/')(lambda: 'hello')
    app.listen(0)
    app.listen(0, '127.0.0.1')
    with app.start() as running:
        assert len(set(running.server.urls)) == 3
        for listener in running.server.listeners:
            client = Client(listener.address)
            client.send(request())
            assert client.take().body == b'hello'
            client.close()


class Announced(io.StringIO):
    """A standard output that tells when the server says where it runs."""

    def __init__(self, out) -> None:
        super().__init__()
        self.out = out
        self.ready = threading.Event()

    def write(self, text: str) -> int:
        if text.startswith('running on'):
            self.ready.set()
        return self.out.write(text)


def run_in_main(app, path, **options):
    """Run the application here, and ask it from another thread to stop, over a UNIX socket."""
    bodies = []
    announced = Announced(sys.stdout)

    def ask() -> None:
        assert announced.ready.wait(10)
        client = Client(str(path))
        client.send(request('/stop'))
        bodies.append(client.take().body)
        client.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        with contextlib.redirect_stdout(announced):
            app.run(bind=f'unix:{path}', **options)
    finally:
        thread.join()
    return bodies


def test_run_serves_until_stop_and_prints_where(app, tmp_path, capsys, quiet):
    @app.route('/stop')
    def stop(app):
        app.stop()
        return 'stopping'

    path = tmp_path / 'socket'
    assert run_in_main(app, path) == [b'stopping']
    assert capsys.readouterr().out == (
        f'running on unix:{path} (process {os.getpid()}, press CTRL+C to quit)\n')
    assert not path.exists()


def test_run_can_be_called_again(app, tmp_path, capsys, quiet):
    @app.route('/stop')
    def stop(app):
        app.stop()
        return 'stopping'

    for _ in range(2):
        assert run_in_main(app, tmp_path / 'socket') == [b'stopping']


def test_stop_without_a_server_does_nothing(app):
    app.stop()


@pytest.mark.parametrize('options', [{'prot': 1}, {'port': -1}, {'idle_timeout': 'soon'}])
def test_run_with_a_bad_option_is_one_line_and_status_2(app, capsys, options):
    with pytest.raises(SystemExit) as caught:
        app.run(**options)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f'tremolo: error: {next(iter(options))}: ')


def test_run_on_a_taken_port_is_one_line_and_status_1(app, capsys, quiet):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as caught:
            app.run('127.0.0.1', port)
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f'tremolo: error: cannot listen on 127.0.0.1:{port}: ')
    assert error.count('\n') == 1
