"""`--health`: one path is answered before everything else, and is no request that is counted."""

from __future__ import annotations

import socket
import ssl

import pytest
from certificates import LOCALHOST, client_context
from server_support import PATIENCE, answers, chunked, request, serving, virtual

from tremolo import SettingError, Tremolo, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.server.response import Response
from tremolo.workers.channel import Channel
from tremolo.workers.handover import Handover
from tremolo.wsgi_app import WsgiApplication

HEALTH = {'health': '/healthz'}
ASK = request('/healthz')
LAST = request('/healthz', 'GET', 'Connection: close')
# Each answer of an application says `application`.
OURS = b'ok\n'


def native() -> Tremolo:
    app = Tremolo()

    @app.route('/healthz', methods=['GET', 'HEAD', 'POST', 'OPTIONS'])
    def health():
        return 'application'

    @app.route('/')
    def index():
        return 'application'

    @app.route('/wait')
    def wait():
        yield sleep(5)
        yield b'application'

    return app


async def _asgi(scope, receive, send):
    if scope['type'] == 'http':
        await send({'type': 'http.response.start', 'status': 200})
        await send({'type': 'http.response.body', 'body': b'application'})


def _wsgi(environ, start_response):
    start_response('200 OK', [('Content-Length', '11')])
    return [b'application']


def mounted() -> Tremolo:
    app = Tremolo()
    app.mount('/', AsgiApplication(_asgi))
    return app


KINDS = {'native': native, 'asgi': lambda: AsgiApplication(_asgi),
         'wsgi': lambda: WsgiApplication(_wsgi), 'mounted': mounted}


@pytest.mark.parametrize('kind', KINDS)
def test_health_wins_over_each_kind_of_application(kind):
    with serving(KINDS[kind](), **HEALTH) as host:
        health, = host.ask(LAST)
        assert (health.status, health.body) == (200, OURS)
        assert health.headers['content-type'] == 'text/plain; charset=utf-8'
        assert health.headers['cache-control'] == 'no-store'
        assert {'date', 'server'} <= health.headers.keys()
        other, = host.ask(request('/', 'GET', 'Connection: close'))
        assert other.body == b'application'


def test_get_and_head_of_the_exact_target_alone_are_answered():
    with virtual(native(), **HEALTH) as host:
        head, = host.ask(request('/healthz', 'HEAD', 'Connection: close'), 'HEAD')
        assert (head.status, head.body, head.headers['content-length']) == (200, b'', '3')
        for target, method in (('/healthz', 'POST'), ('/healthz', 'OPTIONS'), ('/healthz?', 'GET'),
                               ('/healthz?x=1', 'GET'), ('http://test/healthz', 'GET'),
                               ('/%68ealthz', 'GET')):
            answer, = host.ask(request(target, method, 'Connection: close'))
            assert answer.body == b'application', target
        for target in ('/healthz/', '/health', '/HEALTHZ', '//healthz'):
            answer, = host.ask(request(target, 'GET', 'Connection: close'))
            assert answer.status == 404, target


def test_a_probe_of_http_1_0_needs_no_host_and_one_of_1_1_does():
    with virtual(native(), **HEALTH) as host:
        client = host.connect(b'GET /healthz HTTP/1.0\r\n\r\n')
        client.until_ended()
        assert client.ended == 'fin' and client.received.endswith(b'\r\n\r\nok\n')
        kept = host.connect(b'GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n' * 2)
        kept.until(b'Connection: keep-alive\r\n', 2)
        assert host.ask(b'GET /healthz HTTP/1.1\r\n\r\n')[0].status == 400


def test_kept_and_pipelined_connections_go_on():
    with virtual(native(), **HEALTH) as host:
        client = host.connect(ASK + request() + ASK + request('/wait') + ASK * 40 + request()
                              + LAST)
        client.until_ended()
        bodies = [each.body for each in answers(client.received)]
        other = b'application'
        assert bodies == [OURS, other, OURS, other, *[OURS] * 40, other, OURS]
        assert host.closed == {'done': 1}
        client = host.connect(ASK)
        for _ in range(3):
            assert client.take().body == OURS
            host.advance(70)
            client.send(ASK)
        client.take()
        host.advance(80)
        assert client.ended == 'fin' and host.closed['idle_timeout'] == 1


@pytest.mark.parametrize('body', [
    request('/healthz', 'GET', body=b'x' * 5000),
    request('/healthz', 'GET', 'Transfer-Encoding: chunked') + chunked(b'abc', b'x' * 3000)])
