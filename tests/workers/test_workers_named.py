"""Connections that are handed over keep the client that a proxy has named: never the proxy."""

from __future__ import annotations

import http.client
import random
import socket
from types import SimpleNamespace

import pytest
from server_support import request, virtual
from worker_group import wait_until

from tremolo import Tremolo
from tremolo.loop import Reactor
from tremolo.workers.channel import (
    BEAT,
    CONNECTION,
    HAND_OVER,
    MOST_CARRIED,
    NAMED,
    READY,
    TAKES_NAMED,
    Channel,
)
from tremolo.workers.group import SERVING, Group, Worker
from tremolo.workers.handover import Handover, packed, unpacked
from tremolo.workers.slot import Slot

KNOWN = (('203.0.113.7', 51234), ('192.0.2.1', 443), 'http')
SITE = '''
import os
import tremolo

app = tremolo.Tremolo()

@app.route('/')
def index(request):
    return f'{os.getpid()} {request.client and request.client[0]}'
'''
PROXIES = ('--proxy-protocol', 'auto', '--trusted-proxies', '127.0.0.1,unix')


def header(number: int) -> bytes:
    return b'PROXY TCP4 203.0.113.%d 192.0.2.1 51234 443\r\n' % number


# -- the channel ----------------------------------------------------------------------------------


@pytest.fixture
def heard():
    """A socket to write raw messages to, and what the channel at its other end has heard."""
    ours, theirs = socket.socketpair()
    found = []
    with Reactor() as reactor:
        channel = Channel(reactor, theirs, lambda *message: found.append(message),
                          lambda: found.append('ended'))
        yield SimpleNamespace(sock=ours, found=found, reactor=reactor, channel=channel)
        ours.close()
        channel.close()
        for each in found:
            if each != 'ended' and each[1] is not None:
                each[1].close()


def give(sock: socket.socket, data: bytes) -> None:
    """Send bytes with a descriptor."""
    with socket.socket() as other:
        socket.send_fds(sock, [data], [other.fileno()])


def test_a_message_with_bytes_comes_whole_however_it_is_cut(heard):
    message = NAMED + b'\0\x05hello'
    for size in range(1, len(message)):
        give(heard.sock, message[:size])
        heard.reactor.step(0)
        for place in range(size, len(message)):
            assert not heard.found
            heard.sock.send(message[place:place + 1])
            for _ in range(4):
                heard.reactor.step(0)
        (kind, sock, carried), = heard.found
        assert (kind, carried) == (NAMED, b'hello')
        sock.close()
        heard.found.clear()


def test_messages_before_and_behind_one_with_bytes_are_their_own(heard):
    with socket.socket() as other:
        sender = Channel(heard.reactor, heard.sock.dup(), lambda *_: None, lambda: None)
        sender.send(BEAT)
        sender.send(NAMED, other.dup(), b'bb')
        sender.send(CONNECTION, other.dup())
        sender.send(NAMED, other.dup(), b'')
        sender.send(READY)
        for _ in range(30):
            heard.reactor.step(0)
        sender.close()
    assert [(kind, sock is not None, *more) for kind, sock, *more in heard.found] == [
        (BEAT, False), (NAMED, True, b'bb'), (CONNECTION, True), (NAMED, True, b''), (READY, False)]


def test_the_descriptor_of_a_message_that_was_cut_off_is_closed(heard):
    give(heard.sock, NAMED + b'\0\x05he')
    heard.sock.close()
    for _ in range(5):
        heard.reactor.step(0)
    assert heard.found == ['ended']    # (The fixture of all tests counts descriptors.)


def test_the_descriptor_of_a_message_that_is_not_whole_is_closed_with_the_channel(heard):
    give(heard.sock, NAMED + b'\0')
    heard.reactor.step(0)
    heard.channel.close()
    assert heard.found == []


def test_many_messages_with_bytes_pass_a_channel_that_is_full(heard):
    chance = random.Random(7)
    sender = Channel(heard.reactor, heard.sock.dup(), lambda *_: None, lambda: None)
    wanted = [bytes([chance.randrange(256)]) * chance.randrange(MOST_CARRIED) for _ in range(2000)]
    for carried in wanted:
        sender.send(NAMED, None, carried)
    assert not sender.idle
    while len(heard.found) < len(wanted):
        heard.reactor.step(0)
    assert [carried for _, _, carried in heard.found] == wanted
    assert sender.idle
    sender.close()


# -- the addresses as bytes -----------------------------------------------------------------------


@pytest.mark.parametrize('addresses', [
    KNOWN, (None, ('192.0.2.1', 443), 'http'), (None, ('/run/a b\udcff.sock', None), 'http'),
    (('2001:db8::7', 0), ('::ffff:192.0.2.1', 65535), 'http'), (None, None, 'http')])
