"""A large file on its way: slow clients, rates, cuts, stops; in the end it is closed once."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
import threading
from typing import Any

import pytest
from files_support import KINDS, LARGE, SMALL, application, write
from server_support import Incomplete, read_answer, request, serving, virtual
from simulated import World

from tremolo import Tremolo, send_file
from tremolo.files import piece
from tremolo.files.piece import FilePiece
from tremolo.loop import Reactor, Stream
from tremolo.sockets.outbox import PieceFailed

END = 'Connection: close'
KIB = 1 << 10


class Counted:
    """A binary file that counts how often it is closed."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = self.closes = 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        self.place = place + (len(self.data) if whence == os.SEEK_END else 0)
        return self.place

    def read(self, size: int) -> bytes:
        assert not self.closes
        data = self.data[self.place:self.place + min(size, 10_000)]
        self.place += len(data)
        return data

    def close(self) -> None:
        self.closes += 1


def of_object(file: Any, **options: Any) -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def index(response):
        for name, value in options.items():
            setattr(response, name, value)
        return send_file(file)

    @app.route('/small')
    def small():
        return SMALL

    return app


def open_files(folder: Any) -> int:
    """Return how many descriptors of this process are files of the folder."""
    return sum(os.readlink(f'/proc/self/fd/{fd}').startswith(str(folder))
               for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}'))


# -- slow clients, in the simulated world ----------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS[:3])
def test_a_slow_reader_gets_it_in_pieces(folder, kind):
    world = World(seed=1, latency=0.01, jitter=0.005, buffer_size=20000, largest_piece=7000)
    with virtual(application(folder, asyncio=False), world) as host:
        client = host.connect(request(f'/{kind}/large.bin') + request('/plain/small.txt'))
        assert client.take().body == LARGE
        assert client.take().body == SMALL
        assert host.closed == {}
    assert not open_files(folder)


@pytest.mark.parametrize('rate', [10 * KIB, 100 * KIB])
@pytest.mark.parametrize('how', ['option', 'answer', 'worker'])
def test_a_rate_holds_for_a_file(folder, rate, how):
    app = Tremolo()

    @app.route('/')
    def index(response):
        if how == 'answer':
            response.rate = rate
        return send_file(folder / 'large.bin')

    options = {'option': {'download_rate': rate}, 'worker': {'worker_download_rate': rate}}
    with virtual(app, World(buffer_size=1 << 20), **options.get(how, {})) as host:
        client = host.connect(request('/', 'GET', END))
        client.until(b'\r\n\r\n')
        begin = len(client.received)
        for _ in range(80):    # (Finer than the client is looked at.)
            host.advance(0.05)
        assert len(client.received) - begin == pytest.approx(min(4 * rate, len(LARGE)), rel=0.06)
        # Our own limit is no fault of the client, whatever it takes.
        client.until_ended()
        assert read_answer(client.received)[0].body == LARGE
        assert host.closed == {'done': 1}


def test_a_client_that_takes_nothing_is_cut_and_the_file_is_closed_once():
    file = Counted(LARGE)
    with virtual(of_object(file), stall_timeout=20) as host:
        client = host.connect(request())
        client.reading = False
        host.advance(19)
        assert not file.closes and not host.closed
        host.advance(3)
        assert host.closed == {'stall_timeout': 1}
        assert file.closes == 1


def test_a_client_that_takes_a_little_from_time_to_time_is_not_cut():
    file = Counted(LARGE[:200_000])
    with virtual(of_object(file), World(buffer_size=5000), stall_timeout=20) as host:
        client = host.connect(request('/', 'GET', END))
        for _ in range(500):
            client.reading = False
            host.advance(10)
            client.reading = True
            host.settle()
            if client.ended:
                break
        assert read_answer(client.received)[0].body == LARGE[:200_000]
        assert host.closed == {'done': 1}
        assert file.closes == 1


def test_the_slowest_rate_holds_for_a_file_while_connections_are_scarce():
    file = Counted(LARGE)
    with virtual(of_object(file), World(buffer_size=20_000), connections=1,
                 min_download_rate=1000, rate_grace=5) as host:
        client = host.connect(request())
        client.reading = False
        host.advance(30)
        assert host.closed == {'min_download_rate': 1}
        assert file.closes == 1


