"""PROXY before anything else: who is named, who is sent away, and no byte is taken too many."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import socket
import ssl

import pytest
from certificates import LOCALHOST, client_context
from proxy_apps import HEADERS, HTTP, KINDS, LAST, UNIX_HEADER, generator, plain
from proxy_cases import A4, A6, B4, INVALID, LOCAL, line, tlv, v1, v2
from server_support import Client, answers, bodies, request, serving, virtual
from simulated import World

from tremolo import Tremolo
from tremolo.errors import SettingError

# How many worlds full of peers are looked at. (Thousands were.)
SEEDS = int(os.environ.get('PROXY_SEEDS', '4'))
TRUSTED = {'proxy_protocol': 'auto', 'trusted_proxies': '127.0.0.1'}


def lines_of(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO
            and record.name.startswith('tremolo')]


def told(client) -> list:
    """What the application told of its client, in the answer that comes next."""
    return json.loads(client.take().body)


def closed_unanswered(client) -> None:
    with contextlib.suppress(ConnectionResetError):
        assert client.sock.recv(1000) == b''


# -- who is named ---------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_the_client_that_the_header_names_is_the_client(kind):
    with serving(KINDS[kind](), **TRUSTED) as host:
        for header, ends in HEADERS:
            client = host.connect(header + HTTP)
            if ends is None:
                ends = client.sock.getsockname(), client.sock.getpeername()
            if kind == 'wsgi':
                # (SERVER_NAME is the Host of the request there.)
                assert told(client)[0] == list(ends[0])
            else:
                assert told(client) == [list(ends[0]), list(ends[1]), 'http']
            client.send(LAST)
            assert told(client)[0] == list(ends[0])


@pytest.mark.parametrize('kind', KINDS)
def test_a_client_on_a_unix_socket_of_the_proxy_has_no_address(kind):
    with serving(KINDS[kind](), **TRUSTED) as host:
        client, server, _ = told(host.connect(UNIX_HEADER + HTTP))
        if kind == 'wsgi':
            assert client[0] == ''
        else:
            assert client is None
            assert tuple(server) == host.running.address


@pytest.mark.parametrize('kind', KINDS)
def test_a_proxy_on_a_unix_socket_names_its_client(kind, tmp_path):
    path = str(tmp_path / 'socket')
    with serving(KINDS[kind](), bind=f'unix:{path}', proxy_protocol='auto',
                 trusted_proxies='unix') as host:
        for header, ends in HEADERS[:5]:
            assert told(host.connect(header + HTTP))[0] == list(ends[0])
        for header in (line('UNKNOWN'), v2(LOCAL, 0, b''), UNIX_HEADER):
            client, server, _ = told(host.connect(header + HTTP))
            if kind != 'wsgi':
                assert (client, server) == (None, [path, None])


def test_what_looks_at_the_connection_sees_the_client_that_is_named(caplog):
    caplog.set_level(logging.INFO, 'tremolo')
    app, seen = generator(), []

    @app.on_connect
    def connected(connection):
        seen.append(connection.addresses)

    @app.on_close
    def closed(connection):
        seen.append(connection.addresses)

    with serving(app, **TRUSTED) as host:
        client = host.connect(v1() + b'NONSENSE\r\n\r\n')
        assert client.take().status == 400
        client.close()
        host.wait_for(lambda: len(seen) == 2)
    assert seen == [(A4, B4, 'http')] * 2
    found, = lines_of(caplog)
    assert found.startswith('203.0.113.7:51234: refused: 400: ')


def test_requests_that_follow_the_header_in_its_segment_are_answered():
    with serving(plain(), **TRUSTED) as host:
        found = host.ask(v1() + HTTP * 20 + LAST)
        assert [json.loads(answer.body)[0] for answer in found] == [list(A4)] * 21
        found = host.ask(v2(rest=bytes(12) + tlv(4, bytes(4065))) + HTTP + LAST)
        assert len(found) == 2


def test_a_body_that_follows_the_header_in_its_segment_is_whole():
    app = Tremolo()

    @app.route('/', methods=['POST'])
    def index(request):
        body = yield request.body()
        yield body

    body = bytes(range(256)) * 1000
    with serving(app, **TRUSTED) as host:
        wire = request('/', 'POST', 'Connection: close', body=body)
        for header in (v1(), v2()):
            assert bodies(host.connect(header + wire).read_all()) == [body]


def test_a_header_that_comes_byte_by_byte_is_read():
    with serving(plain(), **TRUSTED) as host:
        for header in (v1(A6, A6), v2(), line('UNKNOWN')):
            client = host.connect()
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for place in range(len(header)):
                client.send(header[place:place + 1])
                host.on_loop(lambda: None)
            client.send(HTTP)
            assert client.take().status == 200


def test_nothing_is_taken_from_the_socket_beyond_the_header():
    """In a world where each call moves a few bytes, in every way of cutting."""
    for seed in range(15):
        world = World(seed, latency=0.001, largest_piece=1 + seed % 30)
        with virtual(plain(), world, **TRUSTED) as host:
            for header, ends in HEADERS:
                found = host.ask(header + HTTP + HTTP + LAST)
                assert len(found) == 3
                if ends:
                    assert all(json.loads(each.body)[0] == list(ends[0]) for each in found)


# -- who is sent away -----------------------------------------------------------------------------


@pytest.mark.parametrize('data', [b'', v1() + HTTP, v2() + HTTP, HTTP, b'\x16\x03\x01'])
def test_a_stranger_is_closed_at_once_and_unanswered_whoever_he_says_he_is(data, caplog):
    """Fault 26 of the earlier tremolo: anybody was believed."""
    caplog.set_level(logging.INFO, 'tremolo')
    with serving(plain(), proxy_protocol='auto', trusted_proxies='10.0.0.0/8') as host:
        client = Client(host.running.address)
        try:
            own = client.sock.getsockname()[1]
            with contextlib.suppress(OSError):
                client.send(data)
            closed_unanswered(client)
        finally:
            client.close()
        host.wait_for(lambda: host.server.closed['stranger'] == 1)
    assert lines_of(caplog) == [
        f'127.0.0.1:{own}: refused: stranger: PROXY: the peer is no trusted proxy '
        '(trusted_proxies)']


def test_a_stranger_on_a_unix_socket_is_closed_at_once(tmp_path, caplog):
    caplog.set_level(logging.INFO, 'tremolo')
    path = str(tmp_path / 'socket')
    with serving(plain(), bind=f'unix:{path}', **TRUSTED) as host:
        closed_unanswered(host.connect())
        host.wait_for(lambda: host.server.closed['stranger'] == 1)
    assert lines_of(caplog) == [f'a client of unix:{path}: refused: stranger: PROXY: the peer is '
                                'no trusted proxy (trusted_proxies)']


@pytest.mark.parametrize('version', ['v1', 'v2', 'auto'])
def test_http_without_a_header_is_closed_unanswered(version, caplog):
    caplog.set_level(logging.INFO, 'tremolo')
    with serving(plain(), proxy_protocol=version, trusted_proxies='*') as host:
        closed_unanswered(host.connect(HTTP))
        host.wait_for(lambda: host.server.closed['proxy_header'] == 1)
    found, = lines_of(caplog)
    assert found.endswith(': refused: proxy_header: the PROXY header was missing, broken or late '
                          '(proxy_protocol): what came first is no PROXY header')


@pytest.mark.parametrize(('version', 'header', 'other'), [('v1', v1(), v2()), ('v2', v2(), v1())])
def test_the_version_that_the_address_wants_must_come(version, header, other, caplog):
    caplog.set_level(logging.INFO, 'tremolo')
    with serving(plain(), proxy_protocol=version, trusted_proxies='127.0.0.1') as host:
        assert told(host.connect(header + HTTP))[0] == list(A4)
        closed_unanswered(host.connect(other + HTTP))
        host.wait_for(lambda: host.server.closed['proxy_header'] == 1)
    found, = lines_of(caplog)
    assert found.endswith(f'it is of version {"21"[version == "v2"]} (proxy_protocol is {version})')


def test_broken_headers_are_closed_unanswered(caplog):
    caplog.set_level(logging.INFO, 'tremolo')
    with serving(plain(), **TRUSTED) as host:
        for _, data, _ in INVALID[::3]:
            client = host.connect(data + HTTP)
            closed_unanswered(client)
            client.close()
        host.wait_for(lambda: host.server.closed['proxy_header'] == len(INVALID[::3]))
        # The log is bounded: ten lines of a reason in a second.
        assert 10 <= len(lines_of(caplog)) < len(INVALID[::3])
        assert told(host.connect(v1() + HTTP))[0] == list(A4)


def test_a_second_header_is_no_request():
    with serving(plain(), **TRUSTED) as host:
        for header in (v1(), v2()):
            answer, = host.ask(v1() + header + HTTP)
            assert answer.status == 400


def test_a_peer_that_is_silent_or_slow_is_closed_after_five_seconds(caplog):
    caplog.set_level(logging.INFO, 'tremolo')
    with virtual(plain(), **TRUSTED) as host:
        silent, slow, whole = host.connect(), host.connect(), host.connect(v1()[:-1])
        for place in range(20):
            slow.send(v1()[place:place + 1])
            host.advance(0.3)
            if place == 15:    # (4.8 s)
                assert not (silent.ended or slow.ended)
                whole.send(b'\n' + HTTP)
        assert silent.ended and slow.ended
        assert silent.received == slow.received == b''
        assert 5 <= silent.ended_at <= 5.1 and 5 <= slow.ended_at <= 5.1
        assert json.loads(whole.take().body)[0] == list(A4)
        assert host.closed['proxy_header'] == 2
    said = [each.rpartition(': ')[2] for each in lines_of(caplog)]
    assert said == ['it is not whole after 5 s'] * 2


def test_a_part_of_a_header_does_not_let_the_loop_spin():
    parts = v1()[:9], v2()[:9], v2()[:20], line('UNKNOWN')[:-1]
    with virtual(plain(), **TRUSTED) as host:
        clients = [host.connect(part) for part in parts]
        host.advance(1)
        before = host.reactor.turns
        host.advance(3.5)
        # (Each timer of the world is a turn.)
        assert host.reactor.turns - before < 10
        assert not any(client.ended for client in clients)
    with serving(plain(), **TRUSTED) as host:
        for part in parts:
            host.connect(part)
        host.wait_for(lambda: len(host.server.arriving) == 4)
        before = host.on_loop(lambda: host.reactor.turns)
        for _ in range(5):
            host.on_loop(lambda: None)
        assert host.on_loop(lambda: host.reactor.turns) - before < 60


def test_a_look_whether_somebody_listens_is_no_line_in_the_log(caplog):
    """Health checks: HAProxy connects and leaves, or sends LOCAL and leaves, or asks."""
    caplog.set_level(logging.INFO, 'tremolo')
    with serving(plain(), **TRUSTED) as host:
        for data, leave in ((b'', Client.close), (b'', Client.reset), (b'', Client.fin),
                            (v2(LOCAL, 0, b''), Client.close), (v2(LOCAL, 0, b''), Client.reset),
                            (line('UNKNOWN'), Client.fin), (v1(), Client.close)):
            leave(host.connect(data))
        host.wait_for(lambda: sum(host.server.closed.values()) == 7)
        answer, = host.ask(v2(LOCAL, 0, b'') + LAST)
        assert answer.status == 200
    assert lines_of(caplog) == []


def test_a_header_that_is_cut_off_has_a_line(caplog):
    caplog.set_level(logging.INFO, 'tremolo')
    with serving(plain(), **TRUSTED) as host:
        for part in (v1()[:20], v2()[:20]):
            client = host.connect(part)
            client.fin()
            closed_unanswered(client)
        host.wait_for(lambda: host.server.closed['proxy_header'] == 2)
    assert [each.rpartition(': ')[2] for each in lines_of(caplog)] == ['it was cut off'] * 2


def test_a_client_that_has_ended_its_side_behind_the_header_is_answered():
    with serving(plain(), **TRUSTED) as host:
        client = host.connect(v2() + HTTP)
        client.fin()
        answer, = answers(client.read_all())
        assert json.loads(answer.body)[0] == list(A4)


# -- what else goes on meanwhile ------------------------------------------------------------------


def test_each_address_has_its_own_mode():
    app = plain()
    app.listen(0, proxy_protocol='v1')
    app.listen(0, proxy_protocol='v2')
    with serving(app, trusted_proxies='127.0.0.1') as host:
        places = [listener.address for listener in host.server.listeners]
        for header, answered in ((b'', [1, 0, 0]), (v1(), [0, 1, 0]), (v2(), [0, 0, 1])):
            for place, wanted in zip(places, answered):
                client = Client(place)
                try:
                    client.send(header + LAST)
                    if wanted:
                        assert client.take().status == 200
                    elif header and place == places[0]:
                        assert client.take().status == 400    # (It is no request there.)
                    else:
                        closed_unanswered(client)
                finally:
                    client.close()


def test_an_address_may_do_without_the_header_of_the_others():
    app = plain()
    app.listen(0, proxy_protocol='off')
    with serving(app, **TRUSTED) as host:
        client = Client(host.server.listeners[1].address)
        try:
            client.send(LAST)
            assert told(client)[0] == list(client.sock.getsockname())
        finally:
            client.close()


def test_the_protocol_without_trusted_proxies_is_refused_at_the_start():
    for version in ('v1', 'v2', 'auto'):
        with pytest.raises(SettingError, match=rf'^proxy_protocol: {version} needs trusted_'):
            plain().start(proxy_protocol=version)
    app = plain()
    app.listen(0, proxy_protocol='v1')
    with pytest.raises(SettingError, match=r'^proxy_protocol: v1 needs trusted_proxies'):
        app.start()
    with pytest.raises(SettingError, match='proxy_protocol'):
        plain().start(proxy_protocol='yes')


def test_a_server_that_drains_waits_for_a_header_and_answers_its_request():
    with virtual(plain(), **TRUSTED) as host:
        client, silent = host.connect(v1()[:10]), host.connect()
        host.advance(0.5)
        assert len(host.server.arriving) == 2
        stopped = host.server.drain()
        host.advance(0.5)
        client.send(v1()[10:] + HTTP)
        assert client.take().headers['connection'] == 'close'
        host.until(lambda: silent.ended)
        host.until(stopped.done)
        assert 5 <= silent.ended_at < 5.1
        assert not host.server.arriving


def test_a_server_that_ends_closes_those_whose_header_is_awaited():
    with virtual(plain(), **TRUSTED) as host:
        clients = [host.connect(data) for data in (b'', v1()[:10], v2()[:100])]
        host.advance(0.5)
        host.server.close()
        host.until(lambda: all(client.ended for client in clients))
        assert host.closed == {'shutdown': 3}
        assert not host.server.arriving
        assert len(host.world.network.sockets) == 2    # (Those that wake the reactor.)


def test_those_whose_header_is_awaited_count_as_connections():
    with virtual(plain(), connections=2, **TRUSTED) as host:
        for _ in range(2):
            host.connect()
        host.advance(0.5)
        waiting = host.connect(v1() + HTTP)
        host.advance(4)
        assert not waiting.received
        assert json.loads(waiting.take().body)[0] == list(A4)
        assert 5 <= host.now < 6


def test_a_header_and_the_handshake_of_tls_may_come_in_one_segment():
    """It comes before TLS, and none of TLS's bytes is taken for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*LOCALHOST)
    with serving(plain(), ssl_context=context, **TRUSTED) as host:
        for header, ends in HEADERS:
            client = host.connect()
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = client_context().wrap_bio(incoming, outgoing, server_hostname='localhost')
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            client.send(header + outgoing.read())
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    client.send(outgoing.read())
                    incoming.write(client.sock.recv(65536))
            tls.write(HTTP)
            client.send(outgoing.read())
            data = b''
            while b'\r\n\r\n' not in data or not data.endswith(b']'):
                try:
                    data += tls.read()
                except ssl.SSLWantReadError:
                    incoming.write(client.sock.recv(65536))
            found, _, scheme = json.loads(answers(data)[0].body)
            assert scheme == 'https'
            assert found == list(ends[0] if ends else client.sock.getsockname())


