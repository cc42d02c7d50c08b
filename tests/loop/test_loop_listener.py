"""Listeners: addresses, UNIX files, bounded accepting, running out of descriptors."""

from __future__ import annotations

import errno
import os
import resource
import socket
from typing import Any

import pytest
from loop_support import listen, make_reactor, run
from refusals import Refusals
from simulated import World

from tremolo.loop import (
    Listener,
    ListenError,
    Queue,
    Reactor,
    Stream,
    bind,
    bind_unix,
    connect,
    gather,
    sleep,
)
from tremolo.loop import (
    listener as listener_module,
)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(('::1', 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason='this machine has no IPv6')


def greeting_from(reactor: Reactor, sockets: list[Any], host: str) -> Any:
    """Connect to a server on `sockets` that greets; give the greeting."""
    def greet(sock: Any, address: Any) -> None:
        stream = Stream(reactor, sock)
        stream.start()
        stream.write(b'hello ' + str(address[0]).encode())
        stream.close()

    listeners = [Listener(reactor, sock, greet) for sock in sockets]
    for listener in listeners:
        listener.start()
    client = yield connect(host, listeners[0].address[1])
    said = yield client.inbox.read_all(100)
    client.close()
    for listener in listeners:
        listener.close()
    return said


def test_ipv4_alone(any_reactor: Reactor) -> None:
    sockets = bind(any_reactor, '127.0.0.1', 0)
    assert len(sockets) == 1
    assert run(any_reactor, greeting_from(any_reactor, sockets, '127.0.0.1')) == b'hello 127.0.0.1'


def test_no_host_means_every_ipv4_address(any_reactor: Reactor) -> None:
    sockets = bind(any_reactor, '', 0)
    assert sockets[0].getsockname()[0] == '0.0.0.0'
    assert run(any_reactor, greeting_from(any_reactor, sockets, '127.0.0.1')) == b'hello 127.0.0.1'


@needs_ipv6
@pytest.mark.parametrize(('host', 'peer'), [('127.0.0.1', b'hello ::ffff:127.0.0.1'),
                                            ('::1', b'hello ::1')])
def test_two_colons_listen_on_both_families(reactor: Reactor, host: str, peer: bytes) -> None:
    sockets = bind(reactor, '::', 0)
    assert len(sockets) == 1
    assert run(reactor, greeting_from(reactor, sockets, host)) == peer


@needs_ipv6
def test_another_ipv6_address_is_ipv6_alone(reactor: Reactor) -> None:
    sockets = bind(reactor, '::1', 0)
    assert sockets[0].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    assert run(reactor, greeting_from(reactor, sockets, '::1')) == b'hello ::1'


def test_all_addresses_of_a_name_share_one_free_port() -> None:
    world = World()
    world.network.hosts['two.test'] = ['10.0.0.1', '10.0.0.2']
    with world.reactor() as reactor:
        sockets = bind(reactor, 'two.test', 0)
        assert [sock.getsockname()[0] for sock in sockets] == ['10.0.0.1', '10.0.0.2']
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        for sock in sockets:
            sock.close()


class Network:
    """The real network with another name service."""

    def __init__(self, *addresses: tuple[Any, str]) -> None:
        self.found = [(family, socket.SOCK_STREAM, 6, '', (address, 0))
                      for family, address in addresses]

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)

    def getaddrinfo(self, *args: Any, **options: Any) -> Any:
        return self.found


def test_an_address_this_machine_does_not_have_is_left_out(reactor: Reactor) -> None:
    """As with 'localhost' in a container without IPv6."""
    reactor.network = Network((socket.AF_INET, '192.0.2.1'), (socket.AF_INET, '127.0.0.1'))
    sockets = bind(reactor, 'some.test', 0)
    assert [sock.getsockname()[0] for sock in sockets] == ['127.0.0.1']
    sockets[0].close()
    reactor.network = Network((socket.AF_INET, '192.0.2.1'))
    with pytest.raises(ListenError, match=r'cannot listen on some\.test:0: Cannot assign'):
        bind(reactor, 'some.test', 0)


def test_a_port_that_is_taken_is_a_listen_error(any_reactor: Reactor) -> None:
    sock = bind(any_reactor, '127.0.0.1', 0)[0]
    port = sock.getsockname()[1]
    with pytest.raises(ListenError, match=f'cannot listen on 127.0.0.1:{port}: Address already'):
        bind(any_reactor, '127.0.0.1', port)
    sock.close()


@pytest.mark.parametrize('host', ['nowhere.invalid', 'x' * 80 + '.test'])
def test_a_host_that_cannot_be_resolved_is_a_listen_error(host: str) -> None:
    with World().reactor() as reactor, pytest.raises(ListenError, match=r'cannot listen on .*: '):
        bind(reactor, host, 80)


