"""Forms: `request.form()` in each kind of handler, and what is refused."""

from __future__ import annotations

import json

import pytest
from server_support import chunked, request, serving, virtual
from upload_support import TYPE, URLENCODED, body_of, part, upload, urlencoded

from tremolo import HTTPError, Tremolo, gather, timeout

STYLES = 'generator', 'plain', 'thread', 'coroutine'


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/generator', methods=['POST'])
    def generator(request):
        form = yield request.form()
        yield json.dumps(form)

    @app.route('/plain', methods=['POST'])
    def plain(request):
        return request.form()

    @app.route('/thread', methods=['POST'])
    def thread(request, thread=True):
        return request.form().result()

    return app


@pytest.fixture
def real(app) -> Tremolo:
    """The same with a coroutine, which the simulated world cannot run."""
    @app.route('/coroutine', methods=['POST'])
    async def coroutine(request):
        return await request.form()

    return app


def form_of(app, data, **options):
    with virtual(app, **options) as host:
        answer = host.connect(data).take()
        assert answer.status == 200, answer
        return json.loads(answer.body)


def refused(app, data, **options):
    with virtual(app, **options) as host:
        answer = host.connect(data).take()
        return answer.status, answer.body.decode()


# -- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize('style', STYLES)
def test_both_kinds_of_forms_are_read_in_each_kind_of_handler(real, style):
    with serving(real) as host:
        client = host.connect(urlencoded(f'/{style}', b'a=1&b=%C3%BC+x&a=2&=&c'))
        assert json.loads(client.take().body) == {'a': ['1', '2'], 'b': ['ü x'], '': [''],
                                                  'c': ['']}
        client.send(upload(f'/{style}', part('a', '1'), part('ü', 'ö'), part('file', 'x' * 99, 'f'),
                           part('a', '2')))
        assert json.loads(client.take().body) == {'a': ['1', '2'], 'ü': ['ö']}
        client.send(request(f'/{style}', 'POST', 'Content-Type: text/plain', body=b'a=1'))
        answer = client.take()
        assert (answer.status, answer.body) == (
            415, b'the Content-Type has to be application/x-www-form-urlencoded or '
                 b'multipart/form-data')


def test_a_form_has_the_first_value_of_a_field(app):
    @app.route('/first', methods=['POST'])
    def first(request):
        form = yield request.form()
        yield repr((form.first('a'), form.first('none'), form.first('none', 'else')))

    with virtual(app) as host:
        for data in urlencoded('/first', b'a=1&a=2'), upload('/first', part('a', '1'), part('a')):
            assert host.connect(data).take().body == b"('1', None, 'else')"


@pytest.mark.parametrize('size', [1, 2, 7, 4096])
def test_a_form_in_pieces_is_the_same(app, size):
    # (Fault 3 of 0.5: a small form that came in one piece was a 500, as was one in chunks.)
    parts = part('text', 'hi'), part('file', 'data', 'f'), part('other', 'ho')
    body = body_of(*parts)
    pieces = [body[i:i + size] for i in range(0, len(body), size)]
    data = request('/generator', 'POST', TYPE, 'Transfer-Encoding: chunked')
    for whole in upload('/generator', *parts), data + chunked(*pieces):
        assert form_of(app, whole) == {'text': ['hi'], 'other': ['ho']}


def test_a_form_that_comes_byte_by_byte_on_a_real_socket_is_read(app):
    data = upload('/generator', part('text', 'hi'), part('file', '\r\n--', 'f'), part('ü', 'ö'))
    with serving(app) as host:
        client = host.connect()
        for i in range(len(data)):
            client.send(data[i:i + 1])
        assert json.loads(client.take().body) == {'text': ['hi'], 'ü': ['ö']}


@pytest.mark.parametrize('body, form', [
    # (Fault 24 of 0.5: short bodies were nothing, and plain UTF-8 was read as Latin-1.)
    (b'', {}), (b'a', {'a': ['']}), (b'a=', {'a': ['']}), ('ü=ö'.encode(), {'ü': ['ö']}),
    (b'a=1;b=2', {'a': ['1;b=2']}),
    (b'a=%ff%zz%', {'a': ['\N{REPLACEMENT CHARACTER}%zz%']}),
    (b'_charset_=latin-1&a=%e9', {'_charset_': ['latin-1'], 'a': ['\N{REPLACEMENT CHARACTER}']}),
])
def test_urlencoded_never_fails_for_what_it_contains(app, body, form):
    assert form_of(app, urlencoded('/generator', body)) == form


@pytest.mark.parametrize('kind', [
    URLENCODED + '; charset=utf-16', URLENCODED.replace('x-www', 'X-WWW'),
    URLENCODED + ' ;charset', URLENCODED.replace(': ', ':\t')])
def test_other_spellings_of_the_content_type_are_known(app, kind):
    assert form_of(app, urlencoded('/generator', b'a=%C3%BC', kind=kind)) == {'a': ['ü']}


@pytest.mark.parametrize('kind', [
    'text/plain', 'application/json', 'multipart/mixed; boundary=b', 'multipart/form-data-x',
    'application/x-www-form-urlencoded-x', ''])
