"""When a worker asks to be renewed, and its signs of life: both in the simulated world."""

from __future__ import annotations

import sys

import pytest
from server_support import request, virtual
from worker_group import wait_until

from tremolo import Tremolo, machine, sleep
from tremolo.workers import renewal as renewal_module
from tremolo.workers.channel import BEAT, RENEW
from tremolo.workers.heartbeat import Heartbeat
from tremolo.workers.renewal import Renewal, doubt_of, resident_memory


class Line:
    """A channel whose other end is the test."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def send(self, kind: bytes) -> None:
        self.sent.append(kind)


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def index():
        return 'hello'

    @app.route('/slow')
    def slow():
        yield b'begun '
        yield sleep(10)
        yield b'ended'

    return app


# -- max_requests -------------------------------------------------------------------------------


def test_a_worker_asks_after_its_last_answer_and_only_once(app, line):
    with virtual(app, max_requests=3) as host:
        Renewal(host.server, line)
        client = host.connect()
        for count in range(1, 6):
            client.send(request())
            host.until(lambda: len(client.received.split(b'hello')) == count + 1)  # noqa: B023
            assert line.sent == ([RENEW] if count >= 3 else [])


def test_an_answer_counts_when_it_has_ended(app, line):
    with virtual(app, max_requests=2) as host:
        Renewal(host.server, line)
        slow = host.connect(request('/slow'))
        host.until(lambda: b'begun' in slow.received)
        quick = host.connect(request())
        host.until(lambda: quick.received.endswith(b'hello'))
        # Two requests have come, but only one of them is answered.
        assert line.sent == []
        host.until(lambda: b'ended' in slow.received)
        assert line.sent == [RENEW]


def test_an_answer_that_was_cut_counts_too(app, line):
    with virtual(app, max_requests=1) as host:
        Renewal(host.server, line)
        client = host.connect(request('/slow'))
        host.until(lambda: b'begun' in client.received)
        assert line.sent == []
        client.reset()
        host.until(lambda: line.sent)
        assert line.sent == [RENEW]


def test_a_connection_without_a_request_does_not_count(app, line):
    with virtual(app, max_requests=1) as host:
        Renewal(host.server, line)
        client = host.connect()
        host.until(lambda: host.server.connections)
        client.fin()
        host.until(lambda: not host.server.connections)
        assert line.sent == []


def test_workers_are_not_all_renewed_at_the_same_answer(app, line, monkeypatch):
    asked = []

    def most(least, highest):
        asked.append((least, highest))
        return highest

    monkeypatch.setattr(renewal_module.random, 'randint', most)
    with virtual(app, max_requests=20) as host:
        Renewal(host.server, line)
        assert asked == [(0, 2)]
        client = host.connect(request() * 21)
        host.until(lambda: client.received.count(b'hello') == 21)
        assert line.sent == []
        client.send(request())
        host.until(lambda: client.received.count(b'hello') == 22)
        assert line.sent == [RENEW]


def test_nothing_is_counted_without_a_limit(app, line):
    with virtual(app) as host:
        renewal = Renewal(host.server, line)
        assert host.server.request_observers == []
        renewal.look_at_memory()
        assert not renewal.ask_again()
        assert line.sent == []


# -- limit_memory -------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')
def test_a_worker_asks_once_when_it_is_larger_than_its_limit(app, line):
    assert resident_memory() > 1 << 20
    with virtual(app, limit_memory='1MiB') as host:
        renewal = Renewal(host.server, line)
        assert line.sent == []
        renewal.look_at_memory()
        renewal.look_at_memory()
        assert line.sent == [RENEW]


def test_a_worker_below_its_limit_does_not_ask(app, line):
    with virtual(app, limit_memory=1 << 50) as host:
        Renewal(host.server, line).look_at_memory()
        assert line.sent == []


def test_memory_of_an_unknown_size_is_below_every_limit(app, line, monkeypatch):
    def missing(*_):
        raise FileNotFoundError

    monkeypatch.setattr(machine, 'open', missing, raising=False)
    assert resident_memory() == 0
    with virtual(app, limit_memory=1 << 20) as host:
        Renewal(host.server, line).look_at_memory()
        assert line.sent == []


@pytest.mark.parametrize('tell', [True, False])
def test_a_limit_below_what_the_start_needs_is_told_at_once_and_renews_nobody(
        app, line, logged, monkeypatch, tell):
    monkeypatch.setattr(renewal_module, 'resident_memory', lambda: 30 << 20)
    with virtual(app, limit_memory='20MiB') as host:
        renewal = Renewal(host.server, line)
        assert not renewal.look_at_start(tell)
        renewal.look_at_memory()
        assert line.sent == []
    assert logged.messages == ['limit_memory: has no effect, the start needs more than 20971520 '
                               'bytes: 31457280 bytes'] * tell


def test_a_limit_just_above_what_the_start_needs_is_told_and_has_its_effect(
        app, line, logged, monkeypatch):
    memory = 30 << 20
    monkeypatch.setattr(renewal_module, 'resident_memory', lambda: memory)
    with virtual(app, limit_memory='31MiB') as host:
        renewal = Renewal(host.server, line)
        assert renewal.look_at_start()
        renewal.look_at_memory()
        assert line.sent == []
        memory = 32 << 20
        renewal.look_at_memory()
        assert line.sent == [RENEW]
    message, = logged.messages
    assert message.endswith('workers will be renewed again and again')
    assert doubt_of(40 << 20, 30 << 20) == ''


@pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')
def test_each_start_of_workers_tells_once_of_a_limit_that_is_too_small(group):
    workers = group('--workers', '2', '--port', '0', '--limit-memory', '2MiB')
    first = workers.wait_for(2)
    wait_until(lambda: workers.log.count('limit_memory: has no effect') == 1)
    workers.signal('SIGHUP')
    wait_until(lambda: not workers.pids & first and len(workers.pids) == 2)
    workers.wait_for(2)
    wait_until(lambda: workers.log.count('limit_memory: has no effect') == 2)
    assert 'this worker ends' not in workers.log


# -- the heartbeat ------------------------------------------------------------------------------


@pytest.mark.parametrize(('worker_timeout', 'every'), [(3, 1), (9, 3), (60, 5), (0, 5)])
def test_there_are_three_beats_within_the_timeout(app, line, worker_timeout, every):
    with virtual(app) as host:
        Heartbeat(host.reactor, line, Renewal(host.server, line), worker_timeout)
        began = host.now
        host.until(lambda: len(line.sent) == 6)
        assert line.sent == [BEAT] * 6
        assert host.now - began == pytest.approx(6 * every)


def test_what_was_asked_for_is_asked_for_again_with_each_beat(app, line):
    with virtual(app, max_requests=1) as host:
        Heartbeat(host.reactor, line, Renewal(host.server, line), 3)
        host.until(lambda: line.sent == [BEAT])
        client = host.connect(request())
        host.until(lambda: client.received.endswith(b'hello'))
        assert line.sent == [BEAT, RENEW]
        # A RENEW is a sign of life, too.
        host.until(lambda: len(line.sent) == 5)
        assert line.sent == [BEAT] + [RENEW] * 4


@pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')
def test_memory_is_looked_at_with_each_beat(app, line):
    with virtual(app, limit_memory=1 << 20) as host:
        Heartbeat(host.reactor, line, Renewal(host.server, line), 3)
        host.until(lambda: len(line.sent) == 3)
        assert line.sent == [BEAT, RENEW, RENEW]


def test_a_loop_that_hangs_does_not_beat(app, line):
    @app.route('/hang')
    def hang():
        host.world.now += 1000
        return f'{len(line.sent)} beats'

    with virtual(app) as host:
        Heartbeat(host.reactor, line, Renewal(host.server, line), 3)
        client = host.connect(request('/hang'))
        host.until(lambda: client.received)
        assert client.received.endswith(b'0 beats')
        host.until(lambda: line.sent)
        assert line.sent == [BEAT]


def test_the_heart_stops_with_the_channel(app, line):
    with virtual(app) as host:
        Heartbeat(host.reactor, line, Renewal(host.server, line), 3)
        host.until(lambda: line.sent)
        line.closed = True
        host.advance(100)
        assert len(line.sent) == 2
        assert host.reactor.next_deadline() is None
