"""Files: the parts of an upload, in each kind of handler, and the rules of reading them."""

from __future__ import annotations

import json
import queue

import pytest
from server_support import chunked, request, serving, virtual
from upload_support import TYPE, URLENCODED, body_of, part, upload

from tremolo import HandlerError, Tremolo, run_in_thread, sleep, spawn, timeout
from tremolo.exceptions import InvalidState, PartPassed, StreamClosed, UploadEnded

STYLES = 'generator', 'thread', 'coroutine'


def shown(part, content: bytes) -> list:
    return [part.name, part.filename, part.content_type, content.decode()]


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/generator', methods=['POST'])
    def generator(request):
        files, found = request.files(), []
        while part := (yield files.next()):
            content = b''
            while piece := (yield part.read(5)):
                assert 1 <= len(piece) <= 5
                content += piece
            found.append(shown(part, content))
        yield json.dumps(found)

    @app.route('/thread', methods=['POST'])
    def thread(request, thread=True):
        return [shown(part, b''.join(part.stream())) for part in request.files()]

    return app


@pytest.fixture
def real(app) -> Tremolo:
    """The same with a coroutine, which the simulated world cannot run."""
    @app.route('/coroutine', methods=['POST'])
    async def coroutine(request):
        return [shown(part, b''.join([piece async for piece in part.stream()]))
                async for part in request.files()]

    return app


def answer_of(app, function, data, **options):
    """Give the answer of a handler of '/', in the simulated world."""
    app.route('/', methods=['POST'])(function)
    with virtual(app, **options) as host:
        return host.connect(data).take()


def error_of(app, steps, data, **options) -> Exception:
    """Give the error that a handler gets which does these steps."""
    found = []

    def handler(request):
        try:
            yield from steps(request)
        except Exception as error:
            found.append(error)
        yield b''

    assert answer_of(app, handler, data, **options).status == 200
    error, = found
    return error


# -- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize('style', STYLES)
def test_files_and_fields_come_in_their_order_in_each_kind_of_handler(real, style):
    parts = (part('text', 'hi'), part('file', 'content\r\n--simple', 'ü.txt', 'Content-Type: a/b'),
             part('empty', '', ''), part('file', 'x' * 70_000, 'large'))
    expected = [['text', None, 'text/plain', 'hi'],
                ['file', 'ü.txt', 'a/b', 'content\r\n--simple'],
                ['empty', '', 'text/plain', ''], ['file', 'large', 'text/plain', 'x' * 70_000]]
    with serving(real) as host:
        client = host.connect(upload(f'/{style}', *parts))
        assert json.loads(client.take().body) == expected
        body = body_of(*parts[:3])
        client.send(request(f'/{style}', 'POST', TYPE, 'Transfer-Encoding: chunked'))
        client.send(chunked(*(body[i:i + 1] for i in range(len(body)))))
        assert json.loads(client.take().body) == expected[:3]
        client.send(upload(f'/{style}'))    # No part at all.
        assert client.take().body == b'[]'


def test_a_part_tells_what_its_head_says(app):
    def handler(request):
        part = yield request.files().next()
        yield repr((part.name, part.filename, part.raw_filename, part.content_type,
                    part.headers['X-Own'], repr(part)))

    data = upload('/', part('a', '', 'C:\\fakepath\\\x01..\\f.txt'.replace('\x01', ''),
                            'Content-Type: text/x; charset=utf-8', 'X-Own: own'))
    assert answer_of(app, handler, data).body.decode() == repr((
        'a', 'f.txt', 'C:\\fakepath\\..\\f.txt', 'text/x; charset=utf-8', 'own',
        "<Part 'a' 'f.txt'>"))


def test_an_unread_part_is_skipped_and_a_second_call_goes_on(app):
    def handler(request):
        first = yield request.files().next()
        yield (yield first.read(1))
        second = yield request.files().next()
        third = yield request.files().next()
        yield second.name + (yield third.text())
        yield repr([(yield request.files().next()), (yield request.files().next())])

    data = upload('/', part('a', '123', 'f'), part('b', 'x' * 200_000, 'f'), part('c', 'end'))
    assert answer_of(app, handler, data).body == b'1bend[None, None]'


