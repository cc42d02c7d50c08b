"""Answers of 204, 205 and 304 that are given a body: it is left out, and one warning says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from server_support import request, serving, virtual

from tremolo import Tremolo, sleep
from tremolo.asgi_app import AsgiApplication

STATUSES = [204, 205, 304]


def native() -> Tremolo:
    app = Tremolo()

    @app.route('/next')
    def following() -> str:
        return 'next'

    @app.route('/returned/<int:status>')
    def returned(status: int, response: Any) -> str:
        response.status = status
        return 'body'

    @app.route('/yielded/<int:status>')
    def yielded(status: int, response: Any) -> Any:
        response.status = status
        yield 'body'

    @app.route('/late/<int:status>')
    def late(status: int, response: Any) -> Any:
        response.status = status
        yield 'body'
        yield sleep(0.001)
        yield 'more'

    @app.route('/length/<int:status>')
    def length(status: int, response: Any) -> None:
        response.status = status
        response.headers['Content-Length'] = '4'

    @app.route('/empty/<int:status>')
    def empty(status: int, response: Any) -> bytes:
        response.status = status
        return b''

    @app.route('/large/<int:status>')
    def large(status: int, response: Any) -> bytes:
        response.status = status
        return bytes(300_000)

    return app


@pytest.mark.parametrize('status', STATUSES)
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
@pytest.mark.parametrize('kind', ['returned', 'yielded', 'late', 'large'])
def test_a_body_is_left_out_with_one_warning(kind, method, status, logged):
    with virtual(native()) as host:
        client = host.connect()
        for turn in range(3):
            client.send(request(f'/{kind}/{status}?{turn}', method) + request('/next'))
            found = client.take(method)
            assert (found.status, found.body) == (status, b'')
            assert found.headers.get('content-length') == ('0' if status == 205 else None)
            assert 'transfer-encoding' not in found.headers
            assert 'content-type' not in found.headers
            assert client.take().body == b'next'
    size = 300_000 if kind == 'large' else 4
    assert logged.messages == [f"{method} '/{kind}/{status}?0': an answer of status {status} has "
                               f"no body: {size} bytes are left out"]


@pytest.mark.parametrize('status', STATUSES)
def test_a_length_is_left_out_too_unless_it_is_that_of_the_200(status, logged):
    with virtual(native()) as host:
        client = host.connect(request(f'/length/{status}') + request('/next'))
        found = client.take()
        assert found.status == status
        assert found.headers.get('content-length') == {204: None, 205: '0', 304: '4'}[status]
        assert client.take().body == b'next'
    assert len(logged.messages) == (0 if status == 304 else 1)


@pytest.mark.parametrize('status', STATUSES)
def test_no_body_is_no_mistake(status):
    with virtual(native()) as host:
        client = host.connect(request(f'/empty/{status}') + request('/next'))
        assert client.take().status == status
        assert client.take().body == b'next'


def test_each_path_and_status_is_warned_of_once_and_at_most_a_hundred(logged):
    app = Tremolo()

    @app.route('/<int:number>')
    def number(number: int, response: Any) -> str:
        response.status = 204
        return 'body'

    with virtual(app) as host:
        for _ in range(2):
            for each in range(150):
                host.connect(request(f'/{each}', 'GET', 'Connection: close')).until_ended()
    assert len(logged.messages) == len(set(logged.messages)) == 100


async def application(scope: Any, receive: Any, send: Any) -> None:
    _, kind, status = scope['path'].split('/')
    headers = [(b'content-type', b'text/plain')]
    if kind == 'length':
        headers.append((b'content-length', b'4'))
    await send({'type': 'http.response.start', 'status': int(status), 'headers': headers})
    if kind == 'pieces':
        await send({'type': 'http.response.body', 'body': b'bo', 'more_body': True})
        await asyncio.sleep(0.001)
        await send({'type': 'http.response.body', 'body': b'dy'})
    else:
        await send({'type': 'http.response.body', 'body': b'body'})


@pytest.mark.parametrize('status', STATUSES)
@pytest.mark.parametrize('kind', ['whole', 'length', 'pieces'])
def test_an_asgi_application_is_treated_alike(kind, status, logged):
    with serving(AsgiApplication(application), port=0, lifespan='off') as host:
        client = host.connect()
        for _ in range(2):
            client.send(request(f'/{kind}/{status}') + request('/whole/200'))
            found = client.take()
            assert (found.status, found.body) == (status, b'')
            wanted = '0' if status == 205 else '4' if (kind, status) == ('length', 304) else None
            assert found.headers.get('content-length') == wanted
            assert client.take().body == b'body'
    assert len(logged.messages) == 1
    assert f'/{kind}/{status}' in logged.text
