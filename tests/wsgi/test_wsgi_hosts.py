"""A WSGI application inside other programs: in asyncio, stepped by its host, on asyncio's loop."""

from __future__ import annotations

import asyncio
import threading

import pytest
from server_support import answers, request
from wsgi_support import plain, site

from tremolo.wsgi_app import WsgiApplication

CLOSE = 'Connection: close'


def app(environ, start_response):
    plain(start_response)
    return [environ['wsgi.input'].read() or b'hello']


async def ask(address, data):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    try:
        return answers(await reader.read())
    finally:
        writer.close()
        await writer.wait_closed()


def test_it_is_a_guest_in_an_asyncio_program():
    async def program():
        async with WsgiApplication(app).serve() as server:
            found = await asyncio.gather(*(
                ask(server.address, request('/', 'POST', CLOSE, body=b'%d' % number))
                for number in range(20)))
        return [each.body for each, in found]

    assert asyncio.run(program()) == [b'%d' % number for number in range(20)]


def test_its_host_may_step_it():
    with WsgiApplication(app).start(thread=False) as server:
        found = []
        thread = threading.Thread(target=lambda: found.extend(
            asyncio.run(ask(server.address, request('/', 'GET', CLOSE)))))
        thread.start()
        while thread.is_alive():
            server.step(0.05)
        thread.join()
    assert [each.body for each in found] == [b'hello']


@pytest.mark.parametrize('loop', ['asyncio', 'reactor'])
def test_it_runs_on_each_loop(loop):
    with site(app, check=False, loop=loop) as host:
        client = host.connect(request('/') * 10 + request('/', 'GET', CLOSE))
        assert [each.body for each in answers(client.read_all())] == [b'hello'] * 11


def test_it_may_be_served_again():
    service = WsgiApplication(app)
    for _ in range(2):
        with service.start() as server:
            assert asyncio.run(ask(server.address, request('/', 'GET', CLOSE)))[0].status == 200
        assert list(service.left()) == []
