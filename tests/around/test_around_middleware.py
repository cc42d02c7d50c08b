"""Middleware wraps every answer: the order of its halves, what it may wait for, what it sets."""

from __future__ import annotations

import gc
import time

import pytest
from around_support import NAMES, USER, application
from server_support import request, serving, virtual

from tremolo import (
    Cancelled,
    Forbidden,
    HandlerError,
    HTTPError,
    Tremolo,
    redirect,
    send_file,
    sleep,
)


def seen_by(app):
    """Add a middleware that notes what it sees, and sets a field."""
    seen = []

    @app.middleware
    def note(request, response):
        try:
            chunks = yield
        except BaseException as error:
            seen.append(repr(error))
            response.headers['X-Seen'] = type(error).__name__
            raise
        seen.append((response.status, b''.join(chunks)))
        response.headers['X-Seen'] = 'yes'

    return seen


# -- every kind of handler -------------------------------------------------------------------------

@pytest.mark.parametrize('name', NAMES)
def test_it_wraps_handlers_of_each_kind(name):
    app = application(lambda: f'hello {USER.get()}')

    @app.middleware
    def user(request, response):
        yield sleep(0.001)
        token = USER.set('Ada')
        yield
        USER.reset(token)    # It runs in the very context in which it was set.
        response.headers['X-Wrapped'] = 'yes'
        response.set_cookie('seen', '1')

    with serving(app) as host:
        client = host.connect()
        for _ in range(2):
            client.send(request(f'/{name}'))
            answer = client.take()
            assert answer.body == b'hello Ada'
            assert answer.headers['x-wrapped'] == 'yes'
            assert answer.headers['set-cookie'] == 'seen=1; Path=/'
    assert USER.get() == 'nobody'


@pytest.mark.parametrize('name', NAMES)
def test_an_exception_of_each_kind_of_handler_arrives_at_the_yield(name):
    def fail():
        raise ValueError('a mistake')

    app = application(fail)

    @app.middleware
    def catch(request, response):
        response.headers['Cache-Control'] = 'no-store'
        try:
            yield
        except ValueError as error:
            response.status = 409
            return f'caught {error}'

    with serving(app) as host:
        client = host.connect()
        for _ in range(2):
            client.send(request(f'/{name}'))
            answer = client.take()
            assert (answer.status, answer.body) == (409, b'caught a mistake')
            assert answer.headers['cache-control'] == 'no-store'


@pytest.mark.parametrize('name', NAMES)
def test_a_second_half_that_fails_is_a_500_instead_of_the_answer(name, logged):
    """A fault of 0.5: the connection was cut when a response middleware touched sent headers."""
    app = application()

    @app.middleware
    def broken(request):
        yield
        raise KeyError('after')

    with serving(app) as host:
        client = host.connect()
        for number in range(2):
            client.send(request(f'/{name}'))
            answer = client.take()
            assert answer.status == 500
            assert b'hello' not in answer.body
            host.wait_for(lambda wanted=number + 1: logged.count('broken() at') >= wanted)
    assert logged.text.count("KeyError: 'after'") == 2


# -- what it wraps ---------------------------------------------------------------------------------

def test_it_wraps_404_405_options_files_and_mounts(tmp_path):
    """A fault of 0.5: a response middleware ran for `return` and `yield` alone."""
    (tmp_path / 'a.txt').write_text('a file')
    app, inner = Tremolo(), Tremolo()
    seen = seen_by(app)
    app.static('/files', tmp_path)
    app.mount('/sub', inner)
    inner.route('/')(lambda: 'inner')
    app.route('/page')(lambda: 'page')
    app.route('/go')(lambda: redirect('/page'))
    with virtual(app) as host:
        for target, method, status, field in (
                ('/nothing', 'GET', 404, 'NotFound'), ('/page', 'POST', 405, 'MethodNotAllowed'),
                ('/page', 'OPTIONS', 204, 'yes'), ('*', 'OPTIONS', 204, 'yes'),
                ('/files/a.txt', 'GET', 200, 'yes'), ('/files/b.txt', 'GET', 404, 'NotFound'),
                ('/sub/', 'GET', 200, 'yes'), ('/sub', 'GET', 308, 'yes'),
                ('/sub/x', 'GET', 404, 'NotFound'), ('/go', 'GET', 303, 'yes'),
                ('/page', 'HEAD', 200, 'yes')):
            answer, = host.ask(request(target, method), method)
            assert (target, answer.status) == (target, status)
            assert answer.headers['x-seen'] == field, target
    assert (200, b'a file') in seen
    assert (200, b'') in seen    # HEAD: there are no chunks, and the code runs.


