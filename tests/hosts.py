"""Other hosts for the tests that serve for real: `TEST_HOST=program python -m pytest`.

    asyncio, uvloop   servers run on that loop (`--loop`)
    program           they are served inside an asyncio program (`await app.serve(...)`)

conftest.py asks for it, and tests/interop/test_hosts.py runs the tests of HTTP in each.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Any

from tremolo import Tremolo
from tremolo.bridge.guest import make_loop
from tremolo.service.embedded import BoundServer

# What a program's server is started with, when a test says nothing else.
_plain_start = Tremolo.start


class Program(BoundServer):
    """An asyncio program in a thread that serves an application; as `app.start` gives it."""

    def __init__(self, app: Tremolo, options: dict[str, Any]) -> None:
        self._app = app
        self._options = options
        begun: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(begun)))
        self._thread.start()
        error = begun.get(timeout=20)
        if error is not None:
            self._thread.join()
            raise error

    async def _main(self, begun: queue.Queue[Any]) -> None:
        try:
            async with self._app.serve(**self._options) as served:
                self.server = served.server
                self.reactor = self.server.reactor
                self._loop = asyncio.get_running_loop()
                self._ended = asyncio.Event()
                begun.put(None)
                await self._ended.wait()
        except BaseException as error:
            begun.put(error)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def use(host: str) -> None:
    """Let `app.start` serve there, wherever it would make a thread and a reactor."""
    def start(self: Tremolo, *args: Any, reactor: Any = None, thread: bool = True,
              **options: Any) -> Any:
        if args or reactor is not None or not thread:
            return _plain_start(self, *args, reactor=reactor, thread=thread, **options)
        if host == 'program':
            return Program(self, options)
        return _plain_start(self, **{'loop': host, **options})

    if host == 'uvloop':
        # Its first loop opens a pipe that stays for the process.
        make_loop(host).close()
    Tremolo.start = start    # type: ignore[method-assign]
