"""The answer: what an application may return, and each mistake with the sentence that tells it."""

from __future__ import annotations

import sys
import threading

import pytest
from server_support import Incomplete, answers, read_answer, request
from wsgi_support import Seen, ask, end_of, plain, site

from tremolo.loop import current_reactor

CLOSE = 'Connection: close'


class Iterator:
    """Chunks with a `close`, as frameworks return them."""

    def __init__(self, chunks, seen, error=None):
        self.chunks = iter(chunks)
        self.seen = seen
        self.error = error

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.chunks)

    def close(self):
        self.seen.put(threading.current_thread().name)
        if self.error is not None:
            raise self.error


def application(*chunks, length=None, kind=list):
    def app(environ, start_response):
        fields = [('Content-Length', str(length))] if length is not None else []
        plain(start_response, *fields)
        return kind(chunks)

    return app


def test_a_list_of_one_chunk_goes_out_in_one_call_with_its_length(monkeypatch):
    from tremolo.server import Response
    whole = []
    send_body = Response.send_body
    monkeypatch.setattr(Response, 'send_body',
                        lambda self, body: whole.append(body) or send_body(self, body))
    with site(application(b'hello'), check=False) as host:
        found = ask(host)
    assert (found.body, found.headers['content-length'], whole) == (b'hello', '5', [b'hello'])


@pytest.mark.parametrize('kind', [list, tuple, iter], ids=['list', 'tuple', 'iterator'])
@pytest.mark.parametrize('length', [None, 9])
def test_all_kinds_of_iterables_are_answers(kind, length):
    app = application(b'one', b'', b'two', b'end', length=length, kind=kind)
    with site(app, check=False) as host:
        found = ask(host)
        framing = 'transfer-encoding' if kind is iter and length is None else 'content-length'
        assert (found.body, framing in found.headers) == (b'onetwoend', True)
        old = ask(host, version='1.0')
        assert old.body == b'onetwoend'
        head = ask(host, '/', 'HEAD')
        assert (head.body, head.status) == (b'', 200)
        if length is not None or kind is not iter:
            assert head.headers['content-length'] == '9'


def test_a_long_list_has_a_length_and_is_not_joined():
    with site(application(*[b'x' * 1000] * 1000), check=False) as host:
        found = ask(host)
        assert (len(found.body), found.headers['content-length']) == (1000000, '1000000')
        assert ask(host, '/', 'HEAD').headers['content-length'] == '1000000'


@pytest.mark.parametrize('chunks', [(), (b'',), (b'', b'')])
@pytest.mark.parametrize('kind', [list, iter], ids=['list', 'iterator'])
def test_an_answer_may_have_no_body(chunks, kind):
    with site(application(*chunks, kind=kind), check=False) as host:
        found = ask(host)
    assert (found.status, found.body, found.headers['content-length']) == (200, b'', '0')


@pytest.mark.parametrize('status', ['204 No Content', '304 Not Modified'])
@pytest.mark.parametrize('kind', [list, iter], ids=['list', 'iterator'])
def test_a_status_without_a_body_has_none(status, kind):
    def app(environ, start_response):
        start_response(status, [])
        return kind([])

    with site(app) as host:
        client = host.connect(request('/') + request('/', 'GET', CLOSE))
        found = answers(client.read_all())
    assert [(each.status, each.body) for each in found] == [(int(status[:3]), b'')] * 2


def test_a_body_of_a_204_is_left_out(logged):
    def app(environ, start_response):
        start_response('204 No Content', [])
        return [b'something'] if environ['PATH_INFO'] == '/list' else iter([b'some', b'thing'])

    with site(app, check=False) as host:
        for path in '/list', '/iterator':
            data = end_of(host, request(path, 'GET', CLOSE))
            assert data.startswith(b'HTTP/1.1 204')
            assert data.endswith(b'\r\n\r\n')
    assert logged.count('has no body') == 2


def test_a_phrase_of_ones_own_is_sent():
    def app(environ, start_response):
        start_response('404 Lost \xe9', [('Content-Type', 'text/plain'), ('X-A', 'caf\xe9')])
        return [b'']

    with site(app) as host:
        found = ask(host)
    assert (found.status, found.reason, found.headers['x-a']) == (404, 'Lost \xe9', 'caf\xe9')


def test_write_sends_at_once_and_the_iterable_follows():
    seen = Seen()

    def app(environ, start_response):
        write = plain(start_response)
        write(b'written ')
        seen.get(timeout=30)
        write(b'twice ')
        return [b'returned']

    with site(app) as host:
        client = host.connect(request('/', 'GET', CLOSE))
        client.until(b'written ')
        seen.put(True)
        assert answers(client.read_all())[0].body == b'written twice returned'
        seen.put(True)
        assert ask(host, '/', 'HEAD').body == b''