@pytest.mark.parametrize('size, pieces', [(1, 6), (2, 3), (4, 2), (6, 1), (100, 1), (-1, 1)])
def test_read_gives_what_is_asked_for_and_nothing_only_at_the_end(app, size, pieces):
    def handler(request):
        part = yield request.files().next()
        found = []
        while piece := (yield part.read(size)):
            found.append(piece)
        assert (yield part.read(size)) == (yield part.read()) == (yield part.text()).encode() == b''
        assert b''.join(found) == b'123456'
        yield str(len(found))

    assert answer_of(app, handler, upload('/', part('a', '123456'))).body == b'%d' % pieces


@pytest.mark.parametrize('whole', [True, False])
def test_a_read_of_some_and_then_of_the_rest_loses_nothing_and_keeps_the_order(app, whole):
    # (Fault 4 of 0.5: what was left of a piece came last, or never, and then a 500.)
    content = b''.join(b'%06d' % number for number in range(20_000))

    def handler(request):
        part = yield request.files().next()
        found = yield part.read(5)
        while piece := (yield part.read()):
            found += piece
            found += yield part.read(7)
        assert found == content
        yield 'good'

    app.route('/', methods=['POST'])(handler)
    data = upload('/', part('a', content, 'f'))
    with virtual(app) as host:
        client = host.connect(data if whole else b'')
        for i in range(0, 0 if whole else len(data), 9001):
            client.send(data[i:i + 9001])
            host.advance(0.01)
        assert client.take().body == b'good'


@pytest.mark.parametrize('size', [0, -2])
def test_read_refuses_a_size_that_makes_no_sense(app, size):
    def steps(request):
        part = yield request.files().next()
        yield part.read(size)

    assert isinstance(error_of(app, steps, upload('/', part('a', '1'))), ValueError)


def test_only_as_much_is_taken_from_the_client_as_is_read(app):
    # (Backpressure: the rest stays with the client, however much it is.)
    def handler(request):
        part = yield request.files().next()
        yield part.read(1)
        yield sleep(10)
        yield str(len((yield part.read())) > 0)

    app.route('/', methods=['POST'])(handler)
    with virtual(app) as host:
        client = host.connect(upload('/', part('a', b'x' * 20_000_000, 'f')))
        host.advance(5)
        assert client.unsent > 15_000_000
        assert client.take().body == b'True'


def test_nothing_is_lost_when_a_reader_gives_up(app):
    def handler(request):
        files, found = request.files(), []

        def patient(read):
            while True:
                try:
                    return (yield timeout(1, read()))
                except TimeoutError:
                    pass
                except Exception as error:
                    assert type(error).__name__ == 'TimeoutError', error

        while part := (yield from patient(files.next)):
            found.append(part.name)
            while piece := (yield from patient(lambda part=part: part.read(3))):
                found.append(piece.decode())
        yield ' '.join(found)

    app.route('/', methods=['POST'])(handler)
    data = upload('/', part('a', '123456789', 'f'), part('b', '12', 'f'))
    with virtual(app) as host:
        begin = data.index(b'--simple') + 7
        client = host.connect(data[:begin])
        for i in range(begin, len(data), 7):
            client.send(data[i:i + 7])
            host.advance(1.3)
        assert b''.join(client.take().body.split()) == b'a123456789b12'


def test_what_was_read_for_a_task_that_is_cancelled_meanwhile_is_not_lost(app):
    def handler(request):
        files = request.files()
        got = files.next()
        assert got.done()
        got.cancel()    # As the end of a `timeout` does in the same turn.
        part = yield files.next()
        got = part.read(2)
        got.cancel()
        yield part.name + (yield part.text())

    assert answer_of(app, handler, upload('/', part('a', '123'), part('b', '1'))).body == b'a123'


def test_a_part_that_nobody_took_does_not_come_back_when_it_was_passed(app, logged):
    def handler(request):
        files = request.files()
        lost = files.next()
        second = yield files.next()
        lost.cancel()
        third = yield files.next()
        yield second.name + third.name + (yield third.text())

    data = upload('/', part('a', '1'), part('b', '2'), part('c', '3'))
    assert answer_of(app, handler, data).body == b'bc3'


