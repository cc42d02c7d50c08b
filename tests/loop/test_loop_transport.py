"""A Stream over what is no plain socket: a library that buffers, and repeats what was refused."""

from __future__ import annotations

from typing import Any

import pytest
from loop_support import Recorder
from loop_support import run as run_for_ever
from simulated import World

from tremolo.loop import Reactor, Stream, StreamClosed, gather, sleep, timeout

BIG = bytes(range(256)) * 2000


class Library:
    """A transport that behaves as OpenSSL does, over one end of a socket pair.

    It takes all from the kernel and gives it out in small pieces; it refuses every second write
    and then wants to see the same bytes; it sends one piece at a time; and it cannot shut down at
    the first try.
    """

    secure = True

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._held = b''
        self._refused = b''
        self._refuses = True
        self._shutdowns = 0
        self.closed = False
        for name in ('fileno', 'getsockopt', 'setsockopt', 'getpeername', 'getsockname'):
            setattr(self, name, getattr(sock, name))

    def pending(self) -> int:
        assert not self.closed
        return len(self._held)

    def recv(self, size: int) -> bytes:
        assert not self.closed
        if not self._held:
            self._held = self._sock.recv(1 << 20)
        data, self._held = self._held[:min(size, 1000)], self._held[min(size, 1000):]
        return data

    def send(self, data: Any) -> int:
        self._refuses = not self._refuses
        if not self._refused:
            self._refused = bytes(data)
        # What was refused comes again, though a limit may have cut it.
        common = min(len(data), len(self._refused))
        assert bytes(data[:common]) == self._refused[:common]
        if self._refuses:
            raise BlockingIOError
        sent: int = self._sock.send(self._refused)
        self._refused = self._refused[sent:]
        return sent

    def sendmsg(self, buffers: Any) -> int:
        return self.send(buffers[0])

    def shutdown(self, how: int) -> None:
        self._shutdowns += 1
        if self._shutdowns == 1:
            raise BlockingIOError
        self._sock.shutdown(how)

    def close(self) -> None:
        self.closed = True
        self._sock.close()


@pytest.fixture
def even() -> Any:
    """Give a reactor of a world without latency and pieces, for exact times."""
    with World().reactor() as reactor:
        yield reactor


def ends(reactor: Reactor) -> tuple[Stream, Stream]:
    """Connect a stream over the library with one over a plain socket."""
    one, other = reactor.network.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    return Stream(reactor, Library(one)), Stream(reactor, other)


def run(reactor: Reactor, work: Any) -> None:
    """Run a generator to its end; one that stalls fails."""
    def bounded() -> Any:
        yield timeout(10, work)

    run_for_ever(reactor, bounded())


def until(condition: Any) -> Any:
    """Wait in small steps, in real or virtual time."""
    while not condition():
        yield sleep(0.0005)