def test_a_label_that_is_too_long_is_a_listen_error(reactor: Reactor) -> None:
    # The codec of internationalised names refuses it before anybody is asked.
    with pytest.raises(ListenError, match=r'cannot listen on .*: '):
        bind(reactor, 'x' * 80 + '.test', 80)


def test_a_port_out_of_range_is_a_listen_error(reactor: Reactor) -> None:
    for port in (-1, 65536, 70000):
        with pytest.raises(ListenError, match=f':{port}: the port must be 0 to 65535'):
            bind(reactor, '127.0.0.1', port)


# -- UNIX sockets ---------------------------------------------------------------------------------


def ignore(sock: Any, address: Any) -> None:
    sock.close()


def test_a_unix_listener_removes_its_file(reactor: Reactor, tmp_path: Any) -> None:
    path = str(tmp_path / 'socket')
    listener = Listener(reactor, bind_unix(reactor, path), ignore)
    assert listener.is_unix
    assert listener.address == path
    assert os.path.exists(path)
    listener.close()
    listener.close()
    assert not os.path.exists(path)
    # Somebody else removed the file: no matter.
    listener = Listener(reactor, bind_unix(reactor, path), ignore)
    os.unlink(path)
    listener.close()


@pytest.mark.parametrize('kind', ['epoll', 'simulated'])
def test_a_unix_listener_accepts(kind: str, tmp_path: Any) -> None:
    path = str(tmp_path / 'socket')
    arrived = Queue()

    def main(reactor: Reactor) -> Any:
        def accepted(sock: Any, address: Any) -> None:
            stream = Stream(reactor, sock)
            stream.start()
            arrived.put_nowait(stream)

        listener = Listener(reactor, bind_unix(reactor, path), accepted)
        listener.start()
        net = reactor.network
        sock = net.socket(net.AF_UNIX, net.SOCK_STREAM)
        sock.setblocking(False)
        assert sock.connect_ex(path) == 0
        client, server = Stream(reactor, sock), (yield arrived.get())
        client.write(b'x')
        assert (yield server.read()) == b'x'
        server.close()
        client.close()
        listener.close()
        assert not os.path.exists(path)

    with make_reactor(kind) as reactor:
        run(reactor, main(reactor))


def test_a_stale_socket_file_is_replaced(reactor: Reactor, tmp_path: Any) -> None:
    path = str(tmp_path / 'socket')
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    listener = Listener(reactor, bind_unix(reactor, path), ignore)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    listener.close()


def test_a_socket_somebody_listens_on_is_left_alone(reactor: Reactor, tmp_path: Any) -> None:
    path = str(tmp_path / 'socket')
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(path)
        living.listen()
        with pytest.raises(ListenError, match=f'cannot listen on unix:{path}: Address already'):
            bind_unix(reactor, path)
        assert os.path.exists(path)


@pytest.mark.parametrize('kind', ['file', 'directory', 'dangling link'])
def test_a_path_that_is_no_socket_is_refused_and_left_alone(
        reactor: Reactor, tmp_path: Any, kind: str) -> None:
    path = tmp_path / 'thing'
    if kind == 'file':
        path.write_text('precious')
    elif kind == 'directory':
        path.mkdir()
    else:
        path.symlink_to('/nowhere/at/all')
    with pytest.raises(ListenError, match='something that is no socket is there'):
        bind_unix(reactor, str(path))
    assert os.path.lexists(path)


def test_a_path_in_no_directory_is_a_listen_error(reactor: Reactor, tmp_path: Any) -> None:
    with pytest.raises(ListenError, match='No such file or directory'):
        bind_unix(reactor, str(tmp_path / 'no' / 'socket'))


def test_a_name_in_the_abstract_namespace_has_no_file(reactor: Reactor) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f'\0tremolo-test-{os.getpid()}')
    sock.listen()
    sock.setblocking(False)
    Listener(reactor, sock, ignore).close()


# -- accepting ------------------------------------------------------------------------------------


def test_accepted_sockets_are_ready_for_the_loop(reactor: Reactor) -> None:
    accepted = Queue()

    def main() -> Any:
        sock = bind(reactor, '127.0.0.1', 0)[0]
        listener = Listener(reactor, sock, lambda sock, address: accepted.put_nowait(sock))
        listener.start()
        listener.start()
        client = yield connect('127.0.0.1', listener.address[1])
        sock = yield accepted.get()
        assert sock.gettimeout() == 0
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        sock.close()
        client.close()
        listener.close()

    run(reactor, main())


