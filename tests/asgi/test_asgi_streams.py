"""ASGI streams that are silent: what they wait for when their client leaves."""

from __future__ import annotations

import asyncio
import queue
import socket

import pytest
from test_asgi import http_only, request, start


def ends_with_its_client(stream):
    """Make an application that ends `stream` as Starlette does: spec_version says how.

    Below 2.4 a second task waits for `http.disconnect`. From 2.4 on only a `send` that fails ends
    the stream.
    """
    @http_only
    async def app(scope, receive, send):
        async def until_gone():
            while (await receive())['type'] != 'http.disconnect':
                pass

        version = tuple(map(int, scope['asgi']['spec_version'].split('.')))
        tasks = [asyncio.ensure_future(stream(send))]
        if version < (2, 4):
            tasks.append(asyncio.ensure_future(until_gone()))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    return app


@pytest.mark.parametrize('reset', [False, True], ids=['leaves', 'resets'])
def test_a_silent_stream_ends_when_its_client_leaves(reset):
    ended = queue.SimpleQueue()

    async def stream(send):
        await send({'type': 'http.response.start', 'status': 200})
        await send({'type': 'http.response.body', 'body': b'begun', 'more_body': True})
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.put('ended')

    with start(ends_with_its_client(stream), half_close_timeout=0.01) as server:
        clients = [socket.create_connection(('127.0.0.1', server.port), timeout=10)
                   for _ in range(20)]
        for sock in clients:
            sock.sendall(request())
            received = b''
            while b'begun' not in received:
                received += sock.recv(1000)
        for sock in clients:
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
            sock.close()
        assert [ended.get(timeout=10) for _ in clients] == ['ended'] * 20


def test_send_raises_os_error_whatever_the_version_says():
    seen = queue.SimpleQueue()

    @http_only
    async def app(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200})
        await send({'type': 'http.response.body', 'body': b'begun', 'more_body': True})
        while (await receive())['type'] != 'http.disconnect':
            pass
        for _ in range(2):
            try:
                await send({'type': 'http.response.body', 'body': b'x', 'more_body': True})
            except OSError as error:
                seen.put(str(error))

    with start(app, half_close_timeout=0.01) as server:
        with socket.create_connection(('127.0.0.1', server.port), timeout=10) as sock:
            sock.sendall(request())
            sock.recv(1000)
        for _ in range(2):
            assert seen.get(timeout=10).startswith('the client is gone: half_closed: ')
