"""The table of timeouts.py: each phase has the limit that stands there, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from server_support import request, virtual

from tremolo import Tremolo, sleep
from tremolo.loop.timers import NEVER
from tremolo.server import deadlines, phases
from tremolo.server.idle import DRAIN_LEAST, DRAIN_MOST
from tremolo.server.timeouts import PHASES, PhaseSeconds
from tremolo.settings import Settings

ALL = {phases.NEW, phases.IDLE, phases.HEAD, phases.BUSY, phases.DISCARD, phases.CLOSING,
       phases.LINGER, phases.UPGRADED, phases.OFFERED, phases.CLOSED}
HOUR = 3600.0
# The options of all phases, and of what else has a clock: nothing ends within an hour.
PATIENT: dict[str, Any] = {
    **{option: HOUR for option, _ in PHASES.values()}, 'half_close_timeout': HOUR,
    'stall_timeout': 0}


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/', methods=['GET', 'POST'])
    def index():
        return b'hello'

    @app.route('/wait')
    def wait():
        yield sleep(100 * HOUR)

    @app.route('/long')
    def long():
        return b'x' * 1_000_000

    @app.route('/upgrade')
    def upgrade(response):
        stream = response.upgrade('echo')
        yield stream.read()

    return app


# How a client brings a connection into each phase.
INTO: dict[str, bytes] = {
    phases.NEW: b'',
    phases.IDLE: request(),
    phases.HEAD: b'GET / HTTP/1.1\r\n',
    phases.BUSY: request('/wait'),
    phases.DISCARD: request('/', 'POST', 'Content-Length: 10'),
    phases.CLOSING: request('/long', 'GET', 'Connection: close'),
    phases.LINGER: b'nonsense\r\n\r\n',
    phases.UPGRADED: request('/upgrade', 'GET', 'Connection: upgrade', 'Upgrade: echo'),
}
REASON = {
    phases.NEW: 'first_byte_timeout', phases.IDLE: 'idle_timeout', phases.HEAD: 'head_timeout',
    phases.BUSY: 'handler_timeout', phases.LINGER: 'refused'}


def enter(host, phase):
    """Connect a client that stays in a phase, and return its connection."""
    client = host.connect()
    client.reading = phase not in (phases.CLOSING, phases.LINGER)
    client.send(INTO[phase])
    host.advance(0.01)
    connection, = host.server.connections
    assert connection.phase == phase
    return connection


def test_every_phase_is_in_the_table_or_has_no_limit_of_its_own():
    assert {*PHASES} == {*REASON}
    assert ALL - {*PHASES} == {
        phases.DISCARD, phases.CLOSING, phases.UPGRADED, phases.OFFERED, phases.CLOSED}
    # (Into OFFERED none comes without another worker: tests/workers/test_workers_handover.py.)
    assert {*INTO} == ALL - {phases.OFFERED, phases.CLOSED}


def test_the_table_of_the_readme_is_that_of_the_code():
    readme = Path(__file__).parents[2] / 'tremolo' / 'server' / 'README.md'
    rows = re.findall(r'(?m)^\| ([A-Z]+) \| [^|]*\| (none|`(\w+)`)[^|]*\|', readme.read_text())
    assert {name.lower(): option for name, _, option in rows} == {
        phase: PHASES[phase][0] if phase in PHASES else '' for phase in ALL - {phases.CLOSED}}


@pytest.mark.parametrize('phase', PHASES)
def test_each_option_of_the_table_is_one(phase):
    option, act = PHASES[phase]
    assert isinstance(getattr(Settings(), option), (int, float))
    assert callable(act)
    assert PhaseSeconds(Settings(**{option: 17})).by_phase[phase] == 17


@pytest.mark.parametrize('phase', PHASES)
@pytest.mark.parametrize('seconds', [1, 7, 600])
def test_the_option_of_a_phase_ends_it_and_no_other_does(app, phase, seconds, logged):
    option = PHASES[phase][0]
    with virtual(app, **{**PATIENT, option: seconds, 'linger_timeout': seconds}) as host:
        connection = enter(host, phase)
        began = host.now
        host.advance(seconds - 0.1)
        assert connection.phase == phase
        host.until(lambda: connection.phase != phase)
        assert host.now - began == pytest.approx(seconds, abs=0.06)
        host.advance(2 * seconds)
        assert host.closed == {REASON[phase]: 1}


@pytest.mark.parametrize('phase', INTO)
def test_a_phase_lasts_as_long_as_its_limit_is_far_away(app, phase):
    short = {option: 3 for limited, (option, _) in PHASES.items() if limited != phase}
    with virtual(app, **{**PATIENT, **short}) as host:
        connection = enter(host, phase)
        host.advance(HOUR - 1)
        assert connection.phase == phase
        assert not host.closed


@pytest.mark.parametrize('phase', [phases.DISCARD, phases.CLOSING, phases.UPGRADED])
def test_a_phase_that_is_not_in_the_table_has_no_limit(app, phase):
    with virtual(app, **{**PATIENT, **{option: 1 for option, _ in PHASES.values()}}) as host:
        connection = enter(host, phase)
        host.advance(2 * HOUR)
        assert connection.phase == phase


def test_a_handler_timeout_of_0_is_none():
    assert PhaseSeconds(Settings(handler_timeout=0)).by_phase[phases.BUSY] == NEVER


@pytest.mark.parametrize('idle', [0.0, 0.01, 5.0, 100.0])
def test_while_draining_only_the_idle_time_differs(idle):
    settings = Settings(idle_timeout=idle, handler_timeout=9)
    usual, draining = PhaseSeconds(settings), PhaseSeconds(settings, draining=True)
    assert usual.by_phase[phases.IDLE] == idle
    assert usual.idle == max(idle, 0.05)
    assert (draining.idle, draining.by_phase[phases.IDLE]) == (DRAIN_MOST, DRAIN_LEAST)
    assert {**usual.by_phase, phases.IDLE: 0} == {**draining.by_phase, phases.IDLE: 0}


def test_a_request_counts_from_its_first_step(app):
    """Also while its handler has not returned: the report of SIGUSR2 tells its age."""
    seen = []

    @app.route('/look')
    def look(request):
        connection = request.connection
        seen.append((connection.phase, connection.since, host.now, connection.begun))
        return b''

    with virtual(app) as host:
        client = host.connect(request())
        client.take()
        host.advance(10)
        client.send(request('/look') * 2)
        client.take()
        client.take()
        (phase, since, now, begun), again = seen
        assert phase == phases.BUSY
        assert since == begun == now and again == seen[0]


@pytest.mark.parametrize('phase', [phases.NEW, phases.IDLE, phases.HEAD, phases.BUSY])
@pytest.mark.parametrize('seconds', [1, 5])
def test_a_part_with_settings_of_its_own_keeps_them_while_draining(app, phase, seconds, logged):
    option, _ = PHASES[phase]
    app.listen(0, **{option: seconds, 'linger_timeout': seconds})
    with virtual(app, **{**PATIENT, 'shutdown_timeout': HOUR / 2}) as host:
        ours = host.connect(INTO[phase])
        theirs = host.connect(INTO[phase], 1)
        host.advance(0.01)
        assert {each.phase for each in host.server.connections} == {phase}
        assert {each.server.settings.idle_timeout for each in host.server.connections} == (
            {HOUR, seconds} if phase is phases.IDLE else {HOUR})
        began = host.now
        stopped = host.server.drain()
        host.advance(20)
        if phase in (phases.NEW, phases.IDLE):
            # A request that is on its way has the same time everywhere: ten round trips.
            assert ours.ended_at == theirs.ended_at == pytest.approx(began + DRAIN_LEAST, abs=0.01)
            assert host.closed == {'shutdown': 2}
            assert stopped.result() == 0
        else:
            assert theirs.ended_at == pytest.approx(began + seconds, abs=0.06)
            assert b' 408 ' in theirs.received or b' 503 ' in theirs.received
            assert b'Connection: close' in theirs.received
            assert not ours.ended and not stopped.done()
            assert host.closed == {REASON[phase]: 1}


def test_an_answer_of_a_part_says_close_while_draining(app):
    app.listen(0, head_timeout=5)
    with virtual(app) as host:
        clients = [host.connect(request()[:-2], listener) for listener in (0, 1)]
        host.settle()
        host.server.drain()
        for client in clients:
            client.send(b'\r\n')
            assert client.take().headers['connection'] == 'close'
            client.until_ended()
        host.advance(5)
        assert host.server.stopped.result() == 0
        assert {id(each.phase_seconds) for each in host.server.parts.values()} != {
            id(host.server.phase_seconds)}


def test_the_parts_share_what_they_should(app):
    app.listen(0, idle_timeout=5)
    with virtual(app) as host:
        main, part = host.server.parts.values()
        assert main is host.server and part is not main
        for name in ('parts', 'connections', 'closed', 'stopped', 'request_observers', 'heads',
                     'handle', 'reactor'):
            assert getattr(main, name) is getattr(part, name) or name == 'handle'
        assert main.handle == part.handle
        told = []
        main.request_observers.append(lambda response, reason: told.append(reason))
        host.connect(request(), 1).take()
        assert told == ['']


def test_the_timer_is_not_touched_by_a_request_that_is_answered_at_once(app, monkeypatch):
    moved = []
    arm = deadlines.arm
    monkeypatch.setattr(deadlines, 'arm', lambda connection: moved.append(arm(connection)))
    with virtual(app) as host:
        client = host.connect()
        host.settle()
        moved.clear()
        for _ in range(10):
            client.send(request())
            client.take()
        assert moved == []


# -- what an answer says about itself -------------------------------------------------------------


def test_an_answer_is_live_until_it_is_complete_or_its_client_is_gone(app):
    answers = []

    @app.route('/at/once')
    def at_once(response):
        answers.append(response)
        assert response.live
        return b'x'

    @app.route('/later')
    def later(response):
        answers.append(response)
        yield sleep(1)
        assert response.live
        yield b'x'
        yield sleep(1)
        assert response.live

    with virtual(app) as host:
        client = host.connect(request('/at/once') + request('/later'))
        host.advance(0.5)
        assert [each.live for each in answers] == [False, True]
        host.advance(1)
        assert [each.live for each in answers] == [False, True]
        client.take()
        client.take()
        assert [each.live for each in answers] == [False, False]
        client.send(request('/later'))
        host.advance(0.5)
        assert answers[2].live
        client.reset()
        host.advance(0.1)
        assert not answers[2].live
        assert not answers[2].head_sent