def test_random_peers_at_once_are_told_apart():
    """Some are whole, some broken, some leave, each in pieces and pauses of its own."""
    for seed in range(SEEDS):
        chance = random.Random(seed)
        world = World(seed, latency=0.003, jitter=0.01, largest_piece=chance.choice([1, 7, 0]))
        with virtual(plain(), world, connections=chance.choice([5, 1000]), **TRUSTED) as host:
            peers = [_Peer(host, chance, number) for number in range(25)]
            for _ in range(200):
                chance.choice(peers).go_on()
                if chance.random() < 0.3:
                    host.advance(chance.random() * 0.02)
            for peer in peers:
                peer.end()
            host.until(lambda: all(peer.client.ended for peer in peers))    # noqa: B023
            host.settle()
            for peer in peers:
                peer.check()
            assert not host.server.arriving and not host.server.connections


class _Peer:
    """A proxy with one client, which sends as it likes."""

    def __init__(self, host, chance, number):
        self.chance = chance
        self.named = (f'203.0.113.{number}', 1000 + number)
        header = chance.choice([v1(self.named, B4), v2(rest=bytes((203, 0, 113, number)) + bytes(
            (192, 0, 2, 1)) + (1000 + number).to_bytes(2, 'big') + bytes((1, 187)))])
        self.is_good = chance.random() < 0.6
        if not self.is_good:
            broken = bytearray(header)
            broken[chance.choice([0, 3, 5, 12] if header[:1] == b'\r' else [0, 3, 5, 8])] ^= 0x40
            header = bytes(broken)
        self.left = header + HTTP * 2 + LAST
        self.client = host.connect()
        self.cut = False

    def go_on(self):
        if self.left and not self.client.ended:
            size = self.chance.randint(1, 60)
            self.client.send(self.left[:size])
            self.left = self.left[size:]
            if self.chance.random() < 0.03 and self.left:
                self.cut, self.left = True, b''
                self.client.fin() if self.chance.random() < 0.5 else self.client.reset()

    def end(self):
        if not self.client.ended:
            self.client.send(self.left)

    def check(self):
        found = self.client.received
        if not self.is_good:
            assert found == b''
        elif not self.cut:
            told = [json.loads(each.body)[0] for each in answers(found)]
            assert told == [list(self.named)] * 3


