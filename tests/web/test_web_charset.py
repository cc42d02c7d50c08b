"""The charset of the Content-Type rules how text becomes bytes, wherever it was set."""

from __future__ import annotations

import json

import pytest
from server_support import request, serving

from tremolo import Tremolo, sleep


def asked(function):
    app = Tremolo()
    app.route('/')(function)
    with serving(app, port=0) as host:
        answer, = host.ask(request('/', 'GET', 'Connection: close'))
        return answer


TYPES = [
    ('text/plain', 'utf-8'), ('text/plain; charset=latin-1', 'latin-1'),
    ('text/plain; charset=latin-1; format=flowed', 'latin-1'),
    ('text/plain; format=flowed; CHARSET = "latin-1"', 'latin-1'),
    ('text/html;charset=utf-16-le', 'utf-16-le'), ('', 'utf-8'), (None, 'utf-8')]


def by_attribute(response, value):
    response.content_type = value


def by_field(response, value):
    if value:
        response.headers['Content-Type'] = value


@pytest.mark.parametrize(('content_type', 'charset'), TYPES)
@pytest.mark.parametrize('way', [by_attribute, by_field])
@pytest.mark.parametrize('kind', ['plain', 'thread', 'chunk', 'waited', 'returned', 'coroutine',
                                  'asynchronous', 'sent', 'written'])
def test_a_charset_that_the_handler_sets_rules(content_type, charset, way, kind):
    def plain(response):
        way(response, content_type)
        return 'é'

    def thread(response, thread=True):
        way(response, content_type)
        return 'é'

    def chunk(response):
        way(response, content_type)
        yield 'é'

    def waited(response):
        yield sleep(0.001)
        way(response, content_type)
        yield 'é'

    def returned(response):
        way(response, content_type)
        yield None
        return 'é'

    async def coroutine(response):
        way(response, content_type)
        return 'é'

    async def asynchronous(response):
        way(response, content_type)
        yield 'é'

    def sent(response):
        way(response, content_type)
        response.send('é')

    def written(response):
        way(response, content_type)
        response.write('é')

    assert asked(locals()[kind]).body == 'é'.encode(charset)


def test_the_handlers_own_word_counts_more_than_its_signature():
    def handler(response, content_type='text/plain; charset=latin-1'):
        response.content_type = 'text/plain; charset=utf-16-le'
        yield 'é'

    assert asked(handler).body == 'é'.encode('utf-16-le')


def test_json_is_in_the_charset_too():
    def handler(response):
        response.content_type = 'application/json; charset=utf-16'
        return {'a': 'é'}

    assert json.loads(asked(handler).body.decode('utf-16')) == {'a': 'é'}


@pytest.mark.parametrize(('charset', 'said'), [
    ('klingon', "no charset 'klingon': write charset=utf-8"),
    ('rot13', "no charset 'rot13': write charset=utf-8"),
    ('latin-1', "'\\u20ac' is not in the charset latin-1: write charset=utf-8")])
@pytest.mark.parametrize('kind', ['plain', 'chunk', 'sent'])
def test_text_that_cannot_be_encoded_is_told_what_to_write(charset, said, kind, logged):
    def plain(response):
        response.content_type = f'text/plain; charset={charset}'
        return '€'

    def chunk(response):
        response.content_type = f'text/plain; charset={charset}'
        yield '€'

    def sent(response):
        response.content_type = f'text/plain; charset={charset}'
        response.send('€')

    assert asked(locals()[kind]).status == 500
    assert said in logged.text


def test_bytes_may_have_a_charset_that_python_does_not_know():
    def handler(response):
        response.content_type = 'text/plain; charset=x-mine'
        return b'\x80'

    assert asked(handler).body == b'\x80'
