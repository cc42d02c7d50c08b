"""The pool: how many threads there are, and that neither a call nor an answer is left lying."""

from __future__ import annotations

import sys
import threading
import time

import pytest
from server_support import request, serving
from wsgi_support import Seen, ask, plain, site

from tremolo.loop import Reactor
from tremolo.wsgi.pool import Pool
from tremolo.wsgi_app import WsgiApplication


def sleeper(seen, go_on):
    def app(environ, start_response):
        seen.put(threading.current_thread())
        if environ['PATH_INFO'] == '/wait':
            go_on.wait(30)
        plain(start_response)
        return [b'done']

    return app


def test_there_are_as_many_threads_as_are_needed_and_not_more():
    seen, go_on = Seen(), threading.Event()
    with site(sleeper(seen, go_on), threads=3) as host:
        for _ in range(20):
            assert ask(host).body == b'done'
        # (A second one, if the first had not come back yet when the next request came.)
        assert len({seen.next() for _ in range(20)}) <= 2
        clients = [host.connect(request('/wait')) for _ in range(10)]
        assert len({seen.next() for _ in range(3)}) == 3
        host.wait_for(lambda: sum(each.task is not None for each in host.server.connections) == 10)
        assert seen.empty()
        go_on.set()
        assert [client.take().body for client in clients] == [b'done'] * 10
        assert len({seen.next() for _ in range(7)}) <= 3


def test_a_call_that_waits_holds_up_neither_answers_nor_calls():
    """Each request of a burst is answered while one of them waits, whichever it is."""
    seen, go_on = Seen(), threading.Event()
    with site(sleeper(seen, go_on), check=False) as host:
        for place in range(8):
            go_on.clear()
            clients = [host.connect() for _ in range(8)]

            def burst(clients=clients, place=place):
                for number, client in enumerate(clients):
                    client.send(request('/wait' if number == place else '/'))

            # (All of them are there when the loop looks.)
            host.on_loop(burst)
            for number, client in enumerate(clients):
                if number != place:
                    assert client.take().body == b'done'
            go_on.set()
            assert clients[place].take().body == b'done'


def test_many_clients_at_once_are_all_answered():
    seen, go_on = Seen(), threading.Event()
    with site(sleeper(seen, go_on), check=False, threads=4) as host:
        clients = [host.connect() for _ in range(50)]
        for _ in range(20):
            for client in clients:
                client.send(request('/'))
            for client in clients:
                assert client.take().body == b'done'


def test_a_system_without_threads_answers_500(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    with site(lambda environ, start_response: plain(start_response) and [b'fine']) as host:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, 'start', start)
            assert ask(host).status == 500
        assert ask(host).body == b'fine'


def test_a_system_with_few_threads_uses_those():
    seen, go_on = Seen(), threading.Event()
    begun = threading.Thread.start
    with site(sleeper(seen, go_on)) as host, pytest.MonkeyPatch.context() as patch:
        assert ask(host).body == b'done'

        def start(self):
            if self.name.startswith('tremolo-wsgi'):
                raise RuntimeError("can't start new thread")
            begun(self)

        patch.setattr(threading.Thread, 'start', start)
        seen.next()
        waiting = host.connect(request('/wait'))
        seen.next()
        second = host.connect(request('/'))
        host.wait_for(lambda: sum(each.task is not None for each in host.server.connections) == 2)
        go_on.set()
        assert waiting.take().body == second.take().body == b'done'


def test_applications_on_one_reactor_share_the_threads():
    reactor = Reactor()
    assert Pool.of(reactor) is Pool.of(reactor)
    reactor.close()


def test_idle_threads_end_with_their_reactor():
    seen, go_on = Seen(), threading.Event()
    with site(sleeper(seen, go_on)) as host:
        ask(host)
        thread = seen.next()
        assert thread.is_alive()
    assert not thread.is_alive()


def test_a_file_that_is_cut_at_the_end_is_closed_all_the_same(tmp_path, logged):
    path = tmp_path / 'huge'
    with path.open('wb') as file:
        file.truncate(1 << 30)
    seen = Seen()

    class Told:
        def __init__(self):
            self.file = path.open('rb')
            self.raw = self.file.raw

        def __getattr__(self, name):
            return getattr(self.file, name)

        def close(self):
            self.file.close()
            seen.put('closed')

    def app(environ, start_response):
        plain(start_response)
        return environ['wsgi.file_wrapper'](Told())

    service = WsgiApplication(app)
    with serving(service, shutdown_timeout=0.05) as host:
        client = host.connect(request('/'))
        client.until(b'\r\n\r\n')
        host.on_loop(host.server.close)
        assert seen.next() == 'closed'


def test_a_stop_waits_for_the_answer():
    seen, go_on = Seen(), threading.Event()
    app = WsgiApplication(sleeper(seen, go_on))
    with serving(app) as host:
        client = host.connect(request('/wait'))
        seen.next()
        app.stop()
        host.wait_for(lambda: host.server.draining)
        go_on.set()
        found = client.take()
    assert (found.body, found.headers['connection']) == (b'done', 'close')


def test_a_stop_waits_for_close_after_the_answer():
    seen, go_on = Seen(), threading.Event()

    class Slow(list):
        def close(self):
            seen.put('closing')
            go_on.wait(30)
            seen.put('closed')

    def app(environ, start_response):
        plain(start_response)
        return Slow([b'answered'])

    service = WsgiApplication(app)
    with serving(service) as host:
        assert ask(host).body == b'answered'
        assert seen.next() == 'closing'
        work, = service.left()
        assert (work.what, work.cancel) == ("the WSGI call for GET '/'", None)
        assert 'test_wsgi_pool.py' in work.where()
        service.stop()
        host.wait_for(lambda: host.server.draining)
        go_on.set()
    assert seen.next() == 'closed'


def test_what_does_not_end_is_named(logged):
    seen, go_on = Seen(), threading.Event()
    with site(sleeper(seen, go_on), check=False, shutdown_timeout=0.05) as host:
        host.connect(request('/wait'))
        thread = seen.next()
        begun = time.monotonic()
    assert time.monotonic() - begun < 10
    go_on.set()
    thread.join(30)
    assert logged.count("the WSGI call for GET '/wait' is left alone") == 1
    assert 'test_wsgi_pool.py' in logged.text


@pytest.mark.skipif(sys.implementation.name != 'cpython', reason='no reference counts')
def test_nothing_of_a_call_is_kept(reactor):
    """An idle thread keeps nothing of its last call alive, and there are no cycles."""
    import gc
    import weakref
    found = []

    class Chunks(list):
        pass

    def app(environ, start_response):
        plain(start_response)
        chunks = Chunks([b'done'])
        found.append(weakref.ref(chunks))
        if environ['PATH_INFO'] == '/fail':
            raise ValueError('on purpose')
        return chunks

    with site(app, check=False) as host:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                ask(host)
            assert ask(host, '/last').body == b'done'
            host.wait_for(lambda: all(each() is None for each in found))
        finally:
            gc.enable()