@pytest.mark.parametrize('cut', [0, 1])
def test_a_body_that_a_probe_sends_is_read_over(body, cut):
    with virtual(native(), **HEALTH) as host:
        client = host.connect(body[:len(body) - cut] if cut else body + LAST)
        answer = client.take()
        assert answer.body == OURS
        if cut:
            client.send(body[-cut:] + LAST)
            if answer.headers.get('connection') == 'close':
                client.until_ended()
                return
        assert client.take().body == OURS
        client.until_ended()


def test_it_is_free_of_limit_concurrency_and_no_observer_is_told():
    with virtual(native(), limit_concurrency=1, **HEALTH) as host:
        told: list[Response] = []
        host.server.request_observers.append(lambda response, reason: told.append(response))
        busy = host.connect(request('/wait'))
        host.advance(1)
        assert host.ask(request('/', 'GET', 'Connection: close'))[0].status == 503
        refused = len(told)
        for method in ('GET', 'HEAD'):
            answer, = host.ask(request('/healthz', method, 'Connection: close'), method)
            assert answer.status == 200
        probe = host.connect(ASK)
        probe.take()
        # One that leaves before its answer.
        host.connect(ASK).reset()
        host.settle()
        assert len(told) == refused
        assert busy.take().body == b'application'
        assert len(told) == refused + 1


def test_an_idle_connection_of_a_probe_makes_no_room_for_one_more_connection():
    """While there are `connections`, a new probe waits as every client does."""
    with virtual(native(), connections=2, **HEALTH) as host:
        probe = host.connect(ASK)
        assert probe.take().body == OURS
        busy = host.connect(request('/wait', 'GET', 'Connection: close'))
        host.advance(1)
        late = host.connect(LAST)
        host.advance(1)
        assert late.received == b''
        probe.send(ASK)
        assert probe.take().body == OURS
        busy.until_ended()
        assert late.take().body == OURS


def test_it_is_answered_on_each_address_with_tls_and_behind_proxy():
    """A load balancer that checks by itself sends LOCAL: it speaks for no client."""
    app = native()
    app.listen(0, ssl_context=_server_context(), proxy_protocol='off')
    local = b'\r\n\r\n\0\r\nQUIT\n\x20\0\0\0'
    with serving(app, trusted_proxies='127.0.0.1', proxy_protocol='v2', **HEALTH) as host:
        assert host.ask(local + LAST)[0].body == OURS
        with socket.create_connection(host.server.listeners[1].address, PATIENCE) as sock, \
                client_context().wrap_socket(sock, server_hostname='localhost') as secure:
            secure.sendall(LAST)
            assert _all(secure).endswith(b'\r\n\r\nok\n')


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*LOCALHOST)
    return context


def _all(sock) -> bytes:
    received = b''
    while data := sock.recv(4096):
        received += data
    return received


def test_it_says_503_while_the_server_drains():
    with virtual(native(), **HEALTH) as host:
        first, second = host.connect(request('/wait')), host.connect(ASK[:10])
        host.advance(1)
        host.server.drain()
        second.send(ASK[10:])
        answer = second.take()
        assert (answer.status, answer.body) == (503, b'stopping\n')
        assert answer.headers['connection'] == 'close'
        second.until_ended()
        assert first.take().body == b'application'


def test_a_worker_that_is_replaced_says_200():
    """Others serve: the connection alone ends."""
    with virtual(native(), shutdown_timeout=2, **HEALTH) as host:
        app_busy, probe = host.connect(request('/wait')), host.connect(ASK[:10])
        host.advance(0.1)
        sent: list[object] = []

        class Heir(Channel):
            idle = True

            def __init__(self) -> None:
                pass

            def send(self, kind, sock=None, carried=b''):
                sent.append(kind)

        Handover(host.server, Heir()).start()
        host.advance(1.5)
        assert host.server.draining
        probe.send(ASK[10:])
        answer = probe.take()
        assert (answer.status, answer.headers['connection']) == (200, 'close')
        # SIGTERM comes meanwhile.
        host.server.drain()
        assert app_busy.ended == '' and host.server.leaving


def test_in_a_test_client_it_is_there_and_the_delay_is_refused():
    assert native().client(**HEALTH).get('/healthz').text == 'ok\n'
    with pytest.raises(SettingError, match='drain_delay: has no effect inside another program'):
        native().start(drain_delay=1)
