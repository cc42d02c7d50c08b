"""Counting: each answer, refusal and end of a connection once, with its method and status."""

from __future__ import annotations

import os

import pytest
from metrics_support import counted
from server_support import chunked, request, serving, virtual
from simulated import World
from websocket_peer import Peer

from tremolo import Tremolo, sleep
from tremolo.loop import Stream
from tremolo.metrics.layout import CELLS, METHODS, key_of, labels_of

REQUESTS = 'tremolo_requests_total'


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def hello():
        return 'hello'

    @app.route('/generator')
    def generator():
        yield b'Hello '
        yield b'world!'

    @app.route('/waits')
    def waits():
        yield sleep(0.25)
        yield b'waited'

    @app.route('/pieces')
    def pieces():
        yield b'begun'
        yield sleep(2)
        yield b'ended'

    @app.route('/thread')
    def thread(thread=True):
        return b'12345'

    @app.route('/large')
    def large():
        return bytes(100_000)

    @app.route('/fails')
    def fails():
        raise ValueError

    @app.route('/up', methods=['POST'])
    def up(request):
        data = yield request.body()
        yield str(len(data))

    @app.route('/unread', methods=['POST'])
    def unread():
        return b'no'

    return app


@pytest.fixture
def real(app) -> Tremolo:
    """The same with what needs asyncio, which a simulated world has not."""
    @app.route('/async')
    async def coroutine():
        return b'1234567'

    @app.route('/ws')
    async def echo(websocket):
        await websocket.accept()
        async for message in websocket:
            await websocket.send(message)

    return app


def test_an_answer_is_counted_by_its_method_and_status_with_its_time_and_bytes(app):
    with virtual(app) as host, counted(host) as found:
        host.ask(request('/') + request('/generator') + request('/', 'HEAD') + request('/none')
                 + request('/', 'DELETE'), 'GET', 'GET', 'HEAD', 'GET', 'DELETE')
        host.ask(request('/waits'))
        samples = found.read()
        assert samples.value(REQUESTS, method='GET', status='200') == 3
        assert samples.value(REQUESTS, method='HEAD', status='200') == 1
        assert samples.value(REQUESTS, method='GET', status='404') == 1
        assert samples.value(REQUESTS, method='DELETE', status='405') == 1
        assert samples.total(REQUESTS) == 6
        assert samples.value('tremolo_request_seconds_count') == 6
        assert samples.value('tremolo_request_seconds_bucket', le='0.001') == 5
        assert samples.value('tremolo_request_seconds_bucket', le='0.1') == 5
        assert samples.value('tremolo_request_seconds_bucket', le='0.5') == 6
        assert 0.25 <= samples.value('tremolo_request_seconds_sum') < 0.3


@pytest.mark.parametrize('path, size', [
    ('/', 5), ('/generator', 12), ('/waits', 6), ('/thread', 5), ('/async', 7),
    ('/large', 100_000)])
def test_each_kind_of_handler_is_counted(real, path, size):
    with serving(real) as host, counted(host) as found:
        host.ask(request(path, 'GET', 'Connection: close'))
        samples = found.read()
        assert samples.value(REQUESTS, method='GET', status='200') == 1
        assert samples.value('tremolo_request_seconds_count') == 1
        assert samples.value('tremolo_response_bytes_total') == size


def test_a_usual_answer_is_counted_before_it_is_sent(app, monkeypatch):
    """So what a client has got is counted, even if the worker is killed at once."""
    with virtual(app) as host, counted(host) as found:
        seen = []
        push = Stream.push

        def looked(stream, more=()):
            if stream.unsent:
                seen.append(found.read().total(REQUESTS))
            push(stream, more)

        monkeypatch.setattr(Stream, 'push', looked)
        host.ask(request('/'))
        host.ask(request('/') + request('/generator') + request('/none'))
        assert seen == [1, 4]


def test_an_answer_that_was_cut_is_counted_with_the_status_that_was_sent(app):
    with virtual(app) as host, counted(host) as found:
        begun = host.connect(request('/pieces'))
        begun.until(b'begun')
        begun.reset()
        waiting = host.connect(request('/waits'))
        host.advance(0.1)
        waiting.reset()
        host.settle()
        samples = found.read()
        assert samples.value(REQUESTS, method='GET', status='200') == 1
        assert samples.value(REQUESTS, method='GET', status='none') == 1
        assert samples.value('tremolo_closed_total', reason='reset') == 2


def test_a_failure_and_a_handler_that_took_too_long_have_their_statuses(app, logged):
    with virtual(app, handler_timeout=0.1) as host, counted(host) as found:
        host.ask(request('/fails'))
        host.ask(request('/waits'))
        samples = found.read()
        assert samples.value(REQUESTS, method='GET', status='500') == 1
        assert samples.value(REQUESTS, method='GET', status='503') == 1
        assert samples.total(REQUESTS) == 2
        assert samples.total('tremolo_refused_total') == 0


def test_what_is_refused_before_it_is_a_request_has_no_method(app):
    with virtual(app, head_timeout=1) as host, counted(host) as found:
        host.ask(b'GET / HTTP/1.1\r\n\r\n')
        host.ask(b'nonsense\r\n\r\n')
        host.connect(b'GET / HT').until_ended()
        samples = found.read()
        assert samples.value(REQUESTS, method='other', status='400') == 2
        assert samples.value(REQUESTS, method='other', status='408') == 1
        assert samples.value('tremolo_refused_total', status='400') == 2
        assert samples.value('tremolo_refused_total', status='408') == 1
        assert samples.value('tremolo_request_seconds_count') == 0
        assert samples.value('tremolo_closed_total', reason='refused') == 2
        assert samples.value('tremolo_closed_total', reason='head_timeout') == 1


