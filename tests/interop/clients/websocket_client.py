"""Python's WebSocket clients; see README.md.

    python websocket_client.py CLIENT URL on|off
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import struct
import sys
from typing import Any

TIMEOUT = 30
SIZES = (0, 1, 125, 126, 65535, 65536, 1 << 20)


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


class Client:
    """A client that `run` drives. What a library cannot do is None."""

    fragments = True

    def __init__(self, url: str, deflate: bool) -> None:
        self.url = url.replace('http', 'ws', 1)
        self.deflate = deflate

    async def open(self, path: str, *subprotocols: str) -> Any:
        raise NotImplementedError

    async def send(self, socket: Any, message: Any) -> None:
        """Send a text, bytes, or a list of texts as fragments."""
        raise NotImplementedError

    async def receive(self, socket: Any) -> str | bytes:
        raise NotImplementedError

    async def ping(self, socket: Any) -> str:
        """Send a ping, and give what came back in its pong."""
        raise NotImplementedError

    async def close(self, socket: Any, code: int, reason: str) -> int:
        """Close; give the code that came back. (No server need send the reason back.)"""
        raise NotImplementedError

    async def closed(self, socket: Any) -> Any:
        """Receive until it is closed; give code and reason."""
        raise NotImplementedError

    async def refused(self, path: str) -> int:
        """Give the status of a handshake that is refused."""
        raise NotImplementedError

    def facts(self, socket: Any) -> tuple[bool, str]:
        """Whether it compresses, and the subprotocol."""
        raise NotImplementedError


async def run(client: Client) -> None:
    socket = await client.open('/echo')
    wrong = []
    for size in SIZES:
        for message in ('x' * size, bytes((i * i >> 3) % 256 for i in range(min(size, 65536)))
                        * (size // 65536 or 1)):
            await client.send(socket, message)
            if await client.receive(socket) != message:
                wrong.append(f'{type(message).__name__} {size}')
    await client.send(socket, 'é€😀')
    if await client.receive(socket) != 'é€😀':
        wrong.append('text beyond ASCII')
    say(echo=wrong, deflated=client.facts(socket)[0])
    pong, fragments = await client.ping(socket), None
    if client.fragments:
        await client.send(socket, ['some ', 'fragments ', 'é'])
        fragments = await client.receive(socket)
    say(pong=pong, fragments=fragments)
    await client.send(socket, 'ping')
    say(pinged=await client.receive(socket))
    say(closed=await client.close(socket, 1000, ''))

    socket = await client.open('/echo', 'other', 'tremolo')
    say(subprotocol=client.facts(socket)[1])
    say(closed=await client.close(socket, 4001, 'that is all'))

    socket = await client.open('/echo')
    await client.send(socket, 'close 4002 that is énough')
    say(closed=await client.closed(socket))

    say(closed=await client.closed(await client.open('/done')))

    socket = await client.open('/large')
    # The server does not take the rest of it for ever.
    with contextlib.suppress(OSError):
        await client.send(socket, 'x' * (4 << 20))
    say(closed=(await client.closed(socket))[0])
    say(refused=await client.refused('/refuse'))


class WebSockets(Client):
    """The package `websockets` on asyncio."""

    def connect(self, path: str, *subprotocols: str) -> Any:
        from websockets.asyncio.client import connect
        return connect(self.url + path, **self.options(subprotocols))

    def options(self, subprotocols: tuple[str, ...]) -> dict[str, Any]:
        return {'compression': 'deflate' if self.deflate else None, 'proxy': None,
                'subprotocols': subprotocols or None, 'open_timeout': TIMEOUT}

    async def wait(self, call: Any) -> Any:
        """The same lines drive both kinds."""
        return await call if inspect.isawaitable(call) else call

    async def open(self, path: str, *subprotocols: str) -> Any:
        return await self.wait(self.connect(path, *subprotocols))

    async def send(self, socket: Any, message: Any) -> None:
        from websockets.exceptions import ConnectionClosed
        # If it is closed, `closed` tells how.
        with contextlib.suppress(ConnectionClosed):
            await self.wait(socket.send(message))

    async def receive(self, socket: Any) -> str | bytes:
        return await self.wait(socket.recv())

    async def ping(self, socket: Any) -> str:
        pong = await self.wait(socket.ping('between'))
        await pong
        return 'between'

    async def close(self, socket: Any, code: int, reason: str) -> int:
        await self.wait(socket.close(code, reason))
        return socket.close_code

    async def closed(self, socket: Any) -> Any:
        from websockets.exceptions import ConnectionClosed
        try:
            while True:
                await self.wait(socket.recv())
        except ConnectionClosed:
            return [socket.close_code, socket.close_reason]

    async def refused(self, path: str) -> int:
        from websockets.exceptions import InvalidStatus
        try:
            await self.open(path)
        except InvalidStatus as error:
            return error.response.status_code
        return 101

    def facts(self, socket: Any) -> tuple[bool, str]:
        return bool(socket.protocol.extensions), socket.subprotocol or ''


class SyncWebSockets(WebSockets):
    """The package `websockets` with threads."""

    def connect(self, path: str, *subprotocols: str) -> Any:
        from websockets.sync.client import connect
        # It would rather be in a `with`.
        return connect(self.url + path, **self.options(subprotocols)).__enter__()

    async def ping(self, socket: Any) -> str:
        return 'between' if socket.ping('between').wait(TIMEOUT) else 'nothing'


class WebSocketClient(Client):
    """The package `websocket-client`; it has no compression."""

    async def open(self, path: str, *subprotocols: str) -> Any:
        import websocket
        return websocket.create_connection(
            self.url + path, TIMEOUT, subprotocols=subprotocols or None, http_no_proxy=['*'])

    async def send(self, socket: Any, message: Any) -> None:
        from websocket import ABNF
        if isinstance(message, list):
            for number, part in enumerate(message, 1):
                socket.send_frame(ABNF.create_frame(
                    part.encode(), ABNF.OPCODE_TEXT if number == 1 else ABNF.OPCODE_CONT,
                    int(number == len(message))))
        else:
            socket.send(message, ABNF.OPCODE_TEXT if isinstance(message, str)
                        else ABNF.OPCODE_BINARY)

    async def receive(self, socket: Any) -> str | bytes:
        return socket.recv()

    async def ping(self, socket: Any) -> str:
        socket.ping('between')
        _, data = socket.recv_data(control_frame=True)
        return data.decode()

    async def close(self, socket: Any, code: int, reason: str) -> int:
        socket.send_close(code, reason.encode())
        found, _ = await self.closed(socket)
        socket.shutdown()
        return found

    async def closed(self, socket: Any) -> Any:
        from websocket import ABNF
        while True:
            opcode, frame = socket.recv_data_frame(control_frame=True)
            if opcode == ABNF.OPCODE_CLOSE:
                return [*struct.unpack('!H', frame.data[:2]), frame.data[2:].decode()]

    async def refused(self, path: str) -> int:
        from websocket import WebSocketBadStatusException
        try:
            await self.open(path)
        except WebSocketBadStatusException as error:
            return error.status_code
        return 101

    def facts(self, socket: Any) -> tuple[bool, str]:
        return False, socket.subprotocol or ''


class Aiohttp(Client):
    """aiohttp."""

    # It sends no fragments.
    fragments = False

    async def open(self, path: str, *subprotocols: str) -> Any:
        import aiohttp
        session = aiohttp.ClientSession()
        try:
            socket = await session.ws_connect(
                self.url + path, protocols=subprotocols, compress=15 if self.deflate else 0,
                autoping=False, autoclose=False)
        except BaseException:
            await session.close()
            raise
        self.session = session
        return socket

    async def send(self, socket: Any, message: Any) -> None:
        await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)

    async def next(self, socket: Any) -> Any:
        from aiohttp import WSMsgType
        while (message := await socket.receive()).type is WSMsgType.PING:
            await socket.pong(message.data)
        return message

    async def receive(self, socket: Any) -> str | bytes:
        return (await self.next(socket)).data

    async def ping(self, socket: Any) -> str:
        await socket.ping(b'between')
        return (await self.next(socket)).data.decode()

    async def close(self, socket: Any, code: int, reason: str) -> int:
        await socket.close(code=code, message=reason.encode())
        await self.session.close()
        return socket.close_code

    async def closed(self, socket: Any) -> Any:
        from aiohttp import WSMsgType
        while (message := await self.next(socket)).type in (WSMsgType.TEXT, WSMsgType.BINARY):
            pass
        await socket.close()
        await self.session.close()
        if message.type is WSMsgType.CLOSE:
            return [message.data, message.extra]
        return [socket.close_code, str(message)]

    async def refused(self, path: str) -> int:
        from aiohttp import WSServerHandshakeError
        try:
            await self.open(path)
        except WSServerHandshakeError as error:
            return error.status
        return 101

    def facts(self, socket: Any) -> tuple[bool, str]:
        return socket.compress > 0, socket.protocol or ''


CLIENTS = {'websockets': WebSockets, 'websockets-sync': SyncWebSockets,
           'websocket-client': WebSocketClient, 'aiohttp': Aiohttp}


def main() -> None:
    name, url, deflate = sys.argv[1:]
    asyncio.run(run(CLIENTS[name](url, deflate == 'on')))


main()
