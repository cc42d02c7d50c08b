"""Limits: what is too much, too slow or malformed is answered, and seen by a client that sends."""

from __future__ import annotations

import gc
import sys
import threading
from contextlib import suppress

import pytest
from server_support import answers, chunked, request, serving, virtual
from upload_support import TYPE, URLENCODED, body_of, part, upload, urlencoded

from tremolo import Tremolo
from tremolo.exceptions import BadRequest, PayloadTooLarge, TremoloError
from tremolo.http import form

counted = pytest.mark.skipif(sys.implementation.name != 'cpython', reason='counts references')
CHUNKED = 'Transfer-Encoding: chunked'


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/form', methods=['POST'])
    def form(request):
        form = yield request.form()
        yield str(len(form))

    @app.route('/files', methods=['POST'])
    def files(request):
        count, files = 0, request.files()
        while part := (yield files.next()):
            count += 1
            while (yield part.read()):
                pass
        yield str(count)

    @app.route('/text', methods=['POST'])
    def text(request):
        part = yield request.files().next()
        yield str(len((yield part.text())))

    @app.route('/thread', methods=['POST'])
    def thread(request, thread=True):
        return str(len(request.form().result()))

    return app


LARGE = b'x' * 8_000_000
TOO_MUCH = {
    'form_fields': (413, upload('/form', *[part('a')] * 4, part('f', LARGE, 'f'))),
    'form_fields (form_fields)': (413, urlencoded('/form', b'a&' * 4)),
    'form_size': (413, upload('/form', part('a', '1' * 990), part('b', '1' * 9),
                              part('f', LARGE, ''))),
    'exceed 1000 bytes (form_size)': (413, urlencoded('/form', b'a=' + LARGE)),
    'exceeds 1000 bytes (form_size)': (413, upload('/text', part('a', LARGE))),
    'exceed 1000 bytes': (413, request('/thread', 'POST', URLENCODED, CHUNKED)
                          + chunked(*[b'x' * 10_000] * 800)),
    'part_count': (413, upload('/files', *[part('a')] * 6, part('f', LARGE, 'f'))),
    'part_head_size': (400, upload('/files', part('a', '', None, 'X: ' + 'x' * 8_000_000))),
    'part_fields': (400, upload('/files', part('a', '', None, *['X: y'] * 9), part('b', LARGE))),
    'before the first part': (413, request('/files', 'POST', TYPE, body=LARGE)),
}


@pytest.mark.parametrize('reason', TOO_MUCH)
def test_too_much_is_answered_while_the_client_goes_on_sending(app, reason):
    status, data = TOO_MUCH[reason]
    with serving(app, form_fields=3, form_size=1000, part_count=5, part_head_size=500,
                 part_fields=8) as host:
        client = host.connect()

        def send():
            with suppress(OSError):
                client.send(data)

        sender = threading.Thread(target=send)
        sender.start()
        sender.join()    # (The client reads nothing before it has sent all.)
        answer, = answers(client.read_all()) if len(data) > 300_000 else [client.take()]
    assert answer.status == status
    assert reason.split(' (')[0] in answer.body.decode() or reason in answer.body.decode()


@pytest.mark.parametrize('path', ['/form', '/text'])
def test_exactly_as_much_as_is_allowed_is_read(app, path):
    with virtual(app, form_fields=2, form_size=20, part_count=2, part_fields=2) as host:
        lines = ('Content-Type: text/plain',)
        parts = part('a', '1' * 9, None, *lines), part('b', '1' * 9, None, *lines)
        assert host.connect(upload(path, *parts)).take().status == 200
        assert host.connect(urlencoded('/form', b'a=1&b=' + b'2' * 14)).take().body == b'2'
        assert host.connect(urlencoded('/form', b'a=1&b=' + b'2' * 15)).take().status == 413


def test_files_of_a_form_count_for_nothing_but_the_body(app):
    parts = [part('f', 'x' * 5000, 'f')] * 50 + [part('a', '1')]
    with virtual(app, form_fields=1, form_size=2) as host:
        assert host.connect(upload('/form', *parts)).take().body == b'1'
    with virtual(app, body_size=100_000) as host:
        client = host.connect(upload('/form', *parts))
        client.until(b'413')


