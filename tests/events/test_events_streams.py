"""Event streams in the simulated world: the head, comments, slow clients, and each way to end."""

from __future__ import annotations

import pytest
from events_support import Event, application, asking, body_of, read
from server_support import answers, virtual
from simulated import World

from tremolo import HTTPError, Tremolo, redirect, sleep
from tremolo.loop import Cancelled, Queue, StreamClosed

OPENED = 0.5    # Seconds until the head of a handler that has sent nothing.


def forever(sse):
    yield sse.send('first', id=1)
    yield sleep(100_000)


# -- the head -------------------------------------------------------------------------------------


def test_the_first_event_brings_the_head():
    with virtual(application(forever)) as host:
        client = host.connect(asking())
        host.settle()
        answer, = answers(client.received + b'0\r\n\r\n')
        assert (answer.status, answer.headers['content-type']) == (
            200, 'text/event-stream; charset=utf-8')
        assert answer.headers['cache-control'] == 'no-store'
        assert answer.headers['x-accel-buffering'] == 'no'
        assert answer.headers['transfer-encoding'] == 'chunked'
        assert 'content-length' not in answer.headers
        assert answer.body == b'id: 1\ndata: first\n\n'


def test_a_handler_that_only_waits_gets_its_head_sent_after_a_moment():
    def handler(sse):
        yield sleep(10)
        yield sse.send('late')

    with virtual(application(handler)) as host:
        client = host.connect(asking())
        host.advance(OPENED - 0.01)
        assert client.received == b''
        host.advance(0.02)
        assert b'text/event-stream' in client.received and body_of(client.received) == b':\n\n'
        host.advance(10)
        assert read(client).events == [Event('late')]
        assert client.received.endswith(b'0\r\n\r\n')


def test_fields_and_cookies_of_the_handler_are_sent_and_its_cache_control_is_its_own():
    def handler(sse, response, content_type='text/plain'):
        response.headers['Cache-Control'] = 'no-cache'
        response.headers['content-type'] = 'text/plain'
        response.headers['X-Own'] = 'yes'
        response.set_cookie('seen', '1')
        yield sse.send('a')

    with virtual(application(handler)) as host:
        answer = host.connect(asking()).take()
        assert answer.headers['cache-control'] == 'no-cache'
        assert answer.headers['content-type'] == 'text/event-stream; charset=utf-8'
        assert answer.headers['x-own'] == 'yes' and 'seen=1' in answer.headers['set-cookie']


def test_last_id_is_what_the_client_got_last():
    """Fault of tremolo 0.5: nothing helped with Last-Event-ID."""
    def handler(sse):
        yield sse.send(repr(sse.last_id))

    with virtual(application(handler)) as host:
        for sent, said in ((None, None), ('7', '7'), ('é😀', 'é😀'), ('', ''), ('a:b', 'a:b')):
            client = host.connect(asking(sent))
            client.until(b'0\r\n\r\n')
            assert read(client).events == [Event(repr(said))]
        client = host.connect(b'GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: a\xff\r\n\r\n')
        client.until(b'0\r\n\r\n')
        assert read(client).events == [Event(repr('a\ufffd'))]


def test_a_head_request_gets_the_head_alone_and_its_handler_ends():
    """Fault of tremolo 0.5: the handler of a HEAD went on, and sent for nobody."""
    ended = []

    def sending(sse):
        try:
            while True:
                yield sse.send('x')
                yield sleep(1)
        finally:
            ended.append(1)

    def waiting(sse):
        try:
            yield sleep(100)
        finally:
            ended.append(2)

    def busy(sse):
        try:
            while True:
                yield sse.send('x')
        finally:
            ended.append(3)

    for handler in (sending, waiting, busy):
        with virtual(application(handler)) as host:
            client = host.connect(asking(method='HEAD') + asking(method='HEAD'))
            client.until(b'\r\n\r\n', 2)
            for answer in answers(client.received, 'HEAD', 'HEAD'):
                assert answer.headers['content-type'] == 'text/event-stream; charset=utf-8'
            host.settle()
            assert not host.reactor.tasks
    assert ended == [1, 1, 2, 2, 3, 3]