def test_a_half_closed_client_gets_all_of_it_or_is_cut_when_it_takes_nothing():
    for reads in (True, False):
        file = Counted(LARGE)
        with virtual(of_object(file), World(buffer_size=20_000, latency=0.01),
                     half_close_timeout=5) as host:
            client = host.connect(request())
            client.fin()
            client.reading = reads
            host.advance(4 if not reads else 0.001)
            assert not host.closed
            if reads:
                client.until_ended()
                assert read_answer(client.received)[0].body == LARGE
            else:
                host.advance(3)
                assert host.closed == {'half_closed': 1}
            assert file.closes == 1


def test_a_stop_lets_a_file_be_sent_to_its_end():
    file = Counted(LARGE)
    with virtual(of_object(file), World(buffer_size=20_000, latency=0.1),
                 shutdown_timeout=600) as host:
        client = host.connect(request())
        client.until(b'\r\n\r\n')
        host.server.drain()
        host.advance(0.2)
        assert not host.server.stopped.done()
        host.until(lambda: len(client.received) > len(LARGE))
        assert client.take().body == LARGE
        host.until(lambda: host.server.stopped.done())
        assert file.closes == 1


def test_a_stop_that_takes_too_long_closes_the_file():
    file = Counted(LARGE)
    with virtual(of_object(file), World(buffer_size=20_000)) as host:
        client = host.connect(request())
        client.reading = False
        host.settle()
        host.server.close()
        host.settle()
        assert file.closes == 1


@pytest.mark.parametrize('how', ['reset', 'close', 'fin'])
@pytest.mark.parametrize('after', [0, 1, 100, 65536, 300_000, 699_999])
def test_a_client_that_leaves_anywhere_leaves_no_open_file(how, after):
    file = Counted(LARGE)
    world = World(seed=after, buffer_size=20_000, largest_piece=9000, latency=0.001)
    with virtual(of_object(file), world) as host:
        client = host.connect(request())
        host.until(lambda: len(client.received) >= after)
        getattr(client, how)()
        if how == 'fin':
            client.until_ended()
        host.advance(1)
        assert file.closes == 1 or not after
        assert host.server.connections == set() or how == 'fin'


def test_observers_are_told_at_the_end_of_the_file():
    file = Counted(LARGE)
    with virtual(of_object(file), World(buffer_size=20_000, latency=0.01)) as host:
        told: list[tuple[int, str]] = []
        host.server.request_observers.append(
            lambda response, reason: told.append((response.status, reason)))
        client = host.connect(request())
        client.until(b'\r\n\r\n')
        assert told == []
        assert client.take().body == LARGE
        assert told == [(200, '')]
        client.send(request())
        file.closes = file.place = 0
        client.until(b'\r\n\r\n')
        client.reset()
        host.advance(1)
        assert told == [(200, ''), (200, 'reset')]


def test_a_handler_timeout_counts_the_time_that_a_file_takes(logged):
    file = Counted(LARGE)
    with virtual(of_object(file), World(buffer_size=20_000), handler_timeout=30) as host:
        client = host.connect(request())
        client.reading = False
        host.advance(31)
        assert host.closed == {'handler_timeout': 1}
        assert file.closes == 1
        assert client.received[:9] == b''


# -- files that change -----------------------------------------------------------------------------


class Shrinking(Counted):
    def read(self, size: int) -> bytes:
        data = super().read(size)
        return data if self.place < 200_000 else b''


def test_a_file_that_shrinks_cuts_the_connection_and_the_log_names_it(logged):
    file = Shrinking(LARGE)
    file.name = '/srv/films/film\n.mkv'    # type: ignore[attr-defined]
    with virtual(of_object(file), World(buffer_size=20_000)) as host:
        client = host.connect(request('/?a=\x1b'.replace('\x1b', '%1b')) + request('/small'))
        client.until_ended()
        assert client.ended == 'reset'
        assert host.closed == {'failed': 1}
        assert file.closes == 1
        with pytest.raises(Incomplete):
            read_answer(client.received)
    line, = logged.messages
    assert line.startswith("GET '/?a=%1b': the file 'film\\n.mkv' could not be sent to its end")
    assert 'bytes too early' in line


