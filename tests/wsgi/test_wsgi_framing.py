"""What goes wrong on the loop, where an answer of WSGI is sent, and not in the application."""

from __future__ import annotations

import threading

import pytest
from server_support import answers, request
from wsgi_support import Seen, end_of, plain, site

from tremolo.server import response as server_response
from tremolo.wsgi import sending

CLOSE = 'Connection: close'


class Whole(list):
    """A list whose `close` is told."""

    closed: Seen

    def close(self):
        self.closed.put('closed')


class Pieces(Whole):
    """The same without a length."""

    __len__ = None    # type: ignore[assignment]


def returned(kind, seen, tmp_path, environ):
    """Return chunks or a file, of which the end is told."""
    if kind == 'file':
        path = tmp_path / 'file'
        path.write_bytes(b'0123456789' * 20_000)
        file = open(path, 'rb')    # noqa: SIM115
        close = file.close

        def told():
            close()
            seen.put('closed')

        file.close = told
        return environ['wsgi.file_wrapper'](file)
    chunks = {'whole': Whole, 'pieces': Pieces}[kind]([b'one', b'two'])
    chunks.closed = seen
    return chunks


@pytest.mark.parametrize('answerable', [True, False])
@pytest.mark.parametrize(('kind', 'method'), [
    ('whole', 'GET'), ('pieces', 'GET'), ('file', 'GET'), ('pieces', 'HEAD')])
def test_an_error_of_the_framing_ends_the_call(
        kind, method, answerable, tmp_path, monkeypatch, logged):
    seen = Seen()

    def app(environ, start_response):
        plain(start_response)
        return returned(kind, seen, tmp_path, environ)

    def fails(*_):
        raise RuntimeError('of the framing')

    monkeypatch.setattr(server_response.Response, 'set_encoded', fails)
    if not answerable:
        monkeypatch.setattr(sending, 'send_failure', fails)
    with site(app, check=False) as host:
        data = end_of(host, request('/', method, CLOSE))
        assert seen.next() == 'closed'
        if answerable:
            found, = answers(data, method)
            assert found.status == 500
        else:
            assert data == b''
    assert 'the WSGI application failed on' in logged.text
    assert 'RuntimeError: of the framing' in logged.text
    assert bool(logged.count('no answer is possible for')) is not answerable


@pytest.mark.parametrize('kind', ['whole', 'pieces', 'file'])
def test_what_is_answered_when_the_client_has_left_is_closed(kind, tmp_path):
    seen, left = Seen(), threading.Event()

    def app(environ, start_response):
        seen.put('asked')
        left.wait(60)
        plain(start_response)
        return returned(kind, seen, tmp_path, environ)

    with site(app, check=False) as host:
        client = host.connect(request('/'))
        assert seen.next() == 'asked'
        client.reset()
        host.wait_for(lambda: not host.server.connections)
        left.set()
        assert seen.next() == 'closed'


def test_a_body_that_cannot_be_read_is_an_error_of_the_read(monkeypatch, logged):
    seen = Seen()

    def app(environ, start_response):
        try:
            environ['wsgi.input'].read(3)
        except Exception as error:
            seen.put(error)
        plain(start_response)
        return [b'told']

    def fails(*_):
        raise RuntimeError('of the loop')

    with site(app, check=False) as host:
        monkeypatch.setattr(sending.Request, 'read', fails)
        found, = answers(end_of(host, request('/', 'POST', CLOSE, 'Expect: 100-continue',
                                              'Content-Length: 3')))
        assert str(seen.next()) == 'of the loop'
        assert found.body == b'told'
