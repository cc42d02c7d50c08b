"""The pages of debug mode: what they tell, what they hide, and that nothing on them can hurt."""

from __future__ import annotations

import builtins
import errno
import linecache
import re
import threading
import time
import tokenize

import pytest
from server_support import request, serving

from tremolo import HTTPError, NotFound, Tremolo
from tremolo.http import HeaderError, Headers, status_line
from tremolo.pages import debug, values
from tremolo.pages.debug import LARGEST
from tremolo.pages.nearest import MOST_ROUTES, SHOWN, nearest
from tremolo.pages.raised import is_ours, read_errors, traceback_of
from tremolo.pages.values import HIDDEN, LONGEST, is_secret, read_values, shown, without_secrets

HTML = 'Accept: text/html'


class Bad(Exception):
    """An error of an application."""


def failing(secret_number: int = 1) -> None:
    password, item = 'hunter2', '<i>'
    form = {'Password': 'hunter3', 'name': 'Ada'}
    if password and form:
        raise Bad(f'<script>{item}\ud83d\x1b[31m', 1) from None


def asked(function, *lines, path='/fail', debug=True, **options):
    """Ask a handler that fails; give the answer."""
    app = Tremolo()
    app.route('/fail', **options)(function)
    with serving(app, debug=debug) as server:
        return server.ask(request(path, 'GET', *lines, 'Connection: close'))[0]


def page_of(function, *lines, **options):
    answer = asked(function, *(lines or [HTML]), **options)
    assert answer.status == 500
    return answer.body.decode()


def plain():
    failing()


def generator():
    yield failing()


def on_a_thread(thread=True):
    failing()


async def coroutine():
    failing()


@pytest.mark.parametrize('handler', [plain, generator, on_a_thread, coroutine])
def test_the_page_has_the_error_its_lines_the_variables_and_the_request(logged, handler):
    answer = asked(handler, HTML, 'Cookie: id=hunter4', 'X-Api-Key: hunter5', 'X-Own: <u>',
                   'Referer: http://a/?access_token=hunter6', path='/fail?token=hunter7&a=b')
    page = answer.body.decode()
    assert answer.status == 500
    assert (f'<em>{__name__}.Bad</em> '
            '(&#x27;&lt;script&gt;&lt;i&gt;\\ud83d\\x1b[31m&#x27;, 1)</h2>') in page
    assert re.search(r'<mark> *\d+          raise Bad\(f&#x27;&lt;script&gt;', page)
    assert '<th>item<td>&#x27;&lt;i&gt;&#x27;' in page
    assert f'<th>form<td>{{&#x27;Password&#x27;: {HIDDEN}, &#x27;name&#x27;: &#x27;Ada' in page
    assert f'<th>asked<td>GET /fail?token={HIDDEN}&amp;a=b HTTP/1.1' in page
    assert f'<th>handler<td>{handler.__name__}() at ' in page
    assert '<th>client<td>127.0.0.1, port ' in page and '<th>x-own<td>&lt;u&gt;' in page
    # (What stands in the source is shown as it is.)
    shown_values = ''.join(re.findall('<td>.*', page))
    assert not re.search(r'hunter\d', shown_values)
    assert not re.search('<(script|i|u|a|img|link)[ >]', page)
    assert "default-src 'none'" in answer.headers['content-security-policy']
    assert answer.headers['cache-control'] == 'no-store'


@pytest.mark.parametrize('handler', [plain, generator, on_a_thread, coroutine])
def test_without_debug_there_is_nothing_of_it(logged, handler):
    for lines in [HTML], []:
        answer = asked(handler, *lines, debug=False)
        assert answer.status == 500 and b'not your fault' in answer.body
        for part in b'Bad', b'failing', b'<mark', b'Variables', __file__.encode():
            assert part not in answer.body
    missing = asked(handler, HTML, path='/fial', debug=False)
    assert missing.status == 404 and b'/fail' not in missing.body