class Broken(Counted):
    def read(self, size: int) -> Any:
        if self.place > 200_000:
            raise OSError(errno.EIO, 'the disk is broken')
        return super().read(size)


class Text(Counted):
    def read(self, size: int) -> Any:
        return super().read(size).decode('latin-1') if self.place > 200_000 else super().read(size)


@pytest.mark.parametrize('kind', [Broken, Text])
def test_a_file_that_cannot_be_read_cuts_the_connection(kind, logged):
    file = kind(LARGE)
    with virtual(of_object(file), World(buffer_size=20_000)) as host:
        client = host.connect(request())
        client.until_ended()
        assert (client.ended, host.closed, file.closes) == ('reset', {'failed': 1}, 1)
    assert logged.count('could not be sent to its end') == 1


def test_a_short_file_that_shrinks_is_an_error_before_the_head(logged):
    file = Counted(SMALL)
    file.read = lambda size: b''    # type: ignore[method-assign]
    with virtual(of_object(file)) as host:
        answer, = host.ask(request('/', 'GET', END))
        assert answer.status == 500
    assert file.closes == 1
    assert logged.count('failed on GET') == 1


@pytest.mark.parametrize('size', [100_000, 0])
def test_a_real_file_that_shrinks_cuts_the_connection(tmp_path, size, logged):
    path = write(tmp_path / 'shrinks.bin', bytes(8 << 20))
    with serving(application(tmp_path)) as host:
        client = host.connect(request('/plain/shrinks.bin'), receive_buffer=4096)
        client.until(b'\r\n\r\n')
        os.truncate(path, size)
        with pytest.raises((ConnectionResetError, AssertionError)):
            client.take()
        host.wait_for(lambda: not host.server.connections)
        assert host.server.closed == {'failed': 1}
    assert not open_files(tmp_path)
    assert logged.count("GET '/plain/shrinks.bin': the file 'shrinks.bin' could not be sent") == 1


def test_of_a_real_file_that_grows_what_was_announced_is_sent(tmp_path):
    data = bytes(range(256)) * 20_000
    path = write(tmp_path / 'grows.bin', data)
    with serving(application(tmp_path)) as host:
        client = host.connect(request('/plain/grows.bin'), receive_buffer=4096)
        client.until(b'\r\n\r\n')
        with path.open('ab') as file:
            file.write(bytes(1_000_000))
        assert client.take().body == data
        client.send(request('/plain/grows.bin', 'GET', 'Range: bytes=-1', END))
        assert client.take().headers['content-range'] == 'bytes 6119999-6119999/6120000'


def test_a_real_file_that_is_replaced_or_removed_is_sent_as_it_was(tmp_path):
    data = bytes(range(256)) * 20_000
    path = write(tmp_path / 'replaced.bin', data)
    with serving(application(tmp_path)) as host:
        client = host.connect(request('/plain/replaced.bin'), receive_buffer=4096)
        client.until(b'\r\n\r\n')
        write(tmp_path / 'other', b'other').replace(path)
        path.unlink()
        assert client.take().body == data


@pytest.mark.parametrize('size', [10, 300_000])
@pytest.mark.parametrize('kind', ['plain', 'thread', 'coroutine'])
def test_a_file_that_its_handler_has_closed_is_an_error(tmp_path, kind, size, logged):
    path, app = write(tmp_path / 'closed.bin', bytes(size)), Tremolo()

    def closed():
        with path.open('rb') as file:
            return send_file(file)

    def on_thread(thread=True):
        return closed()

    async def coroutine():
        return closed()

    app.route('/')({'plain': closed, 'thread': on_thread, 'coroutine': coroutine}[kind])
    with serving(app) as host:
        answer, = host.ask(request('/', 'GET', END))
        assert answer.status == 500
    assert "the file 'closed.bin' is closed already: open it for each answer" in logged.text
    assert logged.count('failed on GET') == 1


def test_a_file_that_is_closed_meanwhile_is_never_another_one(folder, pair):
    # (The next file that is opened has its descriptor.)
    sent_piece, _ = piece_of(folder / 'large.bin', 0, 100_000)
    number = sent_piece._file.fileno()
    sent_piece._file.close()
    other = os.open(folder / 'small.txt', os.O_RDONLY)
    try:
        os.dup2(other, number)
        with pytest.raises(PieceFailed, match='closed'):
            sent_piece.send(pair[0], True, None)
    finally:
        os.close(other)
        if number != other:
            os.close(number)


