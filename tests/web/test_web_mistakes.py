"""Mistakes are told, most when a handler is registered, and each error says what to write."""

from __future__ import annotations

import datetime
import enum
import re

import pytest
from server_support import request, serving, virtual

from tremolo import HandlerError, HTTPError, MethodNotAllowed, NotFound, Tremolo, sleep
from tremolo.http import HeaderError, Headers, format_cookie


def ask(function, data=None, method='GET'):
    app = Tremolo()
    app.route('/')(function)
    with virtual(app) as host:
        return host.connect(data or request('/', method)).take(method)


# -- at registration: the signature ---------------------------------------------------------------


@pytest.mark.parametrize(('option', 'value', 'said'), [
    ('rate', '1MB', "write '1MiB'"), ('rate', '64 kb', "write '64KiB'"), ('rate', -1, 'or None'),
    ('content_type', 'text/plain; charset=klingon', 'write charset=utf-8'),
    ('content_type', 'text/plain; charset=', 'write charset=utf-8'),
    ('content_type', 'text/plain; charset="no such"; x=y', 'write charset=utf-8'),
    ('content_type', 'text/plain\r\nX: y', 'control character'),
    ('content_type', 7, 'is str'),
    ('status', '404', 'write 404'), ('status', '404 Not Found', 'write 404'),
    ('status', 99, '200..599'), ('status', 101, 'response.upgrade'),
    ('status', 103, 'response.hint'), ('status', (404,), "write 404, or (404, 'Lost')"),
    ('status', (404, b'Lost'), "write (404, 'Lost')"), ('status', None, '200..599'),
    ('buffer_size', '16kB', 'a size in bytes'), ('buffer_size', -1, 'buffer_size'),
    ('stream', 'yes', 'True or False'), ('thread', 'no', 'True or False'),
    ('chunked', 'off', 'True or False'),
])
def test_a_wrong_option_of_a_signature_is_told_at_registration(option, value, said):
    namespace = {'value': value}
    exec(f"def handler({option}=value):\n return b'x'", namespace)
    with pytest.raises(HandlerError, match=re.escape(said)) as error:
        Tremolo().route('/')(namespace['handler'])
    assert 'handler()' in str(error.value)


def test_a_decorator_that_hides_what_the_function_takes_is_told():
    def decorated(*args, **kwargs):
        return b'x'

    with pytest.raises(HandlerError, match=r'write @functools\.wraps\(function\) above it'):
        Tremolo().route('/')(decorated)


def test_an_expression_that_does_not_begin_as_one_is_told():
    for path in r'/a/(?P<id>\d+)', r'a/(?P<id>\d+)/$':
        with pytest.raises(ValueError, match='regular expression') as error:
            Tremolo().route(path)
        assert str(error.value).endswith(f'write {"^" + path!r}')


@pytest.mark.parametrize(('name', 'said'), [
    ('add_route', '@app.route(path)'), ('websocket', '@app.route(path)'),
    ('head', "@app.route(path, methods=['HEAD'])"), ('url_path_for', 'app.url_for(name)'),
    ('test_client', 'app.client()')])
def test_a_name_of_another_framework_is_told_what_to_write(name, said):
    with pytest.raises(AttributeError, match=f'write {re.escape(said)}'):
        getattr(Tremolo(), name)


@pytest.mark.parametrize(('option', 'value'), [
    ('rate', '1MiB'), ('rate', None), ('rate', 'off'), ('stream', None), ('content_type', None),
    ('content_type', 'text/plain; charset=latin-1; format=flowed'), ('status', (404, 'Lost')),
    ('buffer_size', '64KiB'), ('stream', 1), ('chunked', False), ('colour', 'red')])
def test_a_right_option_of_a_signature_is_taken(option, value):
    namespace = {'value': value}
    exec(f"def handler({option}=value):\n yield b'x'", namespace)
    assert ask(namespace['handler']).body == b'x'


def test_a_size_in_a_signature_is_written_as_an_option_is():
    def handler(context, response, buffer_size='1KiB'):
        assert context.options['buffer_size'] == 1024
        yield b'x' * 1025
        assert response.head_sent
        yield b'y'

    assert ask(handler).headers['transfer-encoding'] == 'chunked'