def test_an_old_client_reads_until_the_close():
    def handler(sse):
        yield sse.send('a')
        yield sleep(1)
        yield sse.send('b')

    with virtual(application(handler)) as host:
        client = host.connect(asking(version='1.0'))
        client.until_ended()
        head, _, body = client.received.partition(b'\r\n\r\n')
        assert b'Transfer-Encoding' not in head and b'Connection: close' in head
        assert body == b'data: a\n\ndata: b\n\n' and client.ended == 'fin'


# -- comments -------------------------------------------------------------------------------------


def test_a_comment_goes_after_15_seconds_without_a_byte():
    """Fault of tremolo 0.5: there was no comment."""
    def handler(sse):
        yield sse.send('a')
        yield sleep(20)
        yield sse.send('b')
        yield sleep(1000)

    with virtual(application(handler)) as host:
        client = host.connect(asking())
        times = []
        host.until(lambda: client.received)
        begun = host.now
        for _ in range(4):
            seen = len(client.received)
            host.until(lambda seen=seen: len(client.received) > seen)
            times.append(round(host.now - begun, 1))
        # A comment, the event, and from then on comments.
        assert times == [15, 20, 35, 50]
        assert read(client).comments == 3


@pytest.mark.parametrize(('server', 'of_handler', 'interval'), [
    (5, None, 5), ('off', None, None), (0, None, None), (15, 2, 2), ('off', '3s', 3), (5, 0, None),
    (5, 'off', None)])
