"""What a handler sends by itself: can be awaited and yielded always, and cannot corrupt."""

from __future__ import annotations

import asyncio

import pytest
from server_support import answers, request, serving, virtual

from tremolo import HandlerError, Tremolo, gather, sleep, timeout
from tremolo.http import HeaderError
from tremolo.loop.done import DONE

KINDS = ('plain', 'thread', 'generator', 'waited', 'coroutine')


def handler(kind, acts):
    """Return a handler of a kind that does `acts(response)`, each of which it waits for."""
    def plain(response):
        for act in acts:
            act(response)

    def thread(response, thread=True):
        for act in acts:
            act(response).result()

    def generator(response):
        for act in acts:
            yield act(response)

    def waited(response):
        yield sleep(0.001)
        for act in acts:
            yield act(response)

    async def coroutine(response):
        await sleep(0)
        for act in acts:
            await act(response)

    return locals()[kind]


def asked(function, *lines, method='GET', version='1.1', until=lambda: True):
    """Give the answer, and see that the connection serves the next request, and that `until`."""
    app = Tremolo()
    app.route('/', methods=['GET', 'POST'])(function)
    app.route('/next')(lambda: 'next')
    with serving(app, port=0) as host:
        client = host.connect(request('/', method, *lines, version=version) + request('/next'))
        answer = client.take(method)
        if version == '1.1':
            assert client.take().body == b'next'
            assert client.received == b''
        host.wait_for(until)
        return answer


SENT = [
    ([lambda r: r.end()], b'', '0'),
    ([lambda r: r.end(b'x')], b'x', '1'),
    ([lambda r: r.send(b'x')], b'x', '1'),
    ([lambda r: r.send('é')], 'é'.encode(), '2'),
    ([lambda r: r.send()], b'', '0'),
    ([lambda r: r.send(b'x'), lambda r: r.end()], b'x', '1'),
    ([lambda r: r.write(b'')], b'', None),
    ([lambda r: r.write(b'a')], b'a', None),
    ([lambda r: r.write(b'a'), lambda r: r.end()], b'a', None),
    ([lambda r: r.write(b'a'), lambda r: r.end(b'x')], b'ax', None),
    ([lambda r: r.write('a'), lambda r: r.write(bytearray(b'b')), lambda r: r.end('c')],
     b'abc', None),
    ([lambda r: r.write(b''), lambda r: r.write(b'a'), lambda r: r.write(b'')], b'a', None),
]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('acts', 'body', 'length'), SENT)
def test_all_that_is_sent_can_be_awaited_and_yielded(kind, acts, body, length):
    answer = asked(handler(kind, acts))
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers.get('content-length') == length


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('acts', 'body', 'length'), SENT)
def test_the_same_for_head_has_no_body(kind, acts, body, length):
    answer = asked(handler(kind, acts), method='HEAD')
    assert (answer.status, answer.headers.get('content-length')) == (200, length)


def test_a_write_can_be_joined_and_limited_in_time_as_any_future():
    def generator(response):
        yield gather(response.write(b'a'), response.write(b'b'))
        yield timeout(5, response.write(b'c'))

    async def coroutine(response):
        await asyncio.wait_for(response.write(b'a'), 5)
        await asyncio.gather(response.write(b'b'), response.write(b'c'))

    assert asked(generator).body == asked(coroutine).body == b'abc'


def test_done_is_done_everywhere():
    assert DONE.done() and not DONE.cancelled() and not DONE.cancel()
    assert DONE.result() is None and DONE.exception() is None


def test_a_write_gives_a_future_that_waits_for_a_slow_client():
    app = Tremolo()
    waits = []

    @app.route('/')
    def download(response):
        for _ in range(100):
            wait = response.write(bytes(65536))
            waits.append(wait.done())
            yield wait

    with virtual(app) as host:
        client = host.connect(request())
        client.reading = False
        host.advance(5)
        assert waits and not waits[-1] and len(waits) < 50
        client.reading = True
        assert client.take().body == bytes(6553600)


def test_a_client_that_leaves_is_no_error_of_a_handler_that_does_not_wait():
    app = Tremolo()

    @app.route('/')
    def careless(response):
        response.write(bytes(10_000_000))
        yield sleep(60)

    with virtual(app) as host:
        client = host.connect(request())
        client.reading = False
        host.advance(1)
        client.reset()
        host.advance(5)    # (The fixture would fail this test for an error in the log.)


# -- the order of what is yielded, written and sent -----------------------------------------------


def test_what_is_yielded_before_a_write_goes_out_before_it():
    def handler(response):
        yield b'a'
        response.write(b'b')
        yield b'c'
        yield b'd'
        response.write(b'e')
        response.end(b'f')

    assert asked(handler).body == b'abcdef'


def test_the_same_when_it_waits_between():
    def handler(response):
        yield b'a'
        yield response.write(b'b')
        yield sleep(0.001)
        yield b'c'
        response.end(b'd')

    async def coroutine(response):
        yield 'a'
        await response.write(b'b')
        yield 'c'
        await response.end(b'd')

    assert asked(handler).body == asked(coroutine).body == b'abcd'