class View:
    def get(self, request):
        return 'x'


class Nothing:
    def fetch(self, request):
        return 'x'


@pytest.mark.parametrize(('thing', 'said'), [
    (Nothing, 'Nothing is a class that has none of the methods get, head, post'),
    ('text', 'is no function'), (None, 'is no function'), (7, 'is no function')])
def test_what_is_no_function_is_told_at_registration(thing, said):
    with pytest.raises(HandlerError, match=said):
        Tremolo().route('/')(thing)


def test_a_method_of_an_instance_is_a_function():
    assert ask(View().get).body == b'x'


def test_a_generator_in_a_thread_is_told_what_to_write():
    def handler(thread=True):
        yield b'x'

    with pytest.raises(HandlerError, match=r'response\.write.* run_in_thread'):
        Tremolo().route('/')(handler)


# -- at registration: path and methods ------------------------------------------------------------


@pytest.mark.parametrize(('path', 'said'), [
    ('/x/{id}', "'/x/<id>'"), ('/x/{id:int}', "'/x/<int:id>'"), ('/{a}/{b}', "'/<a>/<b>'"),
    ('/f/{name:path}', "'/f/<path:name>'"), ('/x/{id}.txt', "'/x/<id>.txt'"),
    ('/x/{user-id}', "'/x/<user_id>'"), ('/x/{}', "'/x/<name>'"),
    ('/x/:id', "'/x/<id>'"), ('/x/:id/edit', "'/x/<id>/edit'"), ('/:', "'/<name>'"),
    ('/f/*', "'/f/<path:rest>'"), ('/f/*name', "'/f/<path:name>'"),
    ('/x/<id:int>', "'/x/<int:id>'"), ('/x?id=7', "'/x'"), ('/caf%C3%A9', "'/café'"),
    ('x', "'/x'"), ('', "'/'"), (b'/x', "'/x'"), (None, 'a path is str'),
    ('/<real:x>', "unknown converter 'real': there are str, int, float, uuid, path"),
    ('/<x', '/page/<int:id>')])