@pytest.mark.parametrize('accept, kind', [
    ('text/html,*/*;q=0.8', 'text/html'), ('*/*', 'text/plain'), ('application/json', 'text/plain'),
])
def test_a_client_that_names_no_html_gets_plain_text(logged, accept, kind):
    for path in '/fail', '/fial':
        answer = asked(plain, f'Accept: {accept}', path=path)
        assert answer.headers['content-type'] == f'{kind}; charset=utf-8'
        assert (b'<h1>' in answer.body) is (kind == 'text/html')
    answer = asked(plain, f'Accept: {accept}')
    assert b'Traceback (most recent call last)' in answer.body


# -- what raises ----------------------------------------------------------------------------------


def test_causes_contexts_and_groups_are_told_in_order(logged):
    class Group(Exception):
        exceptions = ()

    def handler():
        try:
            try:
                raise KeyError('first')
            finally:
                int('second')
        except ValueError as error:
            group = Group('all')
            group.exceptions = OSError('one'), Bad('two')
            raise group from error

    page = page_of(handler)
    kinds = re.findall('<em>(.*?)</em>', page)
    assert [kind.rpartition('.')[2] for kind in kinds] == [
        'Group', 'OSError', 'Bad', 'ValueError', 'KeyError']
    assert page.index('Number 2 of 2') < page.index('This was its cause') < page.index(
        'while this one was handled')


def test_a_group_of_python_itself_is_read():
    class ExceptionGroup(Exception):    # (Before Python 3.11 there are none.)
        def __init__(self, text, exceptions):
            self.exceptions = tuple(exceptions)

    make = getattr(builtins, 'ExceptionGroup', ExceptionGroup)
    group = make('all', [OSError('one'), make('in', [Bad('two')])])
    assert [(each.kind.rpartition('.')[2], each.depth) for each in read_errors(group)] == [
        ('ExceptionGroup', 0), ('OSError', 1), ('ExceptionGroup', 1), ('Bad', 2)]


@pytest.mark.parametrize('wrapped', [False, True], ids=['alone', 'in middleware'])
def test_an_error_has_no_context_of_ours(logged, wrapped):
    app = Tremolo()

    @app.route('/things/<name>')
    def thing(name):
        raise Bad(name)

    if wrapped:
        @app.middleware
        def nothing():
            yield

    with serving(app, debug=True) as server:
        answer, = server.ask(request('/things/1', 'GET', HTML, 'Connection: close'))
    assert re.findall('<em>(.*?)</em>', answer.body.decode()) == [f'{__name__}.Bad']
    assert b'<th>handler<td>test_an_error_has_no_context' in answer.body
    assert 'During handling' not in logged.text


def test_the_variables_of_our_own_calls_are_not_shown(logged):
    def handler(response):
        response.status = 'none'

    page = page_of(handler)
    assert f'{debug.__file__.rpartition("pages")[0]}' not in page
    assert '<th>response<td>&lt;' in page and '<th>status<td>' not in page
    try:
        status_line(9000)
    except HeaderError as error:
        error.__traceback__ = error.__traceback__.tb_next
        raised, = read_errors(error)
        assert raised.calls and not any(call.variables for call in raised.calls)


def test_causes_that_go_round_and_many_causes_end():
    one, two = Bad('one'), Bad('two')
    one.__cause__, two.__cause__ = two, one
    assert [each.text for each in read_errors(one)] == ['one', 'two']
    chain = Bad('last')
    for number in range(2000):
        new = Bad(str(number))
        new.__context__ = chain
        chain = new
    assert len(list(read_errors(chain))) == 8
    many = Bad('group')
    many.exceptions = tuple(map(Bad, 'x' * 1000))
    assert len(list(read_errors(many))) == 8


def test_an_error_that_is_not_as_others_has_a_page(logged):
    class Mute(Exception):
        exceptions = property(lambda self: 1 / 0)

        def __str__(self):
            raise SystemExit

    class Odd(type):
        __name__ = property(lambda self: 1 / 0)

    class Strange(metaclass=Odd):
        def __repr__(self):
            raise KeyboardInterrupt

        __class__ = property(lambda self: 1 / 0)

    def handler():
        strange = Strange()
        raise Mute(strange)

    page = page_of(handler)
    assert 'Mute' in page and '<th>strange<td>&lt;Strange, whose repr raised Keyboard' in page


