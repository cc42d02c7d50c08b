"""Streams, on every poller and on the simulated network: reading, writing, every way to end."""

from __future__ import annotations

import gc
import itertools
import platform
import sys
from typing import Any

import pytest
from loop_support import Recorder, make_reactor, pair, run
from simulated import World

from tremolo.loop import (
    Cancelled,
    Future,
    InvalidState,
    LimitExceeded,
    Reactor,
    Stream,
    StreamClosed,
    gather,
    sleep,
    spawn,
)
from tremolo.loop.stream import APART, READ_SIZE

BIG = bytes(range(256)) * 4000


def until(condition: Any) -> Any:
    """Wait in small steps, in real or virtual time, for something of the network."""
    for _ in range(2000):
        if condition():
            return
        yield sleep(0.001)
    raise AssertionError('it never came')


def fill(stream: Stream) -> int:
    """Write until the kernel takes no more; return how many bytes."""
    size = 0
    while not stream.buffered:
        stream.write(bytes(65536))
        size += 65536
    return size


# -- reading --------------------------------------------------------------------------------------


def test_what_is_written_is_read_in_the_shapes_asked_for(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        client.write(b'first line\nsecond line\n')
        client.write(bytearray(b'0123456789'))
        client.write(memoryview(b'rest'))
        client.shutdown()
        assert (yield server.read_until(b'\n')) == b'first line\n'
        assert (yield server.read_until(b'\n')) == b'second line\n'
        assert (yield server.read_exactly(4)) == b'0123'
        assert (yield server.read_exactly(0)) == b''
        some = yield server.read(3)
        assert 1 <= len(some) <= 3
        rest = yield server.inbox.read_all(100)
        assert some + rest == b'456789rest'
        assert (yield server.read()) == b''
        assert (yield server.read_exactly(5)) == b''
        assert (yield server.read_until(b'\n')) == b''
        client.close()
        server.close()

    run(any_reactor, main())


def test_a_line_beyond_its_limit_is_an_error_and_its_bytes_stay(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        client.write(b'x' * 100)
        with pytest.raises(LimitExceeded, match='in 50 bytes'):
            yield server.read_until(b'\n', limit=50)
        assert (yield server.read_exactly(100)) == b'x' * 100
        client.write(b'y' * 100)
        with pytest.raises(LimitExceeded, match='more than 50 bytes'):
            yield server.inbox.read_all(50)
        client.close()
        server.close()

    run(any_reactor, main())


def test_two_reads_at_once_are_a_mistake(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        first = server.read()
        with pytest.raises(InvalidState, match='another read is waiting'):
            server.read()
        first.cancel()
        client.write(b'x')
        assert (yield server.read()) == b'x'
        client.close()
        server.close()

    run(any_reactor, main())


def test_a_read_cancelled_after_it_got_its_bytes_gives_them_back(virtual: Reactor) -> None:
    def reader(stream: Stream) -> Any:
        yield stream.read()

    def main() -> Any:
        client, server = yield from pair(virtual)
        task = spawn(reader(server))
        server.inbox.feed(b'abc')
        task.cancel()
        with pytest.raises(Cancelled):
            yield task
        server.inbox.feed(b'def')
        assert (yield server.read()) == b'abcdef'
        client.close()
        server.close()

    run(virtual, main())


def test_bytes_a_receiver_read_too_far_are_given_back(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        server.fill(b'')
        server.fill(b'given back')
        assert (yield server.read()) == b'given back'
        client.close()
        server.close()

    run(any_reactor, main())


def test_a_receiver_is_told_everything_once(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        server.receiver = recorder = Recorder()
        client.write(b'hello')
        client.shutdown()
        yield from until(lambda: recorder.told)
        assert recorder.data == b'hello'
        assert recorder.told == ['eof']
        server.write(b'answer')
        assert (yield client.read_exactly(6)) == b'answer'
        server.close()
        server.close()
        server.abort()
        assert recorder.told == ['eof', ('closed', None)]
        assert server.receiver is None
        assert (yield client.read()) == b''
        client.close()

    run(any_reactor, main())


@pytest.mark.parametrize('error', [ValueError('receiver'), Cancelled()])
def test_a_receiver_that_raises_loses_its_stream_only(
        any_reactor: Reactor, logged: Any, error: BaseException) -> None:
    class Broken(Recorder):
        def data_received(self, data: bytes) -> None:
            raise error

    def main() -> Any:
        client, server = yield from pair(any_reactor)
        server.receiver = broken = Broken()
        client.write(b'x')
        yield from until(lambda: server.closed)
        assert broken.told == [('closed', error)]
        assert server.cause is error
        yield from until(lambda: client.eof or client.closed)
        client.close()

    run(any_reactor, main())
    assert logged.count('a receiver failed; its stream is closed') == 1


def test_the_addresses_are_known_until_the_end(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        assert client.peer == server.sockname
        client.close()
        assert client.peer is None
        assert client.sockname is None
        server.close()

    run(any_reactor, main())


# -- writing --------------------------------------------------------------------------------------


def test_a_large_transfer_arrives_whole_in_both_directions_at_once(any_reactor: Reactor) -> None:
    def send(stream: Stream) -> Any:
        for start in range(0, len(BIG), 50000):
            stream.write(BIG[start:start + 50000])
            yield stream.drain()
            assert stream.buffered <= stream.high + 50000
        stream.shutdown()

    def receive(stream: Stream) -> Any:
        got = bytearray()
        while True:
            data = yield stream.read(30000)
            if not data:
                return bytes(got)
            got += data
            assert stream.inbox.size <= stream.high + READ_SIZE

    def main() -> Any:
        client, server = yield from pair(any_reactor)
        results = yield gather(send(client), send(server), receive(client), receive(server))
        assert results[2] == results[3] == BIG
        assert client.sent == server.sent == len(BIG)
        client.close()
        server.close()

    run(any_reactor, main())


def test_many_small_writes_to_a_slow_reader_keep_their_order(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        server.pause_reading()
        size = fill(client)
        pieces = b''.join(b'%d,' % n for n in range(2000))
        for n in range(2000):
            client.write(b'%d,' % n)
            client.write(b'')
        client.close()
        assert not client.closed
        server.resume_reading()
        yield server.read_exactly(size)
        assert (yield server.inbox.read_all(10 ** 6)) == pieces
        yield from until(lambda: client.closed)
        server.close()

    run(any_reactor, main())


def test_a_writer_waits_above_high_and_goes_on_below_low(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        server.pause_reading()
        assert client.drain() is None
        fill(client)
        while client.drain() is None:
            client.write(bytes(10000))
        assert client.buffered > client.high
        waiting = client.drain()
        assert client.drain() is waiting
        yield sleep(0.01)
        assert not waiting.done()

        def read_on() -> Any:
            while (yield server.read()):
                pass

        reader = spawn(read_on())
        yield waiting
        assert client.buffered <= client.low
        # A waiter that gave up does not disturb the next one.
        client.close()
        yield reader
        server.close()

    run(any_reactor, main())


def test_closing_happens_after_what_is_kept_and_nothing_can_be_written(
        any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        server.pause_reading()
        size = fill(client)
        client.close()
        assert not client.closed
        with pytest.raises(StreamClosed):
            client.write(b'x')
        server.resume_reading()
        assert len((yield server.inbox.read_all(10 ** 8))) == size
        yield from until(lambda: client.closed)
        assert client.cause is None
        for call in (lambda: client.write(b'x'), client.drain):
            with pytest.raises(StreamClosed):
                call()
        with pytest.raises(StreamClosed):
            yield client.read()
        server.close()

    run(any_reactor, main())


def test_abort_closes_now_and_forgets_what_is_kept(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        server.pause_reading()
        fill(client)
        while client.drain() is None:
            client.write(bytes(50000))
        waiting = client.drain()
        client.abort()
        assert client.closed
        assert client.buffered == 0
        with pytest.raises(StreamClosed):
            yield waiting
        server.abort()
        server.abort(reset=True)

    run(any_reactor, main())


def test_write_interest_exists_only_while_something_is_kept(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        client.write(b'taken at once')
        assert (yield server.read_exactly(13)) == b'taken at once'
        yield sleep(0.01)
        before = any_reactor.turns
        yield sleep(0.05)
        assert any_reactor.turns - before <= 3
        client.close()
        server.close()

    run(any_reactor, main())


# -- ends -----------------------------------------------------------------------------------------


def test_after_the_peers_fin_the_loop_does_not_spin_and_the_answer_is_sent(
        any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        client.write(b'question')
        client.shutdown()
        with pytest.raises(StreamClosed):
            client.write(b'more')
        assert (yield server.read_exactly(8)) == b'question'
        assert (yield server.read()) == b''
        before = any_reactor.turns
        yield sleep(0.05)
        assert any_reactor.turns - before <= 3
        server.write(b'answer')
        server.shutdown()
        assert (yield client.read_exactly(6)) == b'answer'
        assert (yield client.read()) == b''
        yield sleep(0.02)
        client.close()
        server.close()

    run(any_reactor, main())


def test_half_closed_the_other_way_the_peer_may_go_on_sending(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        server.shutdown()
        assert (yield client.read()) == b''
        client.write(b'still here')
        assert (yield server.read_exactly(10)) == b'still here'
        client.shutdown()
        assert (yield server.read()) == b''
        client.close()
        server.close()

    run(any_reactor, main())


def test_a_shutdown_comes_after_what_is_kept(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        server.pause_reading()
        size = fill(client)
        client.shutdown()
        client.shutdown()
        server.resume_reading()
        assert len((yield server.inbox.read_all(10 ** 8))) == size
        client.close()
        server.close()

    run(any_reactor, main())


def test_a_reset_is_seen_as_such_by_reader_and_writer(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        server.receiver = recorder = Recorder()
        client.abort(reset=True)
        yield from until(lambda: recorder.told)
        assert isinstance(server.cause, ConnectionResetError)
        assert recorder.told == [('closed', server.cause)]
        with pytest.raises(StreamClosed, match='reset by peer') as caught:
            server.write(b'x')
        assert caught.value.cause is server.cause
        with pytest.raises(StreamClosed):
            yield server.read()

    run(any_reactor, main())


def test_a_write_to_a_peer_that_is_gone_is_told_to_the_receiver(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        server.receiver = recorder = Recorder()
        server.pause_reading()
        client.close()
        for _ in range(1000):
            if server.closed:
                break
            server.write(b'x' * 1000)
            yield sleep(0.001)
        assert [told[0] for told in recorder.told] == ['closed']
        assert isinstance(server.cause, OSError)

    run(any_reactor, main())


def test_a_reset_while_reading_is_paused_costs_no_cpu_and_closes(sharp_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(sharp_reactor)
        server.receiver = recorder = Recorder()
        client.write(b'unread')
        server.pause_reading()
        yield sleep(0.01)
        client.abort(reset=True)
        yield from until(lambda: server.closed)
        assert isinstance(server.cause, ConnectionResetError)
        assert recorder.told == [('closed', server.cause)]
        before = sharp_reactor.turns
        yield sleep(0.05)
        assert sharp_reactor.turns - before <= 3
        assert len(sharp_reactor.watchers) == 1

    run(sharp_reactor, main())


def test_bytes_before_an_orderly_hang_up_are_not_lost_while_reading_is_paused(
        any_reactor: Reactor) -> None:
    """Both sides have sent their FIN, and what came before it still waits in the kernel."""
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        client.shutdown()
        client.pause_reading()
        server.write(b'the answer')
        server.close()
        before = any_reactor.turns
        yield sleep(0.05)
        assert any_reactor.turns - before <= 4
        assert not client.closed
        client.resume_reading()
        assert (yield client.inbox.read_all(100)) == b'the answer'
        client.close()

    run(any_reactor, main())


@pytest.mark.parametrize('kind', ['epoll', 'kqueue', 'select', 'simulated'])
def test_a_unix_peer_may_send_and_close_while_reading_is_paused(kind: str) -> None:
    with make_reactor(kind) as reactor:
        def main() -> Any:
            one, other = reactor.network.socketpair()
            one.setblocking(False)
            other.setblocking(False)
            reader, writer = Stream(reactor, one), Stream(reactor, other)
            reader.start()
            writer.start()
            reader.pause_reading()
            writer.write(b'last ' * 1000)
            writer.close()
            yield sleep(0.02)
            reader.resume_reading()
            assert (yield reader.inbox.read_all(10000)) == b'last ' * 1000
            reader.close()

        run(reactor, main())


def test_a_peer_that_hangs_up_after_its_fin_closes_the_stream(sharp_reactor: Reactor) -> None:
    def main() -> Any:
        one, other = sharp_reactor.network.socketpair()
        one.setblocking(False)
        other.setblocking(False)
        stream = Stream(sharp_reactor, one, recorder)
        stream.start()
        other.shutdown(sharp_reactor.network.SHUT_WR)
        yield from until(lambda: recorder.told)
        assert recorder.told == ['eof']
        other.close()
        yield from until(lambda: stream.closed)
        assert recorder.told == ['eof', ('closed', None)]

    recorder = Recorder()
    run(sharp_reactor, main())


def test_an_event_for_nothing_does_not_close_a_stream(any_reactor: Reactor) -> None:
    """As after an fd was closed and used again in the same turn, also for a paused reader."""
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        fake_events = [(server.fd, 1), (client.fd, 1 | 4)]
        server.pause_reading()
        poll, any_reactor._poll = any_reactor._poll, lambda timeout: fake_events
        any_reactor.call_soon(setattr, any_reactor, '_poll', poll)
        yield
        yield
        server.resume_reading()
        client.write(b'x')
        assert (yield server.read()) == b'x'
        client.close()
        server.close()

    run(any_reactor, main())


@pytest.mark.skipif(platform.python_implementation() == 'PyPy', reason='no reference counts')
def test_streams_that_ended_leave_no_cycles(any_reactor: Reactor) -> None:
    def reader(stream: Stream) -> Any:
        while (yield stream.read()):
            pass

    def one_round() -> Any:
        client, server = yield from pair(any_reactor)
        client.abort(reset=True)
        with pytest.raises(StreamClosed):
            yield server.read()
        client, server = yield from pair(any_reactor)
        task = spawn(reader(server))
        yield
        task.cancel()
        client.close()
        yield sleep(0.001)
        server.close()
        client, server = yield from pair(any_reactor)
        server.receiver = Recorder()
        server.pause_reading()
        client.read_limit = client.write_limit = Bucket(any_reactor, 1000)
        client.write(bytes(5000))
        yield sleep(0.001)
        client.close()
        yield sleep(0.001)
        client.abort()
        server.abort()

    def main() -> Any:
        # The first round fills caches.
        for _ in range(2):
            gc.collect()
            gc.disable()
            yield spawn(one_round())
            yield
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                gc.collect()
                left = [thing for thing in gc.garbage if isinstance(thing, (Stream, Recorder))]
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()
        assert left == []

    run(any_reactor, main())


# -- rates ----------------------------------------------------------------------------------------


class Bucket:
    """A token bucket, empty at first: `rate` bytes a second, at most a second's worth."""

    def __init__(self, reactor: Reactor, rate: float) -> None:
        self.time = reactor.time
        self.rate = rate
        self.tokens = 0.0
        self.looked = self.time()
        self.asked = 0

    def allowance(self) -> int:
        self.asked += 1
        now = self.time()
        self.tokens = min(self.rate, self.tokens + (now - self.looked) * self.rate)
        self.looked = now
        return int(self.tokens + 1e-6)

    def spend(self, size: int) -> None:
        self.tokens -= size

    def delay(self) -> float:
        return (100 - self.tokens) / self.rate


@pytest.fixture
def even() -> Any:
    """Give a reactor of a world without latency and pieces, for exact times."""
    with World().reactor() as reactor:
        yield reactor


def test_writing_at_a_rate_is_exact_on_the_virtual_clock(even: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(even)
        client.write_limit = bucket = Bucket(even, 1000)
        began = even.time()
        client.write(b'a' * 1500)
        client.write(b'')
        client.write(b'b' * 1500)
        client.close()
        assert (yield server.inbox.read_all(5000)) == b'a' * 1500 + b'b' * 1500
        assert even.time() - began == pytest.approx(3.0)
        assert bucket.asked < 100
        server.close()

    run(even, main())
    assert even.turns < 150


def test_reading_at_a_rate_is_exact_on_the_virtual_clock(even: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(even)
        server.read_limit = bucket = Bucket(even, 1000)
        began = even.time()
        client.write(bytes(3000))
        client.shutdown()
        assert len((yield server.inbox.read_all(5000))) == 3000
        assert even.time() - began == pytest.approx(3.0, abs=0.11)
        assert bucket.asked < 100
        client.close()
        server.close()

    run(even, main())
    assert even.turns < 150


def test_both_rates_at_once_leave_nothing_behind_when_the_stream_ends(even: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(even)
        server.read_limit = Bucket(even, 1000)
        server.write_limit = Bucket(even, 1000)
        client.write(bytes(3000))
        server.write(bytes(3000))
        yield sleep(0.5)
        fd = server.fd
        server.abort()
        # Whoever has the fd now must not feel the timers of the one before.
        socks = [*even.network.socketpair()]
        while fd not in (sock.fileno() for sock in socks):
            socks += even.network.socketpair()
        fresh, peer = sorted(socks[-2:], key=lambda sock: sock.fileno() != fd)
        fresh.send(bytes(10 ** 6))
        even.add_writer(fd, written.set_result)
        yield sleep(10)
        assert not written.done()
        peer.recv(10 ** 6)
        yield written
        even.remove_fd(fd)
        for sock in socks:
            sock.close()
        client.close()

    written = Future(even)

    run(even, main())


def test_a_rate_limit_does_not_undo_the_receivers_pause(even: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(even)
        server.receiver = recorder = Recorder()
        server.read_limit = Bucket(even, 1000)
        client.write(bytes(3000))
        yield sleep(0.55)
        server.pause_reading()
        had = len(recorder.data)
        yield sleep(10)
        assert len(recorder.data) == had
        server.resume_reading()
        yield sleep(5)
        assert len(recorder.data) == 3000
        client.close()
        server.close()

    run(even, main())


def test_a_rate_limited_reader_sees_the_reset_at_once(even: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(even)
        server.read_limit = Bucket(even, 100)
        client.write(bytes(3000))
        yield sleep(0.1)
        client.abort(reset=True)
        before = even.turns
        yield sleep(0.01)
        assert isinstance(server.cause, ConnectionResetError)
        assert even.turns - before < 10

    run(even, main())


class Never:
    """A limit that lets nothing pass."""

    def allowance(self) -> int:
        return 0

    def spend(self, size: int) -> None:
        raise AssertionError

    def delay(self) -> float:
        return 1.0


def test_for_a_peer_that_is_found_gone_nothing_is_kept_at_a_rate(even: Reactor) -> None:
    one, other = even.network.socketpair()
    stream = Stream(even, one)
    stream.start()
    found = []

    def write() -> None:
        stream.write(b'to be sent at the end of the turn')
        other.close()
        stream.write_limit = Never()
        stream.write(b'for nobody')
        found.append((stream.closed, stream.buffered))

    even.call_soon(write)
    even.step(0)
    assert found == [(True, 0)]
    # No timer is left that would touch whoever has the descriptor by then.
    assert even.next_deadline() is None
    with pytest.raises(StreamClosed):
        stream.write(b'')


# -- what only a real kernel does -----------------------------------------------------------------


def test_a_real_reset_by_so_linger_is_econnreset(reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(reactor)
        client.abort(reset=True)
        with pytest.raises(StreamClosed) as caught:
            yield server.read()
        assert isinstance(caught.value.cause, ConnectionResetError)

    run(reactor, main())


# -- sending at the end of the turn ---------------------------------------------------------------


class Counting:
    """A socket that writes down what it is asked to send."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.sends: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def send(self, data: bytes) -> int:
        self.sends.append(len(data))
        sent: int = self.sock.send(data)
        return sent


def counted(reactor: Reactor) -> Any:
    one, other = reactor.network.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    counting = Counting(one)
    return counting, Stream(reactor, counting), Stream(reactor, other)


def test_small_writes_of_a_turn_go_out_together_at_its_end(even: Reactor) -> None:
    def main() -> Any:
        counting, stream, peer = counted(even)
        peer.start()
        for n in range(10):
            stream.write(b'%d' % n)
        assert counting.sends == []
        yield
        assert counting.sends == [10]
        assert (yield peer.read()) == b'0123456789'
        stream.close()
        peer.close()

    run(even, main())


def test_large_and_small_writes_keep_their_order(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        expected = b''
        for size in (1, 10, 100000, 5, 20000, 1, 1, 300000, 7):
            data = bytes([size % 251]) * size
            expected += data
            client.write(data)
        client.close()
        assert (yield server.inbox.read_all(10 ** 6)) == expected
        server.close()

    run(any_reactor, main())


def test_a_write_outside_a_turn_is_sent_at_once(even: Reactor) -> None:
    counting, stream, peer = counted(even)
    stream.write(b'x')
    assert counting.sends == [1]
    stream.abort()
    peer.abort()


def test_a_rate_that_is_set_after_a_write_does_not_overtake_it(even: Reactor) -> None:
    def main() -> Any:
        _, stream, peer = counted(even)
        peer.start()
        stream.write(b'first ')
        stream.write_limit = Bucket(even, 1000)
        stream.write(b'second')
        stream.close()
        assert (yield peer.inbox.read_all(100)) == b'first second'
        peer.close()

    run(even, main())


class Rations:
    """A limit of so many bytes at a time, which checks that no more pass."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = itertools.cycle(sizes)
        self.allowed = 0

    def allowance(self) -> int:
        self.allowed = next(self.sizes)
        return self.allowed

    def spend(self, size: int) -> None:
        assert size <= self.allowed

    def delay(self) -> float:
        return 0.001


def test_kept_pieces_of_all_sizes_pass_a_rate_limit_in_order(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        client.write_limit = Rations(0, 1, 7, 5000, 100, 30000)
        expected = b''
        for size in (1, 3, 4, 9000, 2, 300, 100, 40000, *[1] * 100, APART + 1, 7):
            data = bytes([size % 251]) * size
            expected += data
            client.write(data)
        assert client.sent + client.buffered == len(expected)
        client.close()
        assert (yield server.inbox.read_all(10 ** 6)) == expected
        assert client.sent == len(expected)
        server.close()

    run(any_reactor, main())


LONG = bytes(range(256)) * 32768


@pytest.mark.skipif(platform.python_implementation() == 'PyPy', reason='no reference counts')
@pytest.mark.parametrize('rations', [(), (100_000,), (3, 100_000)])
@pytest.mark.parametrize('first', [b'', b'small'])
def test_a_long_piece_is_not_copied_for_a_peer_that_does_not_read(
        reactor: Reactor, first: bytes, rations: tuple[int, ...]) -> None:
    import tracemalloc

    def main() -> Any:
        _, stream, peer = counted(reactor)
        if rations:
            stream.write_limit = Rations(*rations)
        tracemalloc.start()
        try:
            stream.write(first)
            stream.write(LONG)
            stream.write(b'last')
            for _ in range(5):
                yield
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()
        # (Of a view it is the object that is seen through it.)
        assert any(memoryview(piece).obj is LONG for piece in stream._out)
        assert stream.sent > 0
        assert stream.sent + stream.buffered == len(first) + len(LONG) + 4
        # Nothing is lost, and the order is kept.
        stream.write_limit = None
        stream.close()
        peer.start()
        assert (yield peer.inbox.read_all(1 << 30)) == first + LONG + b'last'
        assert stream.closed
        assert stream.sent == len(first) + len(LONG) + 4
        peer.close()

    run(reactor, main())


def test_a_long_piece_after_a_small_one_goes_out_with_it_and_at_once(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        client.write(b'small')
        assert client.sent == 0
        client.write(bytes(APART + 1))
        assert client.sent > 5
        assert client.sent + client.buffered == 5 + APART + 1
        client.write(b'more')
        client.close()
        assert (yield server.inbox.read_all(10 ** 6)) == b'small' + bytes(APART + 1) + b'more'
        server.close()

    run(any_reactor, main())


def test_a_peer_found_gone_by_a_long_piece_is_told_to_the_receiver(even: Reactor) -> None:
    def main() -> Any:
        _, stream, peer = counted(even)
        stream.receiver = recorder = Recorder()
        stream.write(b'small')
        peer.abort()
        stream.write(bytes(APART + 1))
        assert isinstance(stream.cause, BrokenPipeError)
        assert recorder.told == [('closed', stream.cause)]
        assert stream.buffered == stream.sent == 0
        with pytest.raises(StreamClosed):
            stream.write(b'more')
        yield

    run(even, main())


class Listed:
    """A socket that notes what each `sendmsg` is given, and takes so many bytes of it."""

    def __init__(self, sock: Any, takes: int | None = None) -> None:
        self.sock, self.takes = sock, takes
        self.given: list[list[Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def sendmsg(self, buffers: Any) -> int:
        self.given.append(list(buffers))
        takes, self.takes = self.takes, None
        if takes == 0:
            raise BlockingIOError
        sent: int = self.sock.sendmsg([b''.join(buffers)[:takes]])
        return sent


@pytest.mark.parametrize('small', [b'', b'small'])
@pytest.mark.parametrize('takes', [None, 0, 1, 5, 9, 10, 100, APART, APART + 14])
def test_a_long_piece_goes_out_with_what_frames_it_in_one_call(
        even: Reactor, takes: int | None, small: bytes) -> None:
    long = bytes(range(250)) * (APART // 250 + 1)

    def main() -> Any:
        one, other = even.network.socketpair()
        for sock in one, other:
            sock.setblocking(False)
        listed = Listed(one, takes)
        client, server = Stream(even, listed), Stream(even, other)
        server.start()
        client.write(small)
        client.write(b'4000\r\n', (long, b'\r\n'))
        assert listed.given == [[small + b'4000\r\n', long, b'\r\n']]
        assert listed.given[0][1] is long
        if takes is not None:
            assert client.sent == takes
        # What comes next waits for its turn.
        client.write(b'0\r\n', (long,))
        expected = b'%s4000\r\n%s\r\n0\r\n%s' % (small, long, long)
        assert client.sent + client.buffered == len(expected)
        client.close()
        assert (yield server.inbox.read_all(10 ** 6)) == expected
        assert client.sent == len(expected)
        server.close()

    run(even, main())


def test_pieces_behind_a_write_keep_to_a_rate_limit(any_reactor: Reactor) -> None:
    def main() -> Any:
        client, server = yield from pair(any_reactor)
        client.write_limit = Rations(0, 1, 7, 5000, 100, 30000)
        client.write(b'head', (bytes(40000), b'tail'))
        assert client.sent + client.buffered == 40008
        client.close()
        assert (yield server.inbox.read_all(10 ** 6)) == b'head' + bytes(40000) + b'tail'
        with pytest.raises(StreamClosed):
            client.write(b'head', (b'more',))
        server.close()

    run(any_reactor, main())


@pytest.mark.parametrize('end', ['shutdown', 'close', 'abort'])
def test_what_was_written_last_is_sent_before_the_end(even: Reactor, end: str) -> None:
    def main() -> Any:
        _, stream, peer = counted(even)
        peer.start()
        stream.write(b'last')
        getattr(stream, end)()
        assert (yield peer.inbox.read_all(100)) == b'last'
        stream.close()
        peer.close()

    run(even, main())


def test_what_a_task_writes_when_the_reactor_closes_is_sent() -> None:
    world = World()
    reactor = world.reactor()
    _, stream, peer = counted(reactor)

    def work() -> Any:
        try:
            yield sleep(100)
        finally:
            stream.write(b'bye')

    reactor.call_soon(lambda: spawn(work()))
    reactor.step(0)
    reactor.close()
    assert peer._socket.recv(10) == b'bye'


def test_a_peer_that_is_gone_at_the_end_of_the_turn_is_told_to_the_receiver(
        even: Reactor, logged: Any) -> None:
    def main() -> Any:
        _, stream, peer = counted(even)
        stream.receiver = recorder = Recorder()
        peer.abort()
        stream.write(b'x')
        assert recorder.told == []
        yield
        assert isinstance(stream.cause, BrokenPipeError)
        assert recorder.told == [('closed', stream.cause)]
        with pytest.raises(StreamClosed):
            stream.write(b'y')

    run(even, main())
    assert logged.records == []


def test_a_stream_tells_what_the_peer_has_acknowledged(any_reactor: Reactor) -> None:
    """On Linux, of TCP; elsewhere None."""
    net = any_reactor.network
    listener = net.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen()
    peer = net.socket()
    peer.setblocking(False)
    peer.connect_ex(listener.getsockname())
    while True:
        try:
            sock, _ = listener.accept()
            break
        except BlockingIOError:
            any_reactor.step(0.01)
    sock.setblocking(False)
    stream = Stream(any_reactor, sock)
    assert stream.acknowledged() in (None, 0)
    stream.write(b'x' * 1000)
    stream.push()
    got = b''
    while len(got) < 1000:
        try:
            got += peer.recv(1000)
        except BlockingIOError:
            any_reactor.step(0.01)
    expected = (1000,) if sys.platform == 'linux' else (1000, None)
    while stream.acknowledged() not in expected:
        any_reactor.step(0.01)
    stream.abort()
    assert stream.acknowledged() is None
    for each in (peer, listener):
        each.close()


def test_of_a_unix_socket_nobody_knows_what_the_peer_has_taken(any_reactor: Reactor) -> None:
    one, other = any_reactor.network.socketpair()
    stream = Stream(any_reactor, one)
    assert stream.acknowledged() is None
    stream.abort()
    other.close()
