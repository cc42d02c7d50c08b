"""Small real applications on Flask, Bottle and Django's WSGI, unchanged, served by tremolo.

Each is named on the command line and nothing more: that it is WSGI is found out. What the
applications do is in frameworks/.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from pathlib import Path

import pytest
from test_curl import checksum_of_download, curl
from test_frameworks import ask, leave, lines, serve_once

HERE = Path(__file__).resolve().parent
MIB = 1 << 20

flask = serve_once('flask')
bottle = serve_once('bottle')
django_wsgi = serve_once('django_wsgi')


@pytest.fixture(params=[0, 1, 2], ids=['flask', 'bottle', 'django'])
def any_of_them(request, flask, bottle, django_wsgi):
    return (flask, bottle, django_wsgi)[request.param]


def test_each_of_them_answers(any_of_them):
    found = ask(any_of_them, '/?q=%C3%A9').json
    assert (found['method'], found['query'], found['path'], found['client']) == (
        'GET', 'é', '/', '127.0.0.1')
    head = ask(any_of_them, '/', 'HEAD')
    assert (head.status, head.body) == (200, b'')
    assert int(head.headers['content-length']) > 0
    nowhere = ask(any_of_them, '/nowhere')
    assert nowhere.status == 404
    if b'DEBUG = True' in nowhere.body:
        any_of_them.logged('Not Found: /nowhere')    # (Django's own log.)


def test_each_of_them_streams(any_of_them):
    found = ask(any_of_them, '/stream')
    assert found.body == lines(1000)
    assert found.headers['transfer-encoding'] == 'chunked'
    assert ask(any_of_them, '/stream', 'HEAD').body == b''


def test_each_of_them_has_a_session_in_curl_s_cookie_jar(any_of_them, tool, tmp_path):
    jar = str(tmp_path / 'jar')
    said = [curl(tool, '-b', jar, '-c', jar, any_of_them.url + '/count')[0] for _ in range(3)]
    assert said == [b'1', b'2', b'3']


def test_a_form_with_a_file_arrives(flask, bottle, django_wsgi, tool, tmp_path):
    path = tmp_path / 'some.bin'
    path.write_bytes(bytes(range(256)) * 20000)
    form = ['-F', f'file=@{path}', '-F', 'note=hello']
    for server in flask, bottle:
        assert curl(tool, *form, server.url + '/form')[0] == b'hello some.bin 5120000'
    assert curl(tool, *form, django_wsgi.url + '/upload')[0].startswith(b'5120000 ')
    # (Bottle and Django take no body without a length, whatever serves them.)
    out, _ = curl(tool, '-H', 'Transfer-Encoding: chunked', *form, flask.url + '/form')
    assert out == b'hello some.bin 5120000'


def test_200_mb_go_up_in_little_memory(flask, tool, big_file):
    path, expected = big_file
    curl(tool, '-T', __file__, '-X', 'POST', flask.url + '/upload')
    before = flask.resident()
    flask.forget_peak()
    out, _ = curl(tool, '-T', str(path), '-X', 'POST', flask.url + '/upload')
    assert out.decode() == expected
    assert flask.resident('VmHWM') - before < 16 * MIB


def test_a_file_of_200_mb_comes_down_in_little_memory(flask, django_wsgi, tool, big_file):
    path, expected = big_file
    for server in flask, django_wsgi:
        curl(tool, server.url + '/file')
        before = server.resident()
        server.forget_peak()
        assert checksum_of_download(tool, f'{server.url}/file?path={path}') == expected
        leave(server, f'/file?path={path}', b'200 OK')
        assert ask(server, '/').status == 200
        assert server.resident('VmHWM') - before < 16 * MIB
    for _ in range(3):
        assert ask(django_wsgi, '/event').body == b'request_finished'


# Flask

def test_flask_knows_where_it_is_mounted(framework):
    with framework('flask_app', '--root-path', '/mounted') as server:
        found = ask(server, '/').json
        assert (found['root'], found['path']) == ('/mounted', '/')
        assert found['link'] == server.url + '/mounted/'


def test_flask_reads_json_and_sends_cookies(flask, tool, tmp_path):
    found = ask(flask, '/json', 'POST', b'{"a": [1, "\xc3\xa9"]}', content_type='application/json')
    assert found.json == {'a': [1, 'é']}
    assert ask(flask, '/json', 'POST', b'{', content_type='application/json').status == 400
    found = ask(flask, '/cookies', cookie='b=2; a=1')
    assert found.body == b'a=1 b=2'
    assert len(found.headers.get_all('set-cookie')) == 2
    jar = str(tmp_path / 'jar')
    assert curl(tool, '-L', '-b', jar, '-c', jar, flask.url + '/flash')[0] == b'flashed'


def test_flask_limits_a_body(flask):
    assert ask(flask, '/limited', 'POST', b'x' * 10).body == b'10'
    assert ask(flask, '/limited', 'POST', b'x' * 20).status == 413


def test_flask_s_files_have_ranges_and_conditions(flask):
    text = (HERE / 'frameworks' / 'flask_app.py').read_bytes()
    for path in '/static/flask_app.py', '/file', '/files/flask_app.py':
        found = ask(flask, path)
        assert (found.body, found.headers['content-length']) == (text, str(len(text)))
        head = ask(flask, path, 'HEAD')
        assert (head.headers['content-length'], head.body) == (str(len(text)), b'')
        part = ask(flask, path, range='bytes=10-19')
        assert (part.status, part.body) == (206, text[10:20])
        same = ask(flask, path, if_none_match=found.headers['etag'])
        assert (same.status, same.body) == (304, b'')
    assert ask(flask, '/static/../conftest.py').status == 404


def test_flask_s_errors(flask):
    assert ask(flask, '/', 'DELETE').status == 405
    assert ask(flask, '/teapot').status == 418
    assert ask(flask, '/fail').status == 500
    flask.logged('ValueError: failed on purpose')
    assert ask(flask, '/exit').status == 500
    assert flask.logged('SystemExit: left on purpose').count('ERROR') == 1
    with pytest.raises(http.client.IncompleteRead):
        ask(flask, '/fail-late')
    flask.logged('ValueError: failed late on purpose')


@pytest.mark.parametrize('reset', [False, True], ids=['leaves', 'resets'])
def test_a_client_that_leaves_ends_a_flask_stream(flask, reset):
    leave(flask, '/endless', reset=reset)
    assert {ask(flask, '/event').body, ask(flask, '/event').body} == {b'stream ended', b'closed'}
    assert flask.log == ''


def test_what_flask_does_on_close_is_done_after_the_answer(flask):
    assert ask(flask, '/later').body == b'answered'
    assert ask(flask, '/event').body == b'later'


def test_an_upload_that_ends_early_is_told(flask, django_wsgi):
    for server, error in (flask, 'ClientGone'), (django_wsgi, 'UnreadablePostError'):
        with socket.create_connection(('127.0.0.1', server.port), timeout=30) as sock:
            # (Without `Expect` its body would come before it takes a thread.)
            sock.sendall(b'POST /reader HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n'
                         b'Expect: 100-continue\r\n\r\nhalf')
            assert ask(server, '/event').body == b'reading'
        assert ask(server, '/event').body == error.encode()
        server.logged(f'{error}: ')    # (The framework's own log.)


# Bottle

def test_bottle_s_files_redirects_and_errors(bottle):
    text = (HERE / 'frameworks' / 'bottle_app.py').read_bytes()
    found = ask(bottle, '/files/bottle_app.py')
    assert found.body == text
    part = ask(bottle, '/files/bottle_app.py', range='bytes=10-19')
    assert (part.status, part.body) == (206, text[10:20])
    same = ask(bottle, '/files/bottle_app.py', if_modified_since=found.headers['last-modified'])
    assert (same.status, same.body) == (304, b'')
    assert ask(bottle, '/moved').headers['location'] == bottle.url + '/'
    teapot = ask(bottle, '/teapot')
    assert (teapot.status, b'short and stout' in teapot.body) == (418, True)
    assert ask(bottle, '/fail').status == 500
    bottle.logged('ValueError: failed on purpose')
    assert ask(bottle, '/', x_a='caf\xc3\xa9').json['agent'] == 'café'


# Django

def test_django_s_forms_need_their_token(django_wsgi, tool, tmp_path):
    jar, url = str(tmp_path / 'jar'), django_wsgi.url + '/form'
    page, _ = curl(tool, '-c', jar, url)
    token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page)[1].decode()
    out, _ = curl(tool, '-b', jar, '-d', f'csrfmiddlewaretoken={token}', '-d', 'note=h%C3%A9', url)
    assert out.decode() == 'hé'
    out, _ = curl(tool, '-b', jar, '-d', 'note=x', '-o', '/dev/null', '-w', '%{http_code}', url)
    assert out == b'403'
    django_wsgi.logged('Forbidden')


def test_django_s_files_and_errors(django_wsgi):
    text = (HERE / 'frameworks' / 'django_wsgi_app.py').read_bytes()
    found = ask(django_wsgi, '/file')
    assert (found.body, found.headers['content-length']) == (text, str(len(text)))
    assert ask(django_wsgi, '/event').body == b'request_finished'
    assert ask(django_wsgi, '/source').body == text
    found = ask(django_wsgi, '/fail')
    assert (found.status, b'failed on purpose' in found.body) == (500, True)
    django_wsgi.logged('ValueError: failed on purpose')
    assert json.loads(ask(django_wsgi, '/').body)['host'] == f'127.0.0.1:{django_wsgi.port}'


def test_a_client_that_leaves_ends_a_django_stream(django_wsgi):
    leave(django_wsgi, '/endless')
    assert ask(django_wsgi, '/event').body == b'stream ended'
    assert django_wsgi.log == ''