def test_a_chunk_before_the_end_is_part_of_the_whole_answer():
    def handler(response):
        yield b'a'
        response.end(b'b')

    answer = asked(handler)
    assert (answer.body, answer.headers['content-length']) == (b'ab', '2')


def test_a_chunk_before_send_is_an_error_that_says_what_to_write(logged):
    def handler(response):
        yield b'a'
        response.send(b'b')

    assert asked(handler).status == 500
    assert 'yield the rest, or call response.write' in logged.text


@pytest.mark.parametrize('kind', ['generator', 'waited', 'coroutine'])
@pytest.mark.parametrize('by', ['send', 'end'])
def test_a_chunk_after_the_end_is_told_and_not_sent(kind, by, logged):
    def generator(response):
        getattr(response, by)(b'one')
        yield b'two'

    def waited(response):
        getattr(response, by)(b'one')
        yield sleep(0.001)
        yield b'two'

    async def coroutine(response):
        await getattr(response, by)(b'one')
        yield b'two'

    handler, app = locals()[kind], Tremolo()
    app.route('/')(handler)
    with serving(app) as host:
        assert host.ask(request('/', 'GET', 'Connection: close'))[0].body == b'one'
        # (An asyncio program that ends its server does not wait for what handlers still do.)
        host.wait_for(lambda: logged.count('failed on GET'))
    assert logged.count('failed on GET') == 1
    assert 'yielded a chunk after response.send or response.end' in logged.text


def test_a_late_chunk_stops_no_other_request_and_is_told_once(logged):
    app = Tremolo()
    going_on = []

    @app.route('/')
    def late(response):
        response.send(b'one')
        for _ in range(5):
            yield sleep(1)
            yield b'late'
        going_on.append(True)

    @app.route('/waiting')
    def waiting():
        yield sleep(10)
        yield b'two'

    with virtual(app) as host:
        client = host.connect(request() + request('/waiting'))
        assert client.take().body == b'one'
        assert client.take().body == b'two'
    assert going_on == [True]
    assert logged.count('failed on GET') == 1


# -- what is returned after it --------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['plain', 'thread', 'generator', 'coroutine'])
@pytest.mark.parametrize('by', ['send', 'end'])
@pytest.mark.parametrize('value', [b'two', 'two', {'two': 2}], ids=repr)
def test_a_value_after_the_end_is_told_with_the_right_reason(kind, by, value, logged):
    def plain(response):
        getattr(response, by)(b'one')
        return value

    def thread(response, thread=True):
        getattr(response, by)(b'one')
        return value

    def generator(response):
        getattr(response, by)(b'one')
        yield None
        return value

    async def coroutine(response):
        await getattr(response, by)(b'one')
        return value

    # (What a thread does after the end of the answer comes after the answer has come.)
    answer = asked(locals()[kind], until=lambda: 'failed on GET' in logged.text)
    assert answer.body == b'one'
    assert logged.count('failed on GET') == 1
    assert 'returned a value after response.send or response.end' in logged.text
    assert 'it had yielded' not in logged.text


def test_a_value_after_a_write_cuts_the_answer_with_the_right_reason(logged):
    app = Tremolo()

    @app.route('/')
    def handler(response):
        response.write(b'one')
        return b'two'

    with virtual(app) as host:
        client = host.connect(request())
        client.until_ended()
        assert client.received.endswith(b'3\r\none\r\n')
    assert 'returned a value after response.write' in logged.text
    assert 'give the value to response.end' in logged.text


def test_a_client_that_has_left_makes_a_late_value_no_mistake():
    app = Tremolo()

    @app.route('/')
    def handler(response):
        response.write(b'one')
        try:
            yield sleep(60)
        except GeneratorExit:
            return b'two'

    with virtual(app) as host:
        client = host.connect(request())
        client.until(b'one')
        client.reset()
        host.advance(1)


@pytest.mark.parametrize('kind', ['generator', 'coroutine'])
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_a_handler_that_has_sent_its_answer_may_go_on(kind, method):
    done = []

    def generator(response):
        response.send(b'one')
        yield sleep(0.001)
        done.append(kind)

    async def coroutine(response):
        await response.send(b'one')
        await sleep(0.001)
        done.append(kind)

    app = Tremolo()
    app.route('/')(locals()[kind])
    with serving(app, port=0) as host:
        assert host.connect(request('/', method)).take(method).headers['content-length'] == '3'
        host.wait_for(lambda: done)


# -- mistakes cannot corrupt ----------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_an_end_too_early_or_a_piece_too_much_is_told(kind, logged):
    def length(response):
        response.headers['Content-Length'] = 3
        return DONE

    short = [length, lambda r: r.end(b'ab')]
    long = [length, lambda r: r.write(b'abcd')]
    assert asked(handler(kind, short)).status == asked(handler(kind, long)).status == 500
    assert 'Content-Length is 3, but the body has 2 bytes' in logged.text
    assert '1 bytes longer than its Content-Length' in logged.text


