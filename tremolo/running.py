"""RunningServer: a server inside another program, in a thread of its own or stepped by its host."""

from __future__ import annotations

import threading
from typing import Any, Callable

from .loop import Reactor
from .server import Server


class RunningServer:
    """What `app.start` gives; a context manager that stops it.

    With a thread the server runs by itself. Without one the host drives it: wait until `fileno()`
    is readable or `next_deadline()` has come, then `step(0)`; or just `step(0.1)` in a loop.
    """

    def __init__(self, reactor: Reactor, server: Server, thread: bool, own: bool,
                 end: Callable[[Reactor], None]) -> None:
        """`own` is whether the reactor is closed with the server; `end` is called before that."""
        self.reactor = reactor
        self._own = own
        self._end = end
        self.server = server
        self.fileno = reactor.fileno
        self.next_deadline = reactor.next_deadline
        self._stopped = False
        self._thread: threading.Thread | None = None
        server.start()
        if thread:
            self._thread = threading.Thread(target=reactor.run, name='tremolo', daemon=True)
            self._thread.start()

    def step(self, timeout: float | None = None) -> None:
        """Do one turn, waiting at most `timeout` seconds (None: until something happens)."""
        (self.reactor if self.reactor.bridge is None else self.reactor.bridge).step(timeout)

    @property
    def url(self) -> str:
        """The first bound address: 'http://127.0.0.1:40123'."""
        return self.server.urls[0]

    @property
    def address(self) -> Any:
        """The first bound address as the socket gives it: `(host, port)`, or a path."""
        return self.server.listeners[0].address

    @property
    def port(self) -> int:
        """The first bound TCP port."""
        return int(self.address[1])

    def stop(self) -> None:
        """Finish what is in flight, at most `shutdown_timeout` long, and free everything."""
        reactor = self.reactor
        if self._stopped:
            return
        self._stopped = True
        if self._thread is not None:
            reactor.call_soon_threadsafe(self._drain_and_stop)
            self._thread.join()
        else:
            self._drain_and_stop()
            reactor.run()
        self.server.close()
        self._end(reactor)
        if self._own:
            reactor.close()

    def _drain_and_stop(self) -> None:
        self.server.drain().add_done_callback(lambda _: self.reactor.stop())

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