def test_a_syntax_error_shows_its_line(logged):
    def handler():
        compile('x = 1\ny = (<b>\n', 'a file.py', 'exec')

    page = page_of(handler)
    assert '<em>SyntaxError</em>' in page
    assert 'a file.py&quot;, line 2' in page and 'y = (&lt;b&gt;' in page


def test_a_thousand_calls_are_a_short_page(logged):
    def handler():
        def deeper(depth):
            return deeper(depth + 1)

        deeper(0)

    page = page_of(handler)
    assert 'RecursionError' in page and 'calls are left out' in page
    assert len(re.findall('<pre class="source">', page)) == 20
    assert len(page) < 100_000


def test_source_that_is_gone_is_left_out(logged):
    names: dict = {}
    exec(compile('def handler(request):\n    raise ValueError\n', '/no/such/\udcff.py', 'exec'),
         names)
    page = page_of(names['handler'])
    assert '/no/such/\\udcff.py:2' in page and 'cannot be read' in page


def test_a_loader_that_raises_costs_nothing(logged):
    class Loader:
        def get_source(self, name):
            raise RuntimeError

    names: dict = {'__loader__': Loader(), '__name__': 'loaded'}
    exec(compile('def handler(request):\n    raise ValueError\n', 'loaded', 'exec'), names)
    linecache.clearcache()
    assert 'cannot be read' in page_of(names['handler'])


def test_a_page_is_never_larger_than_it_may_be(logged):
    class Quotes:
        def __repr__(self):
            return '"' * 1_000_000

    def handler():
        names = {'quotes': Quotes()}
        exec('def f(n):\n' + ''.join(f'    _{n} = quotes\n' for n in range(100))
             + '    if n: f(n - 1)\n    raise ValueError("\\"" * 100_000)\n', names)
        names['f'](30)

    answer = asked(handler, HTML, f'X: {chr(34) * 8000}', f'Y: {chr(34) * 5000}')
    assert answer.status == 500
    assert 50_000 < len(answer.body) <= LARGEST
    assert b'The request' in answer.body and b'As text' in answer.body
    assert b'its variables are left out' in answer.body


def test_names_of_any_length_make_a_short_page(logged):
    long = 'n' * 500_000
    names: dict = {}
    exec(compile(f'class {long}(Exception):\n    def __repr__(self): return 1 / 0\n'
                 f'def {long}_():\n    {long}__ = {long}()\n    raise {long}__\n'
                 f'def handler():\n    {long}_()\n', f'/{long}.py', 'exec'), names)
    page = page_of(names['handler'])
    assert 'whose repr raised' not in page and len(page) < 20_000
    assert shown(names[long]()).startswith('<nnn')


def test_a_page_that_cannot_be_made_is_the_usual_one_and_logged(logged, monkeypatch):
    monkeypatch.setattr(debug, 'read_errors', lambda error: 1 / 0)
    assert 'not your fault' in page_of(plain)
    assert logged.count('the page of debug mode cannot be made') == 1


def test_a_folder_whose_name_begins_as_ours_is_not_ours():
    folder = debug.__file__.rpartition('pages')[0].rstrip('/\\')
    assert is_ours(f'{folder}/web/handlers.py')
    assert not is_ours(f'{folder}_site/app.py')
    assert not is_ours(f'{folder}/examples/hello.py')


# -- values ---------------------------------------------------------------------------------------


def test_values_are_shown_short_and_without_secrets():
    class Named(tuple):
        __slots__ = ()

    recursive: list = []
    recursive.append(recursive)
    large = dict.fromkeys(range(100_000), 'x' * 1000)
    for value, text in [
            ((1,), '(1,)'), (set(), 'set()'), ({'a': [None]}, "{'a': [None]}"),
            (frozenset([1]), 'frozenset({1})'), (Named([1, 2]), 'Named(1, 2)'), ('\x1b', r"'\x1b'"),
            ([(b'Authorization', b'x'), ('b', 'c')], f"[(b'Authorization', {HIDDEN}), ('b', 'c')]"),
            (recursive, '[[[[[…]]]]]'), (1 << 10_000, '<int of 10,001 bits>')]:
        assert shown(value) == text
    for value in (large, [large] * 10, 'y' * 10_000_000, bytes(10_000_000), [b'z' * 500] * 1000,
                  {recursive.__len__: large}):
        assert len(shown(value)) <= LONGEST + 1
    assert shown(large).startswith("{0: 'xxx")
    assert without_secrets("Login(name='a', password='b c', api_key=\"d\", token: e)") == (
        f"Login(name='a', password={HIDDEN}, api_key={HIDDEN}, token: {HIDDEN})")


