"""Two clients of python-socketio who say something to each other; see README.md.

    python socketio_client.py URL TRANSPORTS
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import socketio

TIMEOUT = 30


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


class Client:
    """A client that keeps what it hears."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncClient(reconnection=False)
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.gone = asyncio.Event()
        for event in 'echo', 'said':
            self.sio.on(event, self.heard.put)
        self.sio.on('disconnect', self._gone)

    def _gone(self, reason: str) -> None:
        self.gone.set()

    async def connect(self, url: str, transports: list[str], **auth: str) -> None:
        await self.sio.connect(url, transports=transports, auth=auth, namespaces=['/', '/other'],
                               wait_timeout=TIMEOUT)

    async def next(self) -> Any:
        return await asyncio.wait_for(self.heard.get(), TIMEOUT)


async def main() -> None:
    url, names = sys.argv[1:]
    transports = names.split(',')
    one, two = Client(), Client()
    await one.connect(url, transports, name='ada')
    await two.connect(url, transports)
    say(transport=await one.sio.call('transport'))
    for name, sent in (('echo', {'text': 'é€😀', 'list': [1, None]}), ('binary', bytes(range(256))),
                       ('large', 'x' * 500_000)):
        acknowledged = await one.sio.call('echo', sent)
        say(**{name: acknowledged == sent and await one.next() == sent})
    for client in one, two:
        await client.sio.call('join', 'room')
    await one.sio.emit('say', ('room', 'hello'))
    say(said=[await one.next(), await two.next()])
    say(namespace=await one.sio.call('hello', 1, namespace='/other'))
    refused = socketio.AsyncClient(reconnection=False)
    reasons: asyncio.Queue[Any] = asyncio.Queue()
    refused.on('connect_error', reasons.put)
    try:
        await refused.connect(url, transports=transports, auth={'token': 'wrong'})
    except socketio.exceptions.ConnectionError:
        reason = await asyncio.wait_for(reasons.get(), TIMEOUT)
        say(refused=reason['message'] if isinstance(reason, dict) else reason)
    await one.sio.disconnect()
    await two.sio.emit('leave')
    await asyncio.wait_for(two.gone.wait(), TIMEOUT)
    await two.sio.disconnect()
    say(disconnected=True)


asyncio.run(main())
