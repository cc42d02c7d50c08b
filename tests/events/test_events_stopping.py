"""What becomes of event streams when the server stops: their clients come back, not together."""

from __future__ import annotations

import re

import pytest
from events_support import Event, application, asking, read
from server_support import answers, virtual
from websocket_frames import handshake

from tremolo import Tremolo, sleep
from tremolo.loop import Cancelled, StreamClosed


def forever(sse):
    yield sse.send('here', id=1)
    yield sleep(100_000)


@pytest.mark.parametrize(('shutdown', 'spread'), [(30, 5), (8, 2)])
def test_the_first_50_streams_end_at_once_and_the_rest_is_spread(shutdown, spread):
    with virtual(application(forever), shutdown_timeout=shutdown) as host:
        clients = [host.connect(asking()) for _ in range(200)]
        host.until(lambda: all(b'here' in client.received for client in clients))
        begun = host.now
        host.server.drain()
        ended = {}

        def look():
            for client in clients:
                if client not in ended and client.received.endswith(b'\r\n0\r\n\r\n'):
                    ended[client] = host.now - begun
            return len(ended) == 200

        host.until(look)
        times = sorted(ended.values())
        assert times[49] < 0.01
        assert times[50] >= 0.05
        # Evenly: each twentieth of the time has about a twentieth of the rest.
        assert times[-1] <= spread + 0.1
        for number in range(50, 200):
            expected = (number - 50) / 150 * spread
            assert abs(times[number] - expected) < 0.1, number
        host.until(lambda: all(client.ended for client in clients))
        for client in clients:
            # In good order: whole answers, and an orderly close.
            assert client.ended == 'fin'
            answer, = answers(client.received)
            assert answer.body.startswith(b'id: 1\ndata: here\n\n')
        host.until(host.server.stopped.done)
        assert host.server.stopped.result() == 0
        assert not host.reactor.tasks


def test_those_that_wait_for_their_end_still_get_events():
    app = Tremolo()
    streams = []

    @app.route('/')
    def handler(sse):
        streams.append(sse)
        yield sse.send('here')
        yield sleep(1000)

    with virtual(app) as host:
        clients = [host.connect(asking()) for _ in range(100)]
        host.until(lambda: len(streams) == 100)
        host.server.drain()
        host.advance(1)
        sent = 0
        for stream in streams:
            try:
                stream.send('late')
                sent += 1
            except StreamClosed:
                pass
        assert 30 < sent < 50
        host.until(lambda: all(client.ended for client in clients))
        assert sum(Event('late') in read(client).events for client in clients) == sent


def test_the_handler_is_told_and_its_finally_runs():
    log = []

    def handler(sse):
        yield sse.send('a')
        try:
            yield sleep(1000)
        except Cancelled as why:
            log.append(str(why))
            raise
        finally:
            with pytest.raises(StreamClosed):
                sse.send('too late')
            yield sleep(1)
            log.append('cleaned up')

    with virtual(application(handler)) as host:
        client = host.connect(asking())
        client.until(b'data: a')
        host.server.drain()
        client.until_ended()
        assert log == ['the server stops']
        host.advance(2)
        assert log == ['the server stops', 'cleaned up']


def test_all_but_the_first_may_wait_for_stopping_and_say_goodbye():
    app = Tremolo()

    @app.route('/')
    def handler(sse):
        yield sse.send('here')
        yield app.stopping
        yield sse.send('bye')

    with virtual(app) as host:
        clients = [host.connect(asking()) for _ in range(60)]
        host.until(lambda: all(b'here' in client.received for client in clients))
        host.server.drain()
        host.until(lambda: all(client.ended for client in clients))
        assert sum(Event('bye') in read(client).events for client in clients) == 10
        assert all(answers(client.received) for client in clients)


