"""`stream=True`: each chunk is sent before the handler goes on, also if it blocks."""

from __future__ import annotations

import threading

import pytest
from server_support import PATIENCE, request, serving, virtual

from tremolo import Tremolo, sleep


@pytest.mark.parametrize('kind', ['generator', 'waited', 'asynchronous'])
@pytest.mark.parametrize('first', [b'one', 'one', bytearray(b'one')])
def test_a_chunk_is_with_the_client_while_the_generator_blocks(kind, first):
    seen = threading.Event()

    def generator(stream=True):
        yield first
        assert seen.wait(PATIENCE)
        yield b'two'

    def waited(stream=True):
        yield sleep(0.001)
        yield first
        assert seen.wait(PATIENCE)
        yield b'two'

    async def asynchronous(stream=True):
        yield first
        assert seen.wait(PATIENCE)
        yield b'two'

    app = Tremolo()
    app.route('/')(locals()[kind])
    with serving(app, port=0) as host:
        client = host.connect(request())
        client.until(b'3\r\none\r\n')
        seen.set()
        assert client.take().body == b'onetwo'


@pytest.mark.parametrize('kind', ['generator', 'waited', 'asynchronous'])
@pytest.mark.parametrize('empty', [b'', ''])
def test_an_empty_chunk_opens_the_stream(kind, empty):
    """A browser's EventSource is open when the head has come."""
    seen = threading.Event()

    def generator(stream=True, content_type='text/event-stream'):
        yield empty
        assert seen.wait(PATIENCE)
        yield 'data: 1\n\n'

    def waited(stream=True, content_type='text/event-stream'):
        yield sleep(0.001)
        yield empty
        assert seen.wait(PATIENCE)
        yield 'data: 1\n\n'

    async def asynchronous(stream=True, content_type='text/event-stream'):
        yield empty
        assert seen.wait(PATIENCE)
        yield 'data: 1\n\n'

    app = Tremolo()
    app.route('/')(locals()[kind])
    with serving(app, port=0) as host:
        client = host.connect(request())
        client.until(b'\r\n\r\n')
        assert client.received.endswith(b'\r\n\r\n')
        seen.set()
        assert client.take().body == b'data: 1\n\n'


def test_the_head_is_open_while_the_stream_has_nothing_to_say():
    app = Tremolo()

    @app.route('/')
    def events(stream=True, content_type='text/event-stream'):
        yield b''
        yield sleep(60)
        yield b'data: 1\n\n'

    with virtual(app) as host:
        client = host.connect(request())
        client.until(b'\r\n\r\n')
        assert host.now < 1


def test_an_empty_chunk_within_a_stream_ends_nothing():
    app = Tremolo()

    @app.route('/')
    def events(stream=True):
        yield b''
        yield b'a'
        yield b''
        yield b'b'

    with virtual(app) as host:
        client = host.connect(request())
        assert client.take().body == b'ab'


def test_head_of_a_stream_is_its_head():
    app = Tremolo()

    @app.route('/')
    def events(stream=True):
        yield b''
        yield sleep(60)

    with virtual(app) as host:
        client = host.connect(request('/', 'HEAD'))
        assert client.take('HEAD').status == 200
        assert host.now < 1