def test_it_does_not_wrap_what_never_became_a_request():
    app = Tremolo()
    seen = seen_by(app)
    with virtual(app) as host:
        answer, = host.ask(b'GET / HTTP/1.1\r\n\r\n')
        assert answer.status == 400
        assert 'x-seen' not in answer.headers
    assert seen == []


def test_the_first_one_is_the_outermost():
    app = Tremolo()
    order = []
    for name in 'ab':
        def middleware(request, response, name=name):
            order.append(f'{name} in')
            yield
            order.append(f'{name} out')
        app.middleware(middleware)
    app.route('/')(lambda: order.append('handler'))
    with virtual(app) as host:
        host.ask(request('/'))
    assert order == ['a in', 'b in', 'handler', 'b out', 'a out']


def test_the_innermost_gets_an_error_first_and_may_pass_on_another():
    app = Tremolo()
    seen = seen_by(app)

    @app.middleware
    def change(request):
        try:
            yield
        except ZeroDivisionError:
            raise HTTPError(418) from None

    app.route('/')(lambda: 1 / 0)
    with virtual(app) as host:
        answer, = host.ask(request('/'))
    assert answer.status == 418
    assert answer.headers['x-seen'] == 'HTTPError'
    assert len(seen) == 1


def test_an_error_that_is_swallowed_is_204_or_the_status_that_was_set():
    app = Tremolo()

    @app.middleware
    def swallow(request, response):
        try:
            yield
        except Exception:
            if 'set' in request.query:
                response.status = 410

    with virtual(app) as host:
        plain, with_status = host.ask(request('/x') + request('/x?set=1'))
    assert plain.status == 204
    assert (with_status.status, with_status.body) == (410, b'')


# -- the first half --------------------------------------------------------------------------------

@pytest.mark.parametrize('waits', [False, True])
@pytest.mark.parametrize(('value', 'status', 'body'), [
    ('no', 200, b'no'), (b'bytes', 200, b'bytes'), ({'a': 1}, 200, b'{"a": 1}'),
    (Forbidden('not you'), 403, b'not you'), (('ä', 'latin-1'), 200, 'ä'.encode('latin-1')),
    (redirect('/login'), 303, None)], ids=repr)
def test_it_answers_in_the_handlers_place(value, status, body, waits):
    app = Tremolo()
    seen = seen_by(app)

    @app.middleware
    def closed(request):
        if waits:
            yield sleep(1)
        return value
        yield

    app.route('/')(lambda: pytest.fail('the handler runs'))
    with virtual(app) as host:
        answer, = host.ask(request('/'))
    assert answer.status == status
    assert body is None or answer.body == body
    assert answer.headers['x-seen'] == 'yes'    # The outer one sees an ordinary answer.
    assert len(seen) == 1


def test_it_may_answer_by_a_file(tmp_path):
    (tmp_path / 'a.txt').write_text('closed')
    app = Tremolo()

    @app.middleware
    def closed():
        return send_file(tmp_path / 'a.txt')
        yield

    with virtual(app) as host:
        answer, = host.ask(request('/'))
    assert answer.body == b'closed'