# -- real sockets ----------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_a_client_that_leaves_a_real_socket_leaves_no_open_file(tmp_path, kind):
    write(tmp_path / 'long.bin', bytes(32 << 20))
    with serving(application(tmp_path)) as host:
        clients = [host.connect(request(f'/{kind}/long.bin'), receive_buffer=4096)
                   for _ in range(6)]
        for number, client in enumerate(clients):
            client.until(b'\r\n\r\n')
            (client.reset, client.close)[number % 2]()
        host.wait_for(lambda: not host.server.connections)
        assert not open_files(tmp_path)
        # The loop did not notice: it goes on.
        write(tmp_path / 'small.txt', SMALL)
        assert host.ask(request(f'/{kind}/small.txt', 'GET', END))[0].body == SMALL


def test_a_stop_closes_the_files_that_are_on_their_way(tmp_path):
    write(tmp_path / 'long.bin', bytes(32 << 20))
    with serving(application(tmp_path), shutdown_timeout=0.01) as host:
        client = host.connect(request('/plain/long.bin'), receive_buffer=4096)
        client.until(b'\r\n\r\n')
        assert open_files(tmp_path) == 1
    assert not open_files(tmp_path)


def test_a_handler_whose_client_has_left_closes_what_it_returns(tmp_path):
    write(tmp_path / 'large.bin', LARGE)
    app = Tremolo()
    begun, may, ended = threading.Event(), threading.Event(), threading.Event()

    @app.route('/')
    def index(thread=True):
        begun.set()
        may.wait(30)
        try:
            return send_file(tmp_path / 'large.bin')
        finally:
            ended.set()

    with serving(app) as host:
        client = host.connect(request())
        assert begun.wait(30)
        client.reset()
        host.wait_for(lambda: not host.server.connections)
        may.set()
        assert ended.wait(30)
        host.wait_for(lambda: not open_files(tmp_path))


def test_a_turn_sends_one_piece_of_each_file_and_reads_what_others_ask(folder, monkeypatch):
    sizes: list[int] = []

    def take_all(out: int, file: int, offset: int, size: int) -> int:
        sizes.append(size)
        return size

    monkeypatch.setattr(piece, '_sendfile', take_all)
    with Reactor() as reactor, contextlib.ExitStack() as stack:
        for _ in range(3):
            ours, theirs = socket.socketpair()
            stack.callback(theirs.close)
            ours.setblocking(False)
            stream = Stream(reactor, ours)
            stack.callback(stream.abort)
            stream.write(b'head', (piece_of(folder / 'large.bin', 0, 100 << 20)[0],))
        ours, theirs = socket.socketpair()
        stack.callback(theirs.close)
        ours.setblocking(False)
        other = Stream(reactor, ours)
        stack.callback(other.abort)
        other.start()
        for turn in range(20):
            theirs.send(b'ping')
            before = len(sizes)
            reactor.step(0)
            assert len(sizes) - before <= 3
            asked = other.read_exactly(4)
            assert asked.done() and asked.result() == b'ping', turn
    assert sizes and max(sizes) <= 2 << 20


# -- a transport that encrypts ---------------------------------------------------------------------


class Encrypting:
    """A transport as OpenSSL's: it refuses every second write, and then wants the same bytes."""

    secure = True

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._refused = b''
        self._refuses = True
        for name in ('fileno', 'getsockopt', 'setsockopt', 'getpeername', 'getsockname', 'recv',
                     'shutdown', 'close'):
            setattr(self, name, getattr(sock, name))

    def send(self, data: Any) -> int:
        self._refuses = not self._refuses
        self._refused = self._refused or bytes(data)
        common = min(len(data), len(self._refused))
        assert bytes(data[:common]) == self._refused[:common]
        if self._refuses:
            raise BlockingIOError
        sent: int = self._sock.send(bytes(each ^ 255 for each in self._refused))
        self._refused = self._refused[sent:]
        return sent

    def sendmsg(self, buffers: Any) -> int:
        return self.send(buffers[0])