def test_a_read_that_failed_can_be_cancelled(app):
    def handler(request):
        files = request.files()
        first = yield files.next()
        yield files.next()
        failed = first.read()
        failed.add_done_callback(id)
        failed.cancel()
        yield 'good'

    assert answer_of(app, handler, upload('/', part('a', '1'), part('b'))).body == b'good'


def test_a_thread_and_a_task_of_the_handler_may_read(app):
    @app.route('/job', methods=['POST'])
    def job(request):
        def read(part):
            return (yield part.text())

        part = yield request.files().next()
        yield (yield spawn(read(part)))

    @app.route('/worker', methods=['POST'])
    def worker(request):
        part = yield request.files().next()
        yield (yield run_in_thread(lambda: b''.join(part.stream())))

    with serving(app) as host:
        for path in '/job', '/worker':
            assert host.connect(upload(path, part('a', 'hi'))).take().body == b'hi'


# -- rules ----------------------------------------------------------------------------------------


def test_a_part_that_was_passed_cannot_be_read(app):
    def steps(call):
        def handler(request):
            files = request.files()
            first = yield files.next()
            yield files.next()
            yield call(first)
        return handler

    data = upload('/', part('first', '1' * 9), part('b', '2'))
    for call in (lambda part: part.read(), lambda part: part.text(), lambda part: part.save('no')):
        error = error_of(Tremolo(), steps(call), data)
        assert isinstance(error, PartPassed) and isinstance(error, HandlerError)
        assert str(error) == ("the part 'first' was passed by `files.next()`: read or save it "
                              'before you ask for the next one')


def test_one_who_reads_is_alone():
    def steps(request):
        files = request.files()
        part = yield files.next()
        waiting = part.read()
        try:
            yield files.next()
        finally:
            waiting.cancel()

    app = Tremolo()
    errors = []

    @app.route('/', methods=['POST'])
    def handler(request):
        try:
            yield from steps(request)
        except InvalidState as error:
            errors.append(error)
        yield b''

    data = upload('/', part('a', '1' * 50, 'f'))
    with virtual(app) as host:
        client = host.connect(data[:-73])
        host.advance(1)
        client.send(data[-73:])
        client.take()
    assert 'another read' in str(errors)


ORDERS = {
    ('form', 'files'): 'the body of this request is read by form(): leave out files()',
    ('files', 'form'): 'the body of this request is read by files(): leave out form()',
    ('form', 'body'): 'is read by form() or files(), and by body()',
    ('form', 'json'): 'is read by form() or files(), and by body() or json()',
    ('form', 'read'): 'is read by form() or files(), and by read()',
    ('files', 'body'): 'is read by form() or files(), and by body()',
    ('files', 'read'): 'is read by form() or files(), and by read()',
    ('read', 'form'): 'is read by read(), and by form()',
    ('read', 'files'): 'is read by read(), and by files()',
}


@pytest.mark.parametrize('orders', ORDERS, ids=' '.join)
@pytest.mark.parametrize('buffer', [0, 2 << 20])
def test_a_body_is_read_in_one_way(orders, buffer):
    def read(request, way):
        if way == 'files':
            return request.files().next()
        return request.read(10) if way == 'read' else getattr(request, way)()

    def steps(request):
        yield read(request, orders[0])
        for _ in range(2):
            with pytest.raises(HandlerError):
                yield read(request, orders[1])
        yield read(request, orders[1])

    error = error_of(Tremolo(), steps, upload('/', part('a', '1')), body_buffer_size=buffer)
    assert isinstance(error, HandlerError)
    assert ORDERS[orders] in str(error)


