"""Handlers that ask for `sse`: each kind of function, what it may ask for, and what is refused."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
from pathlib import Path

import pytest
from events_support import Event, application, asking, read
from server_support import answers, request, serving, virtual

from tremolo import EventStream, HandlerError, Tremolo, run_in_thread, sleep
from tremolo.exceptions import SettingError

ROOT = Path(__file__).resolve().parents[2]


def by_yield(sse):
    yield sse.send('one', event='x', id=1, retry=100)
    yield sleep(0.001)
    for number in range(50):
        yield sse.send(f'two\n{number}')


async def by_await(sse):
    await sse.send('one', event='x', id=1, retry=100)
    await asyncio.sleep(0.001)
    for number in range(50):
        await sse.send(f'two\n{number}')


async def by_async_yield(sse):
    yield sse.send('one', event='x', id=1, retry=100)
    await asyncio.sleep(0.001)
    for number in range(50):
        yield sse.send(f'two\n{number}')


def by_result(sse, thread=True):
    sse.send('one', event='x', id=1, retry=100).result()
    sleep(0.001).result()
    for number in range(50):
        sse.send(f'two\n{number}').result()


def traced(function):
    """A decorator as programs have them: what it makes is a plain function."""
    @functools.wraps(function)
    def traced_function(*args, **kwargs):
        return function(*args, **kwargs)
    return traced_function


KINDS = [by_yield, by_await, by_async_yield, by_result, traced(by_yield), traced(by_await),
         functools.partial(by_yield)]


@pytest.mark.parametrize('handler', KINDS)
def test_each_kind_of_handler_sends_its_events(handler):
    with serving(application(handler)) as host:
        client = host.connect(asking())
        client.until(b'\r\n0\r\n\r\n')
        reader = read(client)
        assert reader.events == [Event('one', 'x', '1'), *(
            Event(f'two\n{number}', id='1') for number in range(50))]
        assert reader.retry == 100
        client.received = b''
        client.send(asking())    # The connection goes on.
        client.until(b'\r\n0\r\n\r\n')
        assert read(client).events == reader.events


def endless_yield(sse, ended):
    try:
        while True:
            yield sse.send('x')
            yield sleep(0.001)
    finally:
        ended.append(1)


async def endless_await(sse, ended):
    try:
        while True:
            await sse.send('x')
            await asyncio.sleep(0.001)
    finally:
        ended.append(1)


async def endless_async_yield(sse, ended):
    try:
        while True:
            yield sse.send('x')
            await asyncio.sleep(0.001)
    finally:
        ended.append(1)


def endless_result(sse, ended, thread=True):
    try:
        while True:
            sse.send('x').result()
            sleep(0.001).result()
    finally:
        ended.append(1)


ENDLESS = pytest.mark.parametrize(
    'function', [endless_yield, endless_await, endless_async_yield, endless_result])


def ended_application(function):
    """Make an application of one of these, and the list that it notes its end in."""
    ended = []
    handlers = {
        endless_yield: lambda sse: (yield from endless_yield(sse, ended)),
        endless_result: lambda sse, thread=True: endless_result(sse, ended)}

    async def awaiting(sse):
        await endless_await(sse, ended)

    async def yielding(sse):
        async for each in endless_async_yield(sse, ended):
            yield each

    handler = handlers.get(function) or (
        awaiting if function is endless_await else yielding)
    return application(handler), ended


@ENDLESS
@pytest.mark.parametrize('way', ['reset', 'stop', 'head'])
def test_each_kind_of_handler_ends_with_its_stream(function, way):
    app, ended = ended_application(function)
    with serving(app) as host:
        client = host.connect(asking(method='HEAD' if way == 'head' else 'GET'))
        if way == 'head':
            client.until(b'\r\n\r\n')
        else:
            client.until(b'data: x\n\n')
            if way == 'reset':
                client.reset()
            else:
                host.on_loop(lambda: host.server.drain() and None)
                answer, = answers(client.read_all())
                assert answer.body.startswith(b'data: x\n\n')
        host.wait_for(lambda: ended == [1])


def test_it_may_ask_for_anything_else_beside():
    app = Tremolo()

    @app.route('/<name>')
    def handler(sse, request, response, app, context, name, reactor, **server):
        response.headers['X-Own'] = name
        assert context is request.context and 'globals' in server and 'sse' not in server
        assert isinstance(sse, EventStream)
        yield sse.send(f'{name} {context.options["sse_heartbeat"]}')

    with virtual(app, sse_heartbeat=7) as host:
        client = host.connect(asking(target='/you'))
        client.until(b'\r\n0\r\n\r\n')
        assert read(client).events == [Event('you 7.0')]
        assert b'X-Own: you\r\n' in client.received


def test_sse_none_as_tremolo_05_had_it_is_the_same():
    def handler(sse=None):
        yield sse.send('a')

    with virtual(application(handler)) as host:
        assert host.connect(asking()).take().body == b'data: a\n\n'


def test_a_post_may_be_answered_by_events():
    app = Tremolo()

    @app.route('/', methods=['POST'])
    def handler(sse, request):
        form = yield request.form()
        yield sse.send(form.first('name'))

    with virtual(app) as host:
        client = host.connect(request(
            '/', 'POST', 'Content-Type: application/x-www-form-urlencoded', body=b'name=you'))
        assert client.take('POST').body == b'data: you\n\n'


def test_a_method_may_be_registered():
    class News:
        def events(self, sse):
            yield sse.send('a')

    with virtual(application(News().events)) as host:
        assert host.connect(asking()).take().body == b'data: a\n\n'


def test_a_class_may_send_events():
    app = Tremolo()

    @app.route('/')
    class News:
        def get(self, sse):
            yield sse.send('a')

    with virtual(app) as host:
        client = host.connect(asking())
        client.until(b'\r\n0\r\n\r\n')
        assert read(client).events == [Event('a')]

    class Wrong:
        def __init__(self, sse):
            pass

        def get(self):
            return ''

    with pytest.raises(HandlerError, match=r'__init__\(\) asks for sse: let the method `get` ask'):
        app.route('/wrong')(Wrong)


def test_a_handler_fetches_on_threads_while_others_are_served():
    def handler(sse):
        for number in (yield run_in_thread(lambda: [1, 2, 3])):
            yield sse.send(str(number))

    with serving(application(handler)) as host:
        client = host.connect(asking())
        client.until(b'\r\n0\r\n\r\n')
        assert [event.data for event in read(client).events] == ['1', '2', '3']


# -- mistakes -------------------------------------------------------------------------------------


def test_a_plain_function_cannot_wait_and_that_is_told_when_it_is_registered():
    def handler(sse):
        sse.send('x')

    with pytest.raises(HandlerError, match=r'asks for sse, and a plain function cannot wait: write '
                                           r'`yield sse\.send\(\.\.\.\)`, an `async def`'):
        application(handler)


def test_one_function_is_not_for_both_sockets_and_events():
    def handler(sse, websocket=None):
        yield sse.send('x')

    with pytest.raises(HandlerError, match='asks for websocket and sse: write two functions'):
        application(handler)


@pytest.mark.parametrize('value', ['abc', -1])
def test_a_bad_heartbeat_of_a_handler_is_told_when_it_is_registered(value):
    def handler(sse, sse_heartbeat=value):
        yield sse.send('x')

    with pytest.raises(HandlerError, match='sse_heartbeat: '):
        application(handler)
    with pytest.raises(SettingError, match='sse_heartbeat: '):
        application(by_yield).start(sse_heartbeat=value)


def yields_text(sse):
    yield sse.send('a')
    yield 'text'


async def async_yields_text(sse):
    yield sse.send('a')
    yield b'text'


def yields_a_dict(sse):
    yield sse.send('a')
    yield {'a': 1}


def yields_a_generator(sse):
    yield sse.send('a')
    yield yields_text(sse)


def returns_text(sse):
    yield sse.send('a')
    return 'text'


async def async_returns_text(sse):
    await sse.send('a')
    return 'text'


def thread_returns_text(sse, thread=True):
    sse.send('a').result()
    return 'text'


def mixes(sse, response):
    yield response.write('text')
    yield sse.send('a')


def sends_a_dict(sse):
    yield sse.send({'a': 1})


def line_end(sse, thread=True):
    sse.send('a', id='1\n2').result()


@pytest.mark.parametrize(('handler', 'said'), [
    (yields_text, 'yielded str, and an event stream takes events: write `yield sse.send(...)`'),
    (async_yields_text, 'yielded bytes, and an event stream takes events: write'),
    (yields_a_dict, 'yielded dict, which is not a Future: write `yield sse.send(...)`'),
    (yields_a_generator, 'write `yield from yields_text()`'),
    (returns_text, 'returned a value behind its events: it would be lost; write'),
    (async_returns_text, 'returned a value behind its events'),
    (thread_returns_text, 'returned a value behind its events'),
    (mixes, 'the answer had begun before its first event: send all of it by `sse.send(...)`, or'),
    (sends_a_dict, 'data is str, not dict: write `sse.send(json.dumps(...))`'),
    (line_end, 'an id comes back as a field, in which there is no line end'),
])
def test_a_mistake_is_told_and_no_half_answer_is_kept_alive(handler, said, logged):
    with serving(application(handler)) as host:
        client = host.connect(asking(None, '/', 'GET', 'Connection: close'))
        try:
            received = client.read_all()
        except ConnectionError:
            received = client.received
        assert not received.endswith(b'\r\n0\r\n\r\n')
        if handler in (sends_a_dict, line_end):
            assert received.startswith(b'HTTP/1.1 500 ')
        host.wait_for(lambda: logged.records)
    assert said in logged.text and len(logged.records) == 1


@pytest.mark.parametrize(('code', 'said'), [
    ('sse.close()', 'return, and the stream ends'),
    ('sse.end()', 'return, and the stream ends'),
    ('sse.request', 'write `request` in the signature, beside sse'),
    ('sse.response', 'write `response` in the signature, beside sse'),
    ("sse.send('a', event_id='1')", 'write id='),
])
def test_the_names_of_tremolo_05_are_told_what_to_write(code, said, logged):
    def handler(sse):
        yield eval(code)

    with virtual(application(handler)) as host:
        assert host.connect(asking()).take().status == 500
    assert said in logged.text


def test_a_program_without_events_imports_nothing_of_them():
    program = '''
import sys
from tremolo import Tremolo
app = Tremolo()
app.route('/')(lambda: 'x')
app.start(thread=False).stop()
assert not {name for name in sys.modules if name.startswith(('tremolo.events', 'tremolo.web.ev'))}
def events(sse):
    yield sse.send('x')
app.route('/events')(events)
assert 'tremolo.events.stream' in sys.modules
app.start(thread=False).stop()
assert 'asyncio' not in sys.modules
'''
    subprocess.run([sys.executable, '-c', program], cwd=ROOT, check=True, timeout=60)
