"""The request of an application: what a client accepts, JSON, and whether the client is gone."""

from __future__ import annotations

import asyncio

import pytest
from server_support import request, serving, virtual
from websocket_peer import Peer

from tremolo import Cancelled, Tremolo, gather, sleep, spawn

# -- accepts --------------------------------------------------------------------------------------


@pytest.mark.parametrize('style', ['plain', 'thread', 'generator', 'coroutine'])
def test_a_request_accepts_what_the_client_likes_best(style):
    app = Tremolo()

    def plain(request):
        return str(request.accepts('text/html', 'application/json'))

    def thread(request, thread=True):
        return plain(request)

    def generator(request):
        yield plain(request)

    async def coroutine(request):
        return plain(request)

    app.route('/')(locals()[style])
    with serving(app, port=0) as host:
        client = host.connect()
        for lines, best in (([], b'text/html'), (['Accept: */*'], b'text/html'),
                            (['Accept: application/*'], b'application/json'),
                            (['Accept: text/html;q=0.1', 'Accept: application/json'],
                             b'application/json'),
                            (['Accept: '], b'text/html'), (['Accept: image/png'], b'None')):
            client.send(request('/', 'GET', *lines))
            assert client.take().body == best


# -- json -----------------------------------------------------------------------------------------


def json_in(style):
    def generator(request):
        value = yield request.json()
        yield repr(value)

    def thread(request, thread=True):
        return repr(request.json().result())

    async def coroutine(request):
        return repr(await request.json())

    return locals()[style]


@pytest.mark.parametrize('style', ['generator', 'thread', 'coroutine'])
@pytest.mark.parametrize(('body', 'status', 'answer'), [
    (b'{"a": [1.5, null]}', 200, b"{'a': [1.5, None]}"), (b'\xef\xbb\xbf1', 200, b'1'),
    (b'{"a": ', 400, b'the body is not JSON'),
    (b'', 400, b'the body is not JSON'),
    (b'NaN', 400, b'the body is not JSON: NaN is no number of JSON'),
    (b'"\\ud800"', 400, b'the body is not JSON: a string has half of a surrogate pair'),
    (b'"\xff"', 400, b'the body is not JSON: it is not UTF-8 at byte 1'),
    (b'1' * 5000, 400, b'the body is not JSON: a number has too many digits'),
    (b'[' * 100_000, 400, b'the body is not JSON: it is nested too deep')])
def test_a_body_that_is_no_json_is_400_with_its_reason(style, body, status, answer):
    app = Tremolo()
    app.route('/', methods=['POST'])(json_in(style))
    with serving(app, port=0) as host:
        for _ in range(2):    # (The connection is kept.)
            client = host.connect(request('/', 'POST', body=body) * 2)
            assert [client.take()[::3] for _ in range(2)] == [(status, answer)] * 2


# -- disconnected ---------------------------------------------------------------------------------


@pytest.mark.parametrize('style', ['generator', 'plain', 'thread', 'coroutine'])
@pytest.mark.parametrize('end', ['reset', 'hang-up', 'after the answer'])
def test_a_job_learns_that_the_client_is_gone(style, end):
    app = Tremolo()
    begun, told = [], []

    def job(request):
        told.append((yield request.disconnected))

    async def watch(request):
        told.append(await request.disconnected)

    def wait(request):
        told.append(request.disconnected.result())

    def generator(request):
        spawn(job(request))
        begun.append(request.disconnected)
        yield b'' if end == 'after the answer' else sleep(1000)

    def plain(request):
        request.disconnected.add_done_callback(lambda done: told.append(done.result()))
        begun.append(request.disconnected)
        return b''

    def thread(request, thread=True):
        begun.append(request.disconnected)
        if end == 'after the answer':
            begun[0].add_done_callback(lambda done: told.append(done.result()))
        else:
            wait(request)

    async def coroutine(request):
        task = asyncio.get_running_loop().create_task(watch(request))
        begun.append(request.disconnected)
        kept.append(task)
        if end != 'after the answer':
            await asyncio.sleep(1000)

    kept = []
    app.route('/')(locals()[style])
    with serving(app, port=0, half_close_timeout=0.05) as host:
        client = host.connect(request('/'))
        host.wait_for(lambda: begun)
        assert not told and not begun[0].done()
        if end == 'after the answer' or style == 'plain':
            client.take()
            assert not begun[0].done()
        client.reset() if end == 'reset' else client.close()
        host.wait_for(lambda: told)
        host.wait_for(lambda: not host.server.connections)
        assert host.on_loop(lambda: host.server.watched) == {}
    # (A client that closes without a reset is seen as gone when its socket answers with one.)
    assert told[0] in ('reset', 'hang-up', 'client', 'half_closed')


def test_a_handler_that_waits_for_it_is_cancelled_and_cleans_up():
    app = Tremolo()
    ended = []

    @app.route('/')
    def generator(request):
        try:
            yield gather(request.disconnected, sleep(0))
        except Cancelled:
            ended.append(request.disconnected.result())
            raise

    with virtual(app) as host:
        client = host.connect(request('/'))
        host.settle()
        client.reset()
        host.until(lambda: ended)
        assert ended == ['reset']
        host.settle()
        assert host.server.watched == {}


def test_who_asks_after_the_end_is_told_at_once():
    app = Tremolo()
    kept = []

    @app.route('/')
    def plain(request):
        kept.append(request)
        return b''

    with virtual(app) as host:
        host.ask(request('/', 'GET', 'Connection: close'))
        assert kept[0].disconnected.result() == 'done'
        assert kept[0].disconnected.done()
        assert host.server.watched == {}


def test_all_requests_of_a_connection_share_it_and_who_does_not_ask_has_none():
    app = Tremolo()
    kept = []

    @app.route('/ask')
    def ask(request):
        kept.append(request.disconnected)
        return b''

    @app.route('/')
    def plain():
        return b''

    with virtual(app) as host:
        client = host.connect(request('/') * 3)
        for _ in range(3):
            client.take()
        assert host.server.watched == {}
        client.send(request('/ask') * 2)
        client.take(), client.take()
        assert kept[0] is kept[1] and not kept[0].done()
        client.fin()
        client.until_ended()
        assert kept[0].done()


def test_a_job_of_a_websocket_or_an_upgrade_learns_it_too():
    app = Tremolo()
    told = []

    def job(request, name):
        told.append((name, (yield request.disconnected)))

    @app.route('/socket')
    def talk(websocket, request):
        spawn(job(request, 'socket'))
        yield websocket.accept()
        yield websocket.send('hello')
        yield websocket.receive()

    @app.route('/upgrade')
    def upgrade(request, response):
        spawn(job(request, 'upgrade'))
        stream = response.upgrade('echo')
        stream.write(b'hello')
        yield stream.read()

    with serving(app, port=0) as host:
        with Peer(host.running.port, '/socket') as peer:
            assert peer.receive() == 'hello'
            assert told == []
        host.wait_for(lambda: told)
        client = host.connect(request('/upgrade', 'GET', 'Connection: upgrade', 'Upgrade: echo'))
        client.until(b'hello')
        assert len(told) == 1
        client.close()
        host.wait_for(lambda: len(told) == 2)
        assert host.on_loop(lambda: host.server.watched) == {}
    assert [name for name, _ in told] == ['socket', 'upgrade']
