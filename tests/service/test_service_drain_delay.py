"""`--drain-delay`: after SIGTERM all is served on for a while, and health says 503."""

from __future__ import annotations

import logging
import signal

import pytest
from server_support import request, virtual

from tremolo import Tremolo, sleep
from tremolo.service.ending import Ending
from tremolo.service.signals import HUP, _Serving
from tremolo.systemd.manager import Manager

OPTIONS = {'health': '/healthz', 'drain_delay': 5, 'shutdown_timeout': 20}
TERM, INT = signal.SIGTERM, signal.SIGINT
HEALTH = request('/healthz')


class Told(Manager):
    """A service manager that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__({})
        self.messages: list[str] = []

    def _send(self, message: str) -> bool:
        self.messages += message.splitlines()
        return True


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/', methods=['GET', 'POST'])
    def index():
        return 'hello'

    @app.route('/wait')
    def wait():
        yield sleep(12)
        yield b'waited'

    return app


@pytest.fixture(autouse=True)
def lines(caplog):
    """Give the lines of the process."""
    caplog.set_level(logging.INFO, 'tremolo')
    return lambda: [each.getMessage() for each in caplog.records if each.name == 'tremolo']


def served(host, renew=None, alone=True):
    """Give what handles the signals of a server."""
    return _Serving(host.server, Ending(host.server), renew, lambda: None, Told(), alone)


def test_all_is_served_on_and_health_says_503(app, lines):
    with virtual(app, **OPTIONS) as host:
        serving = served(host)
        kept, idle, busy = host.connect(HEALTH), host.connect(), host.connect(request('/wait'))
        assert kept.take().status == 200
        began, stopping = host.now, app.stopping
        serving.signalled(TERM)
        for second in range(5):
            host.advance(began + second + 0.5 - host.now)
            late = host.connect(HEALTH)
            assert late.take().status == 503
            # A kept client is told to go elsewhere with its next connection; a new one, too.
            late.until_ended()
            answer, = host.ask(request('/', 'POST', body=b'x' * 100))
            assert (answer.body, answer.headers['connection']) == (b'hello', 'close')
            assert not stopping.done() and not host.server.draining
        kept.send(request())
        assert kept.take().headers['connection'] == 'close'
        assert idle.ended == ''
        host.advance(0.5)
        assert stopping.done() and host.server.draining
        assert busy.take().body == b'waited'
        host.until(lambda: host.server.stopped.done())
        assert lines() == [
            'stopping: everything is served for 5 s more (drain_delay)',
            'stopping: waiting for 1 request, 2 connections, for at most 20 s']
        assert serving._manager.messages == [
            'STOPPING=1', 'STATUS=stopping: finishing what is in flight',
            'EXTEND_TIMEOUT_USEC=30000000']


def test_requests_of_kept_connections_at_the_end_of_the_delay_are_all_answered(app):
    """A client is told on its connection, so none sends a request while that is closed."""
    with virtual(app, **OPTIONS) as host:
        serving = served(host)
        serving.signalled(TERM)
        while not host.server.draining:
            answer, = host.ask(request() + request())
            assert answer.headers['connection'] == 'close'
            host.advance(0.3)


def test_shutdown_timeout_counts_from_the_end_of_the_delay(app, logged):
    @app.route('/forever')
    def forever():
        yield sleep(1000)

    with virtual(app, **OPTIONS) as host:
        serving = served(host)
        client = host.connect(request('/forever'))
        host.advance(1)
        serving.signalled(TERM)
        began = host.now
        client.until_ended()
        assert 25 <= host.now - began < 26
        assert logged.count('shutdown_timeout is over') == 1


@pytest.mark.parametrize('second, at_once', [(TERM, False), (INT, True), (signal.SIGQUIT, True)])
def test_another_signal_in_the_delay(app, second, at_once, monkeypatch):
    with virtual(app, **OPTIONS) as host:
        serving = served(host)
        ended = []
        monkeypatch.setattr(host.reactor, 'stop', lambda: ended.append(host.now))
        serving.signalled(TERM)
        host.advance(4)
        serving.signalled(second)
        assert ended == ([4] if at_once else [])
        assert serving._ended == (second if at_once else 0)
        if not at_once:
            host.advance(0.9)
            assert not host.server.draining
            host.advance(0.2)
            assert host.server.draining


def test_ctrl_c_and_app_stop_have_no_delay(app, lines):
    with virtual(app, **OPTIONS) as host:
        served(host).signalled(INT)
        assert host.server.draining
        assert lines() == ['stopping: nothing is in flight']
    with virtual(app, **OPTIONS) as host:
        serving = served(host)
        serving.signalled(TERM)
        host.advance(1)
        app.stop()
        host.settle()
        assert host.server.draining
        # (The end of the delay comes later, and changes nothing.)
        host.advance(10)
        serving.signalled(TERM)
        assert host.server.stopped.done()


def test_a_renewal_has_no_delay_and_does_not_begin_in_one(app, lines):
    with virtual(app, **OPTIONS) as host:
        renewed: list[int] = []
        serving = served(host, lambda: renewed.append(1))
        serving._try = lambda: serving._tried(None)
        probe = host.connect(HEALTH[:5])
        host.advance(0.01)
        serving.signalled(HUP)
        assert host.server.draining and renewed == [1]
        # Another process goes on, so new requests are welcome.
        probe.send(HEALTH[5:])
        assert probe.take().status == 200
        serving.signalled(TERM)
        assert host.server.leaving and serving._ended == 0
    with virtual(app, **OPTIONS) as host:
        serving = served(host, lambda: renewed.append(2))
        serving._try = lambda: renewed.append(3)
        serving.signalled(TERM)
        serving.signalled(HUP)
        # (A trial that was begun before SIGTERM.)
        serving._tried(None)
        host.advance(4)
        assert renewed == [1] and not host.server.draining
        assert not [each for each in serving._manager.messages if 'RELOADING' in each]


def test_sigterm_in_a_renewal_that_is_put_off_has_its_delay(app):
    with virtual(app, **OPTIONS) as host:
        renewed: list[int] = []
        serving = served(host, lambda: renewed.append(1))
        serving._try = lambda: serving._tried(None)
        busy = host.connect(request('/wait'))
        host.advance(0.1)
        serving.signalled(HUP)
        host.advance(1.5)
        assert not host.server.draining
        serving.signalled(TERM)
        host.advance(4.9)
        assert not host.server.draining
        assert host.connect(HEALTH).take().status == 503
        host.advance(0.2)
        assert host.server.draining and renewed == []
        assert busy.take().body == b'waited'


def test_without_a_delay_nothing_changes(app, lines):
    with virtual(app, health='/healthz') as host:
        serving = served(host)
        serving.signalled(TERM)
        assert host.server.draining
        assert serving._manager.messages == [
            'STOPPING=1', 'STATUS=stopping: finishing what is in flight']


def test_a_worker_leaves_the_line_to_its_supervisor(app, lines):
    with virtual(app, **OPTIONS) as host:
        serving = served(host, alone=False)
        serving.signalled(TERM)
        host.advance(1)
        assert lines() == []
        assert host.connect(HEALTH).take().status == 503
        # The supervisor says that the delay is over (`Slot._heard`).
        host.server.drain_delay = 0.0
        serving.signalled(TERM)
        assert host.server.draining
