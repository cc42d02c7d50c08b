"""A body that middleware replaces: whole, as it goes on, of files; and what cannot be replaced."""

from __future__ import annotations

import asyncio
import itertools
import random
import zlib

import pytest
from around_support import NAMES, application
from server_support import Incomplete, answers, read_answer, request, serving, virtual
from simulated import World

from tremolo import Forbidden, HandlerError, Tremolo, send_file, sleep
from tremolo.asgi_app import AsgiApplication


def gzip(app):
    """Add the example of README."""
    @app.middleware
    def compress(request, response):
        chunks = yield
        response.headers['Content-Encoding'] = 'gzip'
        response.headers.add('Vary', 'Accept-Encoding')
        return compressed(chunks)


def compressed(chunks):
    packer = zlib.compressobj(wbits=31)
    for chunk in chunks:
        yield packer.compress(chunk) if chunk else packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


def slow():
    """Answer in two pieces, with a wait between them."""
    yield b'a'
    yield sleep(1)
    yield b'b'


def replacing(app, function):
    """Add a middleware that puts `function(chunks)` in the place of the chunks."""
    @app.middleware
    def replace(request, response):
        chunks = yield
        return function(chunks)


def upper(chunks):
    for chunk in chunks:
        yield chunk.upper()


@pytest.mark.parametrize('name', NAMES)
def test_a_whole_body_of_each_kind_of_handler_stays_sized(name):
    app = application()
    gzip(app)
    with serving(app) as host:
        client = host.connect()
        for _ in range(2):
            client.send(request(f'/{name}'))
            answer = client.take()
            assert zlib.decompress(answer.body, 31) == b'hello'
            assert name in ('waited', 'asynchronous') or (
                answer.headers['content-length'] == str(len(answer.body)))


@pytest.mark.parametrize('value', ['text ä', b'bytes', bytearray(b'array'), ['a', b'b'],
                                   None, iter(['x', 'y'])], ids=repr)
def test_what_may_replace_a_body(value):
    app = Tremolo()
    values = [value, value]
    replacing(app, lambda chunks: values.pop())
    app.route('/')(lambda: 'hello')
    with virtual(app) as host:
        answer, = host.ask(request('/'))
    expected = {'text ä': 'text ä'.encode(), b'bytes': b'bytes'}.get(
        value if isinstance(value, (str, bytes)) else None)
    if expected is None and value is not None:
        expected = {bytearray: b'array', list: b'ab'}.get(type(value), b'xy')
    assert answer.body == (b'hello' if value is None else expected)


@pytest.mark.parametrize(('value', 'told'), [
    ({'a': 1}, 'returned dict after its `yield`'), (5, 'returned int'), ([1], 'chunks of int'),
    ((b'a', 'b'), 'returned tuple')])
@pytest.mark.parametrize('going_on', [False, True])
def test_what_may_not_replace_a_body_is_a_500_and_told(value, told, going_on, logged):
    app = Tremolo()
    replacing(app, lambda chunks: value)

    @app.route('/')
    def hello():
        yield b'a'
        if going_on:
            yield sleep(1)
        yield b'b'

    with virtual(app) as host:
        answer, = host.ask(request('/'))
    assert answer.status == 500
    assert told in logged.text


def test_a_handler_of_pieces_is_compressed_piece_by_piece():
    app = Tremolo()
    gzip(app)

    @app.route('/')
    def slow():
        for number in range(5):
            yield f'piece {number} '
            yield sleep(1)

    with virtual(app) as host:
        client = host.connect(request('/'))
        unpacker, text = zlib.decompressobj(31), b''
        for number in range(5):
            host.advance(0.5)
            client.pump()
            data = chunks_of(client.received)
            text = zlib.decompressobj(31).decompress(data)
            assert text.endswith(b'piece %d ' % number)    # Each piece is there at once.
            host.advance(0.5)
        del unpacker
        answer = client.take()
    assert 'content-length' not in answer.headers
    assert zlib.decompress(answer.body, 31) == b''.join(b'piece %d ' % n for n in range(5))


def chunks_of(data):
    """Return what has come of a body in chunks."""
    try:
        return read_answer(data + b'0\r\n\r\n')[0].body
    except Incomplete:
        return b''