@pytest.mark.parametrize('body', [None, 7, ['a'], object()])
@pytest.mark.parametrize('by', ['send', 'write', 'end'])
def test_what_is_no_body_is_told_before_anything_is_sent(by, body, logged):
    def wrong(response):
        getattr(response, by)(body)

    assert asked(wrong).status == 500
    assert 'a body is bytes or str, not ' in logged.text


@pytest.mark.parametrize('by', ['write', 'end'])
def test_a_piece_after_the_end_is_told_and_not_sent(by, logged):
    def wrong(response):
        response.send(b'one')
        getattr(response, by)(b'two')

    assert asked(wrong).body == b'one'
    assert 'the answer is sent already' in logged.text


@pytest.mark.parametrize('fields', [
    {'Link': '</a.css>; rel=preload'}, [('Link', '</a.css>; rel=preload')]])
@pytest.mark.parametrize('kind', KINDS)
def test_hints_are_fields(fields, kind):
    app = Tremolo()
    app.route('/')(handler(kind, [lambda r: r.hint(fields), lambda r: r.send(b'x')]))
    with serving(app, port=0) as host:
        early, final = host.ask(request('/', 'GET', 'Connection: close'))
        assert (early.status, early.headers) == (103, {'link': '</a.css>; rel=preload'})
        assert final.body == b'x'


@pytest.mark.parametrize('fields', [
    b'Link: </a.css>', 'Link: </a.css>', {'X': 'a\r\nb'}, {'Content-Length': '5'},
    {'Transfer-Encoding': 'chunked'}])
def test_a_wrong_hint_is_told_and_not_on_the_wire(fields, logged):
    def wrong(response):
        response.hint(fields)
        return 'x'

    assert asked(wrong).status == 500
    assert 'HeaderError' in logged.text


def test_a_cookie_a_field_or_a_status_after_the_head_is_told():
    told = []

    def late(response):
        response.headers['X-B'] = '1'
        response.write(b'x')
        assert response.headers['x-b'] == '1'
        for act in (lambda: response.set_cookie('a', '1'),
                    lambda: setattr(response, 'status', 404),
                    lambda: response.headers.add('X-A', '1'),
                    lambda: response.headers.__setitem__('X-A', '1'),
                    lambda: response.headers.__delitem__('X-B')):
            with pytest.raises(HeaderError) as error:
                act()
            told.append(str(error.value))

    assert asked(late).body == b'x'
    assert all('the head is sent already' in each for each in told) and len(told) == 5


UPGRADE = 'Connection: upgrade', 'Upgrade: echo'


@pytest.mark.parametrize('name', ['Transfer-Encoding', 'X-Ok'])
def test_an_upgrade_with_a_field_that_may_not_be_sent_is_500(name, logged):
    app = Tremolo()

    @app.route('/')
    def upgrade(response):
        response.headers[name] = 'chunked'
        response.headers['Content-Length'] = '5'
        stream = response.upgrade('echo')
        stream.write(b'hello')
        yield None

    with virtual(app) as host:
        client = host.connect(request('/', 'GET', *UPGRADE))
        if name == 'X-Ok':
            client.until_ended()
            head, _, rest = client.received.partition(b'\r\n\r\n')
            assert rest == b'hello' and b'Content-Length' not in head and b'X-Ok' in head
        else:
            assert client.take().status == 500


def test_an_upgrade_in_a_thread_is_refused(logged):
    def upgrade(response, thread=True):
        response.upgrade('echo')

    assert asked(upgrade, *UPGRADE).status == 500
    assert 'without thread=True' in logged.text


def test_a_thread_writes_while_it_works():
    """A function in a thread streams: its bytes are on their way before it goes on."""
    app = Tremolo()

    @app.route('/')
    def export(response, reactor, thread=True):
        assert not reactor.in_loop_thread()
        for number in range(3):
            response.write(f'{number},').result()
            seen.append(number)

    seen: list[int] = []
    with serving(app, port=0) as host:
        answer, = host.ask(request('/', 'GET', 'Connection: close'))
        assert answer.body == b'0,1,2,'
        assert answer.headers['transfer-encoding'] == 'chunked'
    assert seen == [0, 1, 2]


def test_a_thread_hears_of_its_mistakes():
    def wrong(response, thread=True):
        response.send(b'one')
        with pytest.raises(HandlerError, match='sent already'):
            response.write(b'two')

    assert asked(wrong).body == b'one'


def test_http_1_0_gets_the_end_of_the_connection():
    app = Tremolo()
    app.route('/')(handler('generator', [lambda r: r.write(b'a'), lambda r: r.end(b'b')]))
    with virtual(app) as host:
        answer, = host.ask(request('/', version='1.0'))
        assert answer.body == b'ab'
        assert answers(host.clients[0].received)[0].headers['connection'] == 'close'