@pytest.mark.parametrize('generator', [False, True])
def test_each_chunk_is_sent_before_the_next_is_taken(generator):
    seen = Seen()

    def chunks():
        yield b'first'
        seen.get(timeout=30)
        yield b'second'

    class Chunks:
        def __iter__(self):
            return chunks()

    def app(environ, start_response):
        plain(start_response)
        return chunks() if generator else Chunks()

    with site(app) as host:
        client = host.connect(request('/', 'GET', CLOSE))
        client.until(b'first')
        seen.put(True)
        assert answers(client.read_all())[0].body == b'firstsecond'


def test_an_answer_that_is_complete_does_not_wait_for_what_follows():
    """A length is announced, and reached; the iterable goes on, and `close` takes its time."""
    go_on = threading.Event()

    def chunks():
        yield b'whole'
        go_on.wait(30)

    class Closing:
        def __init__(self):
            self.chunks = chunks() if True else None

        def __iter__(self):
            return iter([b'whole'])

        def close(self):
            go_on.wait(30)

    def app(environ, start_response):
        plain(start_response, ('Content-Length', '5'))
        return chunks() if environ['PATH_INFO'] == '/chunks' else Closing()

    with site(app) as host:
        for path in '/chunks', '/close':
            assert ask(host, path).body == b'whole'
        go_on.set()


@pytest.mark.parametrize('status', ['200', '200OK', '20 OK', '099 Low', '100 Continue', '600 High',
                                    '200 O\nK', '200 \u20ac', 200, b'200 OK', None, '200 '])
def test_a_bad_status_is_a_500_and_a_sentence(status, logged):
    def app(environ, start_response):
        start_response(status, [])
        return [b'never sent']

    with site(app, check=False) as host:
        found = ask(host)
        assert (found.status, b'never sent' in found.body) == (500, False)
    assert 'start_response: the status' in logged.text
    if repr(status) in ("'200'", '200', "'200OK'"):
        assert "write '200 OK'" in logged.text


@pytest.mark.parametrize('headers, words', [
    ((('A', 'b'),), 'write `list(headers)`'),
    ({'A': 'b'}, 'write `list(headers.items())`'),
    (None, 'not NoneType'),
    ([('A', 1)], 'write str(value)'),
    ([('A', b'b')], "write value.decode('latin-1')"),
    ([(b'A', 'b')], 'is a pair of str'),
    ([('A',)], "a header is a tuple, ('Name', 'value')"),
    ([['A']], "a header is a tuple, ('Name', 'value')"),
    (['AB', 'C'], "a header is a tuple, ('Name', 'value')"),
    ([('A', None)], 'is a pair of str'),
    ([('A', '\u20ac')], 'sent as Latin-1'),
    ([('A\u20ac', 'b')], 'sent as Latin-1'),
    ([('A', 'b\r\nC: d')], 'HeaderError'),
    ([('A', 'b\0')], 'HeaderError'),
    ([('A b', 'c')], 'malformed header name'),
    ([('A:', 'c')], 'malformed header name'),
    ([('', 'c')], 'malformed header name'),
    ([('Content-Length', 'x')], 'Content-Length'),
    ([('Content-Length', '1'), ('Content-Length', '2')], 'Content-Length'),
    ([('Connection', 'close')], 'leave it out'),
    ([('Transfer-Encoding', 'chunked')], 'leave it out'),
    ([('Keep-Alive', '5')], 'leave it out'),
    ([('Upgrade', 'x')], 'leave it out'),
])
def test_bad_headers_are_a_500_and_a_sentence(headers, words, logged):
    def app(environ, start_response):
        start_response('200 OK', headers)
        return [b'never sent']

    with site(app, check=False) as host:
        for _ in range(2):
            data = end_of(host, request('/', 'GET', CLOSE))
            found, = answers(data)
            assert (found.status, b'never sent' in data) == (500, False)
    assert logged.text.count(words) >= 2


@pytest.mark.parametrize('result, words', [
    ('text', "write `return [text.encode('utf-8')]`"),
    (b'bytes', 'write `return [body]`'),
    (None, "write `return [b'...']`"),
    (5, 'cannot be iterated'),
    (['text'], "write `text.encode('utf-8')`"),
    ([b'bytes', 'text'], "write `text.encode('utf-8')`"),
    (iter(['text']), "write `text.encode('utf-8')`"),
    ([bytearray(b'a')], 'write `bytes(chunk)`'),
    ([type('Own', (bytes,), {})(b'a')], 'write `bytes(chunk)`'),
    ([5], 'this chunk is int'),
    ({'a': 'b'}, 'this chunk is str'),
])
def test_what_is_no_answer_is_a_500_and_a_sentence(result, words, logged):
    def app(environ, start_response):
        start_response('200 OK', [])
        return result

    with site(app, check=False) as host:
        assert ask(host).status == 500
    assert words in logged.text


