"""What an application is given: its environ, its streams, its context; and who serves it."""

from __future__ import annotations

import contextvars
import json
import os
import threading
import urllib.request

import pytest
from server_support import request, serving
from wsgi_support import Seen, ask, plain, site

from tremolo.loop import current_reactor, sleep
from tremolo.wsgi_app import WsgiApplication


def shown(environ, start_response):
    """Answer with the environ."""
    plain(start_response)
    told = {key: value for key, value in environ.items() if isinstance(value, (str, bool))}
    return [json.dumps(told).encode()]


def environ_of(host, *asked, **more):
    return json.loads(ask(host, *asked, **more).body)


def test_an_environ_is_as_pep_3333_says():
    with site(shown) as host:
        found = environ_of(host, '/a%20b/%C3%A9%2Fc?d=%20&e=f?g')
        ports = found.pop('REMOTE_PORT'), found.pop('SERVER_PORT')
        assert all(port.isdigit() for port in ports)
        assert found == {
            'REQUEST_METHOD': 'GET', 'SCRIPT_NAME': '', 'PATH_INFO': '/a b/Ã©/c',
            'QUERY_STRING': 'd=%20&e=f?g', 'REQUEST_URI': '/a%20b/%C3%A9%2Fc?d=%20&e=f?g',
            'RAW_URI': '/a%20b/%C3%A9%2Fc?d=%20&e=f?g', 'SERVER_PROTOCOL': 'HTTP/1.1',
            'SERVER_SOFTWARE': 'tremolo', 'SERVER_NAME': '127.0.0.1', 'REMOTE_ADDR': '127.0.0.1',
            'HTTP_HOST': 'test', 'wsgi.url_scheme': 'http', 'wsgi.multithread': True,
            'wsgi.multiprocess': False, 'wsgi.run_once': False, 'wsgi.input_terminated': True}
        old = environ_of(host, '/', 'GET', version='1.0')
        assert (old['SERVER_PROTOCOL'], old['QUERY_STRING']) == ('HTTP/1.0', '')


def test_fields_are_latin_1_and_joined_and_those_with_an_underscore_are_left_out():
    with site(shown) as host:
        found = environ_of(
            host, '/', 'POST', 'Content-Type: text/x', 'X-One: a', 'x-one: b', 'Cookie: c=d',
            'Cookie: e=f', 'X_User: admin', 'X-User: caf\xe9', 'Content_Length: 5', body=b'abc')
    assert {key: value for key, value in found.items()
            if key.startswith(('HTTP_', 'CONTENT_')) and key != 'HTTP_HOST'} == {
        'CONTENT_TYPE': 'text/x', 'CONTENT_LENGTH': '3', 'HTTP_X_ONE': 'a, b',
        'HTTP_COOKIE': 'c=d; e=f', 'HTTP_X_USER': 'caf\xe9'}


def test_a_field_cannot_replace_what_the_server_says():
    with site(shown) as host:
        found = environ_of(host, '/', 'GET', 'Remote-Addr: 1.2.3.4', 'wsgi.url_scheme: https')
    assert (found['REMOTE_ADDR'], found['wsgi.url_scheme']) == ('127.0.0.1', 'http')


def test_a_body_in_chunks_has_neither_length_nor_coding():
    with site(shown) as host:
        wire = request('/', 'POST', 'Transfer-Encoding: chunked') + b'1\r\na\r\n0\r\n\r\n'
        found = json.loads(host.connect(wire).take().body)
    assert 'CONTENT_LENGTH' not in found
    assert 'HTTP_TRANSFER_ENCODING' not in found


@pytest.mark.parametrize('target, path, query, name', [
    ('http://other.example:81/x/y?z', '/x/y', 'z', 'other.example:81'),
    ('http://other.example', '/', '', 'other.example'),
])
def test_a_target_may_name_the_host(target, path, query, name):
    with site(shown) as host:
        found = environ_of(host, target)
    assert (found['PATH_INFO'], found['QUERY_STRING'], found['HTTP_HOST']) == (path, query, name)
    assert found['REQUEST_URI'] == target