def test_after_body_a_form_is_read_from_what_body_keeps(app):
    def handler(request):
        body = yield request.body()
        if request.query:
            form = yield request.form()
            assert form == (yield request.form()) == {'a': ['1']}
        else:
            part = yield request.files().next()
            assert (yield part.text()) == '1'
            assert (yield request.files().next()) is None
        assert (yield request.body()) is body
        assert (yield request.read()) == b''
        yield 'good'

    app.route('/', methods=['POST'])(handler)
    with virtual(app) as host:
        for path in '/', '/?form':
            assert host.connect(upload(path, part('a', '1'))).take().body == b'good'
        assert host.connect(request('/?form', 'POST', URLENCODED, body=b'a=1')).take().body == (
            b'good')
    with virtual(app, form_size=10) as host:
        long = request('/?form', 'POST', URLENCODED, body=b'a=' + b'1' * 9)
        assert host.connect(long).take().status == 413


def test_a_body_that_nobody_has_read_but_the_server_can_be_read_as_a_form(app):
    # (A handler that begins to answer first: the server moves what has come to the inbox.)
    def handler(request):
        yield b'so: '
        yield sleep(0)
        part = yield request.files().next()
        yield part.text()
        with pytest.raises(HandlerError):
            yield request.read()
        yield b'good'

    app.route('/', methods=['POST'])(handler)
    with virtual(app) as host:
        head = request('/', 'POST', TYPE, 'Transfer-Encoding: chunked')
        assert host.connect(head + chunked(body_of(part('a', '1')))).take().body == b'so: good'


# -- after the answer -----------------------------------------------------------------------------


@pytest.mark.parametrize('call', ['next', 'read', 'save', 'files', 'form'])
@pytest.mark.parametrize('cut', [0, 60])
def test_a_job_that_reads_after_the_answer_gets_a_named_error(call, cut):
    app, errors = Tremolo(), []

    def job(request, files, part):
        yield sleep(1)
        try:
            if call == 'next':
                yield files.next()
            elif call in ('files', 'form'):
                yield getattr(request, call)()
            else:
                yield part.read() if call == 'read' else part.save('never')
        except Exception as error:
            errors.append(error)

    @app.route('/', methods=['POST'])
    def handler(request):
        files = request.files() if call != 'form' else None
        part = (yield files.next()) if files is not None else None
        spawn(job(request, files, part))
        return 'answered'

    data = upload('/', part('a', '1' * 100, 'f'), part('b', '2'))
    with virtual(app) as host:
        client = host.connect(data[:-cut or None])
        assert client.take().body == b'answered'
        host.advance(2)
    error, = errors
    assert type(error) is UploadEnded and isinstance(error, StreamClosed)
    assert str(error).startswith('the upload is read after the end of its answer')


@pytest.mark.parametrize('lines', [(), ('Connection: close',)])
def test_a_job_that_waits_for_the_rest_when_the_answer_ends_is_told_at_once(lines):
    # (Before, with a connection that was not kept, it waited until the client had gone.)
    app, errors = Tremolo(), []

    def job(host, part):
        try:
            while (yield part.read()):
                pass
        except Exception as error:
            errors.append((type(error), host.world.now))

    @app.route('/', methods=['POST'])
    def handler(request):
        part = yield request.files().next()
        spawn(job(host, part))
        return 'answered'

    with virtual(app) as host:
        client = host.connect(upload('/', part('a', '1' * 100, 'f'), lines=lines)[:-60])
        client.lingers = True
        assert client.take().body == b'answered'
        now = host.world.now
        host.advance(1)
        assert errors == [(UploadEnded, errors[0][1])] and errors[0][1] <= now


def test_a_thread_that_outlives_its_answer_gets_a_named_error(logged):
    app, errors, go_on = Tremolo(), queue.Queue(), queue.Queue()

    def read(part):
        go_on.get(timeout=20)
        try:
            next(iter(part.stream()))
        except Exception as error:
            errors.put(error)

    @app.route('/job', methods=['POST'])
    def job(request):
        part = yield request.files().next()
        run_in_thread(read, part).add_done_callback(id)
        yield b'answered'

    @app.route('/handler', methods=['POST'])
    def handler(request, thread=True):
        read(request.files().next().result())

    with serving(app) as host:
        assert host.connect(upload('/job', part('a', '1'))).take().body == b'answered'
        go_on.put(None)
        assert type(errors.get(timeout=20)) is UploadEnded
    with serving(app, handler_timeout=0.05) as host:
        assert host.connect(upload('/handler', part('a', '1'))).take().status == 503
        go_on.put(None)
        error = errors.get(timeout=20)
        assert isinstance(error, StreamClosed) and 'handler_timeout' in str(error)
    assert logged.count('handler_timeout') == 1