def test_a_body_in_chunks_that_is_larger_than_body_size_is_413(app):
    data = request('/files', 'POST', TYPE, CHUNKED) + chunked(
        *[body_of(*[part('a', 'x' * 99, 'f')] * 20)[:1600]] * 2)
    with virtual(app, body_size=1500) as host:
        assert host.connect(data).take().status == 413


@pytest.mark.parametrize('path', ['/form', '/files', '/text'])
def test_a_client_that_sends_no_more_is_408(app, path):
    data = upload(path, part('a', '1' * 50))
    with virtual(app, stall_timeout=60) as host:
        client = host.connect(data[:-60])
        begin = host.now
        assert client.take().status == 408
        assert 59 < host.now - begin < 62


@pytest.mark.parametrize('path', ['/form', '/files', '/text'])
def test_a_byte_a_minute_is_read_as_long_as_connections_are_plenty(app, path):
    data = upload(path, part('a', '1' * 9))
    with virtual(app, stall_timeout=61) as host:
        client = host.connect(data[:-50])
        for i in range(len(data) - 50, len(data)):
            host.advance(59)
            assert not client.received
            client.send(data[i:i + 1])
        assert client.take().status == 200


@pytest.mark.parametrize('path', ['/form', '/files', '/text'])
def test_every_cut_of_a_form_is_400_or_a_closed_connection(app, path):
    data = upload(path, part('a', '\r\n--simple-bound'), part('b', '2', 'f'))
    head = data.index(b'\r\n\r\n') + 4
    with virtual(app) as host:
        for size in range(head, len(data), 9):    # What is declared does not come.
            client = host.connect(data[:size])
            client.fin()
            client.until_ended()
            assert not client.received or answers(client.received)[0].status in (200, 400)
        for size in range(head, len(data), 3 if path == '/text' else 1):    # The form ends early.
            body = data[head:size]
            client = host.connect(request(path, 'POST', TYPE, CHUNKED) + (
                chunked(body) if body else chunked()))
            whole = size == len(data) - 2 or path == '/text'
            assert client.take().status in ((200, 400) if whole else (400,))
            client.close()
        client = host.connect(data[:-2] + b'\r\n')
        assert client.take().status == 200


MALFORMED = {
    'no boundary': upload('/files', part('a'), kind='Content-Type: multipart/form-data'),
    'an empty boundary': upload('/files', part('a'), kind=TYPE.replace('simple-boundary', '""')),
    'a long boundary': upload('/files', part('a'), kind=TYPE + 'x' * 60),
    'two boundaries': upload('/files', part('a'), kind=TYPE + '; boundary=other'),
    'no delimiter': request('/files', 'POST', TYPE, body=b'x' * 1000),
    'no name': upload('/files', part('a').replace(b' name', b' n')),
    'no colon': upload('/files', part('a', '', None, 'no colon')),
    'a control character': upload('/files', part('a\x01')),
    'a bare LF': upload('/files', part('a').replace(b'\r\n', b'\n')),
    'another disposition': upload('/files', part('a').replace(b'form-data', b'attachment')),
    'two dispositions': upload('/files', part('a', '', None, 'Content-Disposition: form-data')),
    'a broken charset': upload('/form', part('a', '\xff'.encode('latin-1'))),
}