def test_accepting_is_bounded_per_turn() -> None:
    world = World()
    with world.reactor() as reactor:
        accepted = []
        listener = listen(reactor, accepted.append)
        clients = [world.network.socket() for _ in range(150)]
        for client in clients:
            client.connect_ex(listener.address)
        reactor.step(0)
        assert len(accepted) == 64
        reactor.step(0)
        reactor.step(0)
        assert len(accepted) == 150
        for thing in [*accepted, *clients, listener]:
            thing.close()


def test_a_paused_listener_lets_clients_wait_and_may_pause_itself(any_reactor: Reactor) -> None:
    accepted = Queue()

    def main() -> Any:
        listener = listen(any_reactor, take)
        holder.append(listener)
        clients = yield gather(*[connect('127.0.0.1', listener.address[1]) for _ in range(3)])
        first = yield accepted.get()
        yield sleep(0.01)
        assert accepted.qsize() == 0
        assert listener.paused
        listener.start()
        second = yield accepted.get()
        listener.start()
        third = yield accepted.get()
        for stream in (first, second, third, *clients, listener):
            stream.close()

    def take(stream: Stream) -> None:
        accepted.put_nowait(stream)
        holder[0].pause()

    holder: list[Listener] = []
    run(any_reactor, main())


def test_a_client_that_cannot_be_taken_is_closed_and_the_next_is_served(
        any_reactor: Reactor, logged: Any) -> None:
    seen: list[Any] = []

    def main() -> Any:
        def take(sock: Any, address: Any) -> None:
            stream = Stream(any_reactor, sock)
            stream.start()
            seen.append(stream)
            if len(seen) == 1:
                raise ValueError('not this one')

        listener = Listener(any_reactor, bind(any_reactor, '127.0.0.1', 0)[0], take)
        listener.start()
        first = yield connect('127.0.0.1', listener.address[1])
        assert (yield first.read()) == b''
        watched = len(any_reactor.watchers)
        second = yield connect('127.0.0.1', listener.address[1])
        second.write(b'x')
        while len(seen) < 2:
            yield sleep(0.001)
        # It may have the descriptor of the first one, which must not be watched any more.
        assert (yield seen[1].read()) == b'x'
        assert len(any_reactor.watchers) == watched + 2
        for thing in (first, second, seen[1], listener):
            thing.close()

    run(any_reactor, main())
    assert logged.count('a new connection could not be taken') == 1


@pytest.mark.parametrize('kind', ['real', 'simulated'])
def test_without_descriptors_it_does_not_spin_says_so_once_and_goes_on(
        kind: str, logged: Any, monkeypatch: Any) -> None:
    accepted = Queue()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def exhaust() -> None:
        if kind == 'simulated':
            reactor.network.most_descriptors = len(reactor.network.sockets)
        else:
            highest = max(int(fd) for fd in os.listdir('/proc/self/fd'))
            for _ in range(highest):
                fillers.append(os.open('/dev/null', os.O_RDONLY))
                if fillers[-1] > highest:
                    break
            resource.setrlimit(resource.RLIMIT_NOFILE, (fillers[-1] + 1, limits[1]))

    def relieve() -> None:
        if kind == 'simulated':
            reactor.network.most_descriptors = 1000
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    def main() -> Any:
        listener = listen(reactor, accepted.put_nowait)
        client = yield connect('127.0.0.1', listener.address[1])
        (yield accepted.get()).close()
        client.close()
        clients = [reactor.network.socket() for _ in range(3)]
        exhaust()
        try:
            for sock in clients:
                sock.setblocking(False)
                sock.connect_ex(listener.address)
            before = reactor.turns
            yield sleep(0.35)
            assert reactor.turns - before < 20
            # (Now and then it tries again, and has not failed yet.)
            for _ in range(1000):
                if listener.paused:
                    break
                yield sleep(0.001)
            assert listener.paused
            assert logged.messages == ['no new connections for now: Too many open files']
        finally:
            relieve()
        for _ in clients:
            (yield accepted.get()).close()
        assert logged.messages[1:] == ['accepting again']
        for thing in [*clients, listener]:
            thing.close()

    monkeypatch.setattr(listener_module, '_BREATH', 0.1)
    fillers: list[int] = []
    with make_reactor('simulated' if kind == 'simulated' else 'epoll') as reactor:
        run(reactor, main())
    for fd in fillers:
        os.close(fd)


