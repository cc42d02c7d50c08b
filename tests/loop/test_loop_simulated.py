"""The simulated world: time, the network's rules beside Linux's own, knobs and faults."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

import pytest
from loop_support import listen, pair, run
from simulated import Deadlock, World

from tremolo.loop import Reactor, Stream, StreamClosed, connect, gather, sleep, spawn

DATA = bytes(range(256)) * 300


def journal(seed: int) -> Any:
    """Run an echo under a seed; give everything that can be observed of it."""
    world = World(seed=seed, latency=0.01, jitter=0.02, buffer_size=5000, largest_piece=900)
    told: list[Any] = []

    def echo(stream: Stream) -> Any:
        while True:
            data = yield stream.read(4000)
            told.append((world.now, len(data)))
            if not data:
                break
            stream.write(data)
            yield stream.drain()
        stream.close()

    def client(port: int) -> Any:
        stream = yield connect('localhost', port)

        def send() -> Any:
            for start in range(0, len(DATA), 3000):
                stream.write(DATA[start:start + 3000])
                yield stream.drain()
            stream.shutdown()

        sending = spawn(send())
        got = yield stream.inbox.read_all(10 ** 6)
        assert got == DATA
        yield sending
        stream.close()

    def main() -> Any:
        listener = listen(reactor, lambda stream: spawn(echo(stream)))
        yield gather(client(listener.address[1]), client(listener.address[1]))
        listener.close()

    with world.reactor() as reactor:
        run(reactor, main())
        told.append((world.now, reactor.turns))
    assert world.network.sockets == {}
    return told


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    assert journal(1) == journal(1)
    assert journal(1) != journal(2)


@pytest.mark.parametrize('seed', range(6))
def test_an_echo_is_whole_under_any_seed(seed: int) -> None:
    journal(seed)


def test_time_stands_still_while_somebody_works_and_jumps_when_all_wait() -> None:
    world = World()
    with world.reactor() as reactor:
        seen = []
        reactor.call_soon(lambda: seen.append(world.now))
        reactor.call_later(3600, lambda: seen.append(world.now))
        reactor.step()
        reactor.step()
        assert seen == [0, 3600]
        assert reactor.wall_clock() == 1_000_003_600
        reactor.step(5)
        assert world.now == 3605


def test_a_poll_advances_to_the_next_delivery_before_its_timeout() -> None:
    world = World(latency=2)
    with world.reactor() as reactor:
        listener = listen(reactor, lambda stream: stream.close())
        client = world.network.socket()
        client.connect_ex(listener.address)
        reactor.step(10)
        assert world.now == 2
        client.close()
        listener.close()


def test_waiting_for_nothing_is_a_deadlock_that_says_so() -> None:
    world = World()
    with world.reactor() as reactor:
        reactor.call_later(5, int)
        with pytest.raises(Deadlock, match='everybody waits and nothing is to come, at 5 seconds'):
            reactor.run()
        with pytest.raises(Deadlock):
            world.run(lambda: False)


def test_two_reactors_share_a_world() -> None:
    world = World(latency=0.5)
    with world.reactor() as one, world.reactor() as two:
        got = []

        def client() -> Any:
            stream = yield connect('localhost', listener.address[1])
            stream.write(b'over')
            got.append((yield stream.read()))
            stream.close()

        def answer(stream: Stream) -> None:
            def work() -> Any:
                data = yield stream.read()
                yield sleep(10)
                stream.write(data + b' and out')
                yield stream.read()
                stream.close()

            spawn(work())

        listener = listen(one, answer)
        two.call_soon(lambda: spawn(client()))
        world.run(lambda: got)
        assert got == [b'over and out']
        # To connect, to send and to be answered takes two ways each and the pause.
        assert world.now == 12
        world.run(lambda: not one.tasks)
        listener.close()


def test_a_closed_reactor_is_no_party_any_more() -> None:
    world = World()
    world.reactor().close()
    with world.reactor() as reactor:
        done = []
        reactor.call_later(1, done.append, 1)
        world.run(lambda: done)


def test_descriptors_are_reused_lowest_first() -> None:
    net = World().network
    socks = [net.socket() for _ in range(5)]
    assert [sock.fileno() for sock in socks] == [3, 4, 5, 6, 7]
    for n in (3, 1):
        socks[n].close()
        socks[n].close()
    assert [net.socket().fileno() for _ in range(3)] == [4, 6, 8]


# -- the same rules as Linux ----------------------------------------------------------------------


class Ends:
    """Two connected sockets, real or simulated."""

    def __init__(self, kind: str, unix: bool = False) -> None:
        net: Any = World().network if kind == 'simulated' else socket
        if unix:
            self.client, self.server = net.socketpair()
        else:
            listener = net.socket()
            listener.bind(('127.0.0.1', 0))
            listener.listen()
            self.client = net.socket()
            self.client.connect_ex(listener.getsockname())
            self.server, address = listener.accept()
            assert address == self.client.getsockname()
            listener.close()
        for sock in (self.client, self.server):
            sock.setblocking(False)

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def outcome(self, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except OSError as error:
            return errno.errorcode[error.errno or 0]


def by_both(unix: bool, story: Any) -> None:
    """Let the kernel and the simulation tell the same story."""
    told = []
    for kind in ('real', 'simulated'):
        ends = Ends(kind, unix)
        told.append(list(story(ends)))
        ends.close()
    assert told[0] == told[1]


@pytest.mark.parametrize('unix', [False, True])
def test_an_orderly_end_is_the_same(unix: bool) -> None:
    def story(ends: Ends) -> Any:
        client, server, outcome = ends.client, ends.server, ends.outcome
        yield outcome(server.recv, 10)
        yield client.send(b'abcdef')
        yield server.recv(3)
        yield server.recv(10, socket.MSG_PEEK)
        client.shutdown(socket.SHUT_WR)
        yield outcome(client.send, b'x')
        yield server.recv(10)
        yield server.recv(10)
        yield server.recv(10)
        yield server.sendmsg([b'ans', b'wer'])
        server.close()
        yield client.recv(10)
        yield client.recv(10)
        yield outcome(server.recv, 10)

    by_both(unix, story)


@pytest.mark.parametrize('unix', [False, True])
def test_closing_with_unread_bytes_is_the_same(unix: bool) -> None:
    def story(ends: Ends) -> Any:
        client, server, outcome = ends.client, ends.server, ends.outcome
        server.send(b'unread')
        client.send(b'sent before')
        client.close()
        yield server.recv(100)
        yield outcome(server.recv, 100)
        yield outcome(server.recv, 100)
        yield outcome(server.send, b'x')

    by_both(unix, story)


def test_a_reset_by_linger_is_the_same() -> None:
    def story(ends: Ends) -> Any:
        client, server, outcome = ends.client, ends.server, ends.outcome
        client.send(b'sent before')
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        client.close()
        yield server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        yield server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        yield server.recv(100)
        yield server.recv(100)
        yield outcome(server.send, b'x')
        yield outcome(server.getpeername)
        yield outcome(server.shutdown, socket.SHUT_WR)

    by_both(False, story)


def test_sending_to_a_closed_socket_is_the_same() -> None:
    def story(ends: Ends) -> Any:
        client, server, outcome = ends.client, ends.server, ends.outcome
        client.close()
        yield server.send(b'x')
        yield outcome(server.send, b'x')
        yield outcome(server.recv, 10)

    by_both(False, story)


def test_sending_to_a_closed_unix_socket_is_the_same() -> None:
    def story(ends: Ends) -> Any:
        ends.client.send(b'abc')
        ends.client.close()
        yield ends.outcome(ends.server.send, b'x')
        yield ends.server.recv(10)
        yield ends.server.recv(10)

    by_both(True, story)


def test_a_socket_that_is_not_connected_is_the_same() -> None:
    for net in (socket, World().network):
        sock: Any = net.socket()  # type: ignore[attr-defined]
        sock.setblocking(False)
        for call, args, code in ((sock.recv, (10,), errno.ENOTCONN),
                                 (sock.send, (b'x',), errno.EPIPE),
                                 (sock.getpeername, (), errno.ENOTCONN),
                                 (sock.shutdown, (socket.SHUT_WR,), errno.ENOTCONN)):
            with pytest.raises(OSError) as caught:
                call(*args)
            assert caught.value.errno == code
        sock.close()


# -- knobs and faults -----------------------------------------------------------------------------


def test_a_full_buffer_takes_a_part_and_then_nothing() -> None:
    one, other = World(buffer_size=1000).network.socketpair()
    assert one.send(bytes(700)) == 700
    assert one.send(bytes(700)) == 300
    with pytest.raises(BlockingIOError):
        one.send(b'x')
    assert len(other.recv(600)) == 600
    assert one.send(bytes(700)) == 600


def test_pieces_are_of_any_size_up_to_the_largest() -> None:
    one, other = World(seed=4, largest_piece=5).network.socketpair()
    assert {one.send(bytes(100)) for _ in range(100)} == {1, 2, 3, 4, 5}
    assert {len(other.recv(100)) for _ in range(50)} == {1, 2, 3, 4, 5}


def test_a_connection_can_be_broken(virtual: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(virtual)
        virtual.network.reset(virtual.network.sockets[client.fd])
        for stream in (client, server):
            with pytest.raises(StreamClosed) as caught:
                yield stream.read()
            assert isinstance(caught.value.cause, ConnectionResetError)

    run(virtual, main())


def test_a_peer_that_stops_reading_fills_the_buffers_and_no_more() -> None:
    world = World(latency=0.01, buffer_size=10000)

    def main(reactor: Reactor) -> Any:
        client, server = yield from pair(reactor)
        world.network.stall(world.network.sockets[server.fd])
        client.write(bytes(200000))
        before = reactor.turns
        yield sleep(60)
        assert client.buffered == 190000
        assert server.inbox.size == 0
        assert reactor.turns - before < 10
        client.abort()
        server.abort()

    with world.reactor() as reactor:
        run(reactor, main(reactor))


def test_a_full_queue_is_asked_again_as_tcp_does() -> None:
    world = World()
    with world.reactor() as reactor:
        net = world.network
        listening = net.socket()
        listening.bind(('127.0.0.1', 80))
        listening.listen(1)
        clients = [net.socket() for _ in range(4)]
        for client in clients:
            client.connect_ex(('127.0.0.1', 80))
        reactor.step(0)
        accepted = [listening.accept()[0] for _ in range(2)]
        with pytest.raises(BlockingIOError):
            listening.accept()
        reactor.step(1.5)
        accepted += [listening.accept()[0] for _ in range(2)]
        assert world.now == 1.5
        listening.close()
        for sock in [*accepted, *clients]:
            sock.close()


def test_who_waits_in_the_queue_of_a_listener_that_closes_is_reset() -> None:
    net = World().network
    listening = net.socket()
    listening.bind(('127.0.0.1', 80))
    listening.listen()
    client = net.socket()
    client.connect_ex(('127.0.0.1', 80))
    listening.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    client.close()
    assert net.sockets == {}


def test_ports_are_bound_once_and_found_by_every_address() -> None:
    net = World().network
    every = net.socket()
    every.bind(('0.0.0.0', 80))
    every.listen()
    with pytest.raises(OSError, match='already in use'):
        net.socket().bind(('0.0.0.0', 80))
    client = net.socket()
    client.connect_ex(('10.1.2.3', 80))
    server, _ = every.accept()
    assert server.getsockname() == ('10.1.2.3', 80)
    every.close()
    net.socket().bind(('0.0.0.0', 80))


def test_a_poller_refuses_what_a_kernel_refuses() -> None:
    world = World()
    poller, sock = world.poller(), world.network.socket()
    fd = sock.fileno()
    for call, args, code in ((poller.modify, (fd, 1), errno.ENOENT),
                             (poller.unregister, (fd,), errno.ENOENT),
                             (poller.register, (99, 1), errno.EBADF)):
        with pytest.raises(OSError) as caught:
            call(*args)
        assert caught.value.errno == code
    poller.register(fd, 1)
    with pytest.raises(FileExistsError):
        poller.register(fd, 1)


def test_the_network_has_the_constants_and_names_of_the_socket_module() -> None:
    net = World().network
    assert net.SO_KEEPALIVE == socket.SO_KEEPALIVE
    assert net.gaierror is socket.gaierror
    with pytest.raises(AttributeError):
        net.create_connection(('localhost', 80))
    with pytest.raises(socket.gaierror):
        net.getaddrinfo('nowhere.test', 80)
