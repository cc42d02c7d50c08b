"""Signed cookies, from `set_cookie` to `signed_cookie`, in each kind of handler."""

from __future__ import annotations

import pytest
from server_support import request, serving, virtual

from tremolo import Tremolo

KEY, OLD = 'k' * 32, b'o' * 32


def application(style='plain', keys=(KEY,), max_age=None):
    app = Tremolo()
    if keys:
        app.secret_keys = keys

    @app.route('/set')
    def set_it(response):
        response.set_cookie('user', 'Änne; "x"', signed=True, httponly=True, max_age=600)

    def plain(request):
        return repr(request.signed_cookie('user', max_age)), 'utf-8'

    def thread(request, thread=True):
        return plain(request)

    def generator(request):
        yield plain(request)[0]

    async def coroutine(request):
        return plain(request)

    app.route('/get')(locals()[style])
    return app


def got(client, cookie):
    client.send(request('/get', 'GET', f'Cookie: a=b; user={cookie}; c=d'))
    return client.take().body.decode()


def set_by(client):
    client.send(request('/set'))
    pair, *attributes = client.take().headers['set-cookie'].split('; ')
    assert attributes == ['Max-Age=600', 'Path=/', 'HttpOnly']
    return pair.partition('=')[2]


@pytest.mark.parametrize('style', ['plain', 'thread', 'generator', 'coroutine'])
def test_a_signed_cookie_comes_back(style):
    with serving(application(style), port=0) as host:
        client = host.connect()
        cookie = set_by(client)
        assert got(client, cookie) == repr('Änne; "x"')
        assert got(client, f'"{cookie}"') == repr('Änne; "x"')
        assert got(client, cookie[:-1]) == got(client, 'x') == got(client, '') == 'None'
        client.send(request('/get'))
        assert client.take().body == b'None'


def test_its_age_is_that_of_the_clock():
    with virtual(application(max_age=60), idle_timeout=1000) as host:
        client = host.connect()
        cookie = set_by(client)
        host.advance(58)
        assert got(client, cookie) == repr('Änne; "x"')
        host.advance(4)
        assert got(client, cookie) == 'None'


def test_keys_may_change_while_it_is_served_also_for_a_part():
    app = application()
    app.listen(0, idle_timeout=7)
    with serving(app, port=0) as host:
        first = host.connect()
        cookie = set_by(first)
        app.secret_keys = [OLD, KEY]
        newer = set_by(first)
        app.secret_keys = [OLD]
        assert app.secret_keys == [OLD]
        part, = {*host.server.parts.values()} - {host.server}
        assert part.signer is host.server.signer
        assert (got(first, cookie), got(first, newer)) == ('None', repr('Änne; "x"'))


def test_parts_sign_too():
    app = application()
    app.listen(0, idle_timeout=7)
    with virtual(app) as host:
        cookie = set_by(host.connect(listener=1))
        assert got(host.connect(), cookie) == repr('Änne; "x"')


def test_without_keys_it_is_told_what_to_write(logged):
    with virtual(application(keys=())) as host:
        for path in '/set', '/get':
            assert host.connect(request(path)).take().status == 500
    assert logged.text.count('HandlerError: signed cookies need keys: write app.secr') == 2


def test_a_short_key_is_told_where_it_is_set():
    app = Tremolo()
    assert app.secret_keys == []
    for keys in [], ['short'], KEY:
        with pytest.raises(ValueError, match='secret'):
            app.secret_keys = keys
    assert app.secret_keys == []
    app.secret_keys = (key for key in [KEY, OLD])
    assert app.secret_keys == [KEY, OLD]


def test_a_value_that_is_too_long_is_told(logged):
    app = Tremolo()
    app.secret_keys = [KEY]

    @app.route('/')
    def long(response):
        response.set_cookie('a', 'x' * 3100, signed=True)

    with virtual(app) as host:
        assert host.connect(request()).take().status == 500
    assert 'exceeds 4096 bytes' in logged.text


# -- what failed in tremolo 0.5 -------------------------------------------------------------------


def test_fault_17_a_cookie_without_an_expiry_lasts_as_long_as_the_browser():
    app = Tremolo()
    app.secret_keys = [KEY]

    @app.route('/')
    def session(response):
        response.set_cookie('a', 'b')
        response.set_cookie('c', 'd', signed=True)
        response.set_cookie('e', '', max_age=0)

    with virtual(app) as host:
        client = host.connect(request())
        a, c, e = client.take().headers['set-cookie'].split(', ')
        assert a == 'a=b; Path=/'
        assert c.startswith('c=ZA.') and c.endswith('; Path=/') and 'age' not in c.lower()
        assert e == 'e=; Max-Age=0; Path=/'


def test_fault_23_names_of_cookies_keep_their_case_and_the_first_value_counts():
    app = Tremolo()
    app.route('/')(lambda request: request.cookies)
    with virtual(app) as host:
        client = host.connect(request('/', 'GET', 'Cookie: Name=1; name=2; Name=3; q="a%20b"'))
        assert client.take().body == b'{"Name": "1", "name": "2", "q": "a%20b"}'