def test_it_reads_the_body_and_so_may_the_handler():
    app = Tremolo()
    read = []

    @app.middleware
    def check(request):
        read.append((yield request.body()))
        yield

    @app.route('/body', methods=['POST'])
    def body(request):
        yield request.body()
        data = yield request.body()
        yield data

    @app.route('/form', methods=['POST'])
    def form(request):
        fields = yield request.form()
        return fields.first('a')

    with virtual(app) as host:
        client = host.connect()
        data = request('/body', 'POST', body=b'x' * 100_000)
        for part in (data[:20], data[20:70_000], data[70_000:]):
            client.send(part)
            host.settle()
        assert client.take().body == b'x' * 100_000
        client.send(request('/form', 'POST', 'Content-Type: application/x-www-form-urlencoded',
                            body=b'a=1&b=2'))
        assert client.take().body == b'1'
    assert [len(each) for each in read] == [100_000, 7]


def test_what_it_sets_in_the_context_of_the_request_the_handler_sees():
    app = Tremolo()

    @app.middleware
    def log_in(request):
        request.context.user = 'Ada'
        yield

    @app.route('/')
    def hello(context, request, rate=1000):
        return f'{context.user} {request.context.options["rate"]}'

    @app.error(404)
    def lost(context):
        return context.user

    with virtual(app) as host:
        assert [each.body for each in host.ask(request('/') + request('/x'))] == [
            b'Ada 1000', b'Ada']


def test_it_may_wait_for_what_asyncio_runs():
    import asyncio
    app = Tremolo()

    async def look_up():
        await asyncio.sleep(0.001)
        return 'Ada'

    @app.middleware
    def log_in(request):
        request.context.user = yield look_up()
        yield

    app.route('/')(lambda request: request.context.user)
    with serving(app) as host:
        assert host.ask(request('/', 'GET', 'Connection: close'))[0].body == b'Ada'


def test_an_error_that_it_waits_for_is_raised_in_it():
    app = Tremolo()

    def job():
        yield sleep(1)
        raise OSError('the database is gone')

    @app.middleware
    def log_in(request, response):
        from tremolo import spawn
        try:
            yield spawn(job())
        except OSError:
            response.status = 503
            return 'later'
        yield

    with virtual(app) as host:
        answer, = host.ask(request('/'))
    assert (answer.status, answer.body) == (503, b'later')


def test_a_first_half_that_fails_is_a_500_and_named(logged):
    app = Tremolo()
    seen = seen_by(app)

    @app.middleware
    def broken(request):
        yield sleep(0.1)
        raise KeyError('before')
        yield

    with virtual(app) as host:
        answer, = host.ask(request('/'))
    assert answer.status == 500
    assert answer.headers['x-seen'] == 'KeyError'
    assert seen == ["KeyError('before')"]
    assert 'broken() at' in logged.text and 'test_around_middleware.py' in logged.text


def test_pipelined_requests_each_have_middleware_of_their_own():
    app = Tremolo()
    running = []

    @app.middleware
    def slow(request):
        running.append(request.path)
        yield sleep(1)
        yield

    app.route('/<name>')(lambda name: name)
    with virtual(app) as host:
        answers = host.ask(b''.join(request(f'/{number}') for number in range(5)))
    assert [each.body for each in answers] == [b'%d' % number for number in range(5)]
    assert running == [f'/{number}' for number in range(5)]


# -- the client leaves, the clock, the stop --------------------------------------------------------

@pytest.mark.parametrize('where', ['first', 'handler', 'answer'])
def test_a_client_that_leaves_is_told_by_cancelled_before_the_head(where):
    app = Tremolo()
    seen = []

    @app.middleware
    def outer(request):
        try:
            yield
            seen.append('outer went on')
        except Cancelled as error:
            seen.append(f'outer: {error}')
            raise
        finally:
            seen.append('outer ended')

    @app.middleware
    def inner(request):
        try:
            if where == 'first':
                yield sleep(100)
            yield
        finally:
            seen.append('inner ended')

    @app.route('/')
    def slow():
        try:
            if where == 'answer':
                yield b'first'
            yield sleep(100)
        finally:
            seen.append('handler ended')

    with virtual(app) as host:
        client = host.connect(request('/'))
        host.advance(1)
        client.reset()
        host.advance(1)
    if where == 'answer':
        assert seen == ['inner ended', 'outer went on', 'outer ended', 'handler ended']
    else:
        assert seen[-3:] == ['inner ended', 'outer: reset: the connection broke', 'outer ended']
        assert ('handler ended' in seen) == (where == 'handler')