def test_a_coroutine_is_told_of_asgi(logged):
    async def coroutine():
        pass

    def app(environ, start_response):
        made.append(coroutine())
        return made[-1]

    made: list = []
    with site(app, check=False) as host:
        assert ask(host).status == 500
    made.pop().close()
    assert '--interface asgi' in logged.text


@pytest.mark.parametrize('chunks', [[], [b'a'], iter([b'a']), iter([])])
def test_an_answer_without_start_response_is_a_500(chunks, logged):
    with site(lambda environ, start_response: chunks, check=False) as host:
        assert ask(host).status == 500
    assert 'has not called start_response' in logged.text


def test_a_generator_may_call_start_response_before_its_first_chunk():
    def app(environ, start_response):
        plain(start_response)
        yield b'generated'

    with site(app, check=False) as host:
        assert ask(host).body == b'generated'


def test_start_response_twice_is_a_500(logged):
    def app(environ, start_response):
        plain(start_response)
        plain(start_response)
        return [b'']

    with site(app, check=False) as host:
        assert ask(host).status == 500
    assert 'sys.exc_info()' in logged.text


def test_start_response_with_exc_info_replaces_the_head_that_is_not_sent():
    def app(environ, start_response):
        plain(start_response, ('X-First', 'a'))
        try:
            raise ValueError('on purpose')
        except ValueError:
            start_response('503 Busy', [('Content-Type', 'text/plain')], sys.exc_info())
        return [b'replaced']

    with site(app) as host:
        found = ask(host)
    assert (found.status, found.body, 'x-first' in found.headers) == (503, b'replaced', False)


def test_start_response_with_exc_info_raises_it_when_the_head_is_sent(logged):
    def app(environ, start_response):
        plain(start_response)
        yield b'begun'
        try:
            raise ValueError('too late on purpose')
        except ValueError:
            start_response('503 Busy', [], sys.exc_info())
        yield b'never'

    with site(app, check=False) as host:
        data = end_of(host, request('/'))
        assert data.endswith(b'5\r\nbegun\r\n')
    assert 'ValueError: too late on purpose' in logged.text


@pytest.mark.parametrize('exc_info', [(None, None, None), True, (), ValueError('no tuple')])
def test_start_response_with_an_exc_info_that_is_none_is_told(exc_info, logged):
    def app(environ, start_response):
        plain(start_response)
        yield b'begun'
        start_response('503 Busy', [], exc_info)

    with site(app, check=False) as host:
        assert end_of(host, request('/')).endswith(b'5\r\nbegun\r\n')
    assert 'exc_info has no exception to raise' in logged.text


@pytest.mark.parametrize('error', [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit,
                                   StopIteration])
@pytest.mark.parametrize('where', ['call', 'first', 'later', 'close'])
def test_an_error_of_the_application(error, where, logged):
    """Before the head it is a 500, later the connection is cut; after the answer it is logged."""
    seen = Seen()

    class Failing:
        def __init__(self):
            self.left = 0 if where == 'first' else 1

        def __iter__(self):
            return self

        def __next__(self):
            if where == 'close' and not self.left:
                raise StopIteration
            if not self.left:
                raise error('on purpose')
            self.left -= 1
            return b'begun'

        def close(self):
            seen.put('closed')
            if where == 'close':
                raise error('on purpose')

    def app(environ, start_response):
        if environ['PATH_INFO'] == '/fine':
            plain(start_response)
            return [b'fine']
        plain(start_response)
        if where == 'call':
            raise error('on purpose')
        return Failing()

    ends = error is StopIteration and where in ('first', 'later')
    with site(app, check=False) as host:
        client = host.connect(request('/'))
        if where == 'close' or ends:
            assert client.take().status == 200
            assert ends or client.received == b''
        elif where == 'later':
            assert client.read_all().endswith(b'5\r\nbegun\r\n')
        else:
            found = client.take()
            assert (found.status, b'on purpose' in found.body) == (500, False)
        if where != 'call':
            assert seen.next() == 'closed'
        assert ask(host, '/fine').body == b'fine'
        host.wait_for(lambda: ends or logged.count('the WSGI application failed on GET'))
    assert ends or f'{error.__name__}: on purpose' in logged.text or error is GeneratorExit


def test_in_debug_mode_the_error_is_shown(logged):
    def app(environ, start_response):
        raise ValueError('<on purpose>')

    with site(app, debug=True) as host:
        found = ask(host)
    assert (found.status, b'&lt;on purpose&gt;' in found.body) == (500, True)
    assert logged.count('the WSGI application failed') == 1


