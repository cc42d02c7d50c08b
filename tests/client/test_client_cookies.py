"""The jar of a test client: what it keeps, and where it sends it."""

from __future__ import annotations

import pytest

from tremolo import Tremolo
from tremolo.client.cookies import Cookies
from tremolo.exceptions import HeaderError

NOW = 1_700_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def jar(clock):
    return Cookies('example.org', clock)


def sent(jar, host='example.org', path='/', scheme='http', **more):
    return jar.header(scheme, host, path, more)


# The field, the host and the path of its answer, and where it is sent and where it is not.
KEPT = [
    ('a=1', 'example.org', '/', ['/', '/b/c'], []),
    ('a=1', 'example.org', '/b/c', ['/b', '/b/', '/b/d'], ['/', '/bc', '/c']),
    ('a=1; Path=/b', 'example.org', '/', ['/b', '/b/c'], ['/', '/bc', '/B']),
    ('a=1; Path=/b/', 'example.org', '/', ['/b/', '/b/c'], ['/b', '/']),
    ('a=1; path=', 'example.org', '/b/c', ['/b/x'], ['/']),
    ('a=1; Path=b', 'example.org', '/b/c', ['/b/x'], ['/']),
    ('a=1; Path=/x; Path=/', 'example.org', '/b/c', ['/'], []),
    (' a = 1 ;Path=/', 'example.org', '/', ['/'], []),
]


@pytest.mark.parametrize('field, host, path, there, not_there', KEPT)
def test_a_path_says_where_a_cookie_is_sent(jar, field, host, path, there, not_there):
    jar.keep(field, host, path)
    assert [sent(jar, path=each) for each in there] == ['a=1'] * len(there)
    assert [sent(jar, path=each) for each in not_there] == [''] * len(not_there)


@pytest.mark.parametrize('field, host, there, not_there', [
    ('a=1', 'example.org', ['example.org'], ['www.example.org', 'org', 'xexample.org']),
    ('a=1; Domain=example.org', 'example.org', ['example.org', 'a.b.example.org'],
     ['xexample.org']),
    ('a=1; Domain=.Example.org', 'www.example.org', ['example.org', 'x.example.org'], []),
    ('a=1; Domain=example.org', 'other.org', [], ['example.org', 'other.org']),
    ('a=1; Domain=www.example.org', 'example.org', [], ['example.org', 'www.example.org']),
    ('a=1; Domain=0.0.1', '127.0.0.1', [], ['127.0.0.1', '0.0.1']),
    ('a=1; Domain=', 'example.org', ['example.org'], ['www.example.org']),
])
def test_a_domain_says_which_hosts_get_a_cookie(jar, field, host, there, not_there):
    jar.keep(field, host, '/')
    assert [sent(jar, each) for each in there] == ['a=1'] * len(there)
    assert [sent(jar, each) for each in not_there] == [''] * len(not_there)


def test_a_secure_cookie_goes_by_https_and_to_this_machine(jar):
    jar.keep('a=1; Secure; HttpOnly', 'example.org', '/')
    jar.keep('b=1; secure', 'localhost', '/')
    assert sent(jar) == ''
    assert sent(jar, scheme='https') == 'a=1'
    assert sent(jar, 'localhost') == 'b=1'


@pytest.mark.parametrize('attributes, seconds', [
    ('', None), ('Max-Age=60', 60), ('max-age=0', 0), ('Max-Age=-1', 0), ('Max-Age=x', None),
    ('Max-Age=', None), ('Max-Age=' + '9' * 50, None), ('Max-Age=\u0663', None),
    ('Expires=Tue, 14 Nov 2023 22:14:20 GMT', 60), ('Expires=Tue, 14-Nov-2023 22:14:20 GMT', 60),
    ('Expires=Thu, 01 Jan 1970 00:00:00 GMT', 0), ('Expires=Thu, 01-Jan-1970 00:00:00 GMT', 0),
    ('Expires=soon', None), ('Expires=', None),
    ('Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60', 60),
])
def test_a_cookie_has_its_time(jar, clock, attributes, seconds):
    jar.keep(f'a=0; {attributes}', 'example.org', '/')
    assert sent(jar) == ('' if seconds == 0 else 'a=0')
    if seconds:
        clock.now += seconds - 0.5
        assert jar['a'] == '0'
        clock.now += 1
        assert (sent(jar), dict(jar)) == ('', {})