@pytest.mark.parametrize('largest', [0, 1, 7])
def test_two_that_compress_give_the_same_however_the_bytes_are_cut(largest):
    app = Tremolo()
    gzip(app)
    gzip(app)
    pieces = [random.Random(4).randbytes(size) if hasattr(random.Random(4), 'randbytes')
              else bytes(size) for size in (0, 1, 70_000, 5, 300_000)]

    @app.route('/')
    def slow(stream=True):
        for piece in pieces:
            yield piece
            yield sleep(0.01)

    world = World(seed=3, largest_piece=largest * 1000)
    with virtual(app, world) as host:
        client = host.connect(request('/'))
        answer = client.take()
    assert zlib.decompress(zlib.decompress(answer.body, 31), 31) == b''.join(pieces)


@pytest.mark.parametrize('version', ['1.0', '1.1'])
@pytest.mark.parametrize('name', ['a.txt', 'long.bin'])
def test_a_file_is_replaced_in_pieces(tmp_path, name, version):
    (tmp_path / 'a.txt').write_bytes(b'a short file')
    (tmp_path / 'long.bin').write_bytes(b'a long file ' * 40_000)
    app = Tremolo()
    replacing(app, upper)
    app.static('/', tmp_path)
    with virtual(app, World(seed=2, buffer_size=20_000)) as host:
        client = host.connect(request(f'/{name}', 'GET', 'Connection: close', version=version))
        client.until_ended()
        answer, = answers(client.received)
    assert answer.body == (tmp_path / name).read_bytes().upper()


def test_a_file_is_sent_by_the_kernel_when_nothing_replaces_it(tmp_path, monkeypatch):
    import tremolo.files.piece as piece
    (tmp_path / 'long.bin').write_bytes(b'a long file ' * 40_000)
    calls = []
    sendfile = piece._sendfile
    monkeypatch.setattr(piece, '_sendfile',
                        lambda *args: calls.append(args) or sendfile(*args))
    app = Tremolo()

    @app.middleware
    def note(response):
        yield
        response.headers['X-Note'] = 'yes'

    app.static('/', tmp_path)
    with serving(app) as host:
        client = host.connect(request('/long.bin'))
        answer = client.take()
    assert answer.headers['x-note'] == 'yes'
    assert len(answer.body) == 480_000
    assert calls


def test_one_that_only_looks_at_chunks_loses_none(tmp_path):
    (tmp_path / 'long.bin').write_bytes(b'a long file ' * 40_000)
    app = Tremolo()
    seen = []

    @app.middleware
    def look(request, response):
        chunks = yield
        seen.append(next(chunks, b'')[:6])

    app.static('/', tmp_path)

    @app.route('/pieces')
    def pieces():
        yield b'first '
        yield sleep(1)
        yield b'second'

    app.route('/whole')(lambda: b'first second')
    with virtual(app) as host:
        client = host.connect(b''.join(map(request, ('/pieces', '/whole', '/long.bin'))))
        assert client.take().body == b'first second'
        assert client.take().body == b'first second'
        answer = client.take()
        assert answer.body == b'a long file ' * 40_000
        assert answer.headers['content-length'] == '480000'
    assert seen == [b'first ', b'first ', b'a long']


@pytest.mark.parametrize(('target', 'method', 'status'), [
    ('/', 'HEAD', 200), ('/slow', 'HEAD', 200), ('/empty', 'GET', 204), ('/a.txt', 'HEAD', 200)])
def test_without_a_body_the_code_runs_and_nothing_is_sent(target, method, status, tmp_path):
    (tmp_path / 'a.txt').write_bytes(b'a file')
    app = Tremolo()
    gzip(app)
    app.static('/', tmp_path)
    app.route('/')(lambda: 'hello')
    app.route('/empty')(lambda: None)

    @app.route('/slow')
    def slow():
        yield 'a'
        yield sleep(1)

    with virtual(app) as host:
        client = host.connect(request(target, method) + request('/empty'))
        answer = client.take(method)
        assert answer.status == status
        assert answer.headers['content-encoding'] == 'gzip'
        assert 'content-length' not in answer.headers
        assert client.take().status == 204


def test_304_of_a_condition_has_no_body_and_goes_through_the_middleware(tmp_path):
    (tmp_path / 'a.txt').write_bytes(b'a file')
    app = Tremolo()
    gzip(app)
    app.static('/', tmp_path)

    @app.route('/')
    def hello(response):
        response.headers['ETag'] = '"a"'
        return 'hello'

    with virtual(app) as host:
        for target in '/', '/a.txt':
            client = host.connect(request(target))
            etag = client.take().headers['etag']
            client.send(request(target, 'GET', f'If-None-Match: {etag}') + request(target))
            assert client.take().status == 304
            assert zlib.decompress(client.take().body, 31) in (b'hello', b'a file')


