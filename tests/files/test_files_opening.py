"""From a path or an open file to an answer: what is no file, positions, names and types."""

from __future__ import annotations

import errno
import gzip
import io
import os
import socket
import tempfile
import zipfile

import pytest
from each_case import for_each
from files_support import DATE, KINDS, LARGE, SMALL, application, etag
from server_support import request, serving

from tremolo import NotFound, Tremolo, send_file
from tremolo.files.content_types import content_type_of
from tremolo.files.disposition import attachment

END = 'Connection: close'


def answered(make, *lines, method='GET'):
    """Return the answer of a handler that returns what `make` returns."""
    app = Tremolo()

    @app.route('/')
    def index():
        return make()

    with serving(app) as host:
        answer, = host.ask(request('/', method, *lines, END), method)
        return answer


@pytest.fixture
def odd(tmp_path):
    """Paths that lead to no regular file."""
    os.mkfifo(tmp_path / 'fifo')
    os.symlink('loop', tmp_path / 'loop')
    os.symlink('nowhere', tmp_path / 'broken')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / 'socket'))
    (tmp_path / 'file').write_bytes(SMALL)
    return tmp_path


@pytest.mark.parametrize('name', [
    '', 'missing', 'fifo', 'loop', 'broken', 'socket', 'file/more', 'a\0b', 'x' * 5000,
    '\udcff\ud800',
    '/dev/null', '/dev/tty'])
def test_what_is_no_file_is_not_found(odd, name):
    with pytest.raises(NotFound):
        send_file(os.path.join(odd, name))


@pytest.mark.parametrize('kind', KINDS)
def test_a_client_is_told_404_and_nothing_of_the_path(odd, kind):
    with serving(application(odd)) as host:
        answer, = host.ask(request(f'/{kind}/fifo', 'GET', END))
        assert answer.status == 404
        assert b'fifo' not in answer.body


def test_a_file_that_may_not_be_read_is_an_error_of_the_application(folder, monkeypatch, logged):
    def refuse(*_):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('tremolo.files.opening.os.open', refuse)
    assert answered(lambda: send_file(folder / 'small.txt')).status == 500
    assert logged.count('failed on GET') == 1


def test_a_link_is_followed_as_open_follows_it(folder):
    os.symlink('small.txt', folder / 'link.html')
    answer = answered(lambda: send_file(folder / 'link.html'))
    assert answer.body == SMALL
    assert answer.headers['content-type'] == 'text/html; charset=utf-8'


def test_paths_of_each_type(folder):
    path = folder / 'small.txt'
    for each in (path, str(path), os.fsencode(path)):
        assert answered(lambda each=each: send_file(each)).body == SMALL


# -- open files ------------------------------------------------------------------------------------


@pytest.mark.parametrize('buffering', [0, -1])
@pytest.mark.parametrize('place', [0, 3, 10, 99])
def test_an_open_file_is_sent_from_its_position_and_closed(folder, buffering, place):
    file = open(folder / 'small.txt', 'rb', buffering)    # noqa: SIM115
    file.seek(place)
    answer = answered(lambda: send_file(file))
    assert answer.body == SMALL[place:]
    assert answer.headers['etag'] == etag(SMALL[place:])
    assert answer.headers['last-modified'] == DATE
    assert answer.headers['content-type'] == 'text/plain; charset=utf-8'
    assert file.closed


def test_a_part_of_an_open_file_counts_from_its_position(folder):
    file = open(folder / 'large.bin', 'rb')    # noqa: SIM115
    file.read(5)
    answer = answered(lambda: send_file(file), 'Range: bytes=0-299999')
    assert answer.headers['content-range'] == f'bytes 0-299999/{len(LARGE) - 5}'
    assert answer.body == LARGE[5:300_005]


@pytest.mark.parametrize('data', [b'', SMALL, LARGE], ids=len)
def test_a_file_in_memory(data):
    answer = answered(lambda: send_file(io.BytesIO(data), content_type='image/png'))
    assert answer.body == data
    assert answer.headers['content-type'] == 'image/png'
    assert 'etag' not in answer.headers and 'last-modified' not in answer.headers
    if len(data) > 10:
        answer = answered(lambda: send_file(io.BytesIO(data)), 'Range: bytes=-400000,0-1')
        assert answer.status == 206
        assert data[-400_000:] in answer.body
    answer = answered(lambda: send_file(io.BytesIO(data)), method='HEAD')
    assert answer.headers['content-length'] == str(len(data))


@pytest.mark.parametrize('size', [10, 300_000])
def test_what_was_written_to_a_temporary_file_is_sent(size):
    def make():
        file = tempfile.TemporaryFile()    # noqa: SIM115
        file.write(LARGE[:size])
        file.seek(0)
        return send_file(file)

    assert answered(make).body == LARGE[:size]


def test_a_file_whose_last_bytes_are_not_written_yet_is_whole(tmp_path):
    def make():
        file = open(tmp_path / 'new', 'w+b')    # noqa: SIM115
        file.write(b'head')
        file.seek(0)
        file.read(4)
        file.write(b'tail')
        file.seek(0)
        return send_file(file)

    assert answered(make).body == b'headtail'