def test_a_stream_without_its_head_and_one_that_comes_late_are_empty_streams():
    """An EventSource comes back after these, but never after the status of an error."""
    def waiting(sse):
        yield sleep(1000)

    with virtual(application(waiting)) as host:
        early = host.connect(asking())
        late = host.connect(asking()[:20])
        host.advance(0.1)
        host.server.drain()
        late.send(asking()[20:])
        host.until(lambda: early.ended and late.ended)
        for client in (early, late):
            answer, = answers(client.received)
            assert (answer.status, answer.body) == (200, b'')
            assert answer.headers['content-type'] == 'text/event-stream; charset=utf-8'
            assert answer.headers['connection'] == 'close'
        host.until(host.server.stopped.done)
        assert not host.reactor.tasks


def test_an_ordinary_answer_of_such_a_handler_is_finished_as_any():
    def handler(sse, response):
        yield response.write(b'one')
        yield sleep(2)
        yield response.write(b'two')

    with virtual(application(handler)) as host:
        client = host.connect(asking())
        client.until(b'one')
        host.server.drain()
        client.until_ended()
        answer, = answers(client.received)
        assert answer.body == b'onetwo'


def test_a_client_that_takes_nothing_holds_no_stop_up_longer_than_shutdown_timeout(logged):
    def handler(sse):
        while True:
            yield sse.send('x' * 100_000)

    with virtual(application(handler), shutdown_timeout=4) as host:
        client = host.connect(asking())
        client.reading = False
        host.advance(1)
        begun = host.now
        host.server.drain()
        host.until(host.server.stopped.done)
        assert host.now - begun <= 4.1
        assert not host.reactor.tasks
    assert logged.count('shutdown_timeout is over: cut') == 1


@pytest.mark.parametrize('begun', [True, False])
def test_a_stream_that_cannot_end_well_is_cut_and_the_others_end(begun, logged):
    def handler(sse, request, response):
        bad = request.query.first('bad')
        if bad:
            response.headers['Content-Length'] = '100'
        if begun:
            yield sse.send('here')
        yield sleep(1000)

    with virtual(application(handler)) as host:
        clients = [host.connect(asking(target='/?bad=1' if number % 2 else '/'))
                   for number in range(120)]
        host.advance(0.1)
        host.server.drain()
        host.until(lambda: all(client.ended for client in clients))
        for number, client in enumerate(clients):
            assert client.received.endswith(b'\r\n0\r\n\r\n') == (number % 2 == 0)
        host.settle()
        assert not host.reactor.tasks
    # (pace.py: ten lines a second, and what is more is counted, of each kind.)
    shown = logged.count('failed on GET') - logged.count(' more in the last ')
    counted = re.findall(r'failed on GET .* (\d+) more in the last ', logged.text)
    assert 10 <= shown < 60 and shown + sum(map(int, counted)) == 60
    assert 'shorter than its Content-Length' in logged.text


def test_parts_of_a_server_share_the_spread():
    app = application(forever)
    app.listen(0, idle_timeout=5)
    with virtual(app) as host:
        clients = [host.connect(asking(), listener=number % 2) for number in range(80)]
        host.until(lambda: all(b'here' in client.received for client in clients))
        host.server.drain()
        host.advance(0.01)
        assert sum(b'\r\n0\r\n\r\n' in client.received for client in clients) == 50


def test_websockets_and_streams_of_one_server_both_end():
    app = application(forever)

    @app.route('/socket')
    def socket(websocket):
        yield websocket.accept()
        yield websocket.receive()

    for first in (asking(), handshake('/socket')):
        with virtual(app) as host:
            clients = [host.connect(first)]
            host.advance(0.1)
            clients += [host.connect(asking()), host.connect(handshake('/socket'))]
            host.advance(0.1)
            host.server.drain()
            host.advance(0.1)
            assert clients[1].ended == 'fin'
            assert b'the server stops' in clients[2].received


def test_ended_streams_are_forgotten():
    def handler(sse):
        yield sse.send('a')

    with virtual(application(handler)) as host:
        for _ in range(20):
            host.connect(asking()).take()
        drain, = host.server.at_stop
        assert not drain._streams
        assert len(host.reactor.timers) < 70
