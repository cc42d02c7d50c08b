"""Redirects: returned or raised by each kind of handler; percent-encoded, never trimmed."""

from __future__ import annotations

import pytest
from server_support import request, serving, virtual

from tremolo import HTTPError, Tremolo, redirect, sleep
from tremolo.exceptions import HeaderError


def location(url, status=303):
    return dict(redirect(url, status).headers)['Location']


@pytest.mark.parametrize(('url', 'sent'), [
    # A relative URL stays relative, and what is encoded stays as it is.
    ('/done', '/done'), ('done', 'done'), ('../a/./b', '../a/./b'), ('?a=b&c=d#e', '?a=b&c=d#e'),
    ('#top', '#top'), ('https://example.org:8000/a?b=c', 'https://example.org:8000/a?b=c'),
    ('/a%20b%2Fc', '/a%20b%2Fc'), ("/!$&'()*+,;=:@-._~", "/!$&'()*+,;=:@-._~"),
    ('https://[::1]/', 'https://[::1]/'),
    # What may not stand in a URL is encoded, as UTF-8.
    ('/a b', '/a%20b'), ('/é€', '/%C3%A9%E2%82%AC'), ('/😀', '/%F0%9F%98%80'),
    ('/"<>^`{|}', '/%22%3C%3E%5E%60%7B%7C%7D'), ('/100%', '/100%25'), ('/%zz%4', '/%25zz%254'),
    ('/\x80\xa0', '/%C2%80%C2%A0'),
    # Nothing is trimmed: a browser would go to another host without the blank, or with `//`.
    (' //evil', '%20//evil'), ('/ ', '/%20'), ('/\\evil', '/%5Cevil'),
    ('\\\\evil', '%5C%5Cevil'), ('\u3000//evil', '%E3%80%80//evil')])
def test_a_url_is_encoded_and_never_trimmed(url, sent):
    assert location(url) == sent


@pytest.mark.parametrize('url', [
    '', '/a\r\nSet-Cookie: a=b', '/a\n', '\r', '\x00', '/\t/evil.example', '\t//evil.example',
    '/\x7f', '\x1f//evil.example', '//evil.example', '///evil.example', '/\ud800'])
def test_what_would_lead_elsewhere_is_refused(url):
    with pytest.raises(HeaderError):
        redirect(url)


@pytest.mark.parametrize('status', [200, 300, 304, 305, 306, 404, '303', None])
def test_a_status_that_is_no_redirect_is_told(status):
    with pytest.raises(ValueError, match='write one of 301, 302, 303, 307, 308'):
        redirect('/', status)


def test_a_url_is_str():
    with pytest.raises(TypeError, match='str, not bytes'):
        redirect(b'/')


def test_a_field_with_a_blank_before_its_value_is_refused_and_not_sent(logged):
    app = Tremolo()

    @app.route('/field')
    def field(response):
        response.headers['Location'] = ' //evil.example'
        return 'x'

    @app.route('/error')
    def error():
        raise HTTPError(302, headers={'Location': ' //evil.example'})

    @app.route('/type')
    def kind(response):
        response.content_type = ' text/plain'
        return 'x'

    with virtual(app) as host:
        for path in '/field', '/error', '/type':
            answer = host.connect(request(path)).take()
            assert (answer.status, 'location' in answer.headers) == (500, False)
    assert logged.count('failed on GET') == 3
    assert 'begins or ends with a blank' in logged.text


STYLES = ('plain', 'thread', 'generator', 'waited', 'coroutine', 'raised', 'chunks')


def handler(style, answer):
    def plain():
        return answer()

    def thread(thread=True):
        return answer()

    def generator():
        if False:
            yield
        return answer()

    def waited(response):
        yield sleep(0.001)
        response.set_cookie('session', '1')
        return answer()

    async def coroutine():
        await sleep(0)
        return answer()

    def raised():
        raise answer()

    async def chunks():
        if True:
            raise answer()
        yield

    return locals()[style]


@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
def test_each_kind_of_handler_redirects(style, status):
    app = Tremolo()
    app.route('/', methods=['GET', 'POST'])(handler(style, lambda: redirect('/next?a', status)))
    app.route('/next')(lambda: 'next')
    with serving(app, port=0) as host:
        client = host.connect()
        for method in 'GET', 'HEAD', 'POST':
            client.send(request('/', method) + request('/next'))
            answer = client.take(method)
            assert (answer.status, answer.headers['location']) == (status, '/next?a')
            assert answer.headers.get('set-cookie') == (
                'session=1; Path=/' if style == 'waited' else None)
            assert client.take().body == b'next'
