"""What is set after the head is sent would be lost: it is told, and the answer is cut."""

from __future__ import annotations

import pytest
from server_support import request, virtual

from tremolo import Tremolo, sleep
from tremolo.http import HeaderError
from tremolo.server import HandlerError

CHANGES = {
    'status': lambda response, taken: setattr(response, 'status', 404),
    'content_type': lambda response, taken: setattr(response, 'content_type', 'text/plain'),
    'chunked': lambda response, taken: setattr(response, 'chunked', False),
    'rate': lambda response, taken: setattr(response, 'rate', '1KiB'),
    'cookie': lambda response, taken: response.set_cookie('a', 'b'),
    'headers': lambda response, taken: response.headers.add('X-A', '1'),
    'taken, set': lambda response, taken: taken.__setitem__('X-A', '1'),
    'taken, added': lambda response, taken: taken.add('X-A', '1'),
    'taken, removed': lambda response, taken: taken.__delitem__('X-B'),
}
# How the head is sent: with a whole answer, in the usual case and not; with a first piece.
SENT = {
    'whole': lambda response: response.send(b'x'),
    'whole, with a length': lambda response: (
        response.headers.__setitem__('Content-Length', 1), response.send(b'x')),
    'whole, and it closes': lambda response: (
        response.headers.__setitem__('Connection', 'close'), response.send(b'x')),
    'a piece': lambda response: response.write(b'x'),
    'the head': lambda response: response.write(b''),
}


@pytest.mark.parametrize('sent', SENT)
@pytest.mark.parametrize('change', CHANGES)
def test_a_change_after_the_head_is_told(change, sent):
    app = Tremolo()
    told = []

    @app.route('/')
    def late(response):
        taken = response.headers
        taken['X-B'] = '1'
        SENT[sent](response)
        yield sleep(0.1)
        try:
            CHANGES[change](response, taken)
        except (HeaderError, HandlerError) as error:
            told.append(str(error))
        assert response.headers['X-B'] == taken['X-B'] == '1'
        assert response.content_type == 'text/html; charset=utf-8' and response.chunked

    with virtual(app) as host:
        client = host.connect(request())
        answer = client.take()
        assert answer.status == 200 and answer.headers['x-b'] == '1'
        host.advance(1)
    assert len(told) == 1 and 'the head is sent already: ' in told[0]


def test_after_a_body_that_does_not_fit_the_fields_can_be_changed():
    """Nothing was sent: another answer can take its place."""
    app = Tremolo()

    @app.route('/')
    def other(response):
        taken = response.headers
        taken['Content-Length'] = 1
        with pytest.raises(HandlerError, match='longer'):
            response.write(b'xxx')
        del taken['Content-Length']
        response.content_type = 'text/plain'
        response.status = 201
        return 'fits'

    with virtual(app) as host:
        answer = host.connect(request()).take()
        assert (answer.status, answer.body) == (201, b'fits')
        assert answer.headers['content-type'].startswith('text/plain')


def test_fields_that_were_never_set_cannot_be_set_after_the_head():
    app = Tremolo()

    @app.route('/')
    def late(response):
        yield b'x'
        yield sleep(0.1)
        for headers in (response.headers, response.headers):
            with pytest.raises(HeaderError, match='sent already'):
                headers['X-A'] = '1'
        yield b'y'

    with virtual(app) as host:
        assert host.connect(request()).take().body == b'xy'


def test_a_change_after_an_upgrade_is_told():
    app = Tremolo()
    told = []

    @app.route('/')
    def switch(response):
        taken = response.headers
        response.upgrade('x')
        with pytest.raises(HeaderError, match='sent already'):
            taken['X-A'] = '1'
        with pytest.raises(HeaderError, match='sent already'):
            response.headers['X-A'] = '1'
        told.append(1)
        yield sleep(0)

    with virtual(app) as host:
        client = host.connect(request('/', 'GET', 'Upgrade: x', 'Connection: upgrade'))
        client.until(b'101')
        host.advance(1)
    assert told == [1]