def test_the_heartbeat_is_an_option_of_the_server_and_of_a_handler(server, of_handler, interval):
    if of_handler is None:
        def handler(sse):
            yield sse.send('a')
            yield sleep(1000)
    else:
        def handler(sse, sse_heartbeat=of_handler):
            yield sse.send('a')
            yield sleep(1000)

    with virtual(application(handler), sse_heartbeat=server) as host:
        client = host.connect(asking())
        host.advance(60.5)
        assert read(client).comments == (60 // interval if interval else 0)


def test_events_put_the_comment_off():
    def handler(sse):
        while True:
            yield sse.send('tick')
            yield sleep(10)

    with virtual(application(handler)) as host:
        client = host.connect(asking())
        host.advance(305)
        assert len(read(client).events) == 31 and read(client).comments == 0


def test_ten_thousand_hours_of_silence_are_cheap():
    with virtual(application(forever), sse_heartbeat='1h') as host:
        client = host.connect(asking())
        host.advance(3600 * 24 - 1)
        assert read(client).comments == 23
        assert len(host.reactor.timers) < 20


# -- slow clients ---------------------------------------------------------------------------------


def test_a_slow_client_holds_its_handler_back_and_gets_all():
    sent = []

    def handler(sse):
        for number in range(120):
            sent.append(number)
            yield sse.send('x' * 5000, id=number)

    world = World(seed=3, latency=0.01, buffer_size=20_000, largest_piece=3000)
    with virtual(application(handler), world) as host:
        client = host.connect(asking())
        client.reading = False
        host.advance(20)
        assert len(sent) < 60
        client.reading = True
        client.until(b'\r\n0\r\n\r\n')
        assert read(client).events == [
            Event('x' * 5000, id=str(number)) for number in range(120)]


def test_a_client_that_takes_nothing_is_cut_and_gets_no_comments():
    ended = []

    def handler(sse):
        try:
            while True:
                yield sse.send('x' * 5000)
        finally:
            ended.append(host.now)

    world = World(seed=3, latency=0.01, buffer_size=20_000)
    with virtual(application(handler), world) as host:
        begun = host.now
        client = host.connect(asking())
        client.reading = False
        host.until(lambda: ended)
        assert 60 <= ended[0] - begun < 75
        assert host.closed == {'stall_timeout': 1}


def test_bytes_one_by_one_arrive_as_they_are():
    def handler(sse):
        for number in range(5):
            yield sse.send('é\n😀', event='x', id=number)

    world = World(seed=5, latency=0.01, jitter=0.01, largest_piece=1)
    with virtual(application(handler), world) as host:
        client = host.connect(asking())
        client.until(b'\r\n0\r\n\r\n')
        assert read(client).events == [Event('é\n😀', 'x', str(number)) for number in range(5)]


# -- the ends -------------------------------------------------------------------------------------


def leaving(ended):
    def handler(sse):
        yield sse.send('a')
        try:
            yield sleep(100_000)
        except Cancelled:
            ended.append('cancelled')
            raise
        finally:
            try:
                yield sse.send('nobody reads it')
            except StreamClosed:
                ended.append('closed')
    return handler


@pytest.mark.parametrize('way', ['reset', 'close'])
def test_a_client_that_leaves_ends_its_handler(way):
    """Fault 32 of tremolo 0.5: the handler was woken up to 30 seconds later, and told nothing."""
    ended = []
    with virtual(application(leaving(ended))) as host:
        client = host.connect(asking())
        client.until(b'data: a')
        getattr(client, way)()
        # (A close looks like a half-close, until the next comment is answered by a reset.)
        host.advance(0.1 if way == 'reset' else 15.1)
        assert ended == ['cancelled', 'closed']
        assert not host.reactor.tasks and not host.server.connections


def test_a_half_closed_client_is_served_as_long_as_it_takes_something():
    ended = []
    with virtual(application(leaving(ended)), half_close_timeout=20) as host:
        client = host.connect(asking())
        client.until(b'data: a')
        client.fin()
        host.advance(100)
        assert read(client).comments == 6 and not ended
    with virtual(application(leaving(ended)), half_close_timeout=20, sse_heartbeat=0) as host:
        client = host.connect(asking())
        client.until(b'data: a')
        client.fin()
        host.advance(21)
        assert ended[:1] == ['cancelled']


def test_the_answer_ends_in_good_order_and_the_connection_goes_on():
    def handler(sse):
        yield sse.send('a')
        yield sleep(1)
        yield sse.send('b')

    with virtual(application(handler)) as host:
        client = host.connect(asking() + asking())
        client.until(b'0\r\n\r\n', 2)
        first, second = answers(client.received)
        assert first.body == second.body == b'data: a\n\ndata: b\n\n'


def test_a_handler_without_an_event_sends_an_empty_stream():
    """204 would tell an EventSource never to come back; who means that sets it."""
    def nothing(sse, request):
        if request.query.first('stop'):
            request.connection.response.status = 204
        return
        yield

    with virtual(application(nothing)) as host:
        answer = host.connect(asking()).take()
        assert (answer.status, answer.body) == (200, b'')
        assert answer.headers['content-type'] == 'text/event-stream; charset=utf-8'
        answer = host.connect(asking(target='/?stop=1')).take()
        assert (answer.status, answer.headers.get('content-type')) == (204, None)


def test_before_the_first_event_a_handler_may_answer_with_something_else():
    def handler(sse, request, response):
        yield sleep(0.1)
        kind = request.query.first('kind')
        if kind == 'redirect':
            return redirect('/login')
        if kind == 'raise':
            raise HTTPError(403)
        return {'a': 1} if kind == 'json' else 'text'

    with virtual(application(handler)) as host:
        answer = host.connect(asking(target='/?kind=redirect')).take()
        assert (answer.status, answer.headers['location']) == (303, '/login')
        answer = host.connect(asking(target='/?kind=raise')).take()
        assert (answer.status, 'event-stream' in answer.headers['content-type']) == (403, False)
        answer = host.connect(asking(target='/?kind=json')).take()
        assert (answer.body, answer.headers['content-type']) == (b'{"a": 1}', 'application/json')
        answer = host.connect(asking(target='/?kind=')).take()
        assert (answer.body, answer.headers['content-type']) == (
            b'text', 'text/html; charset=utf-8')
        host.advance(1)    # (No head comes after these.)
        assert all(client.received == b'' for client in host.clients)


def test_an_error_behind_an_event_cuts_the_stream(logged):
    def handler(sse):
        yield sse.send('a')
        raise ValueError('on purpose')

    with virtual(application(handler)) as host:
        client = host.connect(asking())
        client.until_ended()
        assert b'data: a\n\n' in client.received and not client.received.endswith(b'0\r\n\r\n')
        assert 'on purpose' in logged.text


def test_a_head_that_cannot_be_sent_is_a_500_also_while_the_handler_waits(logged):
    ended = []

    def handler(sse, response):
        response.headers['Content-Length'] = '1'
        try:
            yield sleep(100)
        finally:
            ended.append(1)

    with virtual(application(handler)) as host:
        assert host.connect(asking()).take().status == 500
        host.settle()
        assert ended == [1] and not host.reactor.tasks
    assert 'longer than its Content-Length' in logged.text


def test_a_comment_behind_the_content_length_of_a_handler_cuts_the_stream(logged):
    ended = []

    def handler(sse, response):
        response.headers['Content-Length'] = str(len('data: a\n\n'))
        try:
            yield sse.send('a')
            yield sleep(100)
        finally:
            ended.append(1)

    with virtual(application(handler)) as host:
        host.connect(asking()).until_ended()
        host.settle()
        assert ended == [1] and not host.reactor.tasks
    assert logged.count('failed on GET') == 1
    assert 'longer than its Content-Length' in logged.text


# -- handler_timeout ------------------------------------------------------------------------------


def test_handler_timeout_ends_no_stream_that_is_open():
    """Fault of tremolo 0.5: `app_handler_timeout` ended every stream after 120 seconds."""
    def handler(sse):
        for number in range(10):
            yield sse.send(str(number))
            yield sleep(50)

    with virtual(application(handler), handler_timeout=30, sse_heartbeat='off') as host:
        client = host.connect(asking())
        client.until(b'\r\n0\r\n\r\n')
        assert len(read(client).events) == 10
        # The next answer of this connection is under it as ever.
        host.settle()
        assert host.closed == {}


def test_handler_timeout_still_ends_a_handler_of_requests_on_the_same_connection(logged):
    app = Tremolo()

    @app.route('/events')
    def events(sse):
        yield sse.send('a')
        yield sleep(50)

    @app.route('/slow')
    def slow():
        yield sleep(100)

    with virtual(app, handler_timeout=30) as host:
        client = host.connect(asking(target='/events') + asking(target='/slow'))
        begun = host.now
        client.until_ended()
        assert [answer.status for answer in answers(client.received)] == [200, 503]
        assert 80 <= host.now - begun < 90
    assert logged.records


# -- several senders ------------------------------------------------------------------------------


def test_many_may_send_to_one_stream_and_events_stay_whole():
    app = Tremolo()
    streams = []

    @app.route('/')
    def handler(sse):
        streams.append(sse)
        yield sse.send('begin')
        yield app.stopping

    def sender(number):
        for each in range(20):
            yield streams[0].send(f'{number}\n{each}')
            yield sleep(0.01)

    with virtual(app) as host:
        client = host.connect(asking())
        client.until(b'begin')
        for number in range(5):
            app.spawn(sender(number))
        host.advance(2)
        events = [event.data.split('\n') for event in read(client).events[1:]]
        assert sorted(events) == sorted([str(n), str(e)] for n in range(5) for e in range(20))
        client.reset()
        host.advance(0.1)
        # The stream is kept, and tells that it has ended.
        with pytest.raises(StreamClosed):
            streams[0].send('x')


def test_a_stream_that_is_kept_after_its_end_says_so():
    kept = []

    def handler(sse):
        kept.append(sse)
        yield sse.send('a')

    with virtual(application(handler)) as host:
        host.connect(asking()).take()
        with pytest.raises(StreamClosed):
            kept[0].send('b')


def test_a_queue_feeds_a_stream():
    queue = []

    def handler(sse):
        queue.append(Queue())
        while True:
            yield sse.send((yield queue[0].get()))

    with virtual(application(handler)) as host:
        client = host.connect(asking())
        host.advance(1)
        host.reactor.call_soon(queue[0].put_nowait, 'one')
        client.until(b'data: one\n\n')
