"""`wsgi.file_wrapper`: regular files by `sendfile`, others iterated, each closed by a thread."""

from __future__ import annotations

import gzip
import io
import tempfile
import threading

import pytest
from server_support import Incomplete, answers, read_answer, request
from wsgi_support import Seen, ask, end_of, plain, site

from tremolo.files import piece

BIG = bytes(range(256)) * 4000    # More than is read at once.


@pytest.fixture
def sent(monkeypatch):
    """How many bytes `sendfile` has sent."""
    found = []

    def sendfile(*args):
        found.append(real(*args))
        return found[-1]

    real = piece._sendfile
    monkeypatch.setattr(piece, '_sendfile', sendfile)
    return found


def sender(path, seen=None, length=None, begin=0, size=8192, opened=None):
    """Answer with a file; its `close` is told."""
    def app(environ, start_response):
        file = (opened or (lambda: open(path, 'rb')))()    # noqa: SIM115
        file.seek(begin)
        close = file.close

        def told():
            close()
            if seen is not None:
                seen.put(threading.current_thread().name)

        if hasattr(file, '__dict__'):
            file.close = told
        plain(start_response, *([('Content-Length', str(length))] if length is not None else []))
        return environ['wsgi.file_wrapper'](file, size)

    return app


@pytest.fixture
def big(tmp_path):
    path = tmp_path / 'big'
    path.write_bytes(BIG)
    return path


@pytest.mark.parametrize('begin', [0, 1, 1000000])
@pytest.mark.parametrize('version', ['1.1', '1.0'])
def test_a_file_is_sent_by_the_kernel_from_its_position_on(big, sent, begin, version):
    seen = Seen()
    with site(sender(big, seen, begin=begin), check=False) as host:
        found = ask(host, version=version)
        assert found.body == BIG[begin:]
        assert found.headers['content-length'] == str(len(BIG) - begin)
        assert seen.next() == 'tremolo-wsgi'
        head = ask(host, '/', 'HEAD')
        assert (head.body, head.headers['content-length']) == (b'', str(len(BIG) - begin))
        assert seen.next() == 'tremolo-wsgi'
        assert seen.empty()
    assert sum(sent) == (len(BIG) - begin if begin < 1000000 else 0)


def test_a_content_length_is_how_much_of_a_file_is_sent(big, sent):
    with site(sender(big, length=500000, begin=10), check=False) as host:
        client = host.connect(request('/') * 2)
        assert [client.take().body, client.take().body] == [BIG[10:500010]] * 2
    assert sum(sent) == 1000000


@pytest.mark.parametrize('begin', [0, 1023000], ids=['long', 'short'])
def test_a_file_that_is_too_short_cuts_the_connection(big, begin, logged):
    seen = Seen()
    with site(sender(big, seen, length=1024100, begin=begin), check=False) as host:
        data = end_of(host, request('/'))
        assert data.endswith(BIG[begin:])
        with pytest.raises(Incomplete):
            read_answer(data)
        assert seen.next() == 'tremolo-wsgi'
    assert logged.count('bytes shorter than its Content-Length') == 1


def test_a_file_holds_no_thread_while_it_is_sent(tmp_path):
    path = tmp_path / 'large'
    with path.open('wb') as file:
        file.truncate(1 << 26)
    seen = Seen()
    with site(sender(path, seen), check=False, threads=1) as host:
        slow = [host.connect(request('/'), receive_buffer=65536) for _ in range(3)]
        for client in slow:
            client.until(b'\r\n\r\n')
        assert {each.task.where() for each in list(host.server.connections)} == {'sending a file'}
        assert ask(host, '/', 'HEAD').status == 200
        assert seen.next() == 'tremolo-wsgi'
        assert seen.empty()
        for client in slow:
            client.reset()
        assert [seen.next() for _ in range(3)] == ['tremolo-wsgi'] * 3


@pytest.mark.parametrize('leave', ['close', 'reset'])
def test_the_file_of_a_client_that_leaves_is_closed_by_a_thread(tmp_path, leave):
    path = tmp_path / 'huge'
    with path.open('wb') as file:
        file.truncate(1 << 30)
    seen = Seen()
    with site(sender(path, seen), check=False) as host:
        client = host.connect(request('/'), receive_buffer=4096)
        client.until(b'\r\n\r\n')
        getattr(client, leave)()
        assert seen.next() == 'tremolo-wsgi'


def test_a_file_that_becomes_shorter_cuts_the_connection(tmp_path, logged):
    path = tmp_path / 'huge'
    with path.open('wb') as file:
        file.truncate(1 << 28)
    seen = Seen()
    with site(sender(path, seen), check=False) as host:
        client = host.connect(request('/'), receive_buffer=4096)
        client.until(b'\r\n\r\n')
        with path.open('r+b') as file:
            file.truncate(0)
        with pytest.raises(ConnectionResetError):
            client.read_all()
        assert seen.next() == 'tremolo-wsgi'
    assert logged.count('the file could not be sent to its end') == 1


def temporary():
    file = tempfile.TemporaryFile()    # noqa: SIM115
    file.write(BIG)
    return file


def spooled():
    file = tempfile.SpooledTemporaryFile()    # noqa: SIM115
    file.write(BIG)
    return file


def packed():
    made = io.BytesIO()
    with gzip.GzipFile(fileobj=made, mode='wb') as file:
        file.write(BIG)
    made.seek(0)
    return gzip.GzipFile(fileobj=made)


class Minimal:
    """All that PEP 3333 asks for: `read`."""

    def __init__(self):
        self.file = io.BytesIO(BIG)

    def seek(self, offset):
        self.file.seek(offset)

    def read(self, size):
        return self.file.read(size)

    def close(self):
        self.file.close()


@pytest.mark.parametrize('opened, kernel', [
    (temporary, True), (spooled, False),
    (lambda: io.BytesIO(BIG), False), (packed, False), (Minimal, False),
], ids=['temporary', 'spooled', 'BytesIO', 'GzipFile', 'minimal'])
def test_what_is_no_regular_file_is_iterated(opened, kernel, sent):
    with site(sender(None, opened=opened), check=False) as host:
        assert ask(host).body == BIG
    assert bool(sent) == kernel


def test_a_file_of_text_is_told(tmp_path, logged):
    path = tmp_path / 'text'
    path.write_text('text')
    with site(sender(None, opened=lambda: path.open()), check=False) as host:
        assert ask(host).status == 500
    assert 'this chunk is str' in logged.text


def test_an_application_may_iterate_the_wrapper_itself(big):
    def app(environ, start_response):
        plain(start_response)
        wrapper = environ['wsgi.file_wrapper'](big.open('rb'))
        try:
            yield from wrapper
        finally:
            wrapper.close()

    with site(app) as host:
        assert ask(host).body == BIG


def test_a_file_after_write_follows_it(big):
    def app(environ, start_response):
        plain(start_response)(b'written')
        return environ['wsgi.file_wrapper'](big.open('rb'))

    with site(app, check=False) as host:
        assert ask(host).body == b'written' + BIG


def test_files_and_other_answers_take_turns_on_a_connection(big):
    with site(sender(big), check=False) as host:
        client = host.connect(request('/') * 5 + request('/', 'GET', 'Connection: close'))
        found = answers(client.read_all())
    assert [each.body for each in found] == [BIG] * 6
