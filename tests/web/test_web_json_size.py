"""JSON has a limit of its own, `json_size`, in every kind of handler; and it is parsed once."""

from __future__ import annotations

import json

import pytest
from server_support import request, serving, virtual

import tremolo.web.request
from tremolo import Tremolo
from tremolo.asgi_app import AsgiApplication
from tremolo.settings import Settings

LIMIT = 1000
KINDS = ['generator', 'thread', 'async']


def app() -> Tremolo:
    app = Tremolo()

    @app.route('/generator', methods=['POST'])
    def generator(request):
        value = yield request.json()
        yield str(len(value))

    @app.route('/thread', methods=['POST'])
    def thread(request, thread=True):
        return str(len(request.json().result()))

    @app.route('/body', methods=['POST'])
    def body(request):
        yield str(len(json.loads((yield request.body()))))

    @app.route('/after', methods=['POST'])
    def after(request):
        yield request.body()
        value = yield request.json()
        yield str(len(value))

    @app.route('/next')
    def following():
        return 'next'

    return app


def with_async(app: Tremolo) -> Tremolo:
    @app.route('/async', methods=['POST'])
    async def coroutine(request):
        return str(len(await request.json()))

    return app


def text(size: int) -> bytes:
    """JSON of so many bytes, and of so many characters less two."""
    return b'"' + b'a' * (size - 2) + b'"'


def test_the_default_is_what_the_loop_may_wait_for():
    assert Settings().json_size == 262144 < Settings().body_buffer_size


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('framing', ['sized', 'chunked'])
def test_what_is_larger_is_refused_and_named(kind, framing):
    def sent(size):
        if framing == 'sized':
            return request(f'/{kind}', 'POST', body=text(size))
        body = text(size)
        return request(f'/{kind}', 'POST', 'Transfer-Encoding: chunked') + b''.join(
            b'%x\r\n%b\r\n' % (len(body[at:at + 300]), body[at:at + 300])
            for at in range(0, size, 300)) + b'0\r\n\r\n'

    with serving(with_async(app()), json_size=LIMIT) as host:
        client = host.connect(sent(LIMIT))
        assert client.take().body == b'%d' % (LIMIT - 2)
        client = host.connect(sent(LIMIT + 1))
        answer = client.take()
        assert answer.status == 413
        assert b'json_size' in answer.body and b'1000 bytes' in answer.body


def test_a_length_that_is_too_large_is_refused_before_its_body_comes():
    with virtual(app(), json_size=LIMIT) as host:
        client = host.connect(request('/generator', 'POST', 'Content-Length: 1001'))
        assert client.take().status == 413


def test_chunks_are_refused_as_soon_as_they_are_too_many():
    with virtual(app(), json_size=LIMIT) as host:
        client = host.connect(request('/generator', 'POST', 'Transfer-Encoding: chunked')
                              + b'3e9\r\n' + text(1001) + b'\r\n')
        assert client.take().status == 413


def test_what_is_refused_is_not_parsed(monkeypatch):
    monkeypatch.setattr(tremolo.web.request, 'read_json', None)
    with virtual(app(), json_size=LIMIT) as host:
        client = host.connect(request('/after', 'POST', body=text(LIMIT + 1)))
        answer = client.take()
        assert answer.status == 413 and b'json_size' in answer.body


def test_a_program_that_needs_more_reads_the_body():
    with virtual(app(), json_size=LIMIT) as host:
        client = host.connect(request('/body', 'POST', body=text(100_000)))
        assert client.take().body == b'99998'


def test_body_buffer_size_holds_for_json_too():
    with virtual(app(), body_buffer_size=LIMIT) as host:
        client = host.connect(request('/generator', 'POST', body=text(LIMIT + 1)))
        answer = client.take()
        assert answer.status == 413 and b'body_buffer_size' in answer.body


def test_an_asgi_application_reads_what_it_likes():
    async def asgi(scope, receive, send):
        size, more = 0, True
        while more:
            event = await receive()
            size += len(event['body'])
            more = event['more_body']
        await send({'type': 'http.response.start', 'status': 200})
        await send({'type': 'http.response.body', 'body': b'%d' % size})

    with serving(AsgiApplication(asgi), lifespan='off', json_size=LIMIT) as host:
        client = host.connect(request('/', 'POST', 'Content-Type: application/json',
                                      body=text(100_000)))
        assert client.take().body == b'100000'


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('body', [b'{"a": [1]}', b'{"a": '])
def test_json_is_parsed_once(monkeypatch, kind, body):
    parsed, read = [], tremolo.web.request.read_json

    def counted(data):
        parsed.append(data)
        return read(data)

    monkeypatch.setattr(tremolo.web.request, 'read_json', counted)
    app, got = Tremolo(), []

    def note(call):
        try:
            got.append(call())
        except Exception as error:
            got.append(str(error))

    @app.route('/generator', methods=['POST'])
    def generator(request):
        for _ in range(3):
            try:
                got.append((yield request.json()))
            except Exception as error:
                got.append(str(error))
        yield b'done'

    @app.route('/thread', methods=['POST'])
    def thread(request, thread=True):
        for _ in range(3):
            note(request.json().result)
        return b'done'

    @app.route('/async', methods=['POST'])
    async def coroutine(request):
        for _ in range(3):
            try:
                got.append(await request.json())
            except Exception as error:
                got.append(str(error))
        return b'done'

    with serving(app) as host:
        client = host.connect(request(f'/{kind}', 'POST', body=body))
        assert client.take().body == b'done'
    assert parsed == [body]
    assert got[0] == got[1] == got[2] and len(got) == 3
    if body.endswith(b'}'):
        assert got[0] is got[1] is got[2]
    else:
        assert 'not JSON' in got[0]
