"""ASGI applications that call `sys.exit`, or raise KeyboardInterrupt: one request's 500, no end."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from each_case import for_each
from test_asgi import answer, ask, get, http_only, start

from tremolo import Tremolo
from tremolo.asgi_app import AsgiApplication

EXITS = [SystemExit, KeyboardInterrupt]


class NoClass(Exception):
    @property
    def __class__(self):
        raise SystemExit('no class')


ALSO = [GeneratorExit, MemoryError, RecursionError, StopIteration, StopAsyncIteration, NoClass]


def leaving(error):
    """Make an application that raises an error in the way that the path says."""
    def leave():
        raise error('on purpose')

    @http_only
    async def app(scope, receive, send):
        path = scope['path']
        if path == '/now':
            leave()
        elif path == '/executor':
            await asyncio.get_running_loop().run_in_executor(None, leave)
        elif path.startswith('/late'):
            await receive()
            await asyncio.sleep(0.001)
            leave()
        await answer(send, b'answered')
        if path.startswith('/after'):
            if path == '/after/wait':
                await asyncio.sleep(0.001)
            leave()

    def call(scope, receive, send):
        if scope['path'] == '/call':
            leave()
        return app(scope, receive, send)

    return call


@pytest.mark.parametrize('error', EXITS)
@pytest.mark.parametrize('path', ['/call', '/now', '/late', '/executor'])
def test_an_exit_is_the_500_of_its_request(path, error, logged):
    with start(leaving(error), lifespan='off') as server:
        found = ask(server, get(path))
        assert [(each.status, b'on purpose' in each.body) for each in found] == [(500, False)]
        assert ask(server, get('/fine'))[0].body == b'answered'
    assert logged.count('the ASGI application failed') == 1
    assert f'{error.__name__}: on purpose' in logged.text
    assert 'in leave' in logged.text


now = []    # The error that the application raises.


@pytest.fixture(params=['alone', 'ASGI middleware', 'our middleware'], scope='module')
def served(request):
    app = leaving(lambda text: now[0](text))

    async def middleware(scope, receive, send):
        try:
            await app(scope, receive, send)
        finally:
            await asyncio.sleep(0)

    served = AsgiApplication(middleware if request.param == 'ASGI middleware' else app)
    options = {'lifespan': 'off'}
    if request.param == 'our middleware':
        def ours():
            yield

        site = Tremolo()
        site.mount('/', served)
        site.middleware(ours)
        served, options = site, {}
    with served.start(port=0, **options) as server:
        yield server


@for_each('error, path', [(error, path) for error in (*EXITS, *ALSO)
                          for path in ('/call', '/now', '/late', '/executor')])
def test_whatever_it_raises_through_whatever_middleware_is_its_requests_500(
        served, logged, error, path):
    if error is StopIteration and path == '/executor':
        return    # (asyncio cannot hand it on, before Python 3.12.)
    now[:] = [error]
    del logged.records[:]
    assert [each.status for each in ask(served, get(path))] == [500]
    assert ask(served, get('/fine'))[0].body == b'answered'
    assert logged.count('failed on') == 1, logged.messages


@pytest.mark.parametrize('error', EXITS)
@pytest.mark.parametrize('path', ['/after', '/after/wait'])
def test_an_exit_after_the_answer_is_logged(path, error, logged):
    with start(leaving(error), lifespan='off') as server:
        assert [each.body for each in ask(server, get(path))] == [b'answered']
        end = time.monotonic() + 20
        while not logged.records:
            assert ask(server, get('/fine'))[0].body == b'answered'
            assert time.monotonic() < end
    assert logged.count('the ASGI application failed') == 1
    assert f'{error.__name__}: on purpose' in logged.text


@pytest.mark.parametrize('path', ['/now', '/late'])
def test_an_exit_does_not_end_the_program_that_serves(path, logged):
    found = []

    async def main():
        options = {'port': 0, 'lifespan': 'off'}
        async with AsgiApplication(leaving(SystemExit)).serve(**options) as server:
            loop = asyncio.get_running_loop()
            for each in path, '/fine':
                found.extend(await loop.run_in_executor(None, ask, server, get(each)))

    asyncio.run(main())
    assert [each.status for each in found] == [500, 200]
    assert 'SystemExit: on purpose' in logged.text


def test_a_program_that_steps_a_server_goes_on_after_an_exit(logged):
    found = []
    with AsgiApplication(leaving(SystemExit)).start(
            port=0, thread=False, lifespan='off') as server:
        client = threading.Thread(target=lambda: found.append(
            [each.status for each, in (ask(server, get(path)) for path in ('/late', '/fine'))]))
        client.start()
        while client.is_alive():
            server.step(0.05)
        client.join()
    assert found == [[500, 200]]
    assert 'SystemExit: on purpose' in logged.text