@pytest.mark.parametrize('data', MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_400_with_a_short_reason(app, data):
    with virtual(app) as host:
        answer = host.connect(data).take()
    assert answer.status == 400
    assert 10 < len(answer.body) < 120 and answer.headers['content-type'].startswith('text/plain')


def test_a_malformed_form_is_an_error_that_a_handler_can_catch(app):
    @app.route('/caught', methods=['POST'])
    def caught(request):
        files = request.files()
        for _ in range(3):
            with pytest.raises(BadRequest, match='delimiter'):
                yield files.next()
        yield 'caught'

    @app.route('/large', methods=['POST'])
    def large(request):
        with pytest.raises(PayloadTooLarge):
            yield request.form()
        yield 'caught'

    with virtual(app, form_size=10) as host:
        data = request('/caught', 'POST', TYPE, body=b'--simple-boundary\n')
        assert host.connect(data).take().body == b'caught'
        assert host.connect(urlencoded('/large', b'x' * 11)).take().body == b'caught'
    assert issubclass(BadRequest, TremoloError)


@counted
def test_forms_and_uploads_leave_nothing_for_the_collector(app, logged):
    rounds = (upload('/form', part('a', '1'), part('f', 'x', 'f')), urlencoded('/form', b'a=1'),
              upload('/files', part('a', 'x' * 100_000, 'f'), part('b')),
              upload('/text', part('a', '1')), upload('/text', part('a', '\xff')),
              urlencoded('/form', b'a=1', kind='Content-Type: text/plain'),
              request('/files', 'POST', TYPE, body=b'--simple-boundary\n'),
              upload('/form', part('a', '1' * 2000)))
    with virtual(app, form_size=1000) as host:
        def work():
            for data in rounds:
                client = host.connect(data)
                client.take()
                client.close()
            for size in 200, 300:
                client = host.connect(rounds[2][:size])
                host.advance(0.01)
                client.reset()
            host.advance(40)
            host.clients.clear()

        work()
        gc.collect()
        gc.disable()
        try:
            work()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [repr(each)[:100] for each in gc.garbage
                    if type(each).__module__.startswith('tremolo')
                    or type(each).__name__ in ('generator', 'Context', 'traceback', 'frame')]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert left == []


# -- the time of others ----------------------------------------------------------------------------


@pytest.mark.parametrize(('path', 'parts', 'turns'), [
    ('/form', [part('a')] * 50, 50),
    ('/files', [part('a')] * 50, 50),
    ('/form', [part('f', b'\r\n--simple-boundaryx' * 3_000, 'f')], 5)])
def test_others_have_their_turn_between_the_events_of_a_form(app, path, parts, turns, monkeypatch):
    monkeypatch.setattr('tremolo.uploads.upload.TIME_SLICE', 0)
    data = upload(path, *parts)
    with virtual(app) as host:
        client = host.connect()
        client.send(data)
        before = host.server.reactor.turns
        assert client.take().status == 200
        assert host.server.reactor.turns - before > turns


@pytest.mark.parametrize('body', [b'a=' + b'%41' * 60_000, b'a=1&' * 50_000, b'%' * 200_000])
def test_a_large_urlencoded_form_gives_others_their_turn(app, body):
    # (A thread that computes would take the interpreter from the loop, 5 ms and more at a time.)
    threads = set()
    with virtual(app, form_fields=10**6) as host:
        client = host.connect(urlencoded('/form', body))
        host.until(lambda: host.server.connections and next(
            iter(host.server.connections)).request_body is not None)
        before = host.reactor.turns
        assert client.take().body == b'1'
        threads.add(threading.active_count())
        # (A read is 64 KiB, and then it is a piece of 16 KiB each turn.)
        assert host.reactor.turns - before > len(body) // 16384
    assert threads == {threading.active_count()}


@pytest.mark.parametrize('cut', range(16_380, 16_390))
def test_an_escape_is_whole_wherever_a_turn_ends(app, cut):
    body = b'b=' + b'x' * (cut - 2) + b'%41%c3%a9%4' + b'+' * 20_000 + b'&c=d'
    reading = form.fields_in_turns(body, 2)
    with pytest.raises(StopIteration) as ended:
        while True:
            next(reading)
    assert ended.value.value == form.read_fields(body, 2)
    with pytest.raises(ValueError, match='too many'):
        [*form.fields_in_turns(body, 1)]


def test_a_large_form_whose_reading_is_cancelled_is_read_again(monkeypatch):
    app, waits = Tremolo(), threading.Event()

    def read_fields(*given):
        waits.wait(10)
        return form.read_fields(*given)

    @app.route('/', methods=['POST'])
    def index(request):
        reading = request.form()
        yield None
        reading.cancel()
        waits.set()
        yield str(len((yield request.form()).first('a')))

    monkeypatch.setattr('tremolo.uploads.form.read_fields', read_fields)
    with serving(app) as host:
        answer, = host.ask(urlencoded('/', b'a=' + b'1' * 100_000, 'Connection: close'))
        assert answer.body == b'100000'
