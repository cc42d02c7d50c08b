"""Random stacks of middleware around every kind of answer, compared with a plain model.

`AROUND_SEEDS=2000 python -m pytest tests/around/test_around_random.py` tries more.
"""

from __future__ import annotations

import contextlib
import os
import random
from typing import Any

import pytest
from server_support import read_answer, request, serving

from tremolo import HTTPError, NotFound, Tremolo, send_file, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.wsgi_app import WsgiApplication

SEEDS = int(os.environ.get('AROUND_SEEDS', '8'))
KINDS = ('pass', 'wait', 'lazy', 'whole', 'swallow', 'before', 'after', 'early', 'other')
OFTEN = ('pass', 'wait', 'lazy', 'swallow')
TARGETS = ('/plain', '/thread', '/generator', '/goes-on', '/coroutine', '/asynchronous', '/by-hand',
           '/file', '/none', '/raises', '/refuses', '/fails-later', '/missing', '/assets/a.txt',
           '/assets/lost', '/asgi/', '/asgi/more', '/asgi/fail', '/wsgi/', '/wsgi/more',
           '/wsgi/fail')


HANDLER = 'handler'    # In a stack: error handlers, outside of what follows.


class Boom(Exception):
    pass


class Counted:
    """Which generators have begun, and how often each has ended."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended: list[int] = []

    def begin(self) -> int:
        self.begun += 1
        return self.begun

    def all_ended(self) -> bool:
        return len(self.ended) >= self.begun


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope['path'].endswith('fail'):
        raise Boom('asgi')
    head = {'type': 'http.response.start', 'status': 200, 'headers': [(b'x-asgi', b'1')]}
    await send(head)
    if scope['path'].endswith('more'):
        await send({'type': 'http.response.body', 'body': b'as', 'more_body': True})
        await sleep(0.001)
    await send({'type': 'http.response.body', 'body': b'gi'})


def wsgi(environ: Any, start_response: Any) -> Any:
    if environ['PATH_INFO'].endswith('fail'):
        raise Boom('wsgi')
    start_response('200 OK', [('X-WSGI', '1')])
    return iter([b'ws', b'gi']) if environ['PATH_INFO'].endswith('more') else [b'wsgi']


def application(counted: Counted, folder: Any) -> Tremolo:
    """An application with all the targets, and no middleware."""
    app = Tremolo()

    def counting(*values: Any) -> Any:
        number = counted.begin()
        try:
            for value in values:
                if isinstance(value, Exception):
                    raise value
                yield sleep(0.001) if value is None else value
        finally:
            counted.ended.append(number)

    def raising(error: Exception) -> Any:
        raise error

    app.route('/plain')(lambda: 'plain')
    app.route('/none')(lambda: None)
    app.route('/refuses')(lambda: raising(NotFound('no')))
    app.route('/file')(lambda: send_file(folder / 'a.txt'))
    app.route('/generator')(lambda: counting(b'gen', 'erator'))
    app.route('/goes-on')(lambda: counting(None, 'goes', None, b' on', None))
    app.route('/raises')(lambda: counting(b'lost', Boom('raised')))
    app.route('/fails-later')(lambda: counting(None, Boom('later')))

    @app.route('/thread')
    def thread(thread=True):
        return 'thread'

    @app.route('/coroutine')
    async def coroutine():
        await sleep(0.001)
        return 'coroutine'

    @app.route('/asynchronous')
    async def asynchronous():
        yield 'async'
        await sleep(0.001)
        yield 'hronous'

    @app.route('/by-hand')
    async def by_hand(response):
        await response.write('by ')
        await response.end('hand')

    app.static('/assets', folder)
    app.mount('/asgi', AsgiApplication(asgi))
    app.mount('/wsgi', WsgiApplication(wsgi))
    return app


def add(app: Tremolo, kind: str, number: int, counted: Counted) -> None:
    """Add a middleware of a kind."""
    def lazily(chunks: Any) -> Any:
        mine = counted.begin()
        try:
            yield b'[%d' % number
            yield from chunks
            yield ']'
        finally:
            counted.ended.append(mine)

    @app.middleware
    def middleware(request, response):
        mine = counted.begin()
        try:
            if kind == 'wait':
                yield sleep(0.001)
            if kind == 'early':
                return f'early {number}'
            if kind == 'before':
                raise Boom('before')
            try:
                chunks = yield
            except HTTPError:
                raise
            except Exception:
                if kind == 'swallow':
                    return f'swallowed {number}'
                if kind == 'other':
                    raise HTTPError(418, 'other') from None
                raise
            response.headers[f'X-{number}'] = kind
            if kind == 'after':
                raise Boom('after')
            if kind == 'lazy':
                return lazily(chunks)
            if kind == 'whole':
                return f'whole {number}'
        finally:
            counted.ended.append(mine)


def model(stack: list[Any], target: Any, seen: set[str]) -> Any:
    """What comes out of a stack, the outermost first: (status, body), or an error."""
    if not stack:
        return target
    kind, number = stack[0]
    if kind == 'before':
        return Boom()
    if kind == 'early':
        return 200, b'early %d' % number
    found = model(stack[1:], target, seen)
    if isinstance(found, HTTPError):
        return found
    if isinstance(found, Boom):
        return {'swallow': (200, b'swallowed %d' % number), 'other': HTTPError(418),
                HANDLER: (500, b'handled')}.get(kind, found)
    if kind == HANDLER:
        return found
    seen.add(f'x-{number}')
    status, body = found
    if kind == 'after':
        return Boom()
    if kind == 'lazy' and status != 204:
        return status, b'[%d%b]' % (number, body)
    return (status, b'whole %d' % number) if kind == 'whole' and status != 204 else found


def ask(host: Any, client: Any, data: bytes, method: str, minor: int) -> Any:
    """Send a request and give its answer: of HTTP/1.0 on a connection that ends."""
    if minor:
        client.send(data)
        return client.take(method)
    old = host.connect(data.replace(b'HTTP/1.1', b'HTTP/1.0'))
    answer, rest = read_answer(old.read_all(), method, True)
    assert not rest
    return answer


def leave(host: Any, chance: random.Random, data: bytes) -> None:
    """Connect, ask, and leave at any moment."""
    client = host.connect(data[:chance.choice([len(data), chance.randrange(len(data))])])
    how = chance.randrange(4)
    if how == 1:
        client.sock.settimeout(chance.choice([0.0001, 0.002]))
        with contextlib.suppress(OSError):
            client.sock.recv(chance.choice([1, 60, 400]))
    if how == 2:
        client.fin()
    elif how == 3:
        client.close()
    else:
        client.reset()


def stack_of(app: Tremolo, chance: random.Random, first: int, counted: Counted) -> list[Any]:
    """Give an application middleware with numbers, and error handlers; return its stack."""
    stack: list[Any] = []
    for number in range(first, first + chance.randrange(4)):
        kind = chance.choice(chance.choice([KINDS, OFTEN]))
        add(app, kind, number, counted)
        stack.append((kind, number))
    if chance.random() < 0.4:
        app.error(Boom)(lambda: 'handled')
        stack.insert(0, (HANDLER, 0))
    return stack


@pytest.mark.parametrize('seed', range(SEEDS))
def test_random_stacks_answer_as_the_model_says(seed, tmp_path, logged):
    chance = random.Random(seed)
    (tmp_path / 'a.txt').write_text('file ' * chance.choice([1, 40_000]))
    bare, counted = application(Counted(), tmp_path), Counted()
    app, prefix = application(counted, tmp_path), chance.choice(['', '/outer'])
    stack = stack_of(app, chance, 0, counted)
    if prefix:
        inner, app = app, Tremolo()
        app.mount(prefix, inner)
        stack = stack_of(app, chance, len(stack), counted) + stack
    asked = [(target, method, minor) for target in TARGETS for method in ('GET', 'HEAD', 'POST')
             for minor in (1, 0) if chance.random() < 0.5]
    chance.shuffle(asked)
    with serving(bare, lifespan='off') as plain, serving(app, lifespan='off') as host:
        straight, client = plain.connect(), host.connect()
        failed = read(plain, '/raises')
        for target, method, minor in asked:
            lines = ['Content-Length: 0'] if method == 'POST' else []
            what = f'{stack} {method} {prefix}{target} 1.{minor}'
            found = ask(plain, straight, request(target, method.replace('HEAD', 'GET'), *lines),
                        'GET', 1)
            result: Any = found.status, found.body
            if found.status == 500:
                result = Boom()
            elif found.status in (404, 405):
                result = HTTPError(found.status)
            seen: set[str] = set()
            wanted = model(stack, result, seen)
            if isinstance(wanted, HTTPError):
                wanted = wanted.status, b'other' if wanted.status == 418 else found.body
            elif isinstance(wanted, Boom):
                wanted = 500, failed.body
            data = request(prefix + target, method, *lines)
            if chance.random() < 0.3:
                leave(host, chance, data)
            answer = ask(host, client, data, method, minor)
            body = b'' if method == 'HEAD' else wanted[1]
            assert (answer.status, answer.body) == (wanted[0], body), what
            assert {each for each in answer.headers if each[2:].isdigit()} == seen, what
            assert int(answer.headers.get('content-length', len(wanted[1]))) == len(wanted[1]), what
        host.wait_for(counted.all_ended)
        # (A turn later: what ends twice has done so.)
        host.on_loop(lambda: None)
        assert sorted(counted.ended) == list(range(1, counted.begun + 1))
        assert client.received == b''
    for wrong in 'HandlerError', 'RuntimeError', 'AttributeError', 'never':
        assert wrong not in logged.text


def read(host: Any, target: str) -> Any:
    client = host.connect(request(target))
    return client.take()
