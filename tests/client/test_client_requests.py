"""Requests of a test client, with all kinds of handlers, and what they carry."""

from __future__ import annotations

import io
import json

import pytest
from client_support import KINDS, coroutines, generators, shown

from tremolo import Tremolo, redirect
from tremolo.exceptions import AnswerError


@pytest.fixture
def app():
    app = Tremolo()

    @app.route('/show', methods=['GET', 'POST', 'DELETE', 'OPTIONS', 'PURGE'])
    def show(request, response):
        response.headers['X-Many'] = 'a'
        response.headers.add('X-Many', 'b')
        yield request.body()
        yield shown(request)

    @app.route('/body', methods=['POST'])
    def body(request):
        yield (yield request.body())

    @app.route('/form', methods=['POST'])
    def form(request):
        form = yield request.form()
        return form

    return app


@pytest.mark.parametrize('kind', KINDS)
def test_all_kinds_of_handlers_answer(kind):
    with kind().client() as client:
        answer = client.get('/hello')
        assert (answer.status, answer.reason, answer.text) == (200, 'OK', 'Hello world!')
        assert (answer.url, answer.history) == ('http://localhost/hello', [])
        for method in 'post', 'put', 'patch', 'delete':
            answer = getattr(client, method)('/echo', data=b'x' * 10)
            assert (answer.body, answer.headers['X-METHOD']) == (b'x' * 10, method.upper())
        head = client.head('/hello')
        assert (head.status, head.body) == (200, b'')


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [0, 1, 70_000, 1_500_000])
def test_bodies_of_all_sizes_come_back(kind, size):
    data = bytes(range(256)) * (size // 256) + b'x' * (size % 256)
    with kind().client() as client:
        assert client.post('/echo', data=data).body == data
        pieces = (data[place:place + 65_537] for place in range(0, size, 65_537))
        assert client.post('/echo', data=pieces).body == data
        assert client.post('/echo', data=io.BytesIO(data)).body == data


@pytest.mark.parametrize('kind', KINDS)
def test_without_a_block_it_works_at_once(kind):
    client = kind().client()
    assert client.get('/hello').text == client.get('/hello').text == 'Hello world!'


def test_a_connection_is_kept_and_opened_again(app):
    with app.client() as client:
        server = app.tested.server
        for _ in range(3):
            client.get('/show')
        assert len(server.connections) == 1
        answer = client.get('/show', headers={'Connection': 'close'})
        assert answer.headers['connection'] == 'close'
        client.get('/show')
        assert sum(server.closed.values()) == 1
        for connection in list(server.connections):
            connection.close('idle_timeout')
        assert client.get('/show').status == 200
        assert dict(server.closed) == {'done': 1, 'idle_timeout': 1}


def test_the_query_and_the_headers(app):
    client = app.client(headers={'X-App': 'mine', 'Accept': 'text/html'})
    seen = client.get('/show?a=1', params={'b': ['2', '3'], 'c': 'ü &'}, headers={
        'X-Own': 'yes', 'User-Agent': None}).json()
    assert seen['target'] == '/show?a=1&b=2&b=3&c=%C3%BC+%26'
    assert seen['query'] == {'a': ['1'], 'b': ['2', '3'], 'c': ['ü &']}
    assert seen['headers'] == [['host', 'localhost'], ['x-app', 'mine'], ['accept', 'text/html'],
                               ['x-own', 'yes']]
    assert (seen['client'], seen['scheme']) == (['127.0.0.1', 50000], 'http')
    seen = client.get('/show', headers=[('X-App', '1'), ('X-App', '2'), ('Host', 'a.example')])
    assert [value for name, value in seen.json()['headers'] if name == 'x-app'] == ['1', '2']
    assert ['host', 'a.example'] in seen.json()['headers']
    assert client.get('/show', params='x=1').json()['target'] == '/show?x=1'


def test_an_address_may_be_whole_and_have_any_characters(app):
    client = app.client(base_url='https://example.org:8443')
    seen = client.get('/show?ä b#fragment').json()
    assert seen['target'] == '/show?%C3%A4%20b'
    assert seen['scheme'] == 'https'
    assert ['host', 'example.org:8443'] in seen['headers']
    seen = client.get('http://other.example/show').json()
    assert (seen['scheme'], seen['headers'][0]) == ('http', ['host', 'other.example'])
    assert client.get('http://other.example').status == 404
    assert client.get('/a\r\nX: y').status == 404    # (Both are escaped.)
    assert client.get('//show').status == 404    # It is a path, and no host.
    assert client.get('/a%2Fb%20c?%41').url == 'https://example.org:8443/a%2Fb%20c?%41'
    assert client.options('*').status == 204
    for bad in 'show', 'ftp://a/b', '':
        with pytest.raises(ValueError, match='begins with /'):
            client.get(bad)
    with pytest.raises(ValueError, match='no address'):
        app.client(base_url='localhost')


def test_the_answer_has_all_that_came(app):
    answer = app.client().get('/show')
    assert answer.headers.get_all('x-many') == ['a', 'b']
    assert answer.json()['method'] == 'GET'
    assert repr(answer) == '<Answer 200 OK>'
    assert app.client().request('PURGE', '/show').json()['method'] == 'PURGE'


@pytest.mark.parametrize('name, instead', [
    ('status_code', r'answer\.status$'), ('content', r'answer\.body$'), ('data', r'answer\.body$'),
    ('get_json', r'answer\.json\(\)$'), ('nothing', "'nothing'$")])
def test_the_names_of_other_clients_say_what_to_write(app, name, instead):
    with pytest.raises(AttributeError, match=instead):
        getattr(app.client().get('/show'), name)


@pytest.mark.parametrize('wrong, instead', [
    ({'content': b''}, 'write data='), ({'allow_redirects': True}, 'write follow_redirects='),
    ({'nothing': 1}, "no argument 'nothing'$")])
def test_the_arguments_of_other_clients_say_what_to_write(app, wrong, instead):
    with pytest.raises(TypeError, match=instead):
        app.client().post('/show', **wrong)


def test_the_text_has_the_charset_of_the_answer():
    app = Tremolo()

    @app.route('/latin')
    def latin():
        return 'ü', 'latin-1'

    @app.route('/wrong')
    def wrong(content_type='text/plain; charset=utf-8'):
        return b'\xff'

    client = app.client()
    assert (client.get('/latin').body, client.get('/latin').text) == (b'\xfc', 'ü')
    with pytest.raises(UnicodeDecodeError):
        _ = client.get('/wrong').text


def test_json_goes_and_comes(app):
    client = app.client()
    for value in {}, [], {'ü': [1, None, 2.5]}, 0, False, '':
        answer = client.post('/body', json=value)
        assert answer.json() == value
    for bad in {'a': float('nan')}, {'a': object()}:
        with pytest.raises((TypeError, ValueError)):
            client.post('/body', json=bad)


def test_a_form_goes_and_comes(app):
    client = app.client()
    assert client.post('/form', data={'a': 'ü &=', 'b': ['1', '2'], 'c': 3}).json() == {
        'a': ['ü &='], 'b': ['1', '2'], 'c': ['3']}
    assert client.post('/form', data=[('a', '1'), ('a', '2')]).json() == {'a': ['1', '2']}
    assert client.post('/form', data={}).json() == {}
    assert client.post('/body', data='ü').body == 'ü'.encode()
    answer = client.post('/body')
    assert (answer.status, answer.body) == (200, b'')


@pytest.mark.parametrize('wrong, words', [
    ({'data': {'a': None}}, 'leave it out'), ({'data': {'a': {'b': 1}}}, 'json='),
    ({'data': 5}, 'not int'), ({'data': b'', 'json': {}}, 'one body'),
    ({'files': {'a': 5}}, 'not int'), ({'files': {'a': ('n',)}}, 'filename, content'),
    ({'files': {'a': io.StringIO('x')}}, "mode 'rb'"), ({'data': [1]}, 'a piece of data'),
    ({'data': 'x', 'files': {}}, 'beside files')])
def test_a_body_that_is_none_is_told(app, wrong, words):
    client = app.client()
    with pytest.raises(TypeError, match=words):
        client.post('/body', **wrong)


def test_files_come_back_as_they_were_sent(tmp_path):
    app = Tremolo()

    @app.route('/files', methods=['POST'])
    def files(request):
        seen = []
        parts = request.files()
        while part := (yield parts.next()):
            content = yield part.read()
            seen.append([part.name, part.filename, part.headers.get('content-type'),
                         content.decode('latin-1')])
        return seen

    (tmp_path / 'a.txt').write_bytes(b'of a file' * 20)
    client = app.client()
    with open(tmp_path / 'a.txt', 'rb') as opened:
        seen = client.post('/files', data={'title': 'Über'}, files={
            'raw': b'\0\xff\r\n--', 'named': ('a "b".png', b'png'), 'opened': opened,
            'typed': ('x', 'text', 'text/x'), 'many': [('1', b'1'), ('2', b'2')]}).json()
    assert seen == [
        ['title', None, None, 'Über'.encode().decode('latin-1')],
        ['raw', 'raw', 'application/octet-stream', '\0\xff\r\n--'],
        ['named', 'a "b".png', 'image/png', 'png'],
        ['opened', 'a.txt', 'text/plain', 'of a file' * 20],
        ['typed', 'x', 'text/x', 'text'],
        ['many', '1', 'application/octet-stream', '1'],
        ['many', '2', 'application/octet-stream', '2']]


def test_an_iterable_that_raises_is_told(app):
    def pieces():
        yield b'a'
        raise ZeroDivisionError

    with app.client() as client:
        with pytest.raises(ZeroDivisionError):
            client.post('/body', data=pieces())
        assert client.post('/body', data=b'again').body == b'again'


def test_a_refusal_before_the_body_was_sent_is_read(app):
    @app.route('/small', methods=['POST'])
    def small(request):
        yield (yield request.body())

    with app.client(body_size='1KiB') as client:
        assert client.post('/small', data=b'x' * 3_000_000).status == 413
        pieces = (b'x' * 65536 for _ in range(64))
        assert client.post('/small', data=pieces).status == 413
        assert client.post('/small', data=b'x').status == 200


def test_a_body_does_not_wait_for_100_continue(app):
    @app.route('/no', methods=['POST'])
    def no():
        return 'no'

    with app.client() as client:
        expect = {'Expect': '100-continue'}
        assert client.post('/body', data=iter([b'a']), headers=expect).body == b'a'
        assert client.post('/no', data=iter([b'a']), headers=expect).body == b'no'
        assert client.post('/body', data=b'b').body == b'b'


def test_hints_and_trailers():
    app = Tremolo()

    @app.route('/hints')
    def hints(response):
        response.hint([('Link', '</a.css>; rel=preload')])
        response.headers['Trailer'] = 'X-Sum'
        yield 'a'
        yield response.end(trailers=[('X-Sum', '1')])

    answer = app.client().get('/hints')
    assert [each['link'] for each in answer.hints] == ['</a.css>; rel=preload']
    assert (answer.text, answer.trailers['x-sum']) == ('a', '1')


def test_an_upgrade_to_something_else_is_an_answer_without_a_body():
    app = Tremolo()

    @app.route('/up')
    def up(request, response):
        stream = response.upgrade('echo')
        stream.write(b'more')
        stream.close()

    answer = app.client().get('/up', headers={'Upgrade': 'echo', 'Connection': 'Upgrade'})
    assert (answer.status, answer.body) == (101, b'')


# Redirects

@pytest.fixture
def moving():
    app = Tremolo()

    @app.route('/to/<int:status>', methods=['GET', 'POST', 'PUT'])
    def to(request, status):
        yield (yield request.body())[:0]
        raise redirect(f'/end?from={status}', status)

    @app.route('/end', methods=['GET', 'POST', 'PUT'])
    def end(request):
        body = yield request.body()
        return [request.method, body.decode(), request.headers.get('content-type'),
                request.headers.get('x-own')]

    @app.route('/round')
    def around():
        return redirect('/round')

    @app.route('/away')
    def away():
        return redirect('https://elsewhere.example/')

    @app.route('/up/and/down')
    def relative(response):
        response.status = 302
        response.headers['Location'] = '../end#part'
        return ''

    return app


@pytest.mark.parametrize('status, method, after', [
    (301, 'POST', 'GET'), (302, 'POST', 'GET'), (303, 'POST', 'GET'), (303, 'PUT', 'GET'),
    (302, 'GET', 'GET'), (307, 'POST', 'POST'), (308, 'PUT', 'PUT')])
def test_redirects_are_followed_when_that_is_asked(moving, status, method, after):
    with moving.client() as client:
        body = {'data': 'abc', 'headers': {'X-Own': 'kept', 'Content-Type': 'text/plain'}}
        body = body if method != 'GET' else {'headers': {'X-Own': 'kept'}}
        answer = client.request(method, f'/to/{status}', **body)
        assert (answer.status, answer.headers['location']) == (status, f'/end?from={status}')
        answer = client.request(method, f'/to/{status}', follow_redirects=True, **body)
        kept = ['abc', 'text/plain'] if status > 306 else ['', None]
        assert answer.json() == [after, *kept, 'kept']
        assert [each.status for each in answer.history] == [status]
        assert answer.url.endswith(f'/end?from={status}')


def test_redirects_have_a_bound_and_stay_here(moving):
    with moving.client(follow_redirects=True) as client:
        with pytest.raises(AnswerError, match=r'more than 20 redirects: .*/round'):
            client.get('/round')
        with pytest.raises(AnswerError, match=r'elsewhere.example/: there is only this app'):
            client.get('/away')
        assert client.get('/away', follow_redirects=False).status in (302, 303)
        assert client.get('/up/and/down').url == 'http://localhost/up/end'
        with pytest.raises(AnswerError, match='wants the body once more'):
            client.post('/to/307', data=iter([b'a']))


# Broken answers, of a server that is none of ours

@pytest.mark.parametrize('sent, words', [
    (b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', '3 bytes of its body came, 7 are'),
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n', 'size of a chunk'),
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', 'in the middle'),
    (b'', 'without an answer'), (b'garbage\r\n\r\n', 'status line')])
def test_an_answer_that_breaks_http_is_told(sent, words):
    app = Tremolo()

    @app.route('/')
    def broken(request):
        stream = request.connection.stream
        if sent:
            stream.write(sent)
        stream.close()

    with app.client() as client:
        for _ in range(2):
            with pytest.raises(AnswerError, match=words):
                client.get('/')


def test_bytes_after_an_answer_are_told():
    app = Tremolo()

    @app.route('/')
    def more(request):
        reactor = request.connection.stream.reactor
        reactor.call_soon(request.connection.stream.write, b'HTTP/1.1 200 OK\r\n\r\n')
        return 'a'

    with app.client() as client, pytest.raises(AnswerError, match='belong to no answer'):
        for _ in range(2):
            client.get('/')


# Inside an asyncio loop

@pytest.mark.parametrize('kind', KINDS)
def test_the_same_in_a_running_loop(kind):
    import asyncio

    async def main():
        async with kind().client() as client:
            answer = await client.get('/hello')
            assert (answer.status, answer.text) == (200, 'Hello world!')
            data = b'x' * 1_000_000
            answers = await asyncio.gather(
                *(client.post('/echo', data=data) for _ in range(3)), client.get('/hello'))
            assert [len(each.body) for each in answers] == [1_000_000] * 3 + [12]
            assert (await client.post('/echo', json={'a': 1})).json() == {'a': 1}

    asyncio.run(main())


def test_what_was_not_awaited_says_so():
    import asyncio

    async def main():
        async with coroutines().client() as client:
            call = client.get('/hello')
            with pytest.raises(AttributeError, match=r'write `await client\.get'):
                _ = call.status
            assert (await call).status == 200

    asyncio.run(main())


def test_json_is_text_of_bytes():
    assert json.loads(generators().client().post('/echo', json={'a': 'ü'}).body) == {'a': 'ü'}


@pytest.mark.parametrize(('name', 'said'), [
    ('websocket_connect', r'write client\.websocket\(url\)'),
    ('session_transaction', r'client\.cookies'),
    ('open', r'write client\.request\(method, url\)'), ('close', r'with app\.client\(\) as client'),
    ('nothing', "a client has no attribute 'nothing'$")])
def test_a_method_of_other_clients_is_told_what_to_write(app, name, said):
    with pytest.raises(AttributeError, match=said):
        getattr(app.client(), name)