def test_handler_timeout_answers_by_itself_and_ends_the_middleware(logged):
    app = Tremolo()
    seen = []

    @app.middleware
    def slow(request):
        try:
            yield sleep(100)
            yield
        except Cancelled:
            seen.append('first')
            raise

    app.route('/')(lambda: 'hello')
    with virtual(app, handler_timeout=5) as host:
        answer, = host.ask(request('/'))
        assert answer.status == 503
        host.advance(1)
    assert seen == ['first']
    assert logged.count('handler_timeout') == 1


def test_the_503_of_handler_timeout_throws_cancelled_at_the_bare_yield(logged):
    app = Tremolo()
    seen = []

    @app.middleware
    def note(request):
        try:
            yield
        except Cancelled as error:
            seen.append(str(error))
            raise

    @app.route('/')
    def slow():
        yield sleep(100)

    with virtual(app, handler_timeout=5) as host:
        answer, = host.ask(request('/'))
        assert answer.status == 503
        host.advance(1)
    assert len(seen) == 1 and 'handler_timeout' in seen[0]
    assert logged.count('handler_timeout') == 1


# -- mistakes --------------------------------------------------------------------------------------

async def coroutine(request):
    yield


def plain(request):
    return None


class View:
    pass


def asks(req):
    yield


@pytest.mark.parametrize(('function', 'told'), [
    (coroutine, 'is an `async def`'), (plain, 'is no generator function'), (View, 'is a class'),
    ('request', 'without arguments'), (None, 'without arguments'), (asks, "asks for 'req'")])
def test_what_is_no_middleware_is_told_when_it_is_registered(function, told):
    with pytest.raises(HandlerError, match=told) as caught:
        Tremolo().middleware(function)
    if function is not asks:
        assert 'bare `yield`' in str(caught.value)


def test_it_stands_without_brackets():
    with pytest.raises(HandlerError, match='without arguments: write `def middleware'):
        @Tremolo().middleware()
        def middleware(request):
            yield


def never(request):
    if request is None:
        yield


def twice(request):
    yield
    yield


def waits_after(request):
    yield
    yield sleep(1)


def chunk(request):
    yield b'hello'


def generator_helper(request):
    yield never(None)


def returns_it(response):
    return response
    yield


def yields_it(response):
    yield response


@pytest.mark.parametrize(('function', 'told'), [
    (never, 'ended without a bare `yield`'), (twice, 'yields a second time'),
    (waits_after, 'nothing can be waited for'), (chunk, 'return it, to answer'),
    (generator_helper, 'write `yield from never()`'),
    (returns_it, 'returned Response, which is none of'), (returns_it, 'return the body alone'),
    (yields_it, 'yielded Response, which is not a Future: the rest runs at a bare `yield`')])
@pytest.mark.parametrize('waits', [False, True])
def test_what_it_does_wrong_is_a_500_and_a_sentence(function, told, waits, logged):
    app = Tremolo()

    if waits:
        def middleware(request, response):
            yield sleep(0.1)
            it = response if 'response' in function.__code__.co_varnames else request
            return (yield from function(it))
        middleware.__qualname__ = function.__name__
    else:
        middleware = function
    app.middleware(middleware)
    app.route('/')(lambda: 'hello')
    with virtual(app) as host:
        for answer in host.ask(request('/') + request('/')):
            assert answer.status == 500
    assert logged.text.count(told) >= 2    # (A traceback may show the line that says it, too.)
    assert f'{function.__name__}() at' in logged.text


