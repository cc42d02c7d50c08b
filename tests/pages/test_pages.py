"""The small page of an error: what it says and holds, and the traceback on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from server_support import request, serving

import tremolo
from tremolo import BadRequest, HTTPError, Tremolo
from tremolo.http import status_line
from tremolo.pages.page import error_page
from tremolo.pages.raised import traceback_of
from tremolo.server import phrase


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/large')
    def large():
        raise HTTPError(413)

    @app.route('/bad')
    def bad():
        raise BadRequest

    @app.route('/failing')
    async def failing():
        raise ZeroDivisionError('<b>')

    @app.route('/cookie')
    def cookie(response):
        response.headers['X'] = 'a\nb'

    return app


@pytest.mark.parametrize('status', [400, 403, 404, 405, 413, 500, 503])
def test_a_page_is_small_loads_nothing_and_says_a_sentence(status):
    page = error_page(status)
    assert len(page) < 1024
    assert f'<title>{status} {phrase(status)}</title>' in page
    assert 'color-scheme:light dark' in page and 'width=device-width' in page
    assert re.search(r'<p>[A-Z][^<]+\.</p>\n$', page)
    assert not re.search(r'(src|href|url|@import)\s*[=(\s]', page)


@pytest.mark.parametrize('path, method, status, words', [
    ('/gone', 'GET', 404, 'nothing at this address'), ('/bad', 'POST', 405, 'in this way'),
    ('/large', 'GET', 413, 'larger than'), ('/failing', 'GET', 500, 'not your fault'),
    ('/bad', 'GET', 400, 'cannot make sense'),
])
def test_each_error_is_answered_with_its_page(app, logged, path, method, status, words):
    with serving(app) as server:
        answer, = server.ask(request(path, method, 'Connection: close'))
    assert answer.status == status
    assert words.encode() in answer.body


def test_a_status_without_a_sentence_has_a_page(app):
    assert error_page(418).endswith('</h1>\n')
    assert '<h1><b>599</b> </h1>' in error_page(599)


@pytest.mark.parametrize('status, words', [
    (413, 'Content Too Large'), (414, 'URI Too Long'), (416, 'Range Not Satisfiable'),
    (422, 'Unprocessable Content'), (404, 'Not Found'), (599, ''),
])
def test_the_phrases_are_those_of_today(status, words):
    assert phrase(status) == words
    assert status_line(status) == b'HTTP/1.1 %d %s\r\n' % (status, words.encode())


@pytest.mark.parametrize('path', ['/failing', '/cookie'])
def test_in_debug_the_frames_are_those_of_the_application(app, logged, path):
    with serving(app, debug=True) as server:
        page = server.ask(request(path, 'GET', 'Connection: close'))[0].body.decode()
    files = re.findall('File &quot;(.*?)&quot;', page)
    # (PyPy shows frames of its own library, too.)
    assert __file__ in files
    assert not [file for file in files if file.startswith(str(Path(tremolo.__file__).parent))]
    assert '<b>' not in page.partition('<pre>')[2]


def test_causes_are_without_our_frames_and_our_own_mistake_has_all():
    def theirs():
        try:
            status_line(9000)
        except Exception as error:
            raise KeyError from error

    try:
        theirs()
    except KeyError as error:
        text = traceback_of(error)
    assert 'HeaderError' in text and 'KeyError' in text
    assert set(re.findall('File "(.*?)"', text)) == {__file__}
    try:
        status_line(9000)
    except Exception as error:
        error.__traceback__ = error.__traceback__.tb_next
        assert 'response.py' in traceback_of(error)