@pytest.mark.parametrize('size', [1000, 300_000])
def test_a_compressed_file_is_sent_as_it_is_read(tmp_path, size):
    with gzip.open(tmp_path / 'a.gz', 'wb') as file:
        file.write(LARGE[:size])
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('large.bin', LARGE[:size])
    assert answered(lambda: send_file(gzip.GzipFile(tmp_path / 'a.gz'))).body == LARGE[:size]
    with zipfile.ZipFile(tmp_path / 'a.zip') as archive:
        answer = answered(lambda: send_file(archive.open('large.bin')), 'Range: bytes=5-')
        assert answer.body == LARGE[5:size]
    # The path is that of the compressed file.
    answer = answered(lambda: send_file(tmp_path / 'a.gz'))
    assert answer.headers['content-type'] == 'application/gzip'
    assert 'content-encoding' not in answer.headers
    assert gzip.decompress(answer.body) == LARGE[:size]


def test_what_is_no_binary_file_is_told(folder):
    read_end, write_end = os.pipe()
    os.close(write_end)
    with open(folder / 'small.txt') as text, os.fdopen(read_end, 'rb') as pipe:
        for wrong, hint in ((text, "open it with 'rb'"), (io.StringIO('a'), "open it with 'rb'"),
                            (pipe, 'yield its pieces'), (5, 'not int'), (None, 'not NoneType')):
            with pytest.raises(TypeError, match=hint):
                send_file(wrong)


# -- names and types -------------------------------------------------------------------------------


@pytest.mark.parametrize('name, value', [
    ('a.txt', 'attachment; filename="a.txt"'),
    ('a b;c,d=e.txt', 'attachment; filename="a b;c,d=e.txt"'),
    ('a"b\\c.txt', "attachment; filename=\"a_b_c.txt\"; filename*=UTF-8''a%22b_c.txt"),
    ('Übung.txt', "attachment; filename=\"_bung.txt\"; filename*=UTF-8''%C3%9Cbung.txt"),
    ('€ 100%.txt', "attachment; filename=\"_ 100_.txt\"; filename*=UTF-8''%E2%82%AC%20100%25.txt"),
    ("it's (1)*.txt", 'attachment; filename="it\'s (1)*.txt"'),
    ('a\r\nSet-Cookie: x\0\x1b\x7f\x85.txt', 'attachment; filename="aSet-Cookie: x.txt"'),
    ('../../etc/passwd', 'attachment; filename=".._.._etc_passwd"'),
    ('C:\\a.txt', 'attachment; filename="C:_a.txt"'),
    ('gpj.\u202eexe', 'attachment; filename="gpj.exe"'),
    ('\ud800.txt', "attachment; filename=\"_.txt\"; filename*=UTF-8''%3F.txt"),
    ('', 'attachment; filename="download"'),
    ('\r\n', 'attachment; filename="download"'),
    ('😀', "attachment; filename=\"_\"; filename*=UTF-8''%F0%9F%98%80"),
])
def test_a_download_has_a_name(name, value):
    assert attachment(name) == value


@pytest.mark.parametrize('name', ['a\r\nX: y', 'Übung "1".txt', '\x00' * 50 + '😀', 'a' * 300])
def test_a_download_name_is_sent_as_one_field(folder, name):
    answer = answered(lambda: send_file(folder / 'small.txt', download_name=name))
    assert answer.status == 200
    assert answer.headers['content-disposition'] == attachment(name)
    answer = answered(lambda: send_file(folder / 'small.txt', download_name=name),
                      'If-None-Match: *')
    assert 'content-disposition' not in answer.headers


@for_each('name, kind', [
    ('a.html', 'text/html; charset=utf-8'), ('A.HTML', 'text/html; charset=utf-8'),
    ('a.js', 'text/javascript; charset=utf-8'), ('a.mjs', 'text/javascript; charset=utf-8'),
    ('a.css', 'text/css; charset=utf-8'), ('a.txt', 'text/plain; charset=utf-8'),
    ('a.json', 'application/json'), ('a.xml', 'text/xml'), ('a.svg', 'image/svg+xml'),
    ('a.png', 'image/png'), ('a.jpg', 'image/jpeg'), ('a.webp', 'image/webp'),
    ('a.woff2', 'font/woff2'), ('a.wasm', 'application/wasm'), ('a.mp4', 'video/mp4'),
    ('a.webm', 'video/webm'), ('a.wav', 'audio/wav'), ('a.pdf', 'application/pdf'),
    ('a.tar.gz', 'application/gzip'), ('a.css.br', 'application/octet-stream'),
    ('a.zip', 'application/zip'), ('a', 'application/octet-stream'),
    ('.html', 'application/octet-stream'), ('', 'application/octet-stream'),
    ('a.unknown', 'application/octet-stream'), ('data:text/html,x', 'application/octet-stream'),
    ('a.html\n', 'application/octet-stream'), ('a.html/', 'application/octet-stream'),
])
def test_the_type_is_that_of_the_last_suffix_on_each_system(name, kind):
    assert content_type_of(name) == kind


def test_the_type_of_a_download_is_that_of_its_name(folder):
    answer = answered(lambda: send_file(folder / 'large.bin', download_name='a.pdf'))
    assert answer.headers['content-type'] == 'application/pdf'
    answer = answered(lambda: send_file(io.BytesIO(SMALL), download_name='a.csv'))
    assert answer.headers['content-type'] == 'text/csv; charset=utf-8'


def test_where_no_descriptor_is_left_the_answer_is_503(folder, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EMFILE, 'Too many open files')

    monkeypatch.setattr('tremolo.files.opening.os.open', refuse)
    answer = answered(lambda: send_file(folder / 'small.txt'))
    assert (answer.status, answer.headers['retry-after']) == (503, '1')