def test_the_longest_path_goes_first_and_the_same_name_replaces(jar):
    jar.keep('a=1; Path=/', 'example.org', '/')
    jar.keep('a=2; Path=/b', 'example.org', '/')
    jar.keep('c=3; Path=/', 'example.org', '/')
    jar.keep('a=4; Path=/', 'example.org', '/')
    assert sent(jar, path='/b') == 'a=2; a=4; c=3'
    assert sent(jar, path='/b', a='5', d='6') == 'c=3; a=5; d=6'
    jar.keep('a=; Max-Age=0; Path=/b', 'example.org', '/')
    assert sent(jar, path='/b') == 'a=4; c=3'


def test_what_is_no_cookie_is_passed_over(jar):
    for field in '', 'a', '=1', ';', '; Path=/':
        jar.keep(field, 'example.org', '/')
    assert len(jar) == 0


def test_the_jar_is_a_dictionary(jar):
    jar['a'] = '1'
    jar.update({'b': '2'})
    assert (dict(jar), len(jar), 'a' in jar, repr(jar)) == (
        {'a': '1', 'b': '2'}, 2, True, "Cookies({'a': '1', 'b': '2'})")
    del jar['a']
    for missing in lambda: jar['a'], lambda: jar.__delitem__('a'):
        with pytest.raises(KeyError):
            missing()
    with pytest.raises(TypeError, match='is str, not int'):
        jar['a'] = 1
    jar.clear()
    assert not jar


@pytest.fixture
def app():
    app = Tremolo()

    @app.route('/login', methods=['GET', 'POST'])
    def login(response):
        response.set_cookie('session', 'Ada', httponly=True, secure=True)
        response.set_cookie('once', '1', path='/login')
        return ''

    @app.route('/logout')
    def logout(response):
        response.set_cookie('session', max_age=0)
        return ''

    @app.route('/who')
    def who(request):
        return request.cookies

    return app


def test_a_session_goes_on_from_request_to_request(app):
    with app.client(cookies={'theme': 'dark'}) as client:
        assert client.get('/who').json() == {'theme': 'dark'}
        answer = client.post('/login')
        assert answer.cookies == {'session': 'Ada', 'once': '1'}
        assert client.get('/who').json() == {'theme': 'dark', 'session': 'Ada'}
        assert client.get('/who', cookies={'session': 'Bob', 'x': 'y'}).json() == {
            'theme': 'dark', 'session': 'Bob', 'x': 'y'}
        assert client.get('/who', headers={'Cookie': 'a=b'}).json() == {'a': 'b'}
        assert client.cookies == {'theme': 'dark', 'session': 'Ada', 'once': '1'}
        client.get('/logout')
        assert client.get('/who').json() == {'theme': 'dark'}
        client.cookies.clear()
        assert client.get('/who').json() == {}


def test_any_text_is_sent_and_no_line_is_smuggled(app):
    client = app.client()
    client.cookies['a'] = 'ü'
    assert client.get('/who').json() == {'a': 'ü'}
    for bad in 'b\r\nX-Own: 1', 'b\0':
        with pytest.raises(HeaderError):
            client.get('/who', cookies={'a': bad})


def test_cookies_outlive_a_block_and_belong_to_one_client(app):
    client = app.client()
    client.get('/login')
    with client, app.client() as other:
        assert client.get('/who').json() == {'session': 'Ada'}
        assert other.get('/who').json() == {}