def test_a_question_about_the_server_is_for_its_first_page():
    with site(shown) as host:
        found = environ_of(host, '*', 'OPTIONS')
    assert (found['PATH_INFO'], found['REQUEST_URI']) == ('/', '*')


@pytest.mark.parametrize('root, mounted, target, script_name, path_info', [
    ('', '/sub', '/sub/x', '/sub', '/x'),
    ('', '/sub', '/s%75b/x%2Fy', '/sub', '/x/y'),
    ('', '/sub', '/sub/', '/sub', '/'),
    ('', '/sub', '/sub', '/sub', ''),
    ('', '/sub', '/sub//x', '/sub', '//x'),
    ('', '/sub', '/sub?a', '/sub', ''),
    ('', '/a/b', '/a/b/c/d', '/a/b', '/c/d'),
    ('/root', '', '/x', '/root', '/x'),
    ('/root', '/sub', '/sub/x', '/root/sub', '/x'),
])
def test_a_mounted_application_has_its_prefix_in_script_name(
        root, mounted, target, script_name, path_info):
    class Mounted(WsgiApplication):
        def handle_on(self, reactor, settings):
            return super().handle_on(reactor, settings, mounted)

    with serving(Mounted(shown), root_path=root) as host:
        found = environ_of(host, target)
    assert (found['SCRIPT_NAME'], found['PATH_INFO']) == (script_name, path_info)


def test_on_a_unix_socket_the_client_has_no_address(tmp_path):
    path = str(tmp_path / 'socket')
    with site(shown, bind=f'unix:{path}') as host:
        found = environ_of(host)
        other = json.loads(host.connect(
            request('/').replace(b'Host: test', b'Host: [::1]:81')).take().body)
    assert (found['REMOTE_ADDR'], found['REMOTE_PORT']) == ('', '')
    assert (found['SERVER_NAME'], found['SERVER_PORT']) == ('test', '80')
    assert (other['SERVER_NAME'], other['SERVER_PORT']) == ('[::1]', '81')


def test_what_is_written_to_errors_goes_to_the_log_line_by_line(logged):
    def app(environ, start_response):
        errors = environ['wsgi.errors']
        errors.write('first ')
        errors.write('line\nsecond\r\n\nthird \x1b[31m\x00 caf\xe9\u2028')
        errors.writelines(['!', '?'])
        plain(start_response)
        return [b'']

    with site(app) as host:
        assert ask(host).status == 200
        host.wait_for(lambda: len(logged.messages) == 3)
    assert logged.messages == [
        'wsgi.errors: first line', 'wsgi.errors: second',
        'wsgi.errors: third \\x1b[31m\\x00 caf\xe9\\u2028!?']


def test_errors_take_str_alone(logged):
    def app(environ, start_response):
        environ['wsgi.errors'].write(b'bytes')

    with site(app, check=False) as host:
        assert ask(host).status == 500
    assert 'wsgi.errors takes str, not bytes' in logged.text


def test_a_call_has_a_context_of_its_own_and_the_loop_at_hand():
    variable = contextvars.ContextVar('variable', default='none')
    seen = Seen()
    app = WsgiApplication(lambda environ, start_response: answer(environ, start_response))

    @app.on_worker_start
    def start():
        variable.set('start')

    def answer(environ, start_response):
        seen.put((variable.get(), current_reactor(), threading.current_thread().name))
        variable.set('request')
        sleep(0.001).result()
        plain(start_response)
        return [b'slept']

    with serving(app, threads=1) as host:
        for _ in range(3):
            assert ask(host).body == b'slept'
            assert seen.next() == ('start', host.reactor, 'tremolo-wsgi')