def test_an_etag_that_the_middleware_makes_of_the_chunks_is_compared():
    app = Tremolo()

    @app.middleware
    def tag(response):
        chunks = yield
        response.headers['ETag'] = f'"{zlib.crc32(b"".join(chunks))}"'

    app.route('/')(lambda: 'hello')
    with virtual(app) as host:
        client = host.connect(request('/'))
        etag = client.take().headers['etag']
        client.send(request('/', 'GET', f'If-None-Match: {etag}'))
        assert client.take().status == 304


def test_nothing_is_kept_beyond_what_the_client_takes():
    app = Tremolo()
    made = []

    def twice(chunks):
        for chunk in chunks:
            for _ in range(2):
                made.append(len(chunk))
                yield chunk

    replacing(app, twice)

    @app.route('/')
    def endless():
        while True:
            yield bytes(50_000)

    with virtual(app) as host:
        client = host.connect()
        client.reading = False
        client.sock.send(request('/'))
        host.advance(2)
        size = sum(made)
        assert size < 2_000_000
        host.advance(2)
        assert sum(made) == size
        client.reset()
        host.advance(1)


def test_a_client_that_leaves_closes_what_replaces_the_body():
    app = Tremolo()
    ended = []

    def through(chunks):
        try:
            yield from chunks
        finally:
            ended.append('closed')

    replacing(app, through)
    replacing(app, through)

    @app.route('/')
    def slow():
        while True:
            yield b'a'
            yield sleep(1)

    with virtual(app) as host:
        client = host.connect(request('/'))
        host.advance(3)
        assert ended == []
        client.reset()
        host.advance(2)
    assert ended == ['closed', 'closed']


def test_one_that_asks_again_after_an_empty_chunk_is_told_and_never_hangs(logged):
    app = Tremolo()
    replacing(app, lambda chunks: (chunk for chunk in chunks if chunk))

    app.route('/')(slow)
    with virtual(app) as host:
        client = host.connect(request('/'))
        client.until_ended()
    assert "yield for each chunk, b'' if there is nothing to send" in logged.text
    assert host.closed == {'failed': 1}


@pytest.mark.parametrize('inside', [False, True])
@pytest.mark.parametrize('path', ['/', '/slow'])
def test_empty_chunks_without_end_are_told_and_never_hang(inside, path, logged):
    """The loop stood still for ever: they never looked at what came."""
    app = Tremolo()
    if inside:
        replacing(app, lambda chunks: (chunk for chunk in chunks))
    replacing(app, lambda chunks: itertools.repeat(b''))
    app.route('/')(lambda: 'hello')

    @app.route('/slow')
    def slow():
        yield b'a'
        yield sleep(1)
        yield b'b'

    with virtual(app) as host:
        client = host.connect(request(path))
        assert client.take().status == 500
        host.advance(2)
    assert 'replaces the body by empty chunks without end: take the next' in logged.text


def test_many_empty_chunks_are_no_mistake():
    app = Tremolo()
    replacing(app, lambda chunks: itertools.chain(itertools.repeat('', 9000), chunks))
    app.route('/')(lambda: 'hello')
    with virtual(app) as host:
        assert host.connect(request('/')).take().body == b'hello'


@pytest.mark.parametrize('path', ['/', '/slow'])
@pytest.mark.parametrize(('second', 'said'), [
    (lambda request, response, chunks: chunks.headers, 'for the rest write `response` in the'),
    (lambda request, response, chunks: len(chunks), "b''.join(chunks) is all that has come"),
    (lambda request, response, chunks: chunks[0], "b''.join(chunks) is all that has come"),
    (lambda request, response, chunks: response, '; leave that out, what is set in it is sent'),
    (lambda request, response, chunks: Forbidden('no'), 'None leaves it as it is; raise that'),
    (lambda request, response, chunks: response.body, 'and return what replaces them'),
    (lambda request, response, chunks: response.status_code, 'write response.status'),
    (lambda request, response, chunks: request.user, 'write `request.context.user = ...`'),
    (lambda request, response, chunks: request['user'], 'write `request.context.user = ...`'),
])
def test_a_habit_in_a_second_half_is_told_what_to_write(path, second, said, logged):
    app = Tremolo()

    @app.middleware
    def habit(request, response):
        chunks = yield
        return second(request, response, chunks)

    app.route('/')(lambda: 'hello')

    @app.route('/slow')
    def slow():
        yield b'a'
        yield sleep(0.001)

    with virtual(app) as host:
        assert host.connect(request(path)).take().status == 500
        host.advance(1)
    # (The text of the log has this line of ours, too.)
    assert any(said in str(record.exc_info[1]) for record in logged.records)


