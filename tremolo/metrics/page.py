"""Page: serves `/metrics`, to Prometheus and to nobody else.

With workers it is served on the reactor of the supervisor; a process without one gives it a thread
and a reactor of its own. So it answers while a handler computes. It is a small server of its own:
few connections, small heads, short times, one answer for each connection; a page is made once for
all who ask in one turn of the reactor.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterable

from ..loop import ListenError, Reactor, bind, bind_unix
from ..server import Request, Response, Server
from ..server.connection import Connection
from ..server.phases import CLOSED
from ..settings import Address, Settings
from ..typed import Callable
from .exposition import CONTENT_TYPE

_log = logging.getLogger('tremolo')

_PATH = b'/metrics'
_MOMENT = 0.2    # Seconds for clients that are there, at the end.
_JOIN = 2.0    # Seconds to wait for the thread at the end.
_LONGEST = 0.1    # Seconds for clients that leave no room for others.
_LIMITS = {'connections': 32, 'head_size': 8192, 'body_size': 0, 'discard_size': 0,
           'first_byte_timeout': 2.0, 'head_timeout': 2.0, 'idle_timeout': 0.0,
           'stall_timeout': 5.0, 'linger_timeout': 0.5, 'websocket': False, 'backlog': 64}


class Page:
    """The listening sockets of the address, and the server on them."""

    def __init__(self, reactor: Reactor, address: Address, make: Callable[[], bytes],
                 mode: int | None = None, given: Iterable[socket.socket] = ()) -> None:
        """Listen, on sockets that are `given` or new ones; `make` makes the page.

        `mode` is that of a UNIX socket's file, if the address has none. Raises `ListenError`.
        """
        self.reactor = reactor
        self._make = make
        self._made, self._page = -1, b''    # In which turn, and what.
        self._server = Server(reactor, Settings(**_LIMITS), self._handle)
        self._server.at_connect.append(self._connected)
        self.sockets = list(given) or _listening(reactor, address, mode)
        for sock in self.sockets:
            self._server.adopt(sock)
        self._process = os.getpid()
        self._thread: threading.Thread | None = None

    def start(self, thread: bool = False) -> None:
        """Begin to serve: on the reactor as somebody else turns it, or in a thread."""
        self._server.start()
        _log.info('metrics: %s', ', '.join(
            url if url.startswith('unix:') else url + _PATH.decode() for url in self._server.urls))
        if thread:
            self._thread = threading.Thread(
                target=self.reactor.run, name='tremolo-metrics', daemon=True)
            # (Signals are for the main thread: the system call that it waits in has to end.)
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()) \
                if hasattr(signal, 'pthread_sigmask') else None
            self._thread.start()
            if mask is not None:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def close(self) -> None:
        """End; in a process that was forked, leave all that belongs to the other one alone."""
        if os.getpid() == self._process:
            self._stop_thread()
            self._server.close()
            return
        # (The objects of this process keep their numbers, and none is closed a second time.)
        fds = [*(sock.fileno() for sock in self.sockets),
               *(each.stream.fd for each in self._server.connections)]
        os.close(fds[0])    # (There may be no other descriptor for the next line.)
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in fds:
            if fd != nothing:
                os.dup2(nothing, fd, inheritable=False)
        if nothing not in fds:
            os.close(nothing)

    def leave(self) -> list[int]:
        """End, but for the sockets: return descriptors of them, for the program that goes on."""
        self._stop_thread()
        kept = [listener.share().detach() for listener in self._server.listeners]
        self._server.close()
        return kept

    def _stop_thread(self) -> None:
        if self._thread is not None:
            self.reactor.call_soon_threadsafe(self._finish)
            self._thread.join(_JOIN)
            self._thread = None

    def _finish(self) -> None:
        """Accept nobody more, and stop; who was accepted has a moment to ask."""
        for listener in self._server.listeners:
            listener.pause()
        self.reactor.call_later(_MOMENT if self._server.connections else 0, self.reactor.stop)

    def _connected(self, _: object) -> None:
        """Let all go that are there in a moment yet, if no other client has room.

        To be answered takes a few milliseconds: who stays is slow, or says nothing, and Prometheus
        would wait for the ends of these until its time is over.
        """
        if self._server.is_full:
            self.reactor.call_later(_LONGEST, self._end, list(self._server.connections))

    def _end(self, connections: Iterable[Connection]) -> None:
        for each in connections:
            if each.phase is not CLOSED:
                each.abort('first_byte_timeout')

    def _handle(self, request: Request, response: Response) -> None:
        body = b'metrics are at /metrics\n'
        if request.raw_path != _PATH:
            response.status = 404
        elif request.method not in ('GET', 'HEAD'):
            response.status = 405
            response.headers['Allow'] = 'GET, HEAD'
        else:
            try:
                if self._made != self.reactor.turns:
                    self._made, self._page = self.reactor.turns, self._make()
                body = self._page
            except Exception:
                _log.exception('metrics: the page cannot be made')
                response.status, body = 500, b'the log says what went wrong\n'
        response.content_type = CONTENT_TYPE
        response.send_body(body)


def _listening(reactor: Reactor, address: Address, mode: int | None) -> list[socket.socket]:
    try:
        if address.path is not None:
            return [bind_unix(reactor, address.path, 64, address.mode_or(mode))]
        return bind(reactor, address.host or '', address.port, 64)
    except ListenError as error:
        raise ListenError(f'metrics: {error}') from error