@pytest.mark.parametrize('kind', [list, iter], ids=['list', 'iterator'])
@pytest.mark.parametrize('chunks', [(b'abc',), (b'ab', b'c'), ()])
def test_a_body_that_is_too_short_cuts_the_connection(kind, chunks, logged):
    with site(application(*chunks, length=10, kind=kind), check=False) as host:
        data = end_of(host, request('/') * 2)
        with pytest.raises(Incomplete):
            read_answer(data)
        assert (data.count(b'HTTP/1.1'), data.endswith(b'\r\n\r\n' + b''.join(chunks))) == (1, True)
        assert ask(host, '/', 'HEAD').headers['content-length'] == '10'
    assert logged.count('bytes shorter than its Content-Length: the connection is cut') == 1


@pytest.mark.parametrize('kind', [list, iter], ids=['list', 'iterator'])
@pytest.mark.parametrize('chunks', [(b'abcde',), (b'ab', b'cd', b'e'), (b'abc', b'de')])
def test_a_body_that_is_too_long_is_trimmed_and_the_connection_goes_on(kind, chunks, logged):
    with site(application(*chunks, length=3, kind=kind), check=False) as host:
        client = host.connect(request('/') + request('/', 'GET', CLOSE))
        assert [each.body for each in answers(client.read_all())] == [b'abc', b'abc']
    assert logged.count('longer than its Content-Length') == 2


def test_an_endless_body_that_is_too_long_is_not_taken_to_its_end(logged):
    seen = Seen()

    def endless():
        while True:
            yield b'abc'

    def app(environ, start_response):
        plain(start_response, ('Content-Length', '4'))
        return Iterator(endless(), seen)

    with site(app, check=False) as host:
        assert ask(host).body == b'abca'
        assert seen.next() == 'tremolo-wsgi'
    assert logged.count('longer') == 1


@pytest.mark.parametrize('error', [None, ValueError('close failed')], ids=['', 'fails'])
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
@pytest.mark.parametrize('length', [None, 6])
def test_close_is_called_by_a_thread(method, length, error, logged):
    seen = Seen()

    def app(environ, start_response):
        fields = [('Content-Length', str(length))] if length else []
        plain(start_response, *fields)
        return Iterator([b'abc', b'def'], seen, error)

    with site(app, check=False) as host:
        client = host.connect(request('/', method) + request('/', method, CLOSE))
        found = answers(client.read_all(), method, method)
        assert [each.body for each in found] == [b'abcdef' if method == 'GET' else b''] * 2
        assert [seen.next(), seen.next()] == ['tremolo-wsgi'] * 2
        assert seen.empty()
        host.wait_for(lambda: error is None or logged.count('failed on') == 2)
    assert error is not None or logged.messages == []


@pytest.mark.parametrize('leave', ['close', 'reset'])
def test_a_client_that_leaves_ends_the_iteration_and_close_is_called(leave):
    seen = Seen()

    def endless():
        while True:
            yield b'x' * 10000

    def app(environ, start_response):
        plain(start_response)
        return Iterator(endless(), seen)

    with site(app, half_close_timeout=0.05) as host:
        client = host.connect(request('/'))
        client.until(b'xxx')
        getattr(client, leave)()
        assert seen.next() == 'tremolo-wsgi'


def test_a_client_that_takes_nothing_holds_the_iteration_up_and_is_cut():
    """No more is in memory than what the client may be behind, and the thread ends."""
    seen, made = Seen(), []

    def endless():
        while True:
            made.append(1)
            yield b'x' * 65536

    def app(environ, start_response):
        plain(start_response)
        return Iterator(endless(), seen)

    with site(app, stall_timeout=0.3) as host:
        client = host.connect(request('/'), receive_buffer=4096)
        client.until(b'xxx')
        assert seen.next() == 'tremolo-wsgi'
    assert len(made) < 200


def test_a_write_that_nobody_takes_is_a_named_error():
    seen = Seen()

    def app(environ, start_response):
        write = plain(start_response)
        try:
            while True:
                write(b'x' * 10000)
        except OSError as error:
            seen.put((type(error).__name__, str(error)))
            raise

    with site(app, check=False) as host:
        client = host.connect(request('/'))
        client.until(b'xxx')
        client.reset()
        name, text = seen.next()
    assert (name, text.split(':')[0]) == ('ClientGone', 'the client is gone')


def test_handler_timeout_answers_in_the_place_of_the_application(logged):
    seen, go_on = Seen(), threading.Event()

    def app(environ, start_response):
        go_on.wait(30)
        plain(start_response)
        return Iterator([b'too late'], seen)

    with site(app, handler_timeout=0.05) as host:
        assert ask(host).status == 503
        go_on.set()
        assert seen.next() == 'tremolo-wsgi'
    assert logged.count('handler_timeout') == 1


def test_the_reactor_is_there_for_what_runs_on_a_thread():
    def app(environ, start_response):
        plain(start_response)
        return [type(current_reactor()).__name__.encode()]

    with site(app) as host:
        assert ask(host).body == b'Reactor'