def test_addresses_come_out_as_they_went_in(addresses):
    assert unpacked(packed(addresses)) == addresses
    assert len(packed((('f' * 39, 65535), ('/' + 'x' * 107, None), 'http'))) < MOST_CARRIED


@pytest.mark.parametrize('carried', [
    b'', b'null', b'{}', b'[]', b'[1, 2]', b'[null, null]', b'[null, null, "https"]', b'\xff',
    b'[null, null, "http", 1]', b'["a", null, "http"]', b'[["a"], null, "http"]',
    b'[["a", "1"], null, "http"]', b'[["a", true], null, "http"]', b'[[1, 1], null, "http"]',
    b'[["a", 1, 1], null, "http"]', b'["ab", null, "http"]', b'[1, null, "http"]', b'[' * 5000])
def test_what_another_version_tells_is_no_address(carried):
    with pytest.raises(ValueError):
        unpacked(carried)


def test_a_connection_that_comes_with_what_nobody_understands_is_closed(logged):
    taken = []
    server = SimpleNamespace(part_at=lambda address: SimpleNamespace(
        take=lambda sock, known: taken.append(known)))
    slot = Slot([])
    slot._server = server
    for carried in (b'other', b'[' * 5000):
        ours, theirs = socket.socketpair()
        slot._heard(NAMED, theirs, carried)
        assert ours.recv(1) == b''
        ours.close()
    assert taken == []
    assert logged.count('told its addresses in another way') == 2
    ours, theirs = socket.socketpair()
    slot._heard(NAMED, theirs, packed(KNOWN))
    assert taken == [KNOWN]
    ours.close()
    theirs.close()


# -- who is sent what -----------------------------------------------------------------------------


class Line:
    """A channel whose other end is the test."""

    def __init__(self) -> None:
        self.sent = []
        self.idle = True

    def send(self, kind, sock=None, carried=b''):
        self.sent.append((kind, carried))
        if sock is not None:
            sock.close()


def test_an_heir_that_does_not_know_names_gets_no_connection_with_one():
    """It is served here for half of `shutdown_timeout`, and drained then."""
    app, line, seen = Tremolo(), Line(), []

    @app.route('/')
    def index(request):
        seen.append(request.client)
        return 'hello'

    with virtual(app, proxy_protocol='v1', trusted_proxies='127.0.0.1') as host:
        idle, busy = host.connect(header(1) + request()), host.connect(header(2) + request())
        for client in (idle, busy):
            client.take()
        Handover(host.server, line, takes_named=False).start()
        host.advance(1)
        busy.send(request())
        assert busy.take().status == 200
        host.until(lambda: idle.ended and busy.ended)
        host.until(host.server.stopped.done)
        assert line.sent == []
        assert sum(host.closed.values()) == 2
    assert sorted(seen[:2]) == [('203.0.113.1', 51234), ('203.0.113.2', 51234)]
    assert seen[2:] == [('203.0.113.2', 51234)]


def test_only_a_worker_that_takes_names_is_told_so_and_gets_them():
    group = Group.__new__(Group)
    old, new = Worker(1, Slot([]), 0.0), Worker(2, Slot([]), 0.0)
    group.workers = {1: old, 2: new}
    for each in (old, new):
        each.channel, each.state = Line(), SERVING
    assert group.heir(old.slot, named=True) is None
    assert group.heir(old.slot) is old
    new.takes_named = True
    assert group.heir(old.slot, named=True) is new
    old.hand_over(new)
    assert [kind for kind, _ in old.channel.sent] == [TAKES_NAMED, HAND_OVER]
    new.hand_over(None)
    assert [kind for kind, _ in new.channel.sent] == [HAND_OVER]


# -- workers --------------------------------------------------------------------------------------


def ask(sock: socket.socket) -> list[str]:
    """Ask on a connection that is kept; return who answered, and who it took for the client."""
    sock.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    return answer.read().decode().split()


@pytest.fixture
def site(group, tmp_path):
    """Start a group of workers behind a proxy."""
    (tmp_path / 'example.py').write_text(SITE)

    def start(*arguments, count=2, **more):
        workers = group(*PROXIES, *arguments, **more)
        wait_until(lambda: len(workers.pids) == count)
        return workers

    return start


def named(workers, number: int) -> socket.socket:
    client = workers.connect()
    client.sendall(header(number))
    assert ask(client)[1] == f'203.0.113.{number}'
    return client


def renew(workers, count: int, name: str = 'SIGHUP') -> None:
    old = workers.pids
    workers.signal(name)
    wait_until(lambda: len(workers.pids) == count and (
        not old & workers.pids or name != 'SIGHUP'))