def test_a_path_as_others_write_it_is_told_at_registration(path, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Tremolo().route(path)


@pytest.mark.parametrize('path', ['/a:b', '/v1/items:batch', '/100%', '/a?b', '/~a', '^/x/:y{2}$'])
def test_a_path_with_such_characters_elsewhere_is_taken(path):
    Tremolo().route(path)(lambda: 'x')


def test_route_without_a_path_is_told():
    app = Tremolo()
    with pytest.raises(ValueError, match=r"write @app\.route\('/path'\)"):
        @app.route
        def handler():
            return 'x'


class Verb(str, enum.Enum):
    REPORT = 'REPORT'


@pytest.mark.parametrize('method', ['M-SEARCH', 'VERSION-CONTROL', 'X_1', 'BASELINE-CONTROL'])
def test_methods_are_tokens(method):
    app = Tremolo()
    app.route('/', methods=[method.lower()])(lambda request: request.method)
    with serving(app, port=0) as host:
        answer, = host.ask(request('/', method, 'Connection: close'))
        assert answer.body == method.encode()


def test_a_method_may_be_a_member_of_an_enumeration():
    app = Tremolo()
    app.route('/', methods=(Verb.REPORT,))(lambda request: request.method)
    with virtual(app) as host:
        assert host.connect(request('/', 'REPORT')).take().body == b'REPORT'


@pytest.mark.parametrize(('methods', 'said'), [
    ('GET', "['GET']"), (b'GET', 'list of names'), ([], "methods=['GET']"), (['A B'], "'A B'"),
    ([''], "''"), ([7], '7'), (None, "['GET']"), ([b'GET'], 'list of names'), (['É'], 'É')])
def test_what_is_no_list_of_methods_is_told(methods, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Tremolo().route('/', methods=methods)


# -- what is returned -----------------------------------------------------------------------------


@pytest.mark.parametrize(('value', 'said'), [
    (('x', 404), 'write `response.status = 404`'),
    (({'a': 1}, 201), 'write `response.status = 201`'),
    (('x', 404, {'X-A': '1'}), "`response.status = 404` and `response.headers['X-A'] = ...`"),
    (('x', {'X-A': '1'}), "`response.headers['X-A'] = ...`"),
    (404, 'write `response.status = 404`, or `raise HTTPError(404)`'),
    (7, 'write `return str(...)`'), (1.5, 'str(...)'), (True, 'str(...)'),
    ({1, 2}, 'sorted'), (NotFound, 'write `return NotFound()`'), (object(), 'object'),
    (iter(['a']), 'yield')], ids=repr)
@pytest.mark.parametrize('kind', ['plain', 'thread', 'generator', 'coroutine'])
def test_a_value_that_is_no_answer_is_told_what_to_write(value, said, kind, logged):
    def plain():
        return value

    def thread(thread=True):
        return value

    def generator():
        yield sleep(0.001)
        return value

    async def coroutine():
        return value

    app = Tremolo()
    app.route('/')(locals()[kind])
    with serving(app, port=0) as host:
        answer, = host.ask(request('/', 'GET', 'Connection: close'))
        assert answer.status == 500
    assert said in logged.text


@pytest.mark.parametrize(('content_type', 'expected'), [
    ('text/plain', 'text/plain; charset=latin-1'),
    ('text/plain; charset=utf-8; format=flowed', 'text/plain; charset=latin-1; format=flowed'),
    ('', None)])
def test_the_encoding_of_a_pair_is_named_in_every_content_type(content_type, expected):
    def handler(response):
        response.content_type = content_type
        return 'é', 'latin-1'

    def by_field(response):
        response.headers['Content-Type'] = content_type
        return 'é', 'latin-1'

    for each in (handler, by_field) if expected else (handler,):
        answer = ask(each)
        assert (answer.body, answer.headers.get('content-type')) == (b'\xe9', expected)


# -- what is set ----------------------------------------------------------------------------------


@pytest.mark.parametrize(('status', 'said'), [
    ('404', 'write 404'), (b'404', '200..599'), ('404 Not Found', 'write 404'), (404.0, '200..599'),
    (99, '200..599'), (True, '200..599'), (None, '200..599'), (101, 'response.upgrade'),
    (('404', 'Lost'), 'write 404'), ((404, 'a', 'b'), "(404, 'Lost')")])
def test_a_wrong_status_is_told_what_to_write(status, said):
    told = []

    def handler(response):
        with pytest.raises(HeaderError, match=re.escape(said)) as error:
            response.status = status
        told.append(str(error.value))
        return 'x'

    assert ask(handler).status == 200
    assert 'is no status of a final answer' in told[0]


@pytest.mark.parametrize(('status', 'body', 'said'), [
    ('404', '', 'write 404'), (99, '', '200..599'), (None, '', '200..599'), (1.5, '', '200..599'),
    (400, {'a': 1}, 'json.dumps'), (400, b'a', 'is str, not bytes'), (400, None, 'is str')])
def test_a_wrong_http_error_is_told_what_to_write(status, body, said):
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        HTTPError(status, body)


@pytest.mark.parametrize('allow', ['GET', 'PUT, GET', ['PUT', 'GET'], {'GET'}])
def test_the_allowed_methods_may_be_one_text(allow):
    def handler():
        raise MethodNotAllowed(allow)

    assert ask(handler).headers['allow'] == ('GET, PUT' if 'PUT' in allow else 'GET')


def test_a_header_may_be_a_number():
    def handler(response):
        response.headers['Content-Length'] = 5
        response.headers['Retry-After'] = 120
        response.headers.add('X-Count', 0)
        yield 'hello'

    headers = ask(handler).headers
    assert (headers['content-length'], headers['retry-after'], headers['x-count']) == (
        '5', '120', '0')
    assert Headers([('A', 5)])['a'] == '5'


def test_a_header_of_a_raised_error_may_be_a_number():
    def handler():
        raise HTTPError(503, headers={'Retry-After': 120})

    assert ask(handler).headers['retry-after'] == '120'


@pytest.mark.parametrize(('value', 'said'), [
    (1.5, 'write str(1.5)'), (True, 'write str(True)'), (b'a', "write 'a'"),
    (['a'], 'call `add` for each'), (None, 'leave the header out')])
def test_a_header_of_another_type_is_told_what_to_write(value, said):
    with pytest.raises(TypeError, match=re.escape(said)):
        Headers()['X-A'] = value
    with pytest.raises(HeaderError, match='quote'):
        Headers()['X-A'] = '€'


@pytest.mark.parametrize(('value', 'said'), [
    (7, 'write str(value)'), (1.5, 'write str(value)'), (True, 'write str(value)'),
    (b'a', 'write value.decode()'), ({'a': 1}, 'write quote(json.dumps(value))'),
    (['a'], 'write quote(json.dumps(value))'), ('{"a": 1}', 'write quote(value), and unquote'),
    ('a;b', 'quote(value)'), ('a b', 'quote(value)'), ('é', 'quote(value)')])
def test_a_value_of_a_cookie_is_told_what_to_write(value, said):
    with pytest.raises(HeaderError, match=re.escape(said)):
        format_cookie('name', value)


@pytest.mark.parametrize(('max_age', 'said'), [
    (60.0, 'write 60'), (datetime.timedelta(minutes=1), 'write 60'), ('60', 'whole number')])
def test_the_age_of_a_cookie_is_told_what_to_write(max_age, said):
    with pytest.raises(HeaderError, match=said):
        format_cookie('name', 'value', max_age=max_age)


# -- what is yielded, set or added -----------------------------------------------------------------


@pytest.mark.parametrize(('value', 'said'), [
    ({'a': 1}, 'yielded dict, which is not a Future, bytes or str: return it, or write `yield'),
    ([1], 'return it'), (('x', 404), 'return it'), (5, 'write `yield str(...)`'),
    (1.5, 'write `yield str(...)`'), (object(), 'bytes or str'),
])
@pytest.mark.parametrize('late', [False, True])
def test_a_yielded_value_that_is_no_chunk_says_what_to_write(value, said, late, logged):
    def handler():
        if late:
            yield sleep(0)
        yield value

    assert ask(handler).status == 500
    assert said in logged.text


@pytest.mark.parametrize('value', [b'text/plain', 5, ('text/plain',)])
def test_a_content_type_that_is_no_text_is_told_where_it_is_set(value):
    def handler(response):
        with pytest.raises(TypeError, match=r"is str, not .*: write 'text/plain'"):
            response.content_type = value
        response.content_type = None
        return 'none'

    answer = ask(handler)
    assert answer.body == b'none' and 'content-type' not in answer.headers


@pytest.mark.parametrize('fields', [
    {'X-A': '1', 'x-b': 2}, [('X-A', '1'), ('x-b', '2')], Headers([('X-A', '1'), ('x-b', '2')])])
def test_headers_are_set_all_at_once(fields):
    def handler(response):
        response.headers['X-Before'] = '1'
        response.headers = fields
        return 'x'

    found = ask(handler).headers
    assert (found['x-a'], found['x-b']) == ('1', '2') and 'x-before' not in found


def test_headers_have_the_methods_of_a_dictionary():
    headers = Headers([('A', '1')])
    headers.update({'a': '2', 'B': 3})
    headers.update([('C', '4')])
    headers.update(Headers([('D', '5')]))
    assert headers.items() == [('a', '2'), ('B', '3'), ('C', '4'), ('D', '5')]
    assert headers.setdefault('b', '9') == '3' and headers.setdefault('E', 6) == '6'
    assert headers.pop('e') == '6' and headers.pop('e') is None and headers.pop('e', 'x') == 'x'
    assert headers.pop('A') == '2' and len(headers) == 3
    with pytest.raises(HeaderError):
        headers.update({'F': 'a\r\nb'})


@pytest.mark.parametrize('attributes', [{'samesite': True}, {'samesite': 'lose'}])
def test_a_wrong_samesite_says_what_there_is(attributes):
    with pytest.raises(HeaderError, match="is 'Strict', 'Lax' or 'None', not"):
        format_cookie('a', 'b', **attributes)


def test_a_wrong_end_of_a_cookie_says_what_to_write():
    with pytest.raises(HeaderError, match='write a datetime, or max_age=3600'):
        format_cookie('a', 'b', expires='never')
