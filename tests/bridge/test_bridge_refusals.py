"""The poller refuses a change while asyncio uses it: nobody else is harmed."""

from __future__ import annotations

import asyncio
import errno
from functools import partial
from typing import Any

import pytest
from refusals import Refusals
from server_support import Incomplete, answers, request, serving

from tremolo import Tremolo, connect
from tremolo.loop.reactor import Reactor

# (An fd that is closed, EBADF, asyncio itself has to know.)
ERRORS = (errno.ENOSPC, errno.ENOMEM, errno.EEXIST, errno.ENOENT)
ASK = request('/', 'GET', 'Connection: close')

app = Tremolo()


@app.route('/')
async def hello() -> str:
    await asyncio.sleep(0)
    return 'hello'


@app.route('/asyncio/<int:port>')
async def by_asyncio(port: int) -> Any:
    """Ask the server itself by a connection of asyncio."""
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    try:
        writer.write(ASK)
        await writer.drain()
        return await reader.read()
    finally:
        writer.close()


@app.route('/loop/<int:port>')
def by_loop(port: int) -> Any:
    stream = yield connect('127.0.0.1', port)
    try:
        stream.write(ASK)
        yield (yield stream.read_until(b'hello'))
    finally:
        stream.close()


@pytest.mark.parametrize('path', ['asyncio', 'loop'])
@pytest.mark.parametrize('times', [1, 3])
def test_who_asks_elsewhere_may_fail_and_the_next_one_does_not(
        times: int, path: str, monkeypatch: Any, logged: Any) -> None:
    reactors: list[Reactor] = []
    begin = Reactor.__init__

    def noted(self: Reactor, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        reactors.append(self)

    monkeypatch.setattr(Reactor, '__init__', noted)
    with serving(app) as host:
        refusals = Refusals(reactors[0]._poller)
        port = host.running.address[1]

        def whole() -> bool:
            client = host.connect(request(f'/{path}/{port}', 'GET', 'Connection: close'))
            try:
                got = answers(client.read_all())
            except (OSError, Incomplete):
                return False
            return bool(got) and got[0].status == 200 and got[0].body.endswith(b'hello')

        assert whole()
        used = refusals.calls
        assert whole()
        used = refusals.calls - used
        harmed = 0
        for number in range(used):
            code = ERRORS[number % len(ERRORS)]
            host.on_loop(partial(refusals.next, times, code, number))
            harmed += not whole()
            host.on_loop(partial(refusals.next, 0, 0))
            assert whole(), number
        assert harmed if times > 1 else not harmed
