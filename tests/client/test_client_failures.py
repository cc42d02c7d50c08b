"""What a test is told when a handler fails, or does not answer."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import signal
import time
import traceback

import client_support
import pytest
from client_support import KINDS, coroutines, generators, plain

from tremolo import HTTPError, Tremolo, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.exceptions import AnswerError

# The line at which a handler of `client_support` hangs.
with open(client_support.__file__, encoding='utf-8') as source:
    HANGS = [number for number, line in enumerate(source, 1) if line.endswith('# It hangs here.\n')]


def told(error: BaseException) -> str:
    return ''.join(traceback.format_exception(type(error), error, error.__traceback__))


@pytest.mark.parametrize('kind', KINDS)
def test_the_error_of_a_handler_is_raised_with_its_traceback(kind, logged):
    with kind().client() as client:
        for _ in range(2):
            with pytest.raises(KeyError, match='mine') as raised:
                client.get('/fail')
            assert "raise KeyError('mine')" in told(raised.value)
        assert client.get('/hello').status == 200
    assert logged.count('failed on') == 2


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int = 7


def test_an_error_whose_attributes_cannot_be_set_is_raised(logged):
    app = Tremolo()

    @app.get('/')
    def handler(thread=True):
        raise Frozen

    with pytest.raises(Frozen) as raised:
        app.client().get('/')
    with app.client() as client, pytest.raises(Frozen):
        client.get('/')
    assert 'raise Frozen' in told(raised.value)


@pytest.mark.parametrize('kind', KINDS)
def test_an_error_after_the_head_is_raised_too(kind, logged):
    with kind().client() as client:
        with pytest.raises(KeyError, match='late') as raised:
            client.get('/late')
        assert "raise KeyError('late')" in told(raised.value)
        with pytest.raises(KeyError, match='late'), client.stream('GET', '/late') as answer:
            assert answer.status == 200
            seen = list(answer)
            pytest.fail(f'{seen} is no whole answer')


@pytest.mark.parametrize('kind', KINDS)
def test_with_raise_errors_off_the_answer_is_what_others_get(kind, logged):
    with kind().client(raise_errors=False) as client:
        assert client.get('/fail').status == 500
        with pytest.raises(AnswerError, match='in the middle'):
            client.get('/late')
        assert client.get('/hello').status == 200


@pytest.mark.parametrize('kind', KINDS)
def test_a_500_that_is_meant_is_an_answer(kind):
    answer = kind().client().get('/meant')
    assert (answer.status, answer.text) == (500, 'meant')


@pytest.mark.parametrize('kind', KINDS)
def test_in_a_running_loop_the_same_is_raised(kind, logged):
    async def main():
        async with kind().client() as client:
            # Each call gets its own.
            fine, failed, late = await asyncio.gather(
                client.get('/hello'), client.get('/fail'), client.get('/late'),
                return_exceptions=True)
            assert fine.status == 200
            assert (failed.args, late.args) == (('mine',), ('late',))
            assert "raise KeyError('mine')" in told(failed)

    asyncio.run(main())


def test_the_causes_keep_their_tracebacks(logged):
    app = Tremolo()

    @app.route('/')
    def fail():
        try:
            raise ValueError('below')
        except ValueError as error:
            raise RuntimeError('above') from error

    with pytest.raises(RuntimeError) as raised:
        app.client().get('/')
    assert "raise ValueError('below')" in told(raised.value)


@pytest.mark.parametrize('error', [SystemExit(3), KeyboardInterrupt(), HTTPError(418, 'tea')])
def test_errors_of_other_kinds(error, logged):
    app = Tremolo()

    @app.route('/')
    def fail():
        raise error

    client = app.client()
    if isinstance(error, HTTPError):
        assert (client.get('/').status, client.get('/').text) == (418, 'tea')
    else:
        with pytest.raises(type(error)):
            client.get('/')


def test_a_mistake_of_a_handler_is_raised(logged):
    app = Tremolo()

    @app.route('/')
    def wrong():
        return object()

    with pytest.raises(Exception, match='wrong') as raised:
        app.client().get('/')
    assert type(raised.value).__name__ == 'HandlerError'


def test_an_application_that_answers_its_own_error_and_raises_it(logged):
    """So Starlette does: it sends a 500, and raises the error again."""
    async def app(scope, receive, send):
        if scope['type'] == 'http':
            await send({'type': 'http.response.start', 'status': 500, 'headers': []})
            await send({'type': 'http.response.body', 'body': b'theirs'})
        raise KeyError('mine')

    with pytest.raises(KeyError, match='mine'):
        AsgiApplication(app).client().get('/')
    answer = AsgiApplication(app).client(raise_errors=False).get('/')
    assert (answer.status, answer.text) == (500, 'theirs')


@pytest.mark.parametrize('kind', ['as a task that has waited', 'some steps later'])
def test_an_error_that_is_raised_after_its_answer_belongs_to_that_answer(kind, logged):
    async def app(scope, receive, send):
        if scope['type'] == 'lifespan':
            raise RuntimeError
        status = 200 if scope['path'] == '/fine' else 500
        await asyncio.sleep(0.001)
        await send({'type': 'http.response.start', 'status': status, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'theirs'})
        if kind == 'some steps later':
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if scope['path'] != '/right':
            raise KeyError(scope['path'])

    with AsgiApplication(app).client() as client:
        for _ in range(3):
            with pytest.raises(KeyError, match='/mine'):
                client.get('/mine')
            assert client.get('/right').status == 500
    # What comes behind an answer of 200 is told at the end, and to no other request.
    with pytest.raises(KeyError, match='/fine'), AsgiApplication(app).client() as client:
        assert client.get('/fine').status == 200
        for _ in range(3):
            assert client.get('/right').status == 500


def test_an_error_after_the_answer_is_raised_at_the_end_of_the_block(logged):
    async def app(scope, receive, send):
        if scope['type'] == 'lifespan':
            raise RuntimeError
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'fine'})
        await asyncio.sleep(0.01)
        raise KeyError('in the background')

    client = AsgiApplication(app).client()
    with pytest.raises(KeyError, match='background'), client:
        assert client.get('/').text == 'fine'
    with pytest.raises(KeyError, match='background'):
        client.get('/')


@pytest.mark.parametrize('kind', KINDS)
def test_a_handler_that_never_answers_is_named(kind, logged):
    with kind().client(shutdown_timeout=0.01) as client:
        # (Enough for a thread to begin on a busy machine.)
        with pytest.raises(TimeoutError, match=r"GET '/hang' was not answered within 0\.1 s "
                                               r'\(timeout\); its handler stands at ') as raised:
            client.get('/hang', timeout=0.1)
        place = str(raised.value).rpartition(' ')[2]
        name, _, line = place.rpartition(':')
        assert os.path.basename(name) == 'client_support.py'
        assert int(line) in HANGS
        # (A thread ends with the application.)
        if kind in (generators, coroutines):
            assert client.get('/hello').status == 200


def test_a_wait_for_a_piece_has_the_same_timeout():
    app = Tremolo()

    @app.route('/')
    def slow(stream=True):
        yield b'a'
        yield sleep(1000)

    async def main():
        async with app.client(timeout=0.02) as client:
            with pytest.raises(TimeoutError, match=r'slow|test_client_failures'):
                async with client.stream('GET', '/') as answer:
                    async for piece in answer:
                        assert piece == b'a'

    with app.client(timeout=0.02) as client:
        with pytest.raises(TimeoutError, match='test_client_failures'):
            client.get('/')
        with pytest.raises(TimeoutError, match=r'0.02 s'), client.stream('GET', '/') as answer:
            assert next(iter(answer)) == b'a'
            answer.read()
    asyncio.run(main())


def test_a_timeout_counts_for_all_redirects():
    app = Tremolo()

    @app.route('/')
    def around(response):
        yield sleep(0.01)
        response.status = 302
        response.headers['Location'] = '/'

    with pytest.raises(TimeoutError):
        app.client(follow_redirects=True).get('/', timeout=0.03)


def test_a_handler_that_holds_the_loop_for_long_is_answered_all_the_same():
    """So a debugger can stop in it."""
    app = Tremolo()

    @app.route('/')
    def busy(reactor):
        until = reactor.time() + 0.05
        while reactor.time() < until:
            pass
        return 'done'

    assert app.client(timeout=0.01).get('/').text == 'done'


def test_a_call_that_is_cancelled_ends_its_handler():
    app, ends = Tremolo(), []

    @app.route('/')
    def hang():
        try:
            yield sleep(1000)
        finally:
            ends.append(1)

    async def main():
        async with app.client() as client:
            call = asyncio.ensure_future(client.get('/'))
            while not app.tested.server.connections or not next(
                    iter(app.tested.server.connections)).task:
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(main())
    assert ends == [1]


@pytest.mark.parametrize('kind', [generators, coroutines])
def test_ctrl_c_ends_a_call_at_once(kind):
    client = kind().client()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), client:
        reactor = client.cookies.now.__self__.server.reactor
        reactor.call_later(0.01, signal.raise_signal, signal.SIGINT)
        client.get('/hang', timeout=None)
    with pytest.raises(KeyboardInterrupt), client.stream('GET', '/hello'):
        signal.raise_signal(signal.SIGINT)
    assert client.get('/hello').status == 200
    assert time.monotonic() - begun < 3


def test_failures_leave_no_cycle_of_clients_behind(logged):
    client = plain().client()
    with pytest.raises(KeyError):
        client.get('/fail')
    del client
    gc.collect()