@pytest.mark.parametrize('value', [
    'postgres://user:hunter2@host/db', 'redis://:hunter2@host',
    'x' * 262 + 'pg://u:hunter2@host/' * 5,
    '{"name": "a", "password": "hunter2"}' + 'x' * 400, b'token=hunter2&' + b'x' * 400,
    {'auth': 'hunter2', 'jwt': 'hunter2'}, 'Authorization: Bearer hunter2',
    [('https://a:hunter2@b', 'session_id=hunter2')]])
def test_passwords_in_urls_and_in_long_texts_are_hidden(value):
    assert 'hunte' not in shown(value) and HIDDEN in shown(value)


@pytest.mark.parametrize('text', [
    'http://host:8000/a', 'cannot connect to http://host:8000', 'http://[::1]:8000 or a@b',
    'https://host:80/a@b', "{'author': 'me'}"])
def test_what_only_looks_like_a_password_is_shown(text):
    assert without_secrets(text) == text


def test_an_error_hides_the_passwords_of_its_urls(logged):
    def handler():
        url = 'postgres://user:' + 'hunter2@host/db'
        raise ConnectionError(f'no answer from {url}, key: a')

    for accept in 'text/html', '*/*':
        page = page_of(handler, f'Accept: {accept}')
        assert f'no answer from postgres://user:{HIDDEN}@host/db, key: a' in page


def test_the_fields_of_a_request_are_shown_without_secrets():
    pairs = [('Cookie', 'id=hunter1'), ('X-Own', 'b'), ('Set-Cookie', "a='hunter2'")]
    for value in (Headers(pairs), Headers.from_wire([(b'cookie', b'hunter1'), (b'x-own', b'b')])):
        assert 'hunter' not in shown(value)
    text = repr([(name.encode(), value.encode()) for name, value in pairs])
    assert 'hunter' not in without_secrets(text) and "b'X-Own', b'b'" in without_secrets(text)


def test_what_exec_got_for_variables_costs_nothing():
    class Hostile(dict):
        def keys(self):
            raise SystemError

    class Strange:
        def keys(self):
            raise ValueError

    rows = read_values([{1: 2, 'a': 1}, Strange(), Hostile(b=2)], 60)
    assert rows[0] == [('a', '1')] and rows[1] == []


def test_hostile_texts_are_searched_in_a_moment():
    began = time.process_time()
    for each in 'key' * 100, 'key=' * 100, "key'" * 100, 'token' + ' ' * 300, '"' * 300:
        without_secrets(each)
        is_secret(each)
    assert time.process_time() - began < 1


def test_at_the_descriptor_limit_a_page_is_without_source(logged, monkeypatch):
    def full(*_):
        raise OSError(errno.EMFILE, 'Too many open files')

    monkeypatch.setattr(tokenize, 'open', full)
    linecache.clearcache()
    page = page_of(plain)
    assert 'cannot be read' in page and '<th>item<td>' in page
    monkeypatch.undo()
    assert '<mark>' in page_of(plain)


def test_a_repr_that_does_not_end_is_not_waited_for():
    class Stuck:
        def __repr__(self):
            released.wait(60)
            return 'late'

    released = threading.Event()
    began = time.monotonic()
    try:
        rows = read_values([{'a': 1, 'b': Stuck(), 'c': 2, '__d__': 3}, {'e': 4}], 0.05)
        assert rows == [[('a', '1'), ('b', '…'), ('c', '…')], [('e', '…')]]
        # As long as it runs there is not another one.
        assert read_values([{'a': 1}], 0.05) == [[('a', '…')]]
        assert time.monotonic() - began < 10
    finally:
        released.set()
        late, = values._late
        late.join(60)
    assert rows[0][1] == ('b', '…')
    assert read_values([{'a': 1}], 60) == [[('a', '1')]]


