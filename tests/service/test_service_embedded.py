"""A server inside another program: on a thread, stepped by its host, on a reactor of the host's."""

from __future__ import annotations

import select
import threading
import urllib.request

import pytest
from server_support import Client, request

from tremolo import Reactor, SettingError, Tremolo, sleep
from tremolo.exceptions import ListenError


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def index():
        return 'hello'

    @app.route('/thread')
    def thread():
        return threading.current_thread().name

    @app.route('/wait')
    def wait():
        yield sleep(0.05)
        yield b'waited'

    return app


def test_it_runs_on_a_thread_of_its_own(app):
    with app.start(port=0) as server:
        assert server.url == f'http://127.0.0.1:{server.port}'
        with urllib.request.urlopen(f'{server.url}/thread', timeout=10) as answer:
            assert answer.read() == b'tremolo'
    assert server.reactor.closed


def test_what_is_in_flight_is_finished_by_stop(app):
    server = app.start()
    client = Client(server.address)
    client.send(request('/wait'))
    # So that the connection need not linger.
    client.fin()
    while not server.server.connections:
        pass
    server.stop()
    answer = client.take()
    assert (answer.body, answer.headers['connection']) == (b'waited', 'close')
    client.close()
    with pytest.raises(OSError):
        Client(server.address)


def test_stop_happens_once(app):
    server = app.start()
    server.stop()
    server.stop()


def test_stop_may_be_called_by_the_application_itself(app):
    @app.route('/stop')
    def stop(app):
        app.stop()
        return 'stopping'

    with app.start() as server:
        client = Client(server.address)
        client.send(request('/stop'))
        assert client.take().body == b'stopping'
        client.close()
        while server.server.connections:
            pass
        with pytest.raises(OSError):
            Client(server.address)


def test_a_host_may_step_it(app):
    with app.start(thread=False) as server:
        client = Client(server.address)
        client.send(request('/wait'))
        client.sock.settimeout(0)
        while b'waited' not in client.received:
            server.step(0.01)
            try:
                client.received += client.sock.recv(65536)
            except BlockingIOError:
                continue
        client.close()


def test_a_host_may_wait_for_its_descriptor_and_deadline(app):
    with app.start(thread=False) as server:
        client = Client(server.address)
        client.send(request('/wait'))
        for _ in range(100):
            deadline = server.next_deadline()
            left = 10.0 if deadline is None else max(0.0, deadline - server.reactor.time())
            ready, _, _ = select.select([server.fileno(), client.sock], [], [], min(left, 10.0))
            if client.sock in ready:
                break
            server.step(0)
        assert client.take().body == b'waited'
        assert server.reactor.turns < 20
        client.close()


def test_a_reactor_of_the_hosts_is_used_and_left_open(app):
    with Reactor() as reactor:
        with app.start(reactor=reactor, thread=False) as server:
            assert server.reactor is reactor
        assert not reactor.closed
        assert len(reactor.watchers) == 1
        with pytest.raises(ListenError):
            app.start(reactor=reactor, thread=False, bind='unix:/nowhere/at/all')
        assert not reactor.closed
        called = []
        reactor.call_soon(called.append, True)
        reactor.step(0)
        assert called


def test_several_servers_share_a_reactor(app):
    other = Tremolo()
    other.route('/')(lambda: 'other')
    with Reactor() as reactor:
        first = app.start(reactor=reactor, thread=False)
        second = other.start(reactor=reactor, thread=False)
        clients = [Client(first.address), Client(second.address)]
        for client in clients:
            client.send(request())
            client.sock.settimeout(0)
        expected = [b'hello', b'other']
        while not all(body in client.received for body, client in zip(expected, clients)):
            reactor.step(0.01)
            for client in clients:
                try:
                    client.received += client.sock.recv(65536)
                except BlockingIOError:
                    continue
        for client in clients:
            client.close()
        first.stop()
        second.stop()


@pytest.mark.parametrize(('options', 'error'), [
    ({'prot': 0}, SettingError), ({'bind': 'unix:/nowhere/at/all'}, ListenError),
    ({'host': 'no.such.host.invalid'}, ListenError)])
def test_what_cannot_be_is_raised_and_leaves_nothing_open(app, options, error):
    with pytest.raises(error):
        app.start(**options)


def test_ipv6_and_all_interfaces_are_shown_as_urls(app):
    with app.start(bind=['127.0.0.1:0', ':0']) as server:
        assert [url.rpartition(':')[0] for url in server.server.urls] == [
            'http://127.0.0.1', 'http://0.0.0.0']
    try:
        running = app.start(bind='[::1]:0')
    except ListenError:
        pytest.skip('this machine has no IPv6')
    with running as server:
        assert server.url == f'http://[::1]:{server.port}'


def test_an_exception_in_the_block_stops_the_server_too(app):
    with pytest.raises(ZeroDivisionError), app.start() as server:
        raise ZeroDivisionError
    assert server.reactor.closed