class Allowances:
    """A limit of so many bytes at a time, then of as many as anybody wants."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = list(sizes)
        self.allowed = 0

    def allowance(self) -> int:
        self.allowed = self.sizes.pop(0) if self.sizes else 1 << 30
        return self.allowed

    def spend(self, size: int) -> None:
        assert 0 <= size <= self.allowed

    def delay(self) -> float:
        return 0.001


def test_nothing_stalls_in_either_direction(any_reactor: Reactor) -> None:
    def send(stream: Stream) -> Any:
        for start in range(0, len(BIG), 50000):
            stream.write(BIG[start:start + 50000])
            yield stream.drain()
        stream.shutdown()

    def receive(stream: Stream) -> Any:
        data = yield stream.inbox.read_all(10 ** 7)
        assert (yield stream.read()) == b''
        return data

    def main() -> Any:
        library, plain = ends(any_reactor)
        library.start()
        plain.start()
        results = yield gather(send(library), send(plain), receive(library), receive(plain))
        assert results[2] == results[3] == BIG
        assert library.sent == plain.sent == len(BIG)
        library.close()
        plain.close()

    run(any_reactor, main())


def test_the_poller_is_not_needed_for_what_the_library_holds(even: Reactor) -> None:
    library, plain = ends(even)
    library.receiver = recorder = Recorder()
    plain.write(BIG[:50000])
    library.start()
    turns = even.turns
    even.step(0)
    assert recorder.data == BIG[:50000]
    assert even.turns == turns + 1
    # Now the poller reports the socket once, and the rest is in the library.
    plain.write(BIG[50000:80000])
    even.step(0)
    assert recorder.data == BIG[:80000]
    library.close()
    plain.close()


class Pausing(Recorder):
    """A receiver that pauses its stream after each piece."""

    stream: Stream
    pieces = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.pieces += 1
        self.stream.pause_reading()


def test_a_pause_is_kept_and_ended_while_the_library_holds_bytes(any_reactor: Reactor) -> None:
    def main() -> Any:
        library, plain = ends(any_reactor)
        library.receiver = pausing = Pausing()
        pausing.stream = library
        plain.write(BIG[:5000])
        plain.start()
        while len(pausing.data) < 5000:
            before = pausing.pieces
            library.resume_reading()
            # Resuming reads nothing by itself: a receiver is never entered twice.
            assert pausing.pieces == before
            yield from until(lambda count=before: pausing.pieces > count)
            yield sleep(0.005)
            assert pausing.pieces == before + 1
        assert pausing.data == BIG[:5000]
        # A pause after resuming and before the next turn counts.
        plain.write(b'last')
        library.resume_reading()
        library.pause_reading()
        yield sleep(0.005)
        assert pausing.data == BIG[:5000]
        while not pausing.data.endswith(b'last'):
            library.resume_reading()
            yield sleep(0.001)
        assert pausing.told == []
        plain.close()
        library.close()

    run(any_reactor, main())


def test_a_rate_limit_rests_while_the_library_holds_bytes(even: Reactor) -> None:
    def main() -> Any:
        library, plain = ends(even)
        library.read_limit = Allowances(*[0, 100] * 20)
        library.start()
        plain.write(BIG[:2000])
        began = even.time()
        assert (yield library.read_exactly(2000)) == BIG[:2000]
        assert even.time() - began == pytest.approx(0.020)
        library.close()
        plain.close()

    run(even, main())


def test_a_refused_write_is_repeated_also_under_a_smaller_rate(any_reactor: Reactor) -> None:
    def main() -> Any:
        library, plain = ends(any_reactor)
        plain.start()
        library.start()
        library.write_limit = Allowances(*[5000, 7, 0, 900] * 4)
        library.write(BIG[:30000])
        library.write(BIG[30000:70000])
        library.close()
        assert (yield plain.inbox.read_all(10 ** 6)) == BIG[:70000]
        assert library.sent == 70000
        plain.close()

    run(any_reactor, main())


def test_a_shutdown_that_must_wait_is_done_later_and_once(any_reactor: Reactor) -> None:
    def main() -> Any:
        library, plain = ends(any_reactor)
        library.start()
        plain.start()
        library.shutdown()
        assert not library.closed
        assert (yield plain.read()) == b''
        before = any_reactor.turns
        yield sleep(0.02)
        assert any_reactor.turns - before <= 4
        plain.write(b'still here')
        assert (yield library.read_exactly(10)) == b'still here'
        with pytest.raises(StreamClosed):
            library.write(b'')
        library.close()
        plain.close()

    run(any_reactor, main())


def test_a_stream_that_ends_while_the_library_holds_bytes_reads_no_more(even: Reactor) -> None:
    class Leaving(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            library.abort(reset=True)

    library, plain = ends(even)
    library.receiver = leaving = Leaving()
    plain.write(BIG[:5000])
    library.start()
    even.step(0)
    assert library.closed
    assert leaving.data == BIG[:1000]
    assert leaving.told == [('closed', None)]
    plain.abort()


def test_a_stream_tells_whether_it_is_secure(even: Reactor) -> None:
    library, plain = ends(even)
    assert library.secure is True
    assert plain.secure is False
    library.abort()
    plain.abort()


def test_a_plain_socket_needs_no_turn_to_begin(even: Reactor) -> None:
    library, plain = ends(even)
    plain.start()
    assert even.next_deadline() is None
    library.start()
    assert even.next_deadline() is not None
    library.abort()
    plain.abort()