# -- the nearest routes ---------------------------------------------------------------------------


def several() -> Tremolo:
    app = Tremolo()

    @app.route('/users/<int:number>', methods=['GET', 'DELETE'])
    def user(number):
        raise NotFound

    @app.route('/entries')
    def entries():
        raise HTTPError(404, 'no entries')

    for number in range(20):
        app.route(f'/page{number}')(plain)
    app.static('/files', '.')
    return app


@pytest.mark.parametrize('path, best', [
    ('/uesrs/7', '<th>DELETE, GET<td>/users/&lt;int:number&gt;'), ('/USERS/x', '<th>DELETE, GET'),
    ('/entrys', '<th>GET<td>/entries'), ('/file', '<th>GET<td>/files/'), ('/page', '<td>/page'),
    ('/' + 'a' * 8000, '<tr>'),
])
def test_a_404_names_the_nearest_routes(path, best):
    with serving(several(), debug=True) as server:
        answer, = server.ask(request(path, 'GET', HTML, 'Connection: close'))
    rows = re.findall('<tr>.*?(?=<tr>|</table>)', answer.body.decode())
    assert answer.status == 404 and len(rows) == SHOWN and best in rows[0]
    assert answer.headers['cache-control'] == 'no-store'
    assert len(answer.body) < 10_000


def test_a_404_that_is_raised_has_them_and_one_with_a_text_has_that(logged):
    with serving(several(), debug=True) as server:
        raised, text = (server.ask(request(path, 'GET', 'Connection: close'))[0]
                        for path in ('/users/7', '/entries'))
    assert raised.status == text.status == 404
    assert b'The nearest routes' in raised.body and text.body == b'no entries'


def test_the_routes_of_what_is_mounted_have_their_prefix():
    inner, deeper = Tremolo(), several()
    inner.route('/shelves', methods=['POST'])(plain)
    inner.mount('/deep', deeper)
    app = Tremolo()
    app.mount('/sub', inner)
    with serving(app, debug=True) as server:
        pages = [server.ask(request(path, 'GET', HTML, 'Connection: close'))[0].body.decode()
                 for path in ('/sub/shelfes', '/sub/deep/entrie', '/shelves', '/sub/deep/users/1')]
    assert '<tr><th>POST<td>/sub/shelves<tr>' in pages[0]
    assert '<table><tr><th>GET<td>/sub/deep/entries<tr>' in pages[1]
    assert '<th>POST<td>/sub/shelves<tr>' in pages[2]
    assert '<td>/sub/deep/users/&lt;int:number&gt;<tr>' in pages[3]


def test_a_path_is_escaped_on_the_page(logged):
    app = Tremolo()
    with serving(app, debug=True) as server:
        answer, = server.ask(request('/%3Cscript%3E%1B%ED%A0%BD', 'GET', 'Connection: close'))
    assert b'&lt;script&gt;\\x1b' in answer.body and b'<script' not in answer.body
    assert b'There are no routes' in answer.body


def test_the_nearest_of_ten_thousand_routes_are_found_in_a_moment():
    routes = [(f'/api/v1/things{number}/<int:id>/parts', ['GET']) for number in range(20_000)]
    looked_at = iter(routes)
    began = time.process_time()
    found = nearest('/api/v1/things777/8/parts', looked_at)
    assert found[0] == ('/api/v1/things777/<int:id>/parts', 'GET') and len(found) == SHOWN
    assert next(looked_at) == routes[MOST_ROUTES]
    # (It is 0.06 s, and 0.5 by the slowest Python.)
    assert time.process_time() - began < 5


def test_traceback_of_an_error_without_calls():
    assert traceback_of(Bad('never raised')) == (
        f'Traceback (most recent call last):\n{__name__}.Bad: never raised')
