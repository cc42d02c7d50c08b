"""Saving: a part becomes a file when it is whole, and nothing remains of one that is not."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from server_support import Real, serving
from upload_support import part, upload

from tremolo import Tremolo, timeout
from tremolo.uploads import saving
from tremolo.uploads.saving import NewFile

STYLES = 'generator', 'thread', 'coroutine'
PATIENCE = 30
linux = pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='counts in /proc')


@pytest.fixture
def app(tmp_path) -> Tremolo:
    app = Tremolo()

    @app.route('/generator', methods=['POST'])
    def generator(request):
        files, sizes = request.files(), []
        while part := (yield files.next()):
            sizes.append((yield part.save(tmp_path / part.name)))
        yield repr(sizes)

    @app.route('/thread', methods=['POST'])
    def thread(request, thread=True):
        return repr([part.save(str(tmp_path / part.name)).result() for part in request.files()])

    @app.route('/coroutine', methods=['POST'])
    async def coroutine(request):
        return repr([await part.save(tmp_path / part.name) async for part in request.files()])

    @app.route('/caught', methods=['POST'])
    def caught(request):
        part = yield request.files().next()
        try:
            yield part.save(os.fsencode(tmp_path / part.name))
        except OSError as error:
            yield f'{errno.errorcode[error.errno]} {os.listdir(tmp_path)}'

    return app


def saved(app, *parts, path='/generator'):
    with serving(app) as host:
        answer = host.connect(upload(path, *parts)).take()
        assert answer.status == 200, answer
        return answer.body.decode()


@pytest.mark.parametrize('style', STYLES)
def test_parts_are_saved_in_each_kind_of_handler(app, style, tmp_path):
    contents = {'small': b'small', 'empty': b'', 'large': os.urandom(3_000_001), 'field': b'text'}
    parts = [part(name, content, None if name == 'field' else 'f')
             for name, content in contents.items()]
    assert saved(app, *parts, path=f'/{style}') == repr([5, 0, 3_000_001, 4])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_a_file_that_was_there_is_replaced_by_a_new_one(app, tmp_path):
    path = tmp_path / 'a'
    path.write_bytes(b'before')
    other = tmp_path / 'other'
    os.link(path, other)
    saved(app, part('a', 'after', 'f'))
    assert (path.read_bytes(), other.read_bytes()) == (b'after', b'before')


def test_a_link_is_replaced_and_not_followed(app, tmp_path):
    target = tmp_path / 'target'
    target.write_bytes(b'before')
    (tmp_path / 'a').symlink_to(target)
    saved(app, part('a', 'after', 'f'))
    assert (target.read_bytes(), (tmp_path / 'a').read_bytes()) == (b'before', b'after')


@pytest.mark.parametrize('mask', [0o022, 0o077, 0o002])
def test_the_mode_bits_are_those_that_open_gives(app, tmp_path, mask):
    before = os.umask(mask)
    try:
        saved(app, part('a', 'x', 'f'))
        with open(tmp_path / 'b', 'w'):
            pass
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~mask}


def test_the_rest_of_a_part_that_was_begun_is_saved(app, tmp_path):
    @app.route('/rest', methods=['POST'])
    def rest(request):
        part = yield request.files().next()
        yield (yield part.read(2))
        yield str((yield part.save(tmp_path / 'rest')))

    assert saved(app, part('a', '123456', 'f'), path='/rest') == '124'
    assert (tmp_path / 'rest').read_bytes() == b'3456'


@pytest.mark.parametrize('name, code', [
    ('none/file', 'ENOENT'), ('folder', 'None'), ('folder/', 'None'), ('x' * 300, 'ENAMETOOLONG'),
    ('file/file', 'ENOTDIR')])
def test_a_path_that_cannot_be_written_is_an_oserror(tmp_path, name, code):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_bytes(b'')
    app, errors = Tremolo(), []

    @app.route('/', methods=['POST'])
    def handler(request):
        part = yield request.files().next()
        try:
            yield part.save(f'{tmp_path}/{name}')
        except OSError as error:
            errors.append(error)
        yield b''

    with serving(app) as host:
        assert host.connect(upload('/', part('a', 'x', 'f'))).take().status == 200
    assert errorcode(errors[0]) == code
    assert sorted(os.listdir(tmp_path)) == ['file', 'folder']
    assert os.listdir(tmp_path / 'folder') == []


def errorcode(error: OSError) -> str:
    return errno.errorcode[error.errno] if error.errno else 'None'


def test_a_path_with_nul_is_refused_before_anything_is_read(app, tmp_path):
    @app.route('/nul', methods=['POST'])
    def nul(request):
        part = yield request.files().next()
        with pytest.raises(ValueError, match='NUL'):
            yield part.save(f'{tmp_path}/a\0b')
        yield (yield part.text())

    assert saved(app, part('a', 'whole', 'f'), path='/nul') == 'whole'
    assert os.listdir(tmp_path) == []


def test_the_file_appears_when_it_is_whole(app, tmp_path):
    data = upload('/generator', part('a', b'x' * 3_000_000, 'f'))
    with serving(app) as host:
        client = host.connect(data[:-10])
        host.wait_for(lambda: os.listdir(tmp_path))
        name, = os.listdir(tmp_path)
        assert name.startswith('.upload-')
        client.send(data[-10:])
        assert client.take().status == 200
    assert os.listdir(tmp_path) == ['a']


@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('end', ['reset', 'close'])
def test_nothing_remains_of_an_upload_that_is_cut(app, tmp_path, style, end):
    (tmp_path / 'a').write_bytes(b'before')
    data = upload(f'/{style}', part('a', b'x' * 2_000_000, 'f'))
    # (A thread does not wait for a body that is longer than this.)
    with serving(app, half_close_timeout=0.01, body_buffer_size=100_000) as host:
        for size in 1_200_000, 1_999_999, len(data) - 1:
            client = host.connect(data[:size])
            host.wait_for(lambda: len(os.listdir(tmp_path)) == 2)
            getattr(client, end)()
            host.wait_for(lambda: os.listdir(tmp_path) == ['a'])
    assert (tmp_path / 'a').read_bytes() == b'before'


def test_nothing_remains_when_the_form_is_malformed_in_the_end(app, tmp_path):
    data = upload('/generator', part('a', b'x' * 1_500_000, 'f')).replace(b'y--\r\n', b'y--\n\n')
    with serving(app) as host:
        assert host.connect(data).take().status == 400
        assert os.listdir(tmp_path) == []


def test_nothing_remains_when_the_handler_gives_up(app, tmp_path):
    @app.route('/impatient', methods=['POST'])
    def impatient(request):
        part = yield request.files().next()
        try:
            yield timeout(0.01, part.save(tmp_path / 'a'))
        except Exception as error:
            yield type(error).__name__

    data = upload('/impatient', part('a', b'x' * 1_500_000, 'f'))
    with serving(app) as host:
        client = host.connect(data[:1_200_000])
        client.until(b'TimeoutError')
        host.wait_for(lambda: os.listdir(tmp_path) == [])


@pytest.mark.parametrize('size', [2_000_000, 20_000_000])
def test_a_full_disk_is_an_oserror_and_nothing_remains(app, tmp_path, size):
    # (The limit of a file's size stands for the disk: a write takes a part, and the next one none.)
    resource = pytest.importorskip('resource')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with serving(app) as host:
        client = host.connect()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_600_000, before[1]))

        def send():
            with suppress(OSError):
                client.send(upload('/caught', part('a', b'x' * size, 'f')))

        sender = threading.Thread(target=send)
        sender.start()
        try:
            answer = client.take()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sender.join()
    assert answer.body == b'EFBIG []'


def test_an_error_of_the_last_step_leaves_nothing(app, tmp_path, monkeypatch):
    def full(fd):
        close(fd)
        raise OSError(errno.ENOSPC, 'as some file systems say it')

    close = os.close
    monkeypatch.setattr(saving.os, 'close', full)
    with serving(app) as host:
        answer = host.connect(upload('/caught', part('a', b'x', 'f'))).take()
        monkeypatch.undo()
    assert answer.body == b'ENOSPC []'


@pytest.mark.parametrize('style', STYLES)
def test_where_no_descriptor_is_left_the_answer_is_503(app, tmp_path, monkeypatch, style):
    def refuse(*_):
        raise OSError(errno.EMFILE, 'Too many open files')

    with serving(app) as host:
        monkeypatch.setattr(saving.os, 'open', refuse)
        answer = host.connect(upload(f'/{style}', part('a', b'x', 'f'))).take()
        monkeypatch.undo()
    assert (answer.status, answer.headers['retry-after']) == (503, '1')
    assert os.listdir(tmp_path) == []


def test_after_a_failed_save_the_next_part_can_be_read(app, tmp_path):
    @app.route('/next', methods=['POST'])
    def following(request):
        files = request.files()
        part = yield files.next()
        with pytest.raises(FileNotFoundError):
            yield part.save(tmp_path / 'none' / 'a')
        yield (yield (yield files.next()).text())

    assert saved(app, part('a', b'x' * 1_200_000, 'f'), part('b', 'good'), path='/next') == 'good'


# -- the file by itself ---------------------------------------------------------------------------


def test_a_file_is_not_closed_under_the_feet_of_a_job_that_writes(tmp_path, monkeypatch):
    begun, go_on, written = threading.Event(), threading.Event(), threading.Event()

    def slow(fd, pieces):
        begun.set()
        assert go_on.wait(PATIENCE)
        os.fstat(fd)    # It is open.
        written.set()
        return sum(map(len, pieces))

    monkeypatch.setattr(saving.os, 'writev', slow, raising=False)
    file = NewFile(str(tmp_path / 'a'))
    writer = threading.Thread(target=file.write, args=([b'x'], False))
    writer.start()
    assert begun.wait(PATIENCE)
    file.discard()
    file.discard(patience=0.01)    # (Neither waits for a disk that hangs.)
    assert len(os.listdir(tmp_path)) == 1
    go_on.set()
    writer.join()
    assert written.is_set()
    assert os.listdir(tmp_path) == []
    file.write([b'late'], True)    # A job that comes after the end does nothing.
    file.discard()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('taken', [0, 1, 7])
def test_a_write_that_takes_only_a_part_is_gone_on_with(tmp_path, monkeypatch, taken):
    def short(fd, pieces):
        return write(fd, b''.join(pieces)[:taken])

    write = os.write
    monkeypatch.setattr(saving.os, 'writev', short, raising=False)
    monkeypatch.setattr(saving.os, 'write', lambda fd, data: write(fd, data[:3]))
    file = NewFile(str(tmp_path / 'a'))
    file.write([b'1234', b'567', b'89'], False)
    file.write([b'ab'], True)
    assert (tmp_path / 'a').read_bytes() == b'123456789ab'


def test_without_writev_the_pieces_are_written_too(tmp_path, monkeypatch):
    monkeypatch.delattr(saving.os, 'writev', raising=False)
    file = NewFile(str(tmp_path / 'a'))
    file.write([b'1234', b'567'], False)
    file.write([], True)
    assert (tmp_path / 'a').read_bytes() == b'1234567'


# -- the end of the process -----------------------------------------------------------------------

PROGRAM = '''
import sys
from tremolo import Tremolo

app = Tremolo()

@app.route('/', methods=['POST'])
def {style}(request):
    part = yield request.files().next()
    yield str((yield part.save(sys.argv[1] + '/a')))

@app.route('/thread', methods=['POST'])
def thread(request, thread=True):
    return str([part.save(sys.argv[1] + '/a').result() for part in request.files()])

app.run('127.0.0.1', 0, shutdown_timeout=float(sys.argv[2]), log_level='error',
        body_buffer_size=100_000)
'''


@pytest.mark.parametrize('path', ['/', '/thread'])
@pytest.mark.parametrize('patience, left', [(30, ['a']), (0.05, [])])
def test_a_process_that_ends_lets_an_upload_end_or_leaves_nothing(tmp_path, path, patience, left):
    data = upload(path, part('a', b'x' * 1_500_000, 'f'))
    with subprocess.Popen(
        [sys.executable, '-c', PROGRAM.replace('{style}', 'handler'), str(tmp_path), str(patience)],
        stdout=subprocess.PIPE, cwd=Path(__file__).resolve().parents[2],
    ) as process:
        try:
            port = int(process.stdout.readline().split(b':')[2].split()[0])
            with socket.create_connection(('127.0.0.1', port), PATIENCE) as sock:
                sock.sendall(data[:-9])
                while not os.listdir(tmp_path):
                    assert process.poll() is None
                process.send_signal(signal.SIGTERM)
                if left:
                    sock.sendall(data[-9:])
                    assert sock.recv(65536).startswith(b'HTTP/1.1 200')
                else:
                    process.wait(PATIENCE)
        finally:
            if process.poll() is None and not left:
                process.kill()
    assert os.listdir(tmp_path) == left


@linux
def test_a_reactor_that_is_closed_leaves_nothing(app, tmp_path, logged):
    data = upload('/generator', part('a', b'x' * 1_500_000, 'f'))
    with app.start(shutdown_timeout=0.01) as running:
        host = Real(running)
        client = host.connect(data[:-9])
        host.wait_for(lambda: os.listdir(tmp_path))
    client.close()
    assert os.listdir(tmp_path) == []
    assert logged.count('shutdown_timeout') == len(logged.messages)


def test_a_file_that_a_killed_process_has_left_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr('tremolo.uploads.saving._numbers', count())
    monkeypatch.setattr('tremolo.uploads.saving._FIRST', 7)
    killed = NewFile(str(tmp_path / 'a'))
    killed.write([b'left'], False)
    os.close(killed._fd)
    monkeypatch.setattr('tremolo.uploads.saving._numbers', count())
    NewFile(str(tmp_path / 'a')).write([b'whole'], True)
    assert (tmp_path / 'a').read_bytes() == b'whole'
    left, = tmp_path.glob('.upload-*')
    assert left.read_bytes() == b'left'