def test_ten_thousand_methods_and_paths_make_no_new_series(app):
    with virtual(app) as host, counted(host) as found:
        host.ask(b''.join(request(f'/{number}', f'M{number}') for number in range(100)))
        for number in range(100, 10_000):
            found.counting._add(f'M{number}', 404, 1, 0.0, 0)
        samples = found.read()
        assert samples.value(REQUESTS, method='other', status='404') == 10_000
        assert len([name for name, _ in samples if name == REQUESTS]) == 1
        assert not found.counting._places


def test_more_statuses_than_cells_share_the_last_one(app):
    with virtual(app) as host, counted(host) as found:
        words = found.counting._words
        keys = [key_of(method, status) for method in METHODS for status in range(200, 600)]
        for method, status in map(labels_of, keys):
            words[found.counting._place(method, int(status))] += 1
        samples = found.read()
        assert samples.total(REQUESTS) == len(keys)
        assert len(samples.labels(REQUESTS, 'status')) > 100
        assert len([name for name, _ in samples if name == REQUESTS]) == CELLS


def test_bodies_are_counted_as_they_come(app):
    with virtual(app) as host, counted(host) as found:
        host.ask(request('/up', 'POST', body=bytes(1000)))
        host.ask(request('/up', 'POST', 'Transfer-Encoding: chunked', body=chunked(b'12', b'345')))
        assert found.read().value('tremolo_request_bytes_total') == 1005
        # One that is read by nobody is thrown away, and counted with the next end.
        host.ask(request('/unread', 'POST', body=bytes(200)) + request('/'))
        assert found.read().value('tremolo_request_bytes_total') == 1205
        # One that is cut.
        client = host.connect(b'POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n1234567')
        host.settle()
        client.reset()
        host.settle()
        assert found.read().value('tremolo_request_bytes_total') == 1212


def test_a_websocket_is_counted_at_its_handshake_and_at_its_end(real):
    with serving(real) as host, counted(host) as found:
        peer = Peer(host.running.port, '/ws')
        peer.send('hello')
        assert peer.receive() == 'hello'
        samples = found.read()
        assert samples.value(REQUESTS, method='GET', status='101') == 1
        assert samples.total('tremolo_closed_total') == 0
        host.on_loop(found.counting._count_phases)
        assert found.read().value('tremolo_connections', phase='upgraded') == 1
        peer.close()
        host.wait_for(lambda: not host.server.connections)
        samples = found.read()
        assert samples.total(REQUESTS) == 1
        assert samples.total('tremolo_closed_total') == 1


def test_connections_are_counted_by_their_phases_once_in_a_second(app):
    with virtual(app) as host, counted(host) as found:
        host.connect()
        host.connect(request('/'))
        host.connect(request('/pieces'))
        host.connect(b'GET / HT')
        host.advance(1.3)
        samples = found.read()
        for phase in ('new', 'idle', 'head', 'busy'):
            assert samples.value('tremolo_connections', phase=phase) == 1, phase
        assert samples.total('tremolo_connections') == 4


def test_what_limits_hold_back_is_counted(app):
    with virtual(app, download_rate=50_000) as host, counted(host) as found:
        answer, = host.ask(request('/large'))
        assert len(answer.body) == 100_000
        host.advance(1)
        assert 1.5 < found.read().value('tremolo_throttled_seconds_total') < 2.5


def test_a_loop_that_stands_still_shows_a_lag(app):
    with virtual(app) as host, counted(host) as found:
        host.advance(1)
        assert found.read().value('tremolo_loop_lag_seconds', worker='1') < 0.1
        # It has not beaten since: the reader sees it by the time at which it was due.
        host.world.now += 7
        assert 6.5 < found.read().value('tremolo_loop_lag_seconds', worker='1') < 7.5
        host.advance(5)
        assert 6.5 < found.read().value('tremolo_loop_lag_seconds', worker='1') < 7.5
        host.advance(20)
        assert found.read().value('tremolo_loop_lag_seconds', worker='1') < 0.1


def test_a_fault_of_the_counting_hurts_no_answer(app, logged):
    with virtual(app) as host, counted(host) as found:
        found.counting._place = {}.__getitem__
        assert [each.status for each in host.ask(request('/') + request('/'))] == [200, 200]
        assert [each.status for each in host.ask(request('/waits'))] == [200]
        assert 'some answers are not counted' in logged.text


def test_fault_43_of_the_earlier_tremolo_there_are_metrics(app):
    """Fault 43 of the earlier tremolo: no metrics."""
    with virtual(app) as host, counted(host) as found:
        host.ask(request('/'))
        assert found.read().total(REQUESTS) == 1


def test_one_request_after_another_in_many_pieces_adds_up(app):
    world = World(seed=7, latency=0.01, jitter=0.005, buffer_size=3000, largest_piece=700)
    with virtual(app, world) as host, counted(host) as found:
        data = b''.join(request(path) for path in ('/', '/large', '/waits', '/generator', '/', '/'))
        found_answers = host.ask(data)
        samples = found.read()
        assert samples.value(REQUESTS, method='GET', status='200') == len(found_answers) == 6
        assert samples.value('tremolo_response_bytes_total') == sum(
            len(each.body) for each in found_answers)


def test_a_child_that_the_application_forks_counts_nothing(app):
    with virtual(app) as host, counted(host) as metrics:
        host.ask(request('/'))
        pid = os.fork()
        if not pid:
            # (It goes on with the loop of its parent.)
            metrics.counting._add('GET', 200, 5, 0.0, 5)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert metrics.read().value(REQUESTS, method='GET', status='200') == 1