def test_another_content_type_is_415(app, kind):
    data = request('/generator', 'POST', f'Content-Type: {kind}', body=b'a=1')
    assert refused(app, data)[0] == 415
    assert refused(app, request('/generator', 'POST', body=b'a=1'))[0] == 415


def test_a_415_comes_before_a_client_that_expects_100_sends_the_body(app):
    with virtual(app) as host:
        client = host.connect(request('/generator', 'POST', 'Content-Type: text/csv',
                                      'Content-Length: 1000', 'Expect: 100-continue'))
        assert client.take().status == 415
    with virtual(app) as host:
        client = host.connect(request('/generator', 'POST', URLENCODED, 'Content-Length: 3',
                                      'Expect: 100-continue'))
        client.until(b'100 Continue')
        client.received = b''
        client.send(b'a=1')
        assert client.take().body == b'{"a": ["1"]}'


def test_text_is_in_the_charset_of_its_part(app):
    text = 'Content-Type: text/plain; charset='
    assert form_of(app, upload(
        '/generator', part('a', 'é'.encode('latin-1'), None, text + 'ISO-8859-1'),
        part('b', b'\x80', None, text + '"windows-1252"'), part('c', 'é'),
        part('d', 'd', None, text + 'us-ascii'))) == {
            'a': ['é'], 'b': ['€'], 'c': ['é'], 'd': ['d']}


@pytest.mark.parametrize('content, charset', [
    (b'\xff', 'utf-8'), (b'\xe9', 'us-ascii'), (b'\x81', 'windows-1252'), (b'x', 'idna'),
    (b'x', 'zlib_codec'), (b'x', 'utf-16'), (b'x', 'utf_8')])
def test_text_that_cannot_be_decoded_is_400(app, content, charset):
    field = part('a', content, None, f'Content-Type: text/plain; charset="{charset}"')
    status, reason = refused(app, upload('/generator', field))
    assert status == 400 and 'charset' in reason


def test_a_form_without_a_body_is_malformed_or_empty(app):
    assert form_of(app, request('/generator', 'POST', URLENCODED)) == {}
    assert refused(app, request('/generator', 'POST', TYPE)) == (
        400, 'the form ends without its last delimiter')


def test_the_connection_goes_on_after_a_form(app):
    with virtual(app) as host:
        client = host.connect(upload('/generator', part('a', '1')) * 3)
        assert [client.take().body for _ in range(3)] == [b'{"a": ["1"]}'] * 3


# -- asked twice ----------------------------------------------------------------------------------


def test_asked_twice_it_is_the_same_dictionary(app):
    @app.route('/twice', methods=['POST'])
    def twice(request):
        first = yield request.form()
        both = yield gather(request.form(), request.form())
        yield repr([first is each for each in both])

    @app.route('/together', methods=['POST'])
    def together(request):
        one, two = yield gather(request.form(), request.form())
        yield repr((one is two, one))

    with virtual(app) as host:
        for data in urlencoded('/twice', b'a=1'), upload('/twice', part('a', '1')):
            assert host.connect(data).take().body == b'[True, True]'
        data = upload('/together', part('a', '1'))
        client = host.connect(data[:-30])
        host.advance(1)
        client.send(data[-30:])
        assert client.take().body == b"(True, {'a': ['1']})"


def test_a_form_that_was_given_up_is_read_on(app):
    @app.route('/patient', methods=['POST'])
    def patient(request):
        for _ in range(3):
            try:
                form = yield timeout(1, request.form())
            except Exception as error:
                assert type(error).__name__ == 'TimeoutError', error
            else:
                break
        yield json.dumps(form)

    for data in (urlencoded('/patient', b'a=1&b=2'),
                 upload('/patient', part('a', '1'), part('f', 'x', 'f'), part('b', '2'))):
        with virtual(app) as host:
            client = host.connect(data[:-60] if b'--' in data else data[:-3])
            host.advance(1.5)
            client.send(data[-60:] if b'--' in data else data[-3:])
            assert client.take().body == b'{"a": ["1"], "b": ["2"]}'


def test_a_form_that_was_refused_is_refused_again(app):
    @app.route('/again', methods=['POST'])
    def again(request):
        found = []
        for _ in range(2):
            try:
                yield request.form()
            except HTTPError as error:
                found.append(str(error))
        yield repr(found[0] if found[0] == found[1] else found)

    too_much = upload('/again', part('a', 'x' * 60), part('b', 'y' * 60), part('c'))
    with virtual(app, form_size=100, form_fields=3) as host:
        assert b'form_size' in host.connect(too_much).take().body
        many = upload('/again', *(part('a') for _ in range(4)))
        assert b'form_fields' in host.connect(many).take().body
        for kind in URLENCODED, URLENCODED + ';x':
            long = urlencoded('/again', b'a=' + b'x' * 100, kind=kind)
            assert b'form_size' in host.connect(long).take().body
        broken = upload('/again', part('a')).replace(b'"a"', b'"a')
        assert b'malformed' in host.connect(broken).take().body
