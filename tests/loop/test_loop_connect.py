"""connect: names, addresses in turn, shares of the time, cancelling, errors."""

from __future__ import annotations

import errno
import socket
import threading
from functools import partial
from typing import Any

import pytest
from loop_support import listen, run
from simulated import World

from tremolo.loop import (
    Cancelled,
    Queue,
    Reactor,
    Stream,
    bind,
    connect,
    run_in_thread,
    sleep,
    spawn,
)
from tremolo.loop.connect import PATIENCE


def closed_port(reactor: Reactor) -> int:
    sock = bind(reactor, '127.0.0.1', 0)[0]
    port: int = sock.getsockname()[1]
    sock.close()
    return port


@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost'])
def test_it_gives_a_started_stream(any_reactor: Reactor, host: str) -> None:
    arrived = Queue()

    def main() -> Any:
        listener = listen(any_reactor, arrived.put_nowait)
        client = yield connect(host, listener.address[1], timeout=5)
        assert isinstance(client, Stream)
        server = yield arrived.get()
        assert client.sockname == server.peer
        assert client.peer == server.sockname
        server.write(b'hello')
        assert (yield client.read_exactly(5)) == b'hello'
        client.close()
        assert (yield server.read()) == b''
        server.close()
        listener.close()

    run(any_reactor, main())


def test_a_refused_connection_names_the_address(any_reactor: Reactor) -> None:
    port = closed_port(any_reactor)

    def main() -> Any:
        with pytest.raises(ConnectionRefusedError, match=f'cannot connect to 127.0.0.1:{port}'):
            yield connect('127.0.0.1', port)
        assert len(any_reactor.watchers) == 1

    run(any_reactor, main())