def test_a_job_whose_client_has_gone_gets_the_same_error_as_any_reader():
    app, errors = Tremolo(), []

    def job(part):
        try:
            while (yield part.read()):
                pass
        except StreamClosed as error:
            errors.append(error)

    @app.route('/', methods=['POST'])
    def handler(request):
        part = yield request.files().next()
        spawn(job(part))
        yield sleep(100)

    with virtual(app) as host:
        client = host.connect(upload('/', part('a', '1' * 100, 'f'))[:-60])
        host.advance(1)
        client.reset()
        host.advance(1)
    assert [type(error) for error in errors] == [StreamClosed]


# -- mistakes -------------------------------------------------------------------------------------


def mistake(app, logged, function, **options):
    """Give the last line of what is logged of a handler's mistake."""
    app.route('/', methods=['POST'])(function)
    with serving(app, **options) as host:
        assert host.connect(upload('/', part('a', '1', 'f'))).take().status == 500
    return logged.text.splitlines()[-1]


def test_a_for_where_nobody_can_wait_says_what_to_write(app, logged):
    @app.route('/pieces', methods=['POST'])
    def pieces(request):
        part = yield request.files().next()
        yield b''.join(part.stream())

    with virtual(app) as host:
        assert host.connect(upload('/pieces', part('a', '1'))).take().status == 500
    assert logged.text.splitlines()[-1] == (
        'tremolo.server.errors.HandlerError: `for piece in part.stream()` is for handlers with '
        'thread=True: write `while piece := (yield part.read()):` in a generator, and `async for '
        'piece in part.stream():` in an `async def`')

    def plain(request):
        return [part.name for part in request.files()]

    assert mistake(app, logged, plain) == (
        'tremolo.server.errors.HandlerError: `for part in files` is for handlers with thread=True: '
        'write `while part := (yield files.next()):` in a generator, and `async for part in '
        'files:` in an `async def`')


def test_a_yield_that_is_missing_is_told(app, logged):
    def handler(request):
        part = request.files().next()
        yield part.text()

    assert mistake(app, logged, handler) == (
        'AttributeError: files.next() is a Future: write `yield files.next()` in a generator, '
        '`await files.next()` in an `async def`, `files.next().result()` in a thread')


def test_an_await_that_is_missing_is_told(app, logged):
    async def handler(request):
        return request.form()['a']

    assert mistake(app, logged, handler).startswith(
        'TypeError: request.form() is a Future: write `yield request.form()` in a generator, ')


def test_a_result_that_is_missing_is_told(app, logged):
    def handler(request, thread=True):
        return request.files().next().decode()

    assert '`files.next().result()` in a thread' in mistake(app, logged, handler)


@pytest.mark.parametrize('what, instead', [
    (lambda files, part: files, 'yielded Files, which is not a Future, bytes or str: write `part = '
                                'yield files.next()`'),
    (lambda files, part: part, 'yielded Part, which is not a Future, bytes or str: write `yield '
                               'part.read()`, `yield part.text()` or `yield part.save(path)`'),
    (lambda files, part: part.stream(), 'yielded Pieces, which is not a Future, bytes or str: write'
                                        ' `yield part.read()`'),
])
def test_what_is_yielded_instead_of_its_content_is_told(app, logged, what, instead):
    def handler(request):
        files = request.files()
        part = yield files.next()
        yield what(files, part)

    assert mistake(app, logged, handler).endswith(instead)


def test_what_is_returned_instead_of_its_content_is_told(app, logged):
    def handler(request, thread=True):
        return next(iter(request.files()))

    assert mistake(app, logged, handler).endswith(
        'returned Part, which is none of str, bytes, (body, encoding), dict, list, send_file(...), '
        'None: write `yield part.read()`, `yield part.text()` or `yield part.save(path)`')