# -- and header fields of proxies -----------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_the_client_that_is_named_must_be_trusted_before_its_header_fields_count(kind):
    """The proxy that sends PROXY is trusted; what its clients say of themselves is not."""
    wire = request('/', 'GET', 'X-Forwarded-For: 198.51.100.1', 'X-Forwarded-Proto: https')
    trusted = '127.0.0.1, 10.0.0.0/8, fd00::/8, ::ffff:172.16.0.0/108'
    with serving(KINDS[kind](), proxy_protocol='auto', trusted_proxies=trusted) as host:
        for named, believed in (
            ('203.0.113.7', False), ('10.1.2.3', True), ('172.16.0.9', True), ('fd00::9', True),
            ('2001:db8::7', False), ('::ffff:10.1.2.3', True), ('::ffff:203.0.113.7', False),
        ):
            other = '::1' if ':' in named else '192.0.2.1'
            client, _, scheme = told(host.connect(v1((named, 7), (other, 443)) + wire))
            assert client[0] == ('198.51.100.1' if believed else named)
            assert scheme == ('https' if believed else 'http')
        # The proxy's own connection is the proxy's.
        client, _, scheme = told(host.connect(line('UNKNOWN') + wire))
        assert (client[0], scheme) == ('198.51.100.1', 'https')
        # A client on a UNIX socket of the proxy is nobody that the list names.
        client, _, scheme = told(host.connect(UNIX_HEADER + wire))
        assert scheme == 'http'


def test_forwarded_is_read_like_x_forwarded_behind_the_header():
    wire = b'GET / HTTP/1.1\r\nHost: x\r\nForwarded: for=198.51.100.1;proto=https\r\n\r\n'
    with serving(plain(), forwarded='forwarded', proxy_protocol='v2',
                 trusted_proxies='127.0.0.1, 203.0.113.7') as host:
        assert told(host.connect(v2() + wire))[0] == ['198.51.100.1', 0]
    with serving(plain(), forwarded='forwarded', proxy_protocol='v2',
                 trusted_proxies='127.0.0.1') as host:
        assert told(host.connect(v2() + wire))[0] == list(A4)