def test_an_unknown_name_is_an_error_that_names_it(reactor: Reactor) -> None:
    class Network:
        def __getattr__(self, name: str) -> Any:
            return getattr(socket, name)

        def getaddrinfo(self, *args: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')

    # The name service of the machine is not asked.
    reactor.network = Network()

    def main() -> Any:
        with pytest.raises(OSError, match=r'cannot connect to nowhere.test:80: Name or') as caught:
            yield connect('nowhere.test', 80)
        assert caught.value.errno == socket.EAI_NONAME

    run(reactor, main())


def test_a_name_that_is_no_name_is_an_os_error_too(reactor: Reactor) -> None:
    def main() -> Any:
        with pytest.raises(OSError, match='cannot connect to'):
            yield connect('a' * 70 + '.test', 80)

    run(reactor, main())


def test_a_port_out_of_range_is_an_os_error(reactor: Reactor) -> None:
    def main() -> Any:
        for port in (-1, 0, 65536 + 80):
            with pytest.raises(OSError, match=f'127.0.0.1:{port}: the port must be'):
                yield connect('127.0.0.1', port)

    run(reactor, main())


def test_the_next_address_is_tried_when_one_refuses() -> None:
    world = World(latency=0.01)
    world.network.hosts['two.test'] = ['10.0.0.1', '127.0.0.1']

    def main(reactor: Reactor) -> Any:
        listener = listen(reactor, lambda stream: stream.close())
        client = yield connect('two.test', listener.address[1])
        assert client.peer[0] == '127.0.0.1'
        assert reactor.time() < 0.05
        client.close()
        listener.close()
        world.network.hosts['two.test'].reverse()
        with pytest.raises(ConnectionRefusedError):
            yield connect('two.test', listener.address[1])

    with world.reactor() as reactor:
        run(reactor, main(reactor))


def test_an_address_that_does_not_answer_is_given_up_for_the_next() -> None:
    world = World(latency=0.01)
    world.network.hosts['two.test'] = ['2001:db8::1', '127.0.0.1']
    world.network.silent.add('2001:db8::1')

    def main(reactor: Reactor) -> Any:
        listener = listen(reactor, lambda stream: stream.close())
        before = len(world.network.sockets)
        for timeout, seconds in ((None, PATIENCE), (60, PATIENCE), (1, 0.5)):
            start = reactor.time()
            client = yield connect('two.test', listener.address[1], timeout)
            assert reactor.time() - start == pytest.approx(seconds + 0.02)
            client.close()
            yield sleep(1)
            # The try that had no answer is closed.
            assert len(world.network.sockets) == before
        listener.close()

    with world.reactor() as reactor:
        run(reactor, main(reactor))


@pytest.mark.parametrize('timeout', [0, 0.9, 30])
def test_the_last_address_has_all_the_time_left(timeout: float) -> None:
    world = World(latency=0.01)
    world.network.hosts['three.test'] = ['10.9.9.1', '10.0.0.1', '10.9.9.2']
    world.network.silent.update(('10.9.9.1', '10.9.9.2'))

    def main(reactor: Reactor) -> Any:
        with pytest.raises(TimeoutError):
            yield connect('three.test', 80, timeout)
        assert reactor.time() == pytest.approx(timeout)
        assert len(world.network.sockets) == 2

    with world.reactor() as reactor:
        run(reactor, main(reactor))


def test_a_name_service_that_does_not_answer_is_bounded_by_the_timeout(reactor: Reactor) -> None:
    gate = threading.Event()

    class Network:
        def __getattr__(self, name: str) -> Any:
            return getattr(socket, name)

        def getaddrinfo(self, *args: Any) -> Any:
            if socket.AI_NUMERICHOST in args:
                raise socket.gaierror(socket.EAI_NONAME, 'no number')
            gate.wait(10)

    reactor.network = Network()

    def main() -> Any:
        with pytest.raises(TimeoutError, match=r'slow\.test:80: Connection timed out'):
            yield connect('slow.test', 80, timeout=0.01)
        gate.set()

    run(reactor, main())


def test_the_timeout_is_kept_to_the_moment() -> None:
    world = World()
    world.network.silent.add('10.9.9.9')

    def main(reactor: Reactor) -> Any:
        with pytest.raises(TimeoutError, match=r'10\.9\.9\.9:80: Connection timed out'):
            yield connect('10.9.9.9', 80, timeout=7)
        assert reactor.time() == 7
        assert len(world.network.sockets) == 2

    with world.reactor() as reactor:
        run(reactor, main(reactor))


def test_cancelling_closes_the_socket() -> None:
    world = World()
    world.network.silent.add('10.9.9.9')

    def main(reactor: Reactor) -> Any:
        future = connect('10.9.9.9', 80)
        assert len(world.network.sockets) == 3
        future.cancel()
        with pytest.raises(Cancelled):
            yield future
        yield
        assert len(world.network.sockets) == 2
        assert len(reactor.watchers) == 1
        # This one.
        assert len(reactor.tasks) == 1

    with world.reactor() as reactor:
        run(reactor, main(reactor))


def test_an_event_of_the_socket_that_had_the_descriptor_before_means_nothing() -> None:
    world = World()
    world.network.silent.add('10.9.9.9')
    tries: list[Any] = []

    def main(reactor: Reactor) -> Any:
        def writable(other: Any) -> None:
            # Both can be written, and their events are of the same turn.
            fds.append(other.fileno())
            for sock in pair:
                reactor.remove_fd(sock.fileno())
            other.close()
            tries.append(connect('10.9.9.9', 80, timeout=7))

        fds: list[int] = []
        pair = world.network.socketpair()
        for sock, other in zip(pair, reversed(pair)):
            reactor.add_writer(sock.fileno(), partial(writable, other))
        yield sleep(1)
        assert world.network.sockets[fds[0]] not in pair
        with pytest.raises(TimeoutError):
            yield tries[0]
        assert reactor.time() == 7
        assert len(tries) == 1
        for sock in pair:
            sock.close()

    with world.reactor() as reactor:
        run(reactor, main(reactor))


def test_a_connection_that_nobody_took_is_closed() -> None:
    """Cancelled in whatever turn, no socket is left."""
    for turns in range(8):
        world = World()

        def main(reactor: Reactor, turns: int = turns) -> Any:
            def work() -> Any:
                stream = yield connect('127.0.0.1', listener.address[1])
                stream.close()

            listener = listen(reactor, lambda stream: stream.close())
            task = spawn(work())
            for _ in range(turns):
                yield
            task.cancel()
            yield sleep(1)
            listener.close()

        with world.reactor() as reactor:
            run(reactor, main(reactor))
            assert len(world.network.sockets) == 2


def test_without_descriptors_it_fails() -> None:
    world = World()

    def main(reactor: Reactor) -> Any:
        world.network.most_descriptors = 2
        with pytest.raises(OSError, match=r'cannot connect to 127\.0\.0\.1:80') as caught:
            yield connect('127.0.0.1', 80)
        assert caught.value.errno == errno.EMFILE

    with world.reactor() as reactor:
        run(reactor, main(reactor))


def test_a_worker_thread_may_connect_and_read(reactor: Reactor) -> None:
    def greet(stream: Stream) -> None:
        stream.write(b'hello thread')
        stream.close()

    def job(port: int) -> bytes:
        stream = connect('127.0.0.1', port).result()
        data: bytes = stream.read_exactly(12).result()
        reactor.call_soon_threadsafe(stream.close)
        return data

    def main() -> Any:
        listener = listen(reactor, greet)
        data = yield run_in_thread(job, listener.address[1])
        yield
        listener.close()
        return data

    assert run(reactor, main()) == b'hello thread'
