"""What the tests of WSGI share: small applications, checked by the validator of the library."""

from __future__ import annotations

import queue
from typing import Any
from wsgiref.validate import validator

from server_support import PATIENCE, Answer, answers, request, serving

from tremolo.wsgi_app import WsgiApplication


def site(app: Any, check: bool = True, **options: Any):
    """Serve an application; what it does, and what it is given, is checked as PEP 3333 says."""
    return serving(WsgiApplication(validator(app) if check else app), **options)


def ask(host: Any, target: str = '/', method: str = 'GET', *lines: str, body: bytes = b'',
        version: str = '1.1') -> Answer:
    """Ask on a connection of its own; give the answer, which must be whole."""
    client = host.connect(request(target, method, *lines, body=body, version=version))
    try:
        if version == '1.0':
            return answers(client.read_all(), method)[0]
        return client.take(method)
    finally:
        client.close()


def end_of(host: Any, data: bytes) -> bytes:
    """Send bytes and give all that comes until the server ends the connection."""
    return host.connect(data).read_all()


class Seen(queue.Queue):
    """What an application tells its test."""

    def next(self) -> Any:
        return self.get(timeout=PATIENCE)


def plain(start_response: Any, *more: tuple[str, str], status: str = '200 OK') -> Any:
    return start_response(status, [('Content-Type', 'text/plain'), *more])