@pytest.mark.parametrize('arguments', [(), ('--preload',), ('--shared-socket',)])
def test_a_renewal_hands_the_client_of_a_proxy_over(site, arguments):
    workers = site('--workers', '2', '--port', '0', *arguments)
    clients = [named(workers, number) for number in range(20)]
    # One has asked nothing yet; one header is not whole; one connection is the proxy's own.
    new, partial, own = workers.connect(), workers.connect(), workers.connect()
    new.sendall(header(20))
    partial.sendall(header(21)[:25])
    own.sendall(b'PROXY UNKNOWN\r\n')
    assert ask(own)[1] == '127.0.0.1'
    old = workers.pids
    workers.signal('SIGHUP')
    # (It is awaited by the old worker, for five seconds at most.)
    wait_until(lambda: len(workers.pids - old) == 2)
    partial.sendall(header(21)[25:])
    assert ask(partial)[1] == '203.0.113.21'
    wait_until(lambda: len(workers.pids) == 2 and not old & workers.pids)
    for name, count in (('SIGTTOU', 1), ('SIGTTIN', 2), ('SIGHUP', 2)):
        renew(workers, count, name)
        for number, client in enumerate([*clients, new, partial]):
            pid, who = ask(client)
            assert who == f'203.0.113.{number}'
            assert int(pid) not in old
        assert ask(own)[1] == '127.0.0.1'
        # Listeners that were lent, too: their new connections begin with a header.
        for number in range(100, 112):
            named(workers, number).close()
    for client in (*clients, new, partial, own):
        client.close()


def test_a_renewal_hands_over_clients_of_a_proxy_on_a_unix_socket(site, tmp_path):
    path = tmp_path / 'socket'
    workers = site('--workers', '2', '--bind', f'unix:{path}')
    clients = [named(workers, number) for number in range(6)]
    nobody = workers.connect()    # (Of a UNIX socket of the proxy.)
    nobody.sendall(b'\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8' + bytes(216))
    for _ in range(2):
        assert ask(nobody)[1] == 'None'
        assert [ask(client)[1] for client in clients] == [f'203.0.113.{n}' for n in range(6)]
        renew(workers, 2)
    for client in (*clients, nobody):
        client.close()


def test_a_program_that_starts_afresh_keeps_the_clients(site, tmp_path):
    (tmp_path / 'program.py').write_text(SITE + '''
app.listen(0, proxy_protocol='v1')
app.run(port=0, workers=2, trusted_proxies='127.0.0.1')
''')
    workers = site(command=('program.py',))
    workers.address = workers.process.stdout.readline().split()[2]
    clients = [named(workers, number) for number in range(8)]
    renew(workers, 2)
    assert [ask(client)[1] for client in clients] == [f'203.0.113.{n}' for n in range(8)]
    for client in clients:
        client.close()


def test_a_new_version_that_does_not_know_names_gets_no_connection_with_one(site, tmp_path):
    """The old worker serves it, and drains it after half of `shutdown_timeout`."""
    workers = site('--workers', '1', '--port', '0', '--shutdown-timeout', '2', count=1)
    client, own = named(workers, 7), workers.connect()
    own.sendall(b'PROXY UNKNOWN\r\n')
    ask(own)
    old, = workers.pids
    (tmp_path / 'example.py').write_text(
        'import tremolo.workers.slot as slot\nslot.TAKES_NAMED = b"?"\n' + SITE)
    workers.signal('SIGHUP')
    wait_until(lambda: int(ask(own)[0]) != old)    # (What the socket tells is handed over.)
    assert ask(client) == [str(old), '203.0.113.7']
    assert client.recv(1000) == b''
    wait_until(lambda: old not in workers.pids)
    for each in (client, own):
        each.close()


def test_the_start_without_trusted_proxies_is_refused(group, tmp_path):
    (tmp_path / 'example.py').write_text(SITE)
    for more in ((), ('--workers', '2')):
        workers = group('--port', '0', '--proxy-protocol', 'v2', *more)
        assert workers.process.wait(60) == 2
        assert workers.log.strip() == (
            'tremolo: error: proxy_protocol: v2 needs trusted_proxies: the addresses of the '
            'proxies, which alone are believed')
    program = SITE + "app.listen(0, proxy_protocol='v1')\napp.run(port=0, workers=2)\n"
    (tmp_path / 'program.py').write_text(program)
    workers = group(command=('program.py',))
    assert workers.process.wait(60) == 2
    assert workers.log.count('tremolo: error: proxy_protocol: v1 needs trusted_proxies') == 1