class Every:
    """A limit of some bytes in each of many turns."""

    def __init__(self) -> None:
        self.left = 0

    def allowance(self) -> int:
        self.left = 0 if self.left else 3000
        return self.left

    def spend(self, size: int) -> None:
        assert size <= 3000

    def delay(self) -> float:
        return 0.01


@pytest.mark.parametrize('limited', [False, True])
def test_no_byte_of_a_file_passes_an_encrypting_transport_by(folder, limited):
    world = World(seed=1, buffer_size=20_000, latency=0.001)
    with world.reactor() as reactor:
        ours, theirs = world.network.socketpair()
        stream = Stream(reactor, Encrypting(ours))
        stream.write_limit = Every() if limited else None
        sent_piece, failures = piece_of(folder / 'large.bin', 0, 100_000)
        stream.write(b'head', (sent_piece, b'end'))
        stream.close()
        received = b''
        while not stream.closed:
            reactor.step(1)
            with contextlib.suppress(BlockingIOError):
                received += theirs.recv(1 << 20)
        received += theirs.recv(1 << 20)
        theirs.close()
    assert bytes(each ^ 255 for each in received) == b'head' + LARGE[:100_000] + b'end'
    assert not failures
    assert not open_files(folder)


# -- a piece ---------------------------------------------------------------------------------------


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(30)
    yield ours, theirs
    ours.close()
    theirs.close()


def piece_of(path: Any, *numbers: int, **options: Any) -> tuple[FilePiece, list[str]]:
    file, failures = open(path, 'rb', buffering=0), []    # noqa: SIM115
    return FilePiece(file, file.fileno(), *numbers, failures.append, **options), failures


@pytest.mark.parametrize('is_plain', [True, False])
def test_a_piece_sends_no_more_than_it_may(folder, pair, is_plain):
    sent_piece, _ = piece_of(folder / 'large.bin', 5, 100_000)
    ours, theirs = pair
    for most in (1, 10, 100):
        sent = sent_piece.send(ours, is_plain, most)
        assert 0 < sent <= most
        begin = 100_000 - len(sent_piece)
        assert theirs.recv(1000) == LARGE[5 + begin:5 + begin + sent]
        sent_piece.drop(sent)
    sent_piece.close()
    sent_piece.close()


@pytest.mark.parametrize('code', [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_that_the_kernel_cannot_send_is_read(folder, pair, monkeypatch, code):
    def refuse(*_: int) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(piece, '_sendfile', refuse)
    sent_piece, _ = piece_of(folder / 'large.bin', 0, 1000)
    ours, theirs = pair
    sent = sent_piece.send(ours, True, None)
    assert theirs.recv(2000) == LARGE[:sent]
    monkeypatch.setattr(piece, '_sendfile', None)
    sent_piece.drop(500)
    sent = sent_piece.send(ours, True, None)
    assert theirs.recv(2000) == LARGE[500:500 + sent]
    sent_piece.close()


def test_a_disk_that_fails_is_not_taken_for_a_client_that_left(folder, pair, monkeypatch):
    def refuse(*_: int) -> int:
        raise OSError(errno.EIO, 'broken')

    monkeypatch.setattr(piece, '_sendfile', refuse)
    failures: list[str] = []
    file = Broken(LARGE)
    sent_piece = FilePiece(file, 5, 200_001, 1000, failures.append)
    with pytest.raises(PieceFailed) as found:
        sent_piece.send(pair[0], True, None)
    found.value.piece.failed(str(found.value))
    assert 'the disk is broken' in failures[0]
    sent_piece.close()


def test_a_client_that_left_is_no_fault_of_the_file(folder, pair):
    sent_piece, failures = piece_of(folder / 'large.bin', 0, 1000)
    pair[1].close()
    with pytest.raises(BrokenPipeError):
        sent_piece.send(pair[0], True, None)
    assert not failures
    sent_piece.close()


def test_a_file_without_a_reader_is_closed_by_nobody_else(folder):
    sent_piece, _ = piece_of(folder / 'large.bin', 0, 10, last=False)
    sent_piece.drop(10)
    assert open_files(folder) == 1
    sent_piece.close()
    gc.collect()
    assert open_files(folder) == 0