def test_wsgi_runs_in_a_process_with_workers(tmp_path):
    """`preload` too: threads are begun after the fork."""
    import signal
    import subprocess
    import sys
    (tmp_path / 'site.py').write_text(
        'import os\n'
        'def app(environ, start_response):\n'
        "    start_response('200 OK', [])\n"
        "    return [b'%d %d' % (os.getpid(), environ['wsgi.multiprocess'])]\n")
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for more in [], ['--preload']:
        process = subprocess.Popen(
            [sys.executable, '-m', 'tremolo', str(tmp_path / 'site.py'), '--workers', '2',
             '--port', '0', *more], env={**os.environ, 'PYTHONPATH': root},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            line = process.stdout.readline()
            url = line.split()[2]
            pids = set()
            while len(pids) < 2:
                pid, many = urllib.request.urlopen(url, timeout=30).read().split()
                pids.add(pid)
                assert many == b'1'
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
            assert (process.returncode, 'Traceback' in errors) == (0, False)
        finally:
            process.kill()
            process.communicate()


def test_requests_on_one_connection_are_answered_in_order():
    with site(shown) as host:
        wire = b''.join(request(f'/{number}') for number in range(50))
        client = host.connect(wire + request('/end', 'GET', 'Connection: close'))
        data = client.read_all()
    assert data.count(b'HTTP/1.1 200 OK') == 51
    assert [data.index(b'"/%d"' % number) for number in range(50)] == sorted(
        data.index(b'"/%d"' % number) for number in range(50))


def test_a_request_for_another_protocol_is_answered_as_any_other():
    with site(shown) as host:
        found = environ_of(host, '/', 'GET', 'Connection: upgrade', 'Upgrade: websocket')
    assert found['HTTP_UPGRADE'] == 'websocket'


def test_a_name_of_a_field_is_kept_only_if_it_is_short():
    from tremolo.wsgi import environ
    with site(shown) as host:
        long = 'X-' + 'a' * 100
        assert environ_of(host, '/', 'GET', f'{long}: b')[f'HTTP_{long.upper()}'.replace(
            '-', '_')] == 'b'
        assert long.lower().encode() not in environ._keys
        for number in range(11):
            ask(host, '/', 'GET', *(f'X-{number}-{each}: b' for each in range(100)))
    assert len(environ._keys) <= 1024
    assert environ._keys[b'content-type'] == 'CONTENT_TYPE'


def test_a_lost_client_is_not_waited_for():
    seen = Seen()
    go_on = threading.Event()

    def app(environ, start_response):
        seen.put(environ['PATH_INFO'])
        go_on.wait(30)
        plain(start_response)
        return [b'done']

    with site(app, threads=1) as host:
        first = host.connect(request('/first'))
        assert seen.next() == '/first'
        # No thread is free for it before its client has left: it is never called.
        second = host.connect(request('/second'))
        host.wait_for(lambda: len(host.server.connections) == 2)
        host.wait_for(lambda: sum(each.task is not None for each in host.server.connections) == 2)
        second.reset()
        host.wait_for(lambda: len(host.server.connections) == 1)
        go_on.set()
        assert first.take().body == b'done'
        assert ask(host, '/third').body == b'done'
        assert seen.next() == '/third'

FORKS = '''
import os, sys

def app(environ, start_response):
    how = environ['PATH_INFO']
    if how == '/later':
        return later(start_response)
    pid = os.fork()
    if not pid:
        if how == '/back':
            start_response('200 OK', [])
            return [b'the child']
        if how == '/fails':
            raise ValueError('on purpose')
        sys.exit({'/7': 7, '/none': None, '/text': 'on purpose'}[how])
    return answer(pid, start_response)

def answer(pid, start_response):
    start_response('200 OK', [])
    return [b'%d' % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]

def later(start_response):
    pid = os.fork()
    if pid:
        yield from answer(pid, start_response)
    else:
        start_response('200 OK', [])
        yield b'the child'
'''


def test_a_child_that_an_application_forks_ends_when_it_comes_back(tmp_path):
    """It would wait for ever for calls that are its parent's, and `waitpid` for it."""
    import subprocess
    import sys
    (tmp_path / 'site.py').write_text(FORKS)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    process = subprocess.Popen(
        [sys.executable, '-m', 'tremolo', str(tmp_path / 'site.py'), '--port', '0'],
        env={**os.environ, 'PYTHONPATH': root}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        url = process.stdout.readline().split()[2]
        assert [urllib.request.urlopen(url + how, timeout=30).read() for how in (
            '/7', '/none', '/text', '/fails', '/back', '/later', '/7')] == [
            b'7', b'0', b'1', b'1', b'1', b'1', b'7']
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert errors.count('end it by os._exit(0)') == 2
    assert 'the child of a WSGI application failed' in errors