@pytest.mark.parametrize('first', [True, False])
def test_what_replaces_the_body_and_fails(first, logged):
    app = Tremolo()

    def broken(chunks):
        for number, chunk in enumerate(chunks):
            if first or number:
                raise KeyError('the third half')
            yield chunk

    replacing(app, broken)

    app.route('/')(slow)
    with virtual(app) as host:
        client = host.connect(request('/'))
        if first:
            assert client.take().status == 500
        else:
            client.until_ended()
            assert not client.received.endswith(b'0\r\n\r\n')    # Nobody takes it for whole.
    assert 'replace() at' in logged.text and 'the third half' in logged.text


def test_one_that_ends_early_ends_the_body():
    app = Tremolo()

    def first(chunks):
        yield next(chunks)

    replacing(app, first)

    app.route('/')(slow)
    with virtual(app) as host:
        client = host.connect(request('/') + request('/'))
        assert client.take().body == b'a'
        assert client.take().body == b'a'


def test_a_content_length_of_the_handler_goes_with_its_body():
    app = Tremolo()
    replacing(app, lambda chunks: (chunk * 2 for chunk in chunks))

    @app.route('/')
    def sized(response):
        response.headers['Content-Length'] = 10
        yield response.write('hello')
        yield sleep(1)
        yield response.end('world')

    with virtual(app) as host:
        client = host.connect(request('/') + request('/', version='1.0'))
        assert client.take().body == b'hellohelloworldworld'
        client.until_ended()


def test_trailers_and_hints_pass():
    app = Tremolo()
    replacing(app, upper)

    @app.route('/')
    def trailed(response):
        response.headers['Trailer'] = 'Sum'
        yield response.hint({'Link': '</a.css>; rel=preload'})
        yield response.write('hello')
        yield response.end('world', {'Sum': '7'})

    with virtual(app) as host:
        client = host.connect(request('/'))
        client.until(b'Sum: 7\r\n\r\n')
        data = client.received
    assert data.startswith(b'HTTP/1.1 103 ')
    assert b'HELLO' in data and b'WORLD' in data


# -- ASGI ------------------------------------------------------------------------------------------

async def asgi(scope, receive, send):
    if scope['type'] == 'lifespan':
        raise RuntimeError
    if scope['path'].endswith('/fail'):
        raise KeyError('asgi')
    await send({'type': 'http.response.start', 'status': 200, 'headers': [
        (b'content-length', b'10'), (b'content-type', b'text/x'), (b'set-cookie', b'b=2')]})
    await send({'type': 'http.response.body', 'body': b'hello', 'more_body': True})
    await send({'type': 'http.response.body', 'body': b'world'})


def test_an_asgi_application_is_wrapped(logged):
    app = Tremolo()

    @app.middleware
    def note(request, response):
        response.headers['X-Before'] = 'yes'
        response.set_cookie('a', '1')
        try:
            chunks = yield
        except KeyError:
            response.status = 502
            return 'caught'
        response.headers['X-After'] = response.headers['Content-Type']
        if 'upper' in request.query:
            return upper(chunks)

    app.mount('/sub', AsgiApplication(asgi))
    with serving(app) as host:
        client = host.connect(request('/sub/'))
        answer = client.take()
        assert answer.body == b'helloworld'
        assert answer.headers['content-length'] == '10'
        assert answer.headers['set-cookie'] == 'a=1; Path=/, b=2'
        assert (answer.headers['x-before'], answer.headers['x-after']) == ('yes', 'text/x')
        client.send(request('/sub/?upper=1'))
        answer = client.take()
        assert answer.body == b'HELLOWORLD'
        assert 'content-length' not in answer.headers
        client.send(request('/sub/fail'))
        answer = client.take()
        assert (answer.status, answer.body) == (502, b'caught')
    assert logged.count('the ASGI application failed') == 0    # It is the middleware's matter.


