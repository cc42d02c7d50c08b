"""Whatever a WSGI application raises, wherever: that request's 500, a line in the log, no more."""

from __future__ import annotations

from typing import Any

import pytest
from each_case import for_each
from server_support import request, serving

from tremolo.wsgi_app import WsgiApplication

ERRORS = (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, RecursionError, StopIteration)
PLACES = ('call', 'first', 'later', 'close')


class NoClass(Exception):
    @property
    def __class__(self) -> Any:
        raise SystemExit('no class')


class Body:
    def __init__(self, place: str, error: type[BaseException]) -> None:
        self.place, self.error, self.left = place, error, [b'a', b'b']

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> bytes:
        if self.place == 'first' or (self.place == 'later' and len(self.left) == 1):
            raise self.error('on purpose')
        if not self.left:
            raise StopIteration
        return self.left.pop()

    def close(self) -> None:
        if self.place == 'close':
            raise self.error('on purpose')


@pytest.fixture(scope='module')
def host() -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        _, place, name = environ['PATH_INFO'].split('/')
        error = {each.__name__: each for each in (*ERRORS, NoClass)}.get(name, ValueError)
        if place == 'call':
            raise error('on purpose')
        start_response('200 OK', [('Content-Length', '2')])
        return Body(place, error)

    with serving(WsgiApplication(app), threads=1) as host:
        yield host


@for_each('place, error', [(place, error) for place in PLACES for error in (*ERRORS, NoClass)])
def test_what_an_application_raises_ends_its_request_and_no_thread(host, logged, place, error):
    if error is StopIteration and place in ('first', 'later'):
        return    # (That is how an iterator ends.)
    del logged.records[:]
    client = host.connect(request(f'/{place}/{error.__name__}'))
    if place == 'later':
        with pytest.raises((AssertionError, ConnectionResetError)):
            client.take()
    else:
        assert client.take().status == (200 if place == 'close' else 500)
    client.close()
    host.clients.remove(client)
    fine = host.connect(request('/fine/x', 'GET', 'Connection: close'))
    assert fine.take().body == b'ba'
    fine.close()
    host.clients.remove(fine)
    assert logged.count('the WSGI application failed') == 1
    host.wait_for(lambda: not host.server.connections)
