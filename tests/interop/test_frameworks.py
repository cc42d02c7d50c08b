"""Small real applications on Starlette, FastAPI, Django, Quart and Litestar, served by tremolo.

Each is driven from outside: by curl, or by http.client where many requests or a client that leaves
are wanted. What the applications do is in frameworks/.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from test_curl import checksum_of_download, curl

HERE = Path(__file__).resolve().parent
MIB = 1 << 20


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def ask(server, path, method='GET', body=None, **headers):
    """Send one request on a connection of its own; give the Answer."""
    connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=30)
    try:
        named = {name.replace('_', '-'): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def leave(server, path, wanted=b'tick', reset=False):
    """Ask for a path, wait for these bytes (b'': for none) and leave."""
    with socket.create_connection(('127.0.0.1', server.port), timeout=30) as sock:
        sock.sendall(b'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n' % path.encode())
        received = b''
        while wanted not in received:
            data = sock.recv(65536)
            assert data
            received += data
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')


def lines(count):
    return ''.join(f'{number}\n' for number in range(count)).encode()


def serve_once(name):
    """Make a fixture: one process of an application, for all tests of this file."""
    @pytest.fixture(scope='module', name=name)
    def fixture(framework):
        # (A client that has left looks like one that still reads, until this is over.)
        with framework(f'{name}_app', '--half-close-timeout', '0.5') as server:
            yield server

    return fixture


starlette = serve_once('starlette')
fastapi = serve_once('fastapi')
django = serve_once('django')
quart = serve_once('quart')
litestar = serve_once('litestar')


# Starlette

def test_starlette_has_the_state_of_its_lifespan(starlette):
    first, second = ask(starlette, '/').json, ask(starlette, '/').json
    assert first['greeting'] == 'hello'
    assert second['visits'] == first['visits'] + 1


def test_starlette_answers_head_404_405_and_its_own_errors(starlette):
    head, whole = ask(starlette, '/text', 'HEAD'), ask(starlette, '/text')
    assert (head.status, head.body) == (200, b'')
    assert head.headers['content-length'] == whole.headers['content-length'] == '80000'
    assert ask(starlette, '/nowhere').status == 404
    assert ask(starlette, '/', 'DELETE').status == 405
    teapot = ask(starlette, '/teapot')
    assert (teapot.status, teapot.body) == (418, b'short and stout')


def test_an_exception_in_starlette_is_500_and_logged_once(starlette):
    for path in '/fail', '/signed/fail':
        found = ask(starlette, path)
        assert (found.status, found.body) == (500, b'Internal Server Error')
        assert starlette.logged('ValueError: failed on purpose\n').count('ERROR') == 1
    assert ask(starlette, '/').status == 200


def test_a_cancelled_error_that_nobody_catches_is_500_too(starlette):
    assert ask(starlette, '/cancelled').status == 500
    assert starlette.logged('CancelledError').count('ERROR') == 1


def test_an_exception_in_a_starlette_stream_cuts_the_connection(starlette):
    with pytest.raises(http.client.IncompleteRead):
        ask(starlette, '/fail-late')
    starlette.logged('ValueError: failed late on purpose')


def test_starlette_compresses_what_curl_accepts(starlette, tool):
    for path in '/text', '/signed/text':
        out, err = curl(tool, '-v', '--compressed', starlette.url + path)
        assert out == b'tremolo ' * 10000
        assert 'content-encoding: gzip' in err.lower()
    assert gzip.decompress(
        ask(starlette, '/stream', accept_encoding='gzip').body) == lines(1000)


def test_starlette_streams(starlette):
    for path in '/stream', '/signed/stream':
        found = ask(starlette, path)
        assert found.headers['transfer-encoding'] == 'chunked'
        assert found.body == lines(1000)
    assert ask(starlette, '/signed/text').headers['x-signed'] == '/signed/text'


def test_starlette_s_files_have_ranges_and_conditions(starlette):
    text = (HERE / 'frameworks' / 'starlette_app.py').read_bytes()
    found = ask(starlette, '/static/starlette_app.py')
    assert found.body == text
    head = ask(starlette, '/static/starlette_app.py', 'HEAD')
    assert (head.headers['content-length'], head.body) == (str(len(text)), b'')
    same = ask(starlette, '/static/starlette_app.py', if_none_match=found.headers['etag'])
    assert (same.status, same.body) == (304, b'')
    assert ask(starlette, '/static/nothing').status == 404
    assert ask(starlette, '/static/../conftest.py').status == 404
    part = ask(starlette, '/file', range='bytes=10-19')
    assert (part.status, part.body) == (206, text[10:20])
    assert 'app.py' in part.headers['content-disposition']
    assert ask(starlette, '/event').body == b'file sent'
    assert ask(starlette, '/file', range='bytes=9999999-').status == 416


def test_a_starlette_session_is_in_curl_s_cookie_jar(starlette, tool, tmp_path):
    jar = str(tmp_path / 'jar')
    said = [curl(tool, '-b', jar, '-c', jar, starlette.url + '/count')[0] for _ in range(3)]
    assert said == [b'1', b'2', b'3']


def test_starlette_knows_where_it_is_mounted(starlette, framework):
    found = ask(starlette, '/where').json
    assert found == {'path': '/where', 'root': '', 'client': '127.0.0.1',
                     'link': starlette.url + '/where'}
    found = ask(starlette, '/signed/where').json
    assert (found['path'], found['root']) == ('/signed/where', '/signed')
    with framework('starlette_app', '--root-path', '/mounted') as server:
        # As behind a proxy that takes the prefix away.
        found = ask(server, '/where').json
        assert found == {'path': '/mounted/where', 'root': '/mounted', 'client': '127.0.0.1',
                         'link': server.url + '/mounted/where'}
        found = ask(server, '/signed/where').json
        assert found['root'] == '/mounted/signed'
        assert ask(server, '/static/starlette_app.py').status == 200


@pytest.mark.parametrize('reset', [False, True], ids=['leaves', 'resets'])
def test_a_client_that_leaves_ends_a_starlette_stream(starlette, reset):
    leave(starlette, '/endless', reset=reset)
    assert ask(starlette, '/event').body == b'stream ended'
    leave(starlette, '/signed/endless', reset=reset)
    assert ask(starlette, '/event').body == b'stream ended'
    # Nobody made a mistake: there is nothing to log.
    assert starlette.log == ''


@pytest.mark.parametrize('path', ['/subscribe', '/signed/subscribe'])
def test_silent_starlette_streams_end_when_their_clients_leave(starlette, path):
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(
                socket.create_connection(('127.0.0.1', starlette.port), timeout=30))
            sock.sendall(b'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n' % path.encode())
            received = b''
            while b'subscribed' not in received:
                received += sock.recv(65536) or pytest.fail(f'ended: {received!r}')
    left = {ask(starlette, '/event').body for _ in range(20)}
    assert left == {b'%d left' % number for number in range(20)}
    assert starlette.log == ''


def test_starlette_is_told_that_its_client_has_left(starlette):
    leave(starlette, '/patient', b'waiting')
    assert ask(starlette, '/event').body == b'http.disconnect'
    leave(starlette, '/polled', b'')
    assert ask(starlette, '/event').body == b'polling'
    assert ask(starlette, '/event').body == b'is_disconnected'
    assert starlette.log == ''


def test_starlette_is_told_that_an_upload_ended_early(starlette):
    with socket.create_connection(('127.0.0.1', starlette.port), timeout=30) as sock:
        sock.sendall(b'POST /reader HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nhalf')
        assert ask(starlette, '/event').body == b'reading'
    assert ask(starlette, '/event').body == b'ClientDisconnect'
    assert starlette.log == ''


def test_a_read_that_was_given_up_loses_nothing(starlette):
    with socket.create_connection(('127.0.0.1', starlette.port), timeout=30) as sock:
        sock.sendall(b'POST /impatient HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 8\r\n\r\n')
        assert ask(starlette, '/event').body == b'gave up'
        sock.sendall(b'the body')
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert (answer.status, answer.read()) == (200, b'the body')
        answer.close()


def test_200_mb_go_up_to_starlette_in_less_than_16_mib(starlette, tool, big_file):
    path, expected = big_file
    curl(tool, '-T', __file__, starlette.url + '/echo')
    before = starlette.resident()
    starlette.forget_peak()
    out, _ = curl(tool, '-T', str(path), starlette.url + '/echo')
    assert out.decode() == expected
    assert starlette.resident('VmHWM') - before < 16 * MIB


def test_200_mb_go_up_as_a_form_s_file_in_less_than_16_mib(starlette, tool, big_file):
    path, expected = big_file
    curl(tool, '-F', f'file=@{__file__}', starlette.url + '/upload')
    before = starlette.resident()
    starlette.forget_peak()
    out, _ = curl(tool, '-F', f'file=@{path}', starlette.url + '/upload')
    assert out.decode() == expected
    assert starlette.resident('VmHWM') - before < 16 * MIB


def test_a_file_of_200_mb_comes_down_in_less_than_16_mib(starlette, tool, big_file):
    path, expected = big_file
    url = starlette.url + '/file'
    curl(tool, url)
    assert ask(starlette, '/event').body == b'file sent'
    before = starlette.resident()
    starlette.forget_peak()
    assert checksum_of_download(tool, f'{url}?path={path}') == expected
    assert ask(starlette, '/event').body == b'file sent'
    part, _ = curl(tool, '-r', f'{100 * MIB}-{104 * MIB - 1}', f'{url}?path={path}')
    with path.open('rb') as file:
        file.seek(100 * MIB)
        assert part == file.read(4 * MIB)
    assert ask(starlette, '/event').body == b'file sent'
    # Somebody leaves in the midst of it.
    leave(starlette, f'/file?path={path}', b'200 OK')
    assert ask(starlette, '/').status == 200
    assert starlette.resident('VmHWM') - before < 16 * MIB


# FastAPI

def test_fastapi_resolves_dependencies_and_closes_them(fastapi):
    found = ask(fastapi, '/?number=4')
    assert found.json == {'log': ['opened'], 'number': 40}
    assert ask(fastapi, '/done').json == 'closed'
    assert ask(fastapi, '/?number=four').status == 422


def test_fastapi_runs_background_tasks_and_threads(fastapi):
    assert ask(fastapi, '/later', 'POST').json == 'soon'
    assert ask(fastapi, '/done').json == 'later'
    assert 'worker' in ask(fastapi, '/thread').json['thread'].lower()


def test_fastapi_keeps_typed_items_and_describes_itself(fastapi, tool):
    out, _ = curl(tool, '-X', 'PUT', '-H', 'Content-Type: application/json', '-w', ' %{http_code}',
                  '-d', '{"name": "a", "price": 1.5}', fastapi.url + '/items/1')
    assert out == b'{"name":"a","price":1.5} 201'
    assert ask(fastapi, '/items/1').json == {'name': 'a', 'price': 1.5}
    assert ask(fastapi, '/items/2').status == 404
    assert ask(fastapi, '/items/1', 'PUT', b'{"name": "a"}').status == 422
    assert '/items/{number}' in ask(fastapi, '/openapi.json').json['paths']


def test_fastapi_takes_an_upload(fastapi, tool, tmp_path):
    path = tmp_path / 'some.bin'
    path.write_bytes(bytes(range(256)) * 20000)
    out, _ = curl(tool, '-F', f'file=@{path}', '-F', 'note=héllo', fastapi.url + '/upload')
    found = json.loads(out)
    assert (found['name'], found['note']) == ('some.bin', 'héllo')
    assert found['sum'].startswith('5120000 ')
    out, _ = curl(tool, '-H', 'Transfer-Encoding: chunked', '-F', f'file=@{path}',
                  fastapi.url + '/upload')
    assert json.loads(out)['sum'] == found['sum']


@pytest.mark.parametrize('path', ['/stream', '/stream/thread'])
def test_fastapi_streams(fastapi, path):
    found = ask(fastapi, path + '?count=500')
    assert found.body.splitlines() == [b'line %d' % number for number in range(500)]


def test_an_exception_in_fastapi_is_500_and_logged_once(fastapi):
    assert ask(fastapi, '/fail').status == 500
    assert fastapi.logged('ValueError: failed on purpose\n').count('ERROR') == 1


def test_httpx_asks_fastapi_many_things_at_once(fastapi, frameworks_python):
    done = subprocess.run(
        [frameworks_python, str(HERE / 'frameworks' / 'many.py'), fastapi.url],
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


# Django

def test_django_s_admin_lets_one_in(django, tool, tmp_path):
    jar = str(tmp_path / 'jar')
    page, _ = curl(tool, '-c', jar, '-L', django.url + '/admin/')
    assert b'Django administration' in page
    token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page)[1].decode()
    login = django.url + '/admin/login/?next=/admin/'
    fields = ['-d', 'username=ada', '-d', 'password=lovelace', '-w', '%{http_code}']
    out, _ = curl(tool, '-b', jar, '-o', '/dev/null', *fields, login)
    assert out == b'403'
    # As it should say, of the missing token.
    django.logged('Forbidden')
    page, _ = curl(tool, '-b', jar, '-c', jar, '-L', '-d', f'csrfmiddlewaretoken={token}',
                   '-e', login, *fields, login)
    assert b'Site administration' in page
    assert page.endswith(b'200')
    page, _ = curl(tool, '-b', jar, django.url + '/admin/auth/user/')
    assert b'ada@example.org' in page


def test_django_serves_its_static_files(django):
    found = ask(django, '/static/admin/css/base.css')
    assert (found.status, found.headers['content-type']) == (200, 'text/css')
    assert len(found.body) == int(found.headers['content-length']) > 10000
    assert b'DJANGO Admin styles' in found.body
    head = ask(django, '/static/admin/css/base.css', 'HEAD')
    assert (head.body, head.headers['content-length']) == (b'', found.headers['content-length'])
    same = ask(django, '/static/admin/css/base.css',
               if_modified_since=found.headers['last-modified'])
    assert (same.status, same.body) == (304, b'')
    assert ask(django, '/static/nothing.css').status == 404


def test_django_s_sessions_streams_and_uploads(django, tool, tmp_path):
    jar = str(tmp_path / 'jar')
    said = [curl(tool, '-b', jar, '-c', jar, django.url + '/count')[0] for _ in range(3)]
    assert said == [b'1', b'2', b'3']
    assert ask(django, '/stream').body == lines(1000)
    path = tmp_path / 'some.bin'
    path.write_bytes(bytes(range(256)) * 20000)
    out, _ = curl(tool, '-F', f'file=@{path}', django.url + '/upload')
    assert out.startswith(b'5120000 ')


def test_django_cancels_a_view_whose_client_leaves(django):
    leave(django, '/patient', b'')
    assert ask(django, '/event').body == b'waiting'
    assert ask(django, '/event').body == b'cancelled'
    assert django.log == ''


def test_an_exception_in_django_is_500(django):
    found = ask(django, '/fail')
    assert found.status == 500
    assert b'failed on purpose' in found.body
    django.logged('ValueError: failed on purpose')
    assert ask(django, '/nowhere').status == 404
    django.logged('Not Found: /nowhere')


# Quart

def test_quart_answers(quart, tool):
    assert ask(quart, '/?q=%C3%A9').json == {
        'method': 'GET', 'query': 'é', 'host': f'127.0.0.1:{quart.port}'}
    head = ask(quart, '/', 'HEAD')
    assert (head.status, head.body) == (200, b'')
    assert ask(quart, '/nowhere').status == 404
    assert ask(quart, '/teapot').status == 418
    assert ask(quart, '/thread').body == b'from a worker thread'
    out, _ = curl(tool, '-F', f'file=@{__file__}', '-F', 'note=hello', quart.url + '/form')
    assert out.decode() == f'hello {Path(__file__).name} {Path(__file__).stat().st_size}'


def test_quart_s_sessions(quart, tool, tmp_path):
    jar = str(tmp_path / 'jar')
    said = [curl(tool, '-b', jar, '-c', jar, quart.url + '/count')[0] for _ in range(3)]
    assert said == [b'1', b'2', b'3']


def test_quart_streams_both_ways(quart):
    assert ask(quart, '/stream').body == lines(1000)
    found = ask(quart, '/echo', 'POST', iter([b'x' * 50000] * 40))
    assert found.body.startswith(b'2000000 ')


def test_quart_runs_background_tasks(quart):
    assert ask(quart, '/later', 'POST').status == 202
    assert ask(quart, '/event').body == b'later'


def test_a_client_that_leaves_ends_a_quart_stream(quart):
    leave(quart, '/endless')
    assert ask(quart, '/event').body == b'stream ended'
    assert quart.log == ''


def test_an_exception_in_quart_is_500(quart):
    assert ask(quart, '/fail').status == 500
    quart.logged('ValueError: failed on purpose')


# Litestar

def test_litestar_answers(litestar):
    assert ask(litestar, '/?page=4').json == {'number': 40}
    assert ask(litestar, '/?page=four').status == 400
    item = ask(litestar, '/items', 'POST', b'{"name": "a", "price": 1.5}',
               content_type='application/json')
    assert (item.status, item.json) == (201, {'name': 'a', 'price': 1.5})
    assert ask(litestar, '/nowhere').status == 404
    assert ask(litestar, '/missing').json['detail'] == 'nothing here'
    assert ask(litestar, '/thread').body == b'from a worker thread'
    text = (HERE / 'frameworks' / 'litestar_app.py').read_bytes()
    assert ask(litestar, '/static/litestar_app.py').body == text


def test_litestar_streams_compresses_and_takes_uploads(litestar, tool, tmp_path):
    assert ask(litestar, '/stream').body == lines(1000)
    out, err = curl(tool, '-v', '--compressed', litestar.url + '/text')
    assert out == b'tremolo ' * 10000
    assert 'content-encoding: gzip' in err.lower()
    path = tmp_path / 'some.bin'
    path.write_bytes(bytes(range(256)) * 20000)
    out, _ = curl(tool, '-F', f'data=@{path}', litestar.url + '/upload')
    assert out.startswith(b'some.bin 5120000 ')


def test_litestar_runs_background_tasks(litestar):
    assert ask(litestar, '/later', 'POST').status == 201
    assert ask(litestar, '/event').body == b'later'


def test_a_client_that_leaves_ends_a_litestar_stream(litestar):
    leave(litestar, '/endless')
    assert ask(litestar, '/event').body == b'stream ended'
    assert litestar.log == ''


def test_an_exception_in_litestar_is_500(litestar):
    found = ask(litestar, '/fail')
    assert (found.status, found.json['detail']) == (500, 'Internal Server Error')