def test_an_answer_is_sent_to_its_end_after_its_application_has_ended(logged):
    """The client is slow, and what replaces the body waits: that is no fault of the application."""
    async def large(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': bytes(3_000_000), 'more_body': True})
        await send({'type': 'http.response.body'})

    def wsgi(environ, start_response):
        start_response('200 OK', [])
        return [bytes(1_500_000), bytes(1_500_000)]

    app = Tremolo()
    replacing(app, lambda chunks: (part for chunk in chunks for part in (chunk, chunk)))
    app.mount('/asgi', large)
    app.mount('/wsgi', wsgi)

    @app.route('/hand')
    def hand(response):
        response.write(bytes(3_000_000)).add_done_callback(id)
        yield response.end()

    @app.route('/thread')
    def thread(response, thread=True):
        response.write(bytes(3_000_000))
        response.end().result()

    with serving(app, lifespan='off', limit_concurrency=2) as host:
        for target in '/asgi/', '/wsgi/', '/hand', '/thread':
            client = host.connect(receive_buffer=65536)
            client.send(request(target, 'GET', 'Connection: close'))
            host.wait_for(lambda: any(each.stream.buffered for each in host.server.connections))
            answer, = answers(client.read_all())
            assert len(answer.body) == 6_000_000
    assert logged.count('') == 0


# -- WebSockets ------------------------------------------------------------------------------------

HANDSHAKE = ('Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
             'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')


def test_a_websocket_is_wrapped_at_its_101_and_at_a_refusal(logged):
    app = Tremolo()
    seen = []

    @app.middleware
    def note(response, request):
        request.context.user = 'Ada'
        try:
            chunks = yield
        except HandlerError:
            raise
        seen.append(list(chunks))
        response.headers['X-Note'] = 'yes'

    @app.route('/chat')
    def chat(websocket, context):
        assert context.user == 'Ada'
        yield websocket.accept()

    with virtual(app) as host:
        client = host.connect(request('/chat', 'GET', *HANDSHAKE))
        client.until(b'\r\n\r\n')
        assert client.received.startswith(b'HTTP/1.1 101 ')
        assert b'X-Note: yes\r\n' in client.received
        answer, = host.ask(request('/chat'))
        assert answer.status == 426
        assert answer.headers['x-note'] == 'yes'
    assert seen[0] == []


def test_a_body_for_a_websocket_is_told(logged):
    app = Tremolo()
    gzip(app)

    @app.route('/chat')
    def chat(websocket):
        yield websocket.accept()

    with virtual(app) as host:
        answer, = host.ask(request('/chat', 'GET', *HANDSHAKE))
    assert answer.status == 500
    assert 'the answer is 101, which has none' in logged.text


def test_send_file_of_a_handler_is_closed_when_a_second_half_fails(tmp_path, logged):
    (tmp_path / 'long.bin').write_bytes(bytes(200_000))
    app = Tremolo()

    @app.middleware
    def broken():
        yield
        raise KeyError('after')

    app.route('/')(lambda: send_file(tmp_path / 'long.bin'))
    with virtual(app) as host:
        answer, = host.ask(request('/'))
    assert answer.status == 500
    assert logged.count('broken() at') == 1    # (An open file would fail this test by itself.)


@pytest.mark.parametrize('error', [SystemExit, asyncio.CancelledError, MemoryError])
@pytest.mark.parametrize('where', ['chunks', 'yield'])
def test_an_exit_when_the_client_has_left_is_logged_and_no_end_of_the_server(where, error, logged):
    app = Tremolo()

    def leaving(chunks):
        try:
            yield from chunks
        finally:
            raise error('on purpose')

    @app.middleware
    def around(request):
        if request.path == '/fine':
            return 'fine'
        try:
            chunks = yield
        except BaseException:
            raise error('on purpose') from None
        return leaving(chunks)

    @app.route('/chunks')
    def chunks():
        yield b'a'
        yield sleep(100)

    @app.route('/yield')
    def waiting():
        yield sleep(100)

    with virtual(app) as host:
        client = host.connect(request(f'/{where}'))
        host.advance(1)
        client.reset()
        host.advance(1)
        assert host.connect(request('/fine')).take().body == b'fine'
    assert f'{error.__name__}: on purpose' in logged.text