def test_one_that_catches_an_error_and_yields_again_is_told(logged):
    app = Tremolo()

    @app.middleware
    def again(request):
        try:
            yield
        except Exception:
            yield

    with virtual(app) as host:
        answer, = host.ask(request('/nothing'))
    assert answer.status == 500
    assert 'yields a second time' in logged.text


@pytest.mark.parametrize('when', ['before', 'begun', 'after'])
def test_one_that_sends_by_itself_is_told(when, logged):
    app = Tremolo()

    @app.middleware
    def send(response):
        if when == 'before':
            yield response.send('mine')
        elif when == 'begun':
            yield response.write('mine')
        yield
        response.send('mine')

    app.route('/')(lambda: 'hello')
    with virtual(app) as host:
        client = host.connect(request('/'))
        if when == 'begun':
            client.until_ended()
        else:
            assert client.take().body == b'mine'
            host.settle()
    assert 'by itself' in logged.text
    assert logged.count('send() at') == 1


def test_it_is_not_registered_while_the_application_is_served():
    app = Tremolo()
    with virtual(app):
        with pytest.raises(HandlerError, match='served already'):
            app.middleware(twice)
        with pytest.raises(HandlerError, match='served already'):
            app.error(404)(lambda: 'lost')
        with pytest.raises(HandlerError, match='served already'):
            app.mount('/x', Tremolo())
    app.middleware(twice)


@pytest.mark.parametrize(('name', 'told'), [
    ('on_request', '@app.middleware'), ('on_response', '@app.middleware'),
    ('add_middleware', '@app.middleware'), ('hook', 'on_worker_start'),
    ('add_hook', 'on_worker_start'), ('before_request', '@app.middleware'),
    ('errorhandler', '@app.error'), ('nothing', 'no attribute'),
    ('before_serving', 'on_worker_start'), ('lifespan', 'on_worker_stop'),
    ('websocket', 'asks for `websocket`'), ('add_route', r'write @app\.route\(path\)'),
    ('test_client', r'write app\.client\(\)'), ('create_task', r'write app\.spawn\(job\(\)\)'),
    ('config', r'write app\.context'), ('exception', r'write @app\.error\(404\)')])
def test_the_names_of_0_5_and_of_others_are_told(name, told):
    with pytest.raises(AttributeError, match=told):
        getattr(Tremolo(), name)


# -- no cost, no leak ------------------------------------------------------------------------------

def test_nothing_of_a_request_is_left_for_the_cyclic_collector(logged):
    app = Tremolo()
    seen_by(app)

    @app.error(ValueError)
    def answer(error):
        return str(error)

    @app.route('/fail')
    def fail():
        raise ValueError('x')

    @app.route('/fail_late')
    def fail_late():
        yield sleep(0.001)
        raise KeyError('x')

    app.route('/')(lambda: 'hello')
    with serving(app) as host:
        client = host.connect()

        def ask():
            for target in ('/', '/fail', '/fail_late', '/nothing'):
                client.send(request(target))
                client.take()

        ask()
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                ask()
            left = gc.collect() or 0    # (PyPy counts nothing.)
        finally:
            gc.enable()
    assert left < 5
    assert logged.count('fail_late() at') == 6


def test_observers_get_the_response_that_the_connection_has():
    app = Tremolo()
    seen_by(app)
    app.route('/')(lambda: 'hello')
    statuses = []
    with virtual(app) as host:
        host.server.request_observers.append(
            lambda response, reason: statuses.append((response.status, reason)))
        host.ask(request('/') + request('/x'))
    assert statuses == [(200, ''), (404, '')]


def test_server_timing_as_the_issue_writes_it():
    app = Tremolo()

    @app.middleware
    def timed(request, response):
        begun = time.monotonic()
        yield
        response.headers['Server-Timing'] = f'app;dur={(time.monotonic() - begun) * 1000:.1f}'

    app.route('/')(lambda: 'hello')
    with virtual(app) as host:
        for method in 'GET', 'HEAD':
            answer, = host.ask(request('/', method), method)
            assert answer.headers['server-timing'].startswith('app;dur=')
            assert answer.headers['content-length'] == '5'