def test_a_pause_while_it_takes_breath_lasts(logged: Any) -> None:
    world = World()

    def main(reactor: Reactor) -> Any:
        listener = listen(reactor, lambda stream: stream.close())
        client = world.network.socket()
        world.network.most_descriptors = len(world.network.sockets)
        client.connect_ex(listener.address)
        yield sleep(0.5)
        assert logged.count('no new connections') == 1
        listener.pause()
        yield sleep(5)
        assert listener.paused
        assert logged.count('no new connections') == 1
        client.close()
        listener.close()

    with world.reactor() as reactor:
        run(reactor, main(reactor))


def test_an_error_that_lasts_does_not_spin(reactor: Reactor, logged: Any) -> None:
    """As when somebody else shut the listening socket down."""
    def main() -> Any:
        sock = bind(reactor, '127.0.0.1', 0)[0]
        listener = Listener(reactor, sock, ignore)
        listener.start()
        sock.shutdown(socket.SHUT_RDWR)
        before = reactor.turns
        yield sleep(0.05)
        assert reactor.turns - before < 10
        listener.close()

    run(reactor, main())
    assert logged.messages == ['no new connections for now: Invalid argument']


def test_an_error_of_one_connection_is_passed_over(virtual: Reactor) -> None:
    accepted = Queue()

    class Flaky:
        def __init__(self, sock: Any) -> None:
            self.sock = sock
            self.errors = [errno.ECONNABORTED, errno.EPROTO]

        def __getattr__(self, name: str) -> Any:
            return getattr(self.sock, name)

        def accept(self) -> Any:
            if self.errors:
                raise OSError(self.errors.pop(), 'gone')
            return self.sock.accept()

    def main() -> Any:
        sock = Flaky(bind(virtual, '127.0.0.1', 0)[0])
        listener = Listener(virtual, sock, lambda sock, address: accepted.put_nowait(sock))
        listener.start()
        client = yield connect('127.0.0.1', listener.address[1])
        (yield accepted.get()).close()
        client.close()
        listener.close()

    run(virtual, main())


def test_at_the_limit_for_long_it_is_told_once_in_a_while(logged: Any) -> None:
    """Each second one descriptor becomes free, and is taken at once."""
    world = World()
    held: list[Stream] = []

    def main(reactor: Reactor) -> Any:
        listener = listen(reactor, held.append)
        clients = [world.network.socket() for _ in range(30)]
        world.network.most_descriptors = len(world.network.sockets)
        for client in clients:
            client.connect_ex(listener.address)
        begun = reactor.turns
        for _ in range(25):
            yield sleep(0.5)
            clients.pop(0).close()
            yield sleep(0.5)
        assert reactor.turns - begun < 1000
        assert len(held) >= 20
        for thing in [*held, *clients, listener]:
            thing.close()

    with world.reactor() as reactor:
        run(reactor, main(reactor))
    assert logged.count('no new connections for now: Too many open files') == 3
    assert logged.count('accepting again') == 3 and len(logged.messages) == 6


def test_a_listener_that_the_poller_refuses_tries_again(logged: Any) -> None:
    world = World()
    accepted: list[Any] = []

    def main(reactor: Reactor) -> Any:
        listener = listen(reactor, accepted.append)
        client = world.network.socket()
        client.connect_ex(listener.address)
        listener.pause()
        # (A refusal is three calls: the change, and then the entry is removed and made anew.)
        Refusals(reactor._poller).next(6, errno.ENOSPC)
        listener.start()
        yield sleep(0.15)
        assert listener.paused and not accepted
        yield sleep(0.1)
        assert not listener.paused and len(accepted) == 1
        for thing in [*accepted, client, listener]:
            thing.close()

    with world.reactor() as reactor:
        run(reactor, main(reactor))
    assert logged.messages == [
        'the poller does not take a descriptor: No space left on device; what needs it is closed',
        'no new connections for now: the poller does not take the socket: No space left on device',
        'accepting again']


@pytest.mark.parametrize('kind', ['epoll', 'kqueue', 'select', 'simulated'])
def test_who_has_the_number_of_a_descriptor_that_was_closed_unknown_to_us_is_served(
        kind: str) -> None:
    accepted = Queue()

    def main(reactor: Reactor) -> Any:
        listener = listen(reactor, accepted.put_nowait)
        listener.pause()
        sock, other = reactor.network.socketpair()
        client = yield connect('127.0.0.1', listener.address[1])
        number = sock.fileno()
        for add in (reactor.add_reader, reactor.add_writer):
            add(number, print)
        sock.close()
        listener.start()
        stream = yield accepted.get()
        assert stream.fd == number
        client.write(b'x')
        assert (yield stream.read()) == b'x'
        for thing in (stream, client, other, listener):
            thing.close()

    with make_reactor(kind) as reactor:
        run(reactor, main(reactor))
