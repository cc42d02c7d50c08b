"""Programs that call `app.run(reload=True)`, and servers of all kinds with --reload."""

import os
import socket
import sys

import pytest
from certificates import LOCALHOST, client_context
from worker_group import wait_until
from written import QUICK, Written

RUN = '\n'.join(line for line in QUICK.splitlines() if 'run_and_leave' not in line)

PROGRAM = RUN + '''
import sys
from tremolo import Tremolo
import part

app = Tremolo()

@app.route('/')
def index():
    return f'<{part.NAME}> {__name__} {sys.argv} {sys.path[0]} {__file__}'

import os
if 'TREMOLO_INHERITED' in os.environ:    # (In the worker: it leaves a thread that never ends.)
    import threading, time
    threading.Thread(target=time.sleep, args=[10 ** 6]).start()

if __name__ == '__main__':
    app.run(debug=True, reload=True, port=0, log_level='info')
'''


@pytest.fixture
def written(tmp_path):
    """Start a server in a folder with these files."""
    started = []

    def start(files, *arguments, command=None):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        started.append(Written(tmp_path, *arguments, command=command))
        return started[-1]

    yield start
    for each in started:
        print(each.log)
        each.end()


def test_a_program_starts_afresh_and_survives_a_syntax_error_in_itself(written, tmp_path):
    """The parent imports nothing again, and stays as it is: fault 42 of the earlier tremolo."""
    server = written({'shop.py': PROGRAM, 'part.py': "NAME = 'one'\n"}, '--fast', 'x',
                     command=('shop.py',))
    server.waits_for('<one>')
    assert server.get() == (
        f"<one> __main__ ['shop.py', '--fast', 'x'] {os.path.realpath(tmp_path)} "
        f"{tmp_path / 'shop.py'}")
    server.save('part.py', "NAME = 'two'\n")
    server.waits_for('<two>')
    wait_until(lambda: len(server.pids) == 1)    # (No old one is left, in spite of its thread.)
    server.save('shop.py', PROGRAM.replace('import part', 'import part = 3'))
    server.waits_for('SyntaxError')
    assert 'importlib' not in server.get()
    assert 'shop.py", line' in server.log and 'reload/program.py' not in server.log
    assert "importlib._bootstrap" not in server.log
    server.save('shop.py', PROGRAM.replace('<{part.NAME}>', '<{part.NAME} again>'))
    server.waits_for('<two again>')
    server.save('part.py', "NAME = undefined\n")
    server.waits_for('NameError')
    assert 'Variables' in server.get(accept='text/html')    # (It has `debug`.)
    assert not list(tmp_path.rglob('*.pyc')) or sys.implementation.name == 'pypy'
    assert server.end('SIGINT') == 0


def test_a_program_that_does_not_serve_any_more_is_told(written):
    server = written({'shop.py': PROGRAM, 'part.py': "NAME = 'one'\n"}, command=('shop.py',))
    server.waits_for('<one>')
    server.save('shop.py', 'pass')
    server.waits_for('ended with status 0 before it served')
    assert server.end() == 0


def test_a_module_with_relative_imports_runs_by_its_name(written):
    program = PROGRAM.replace('import part', 'from . import part')
    server = written({'shop/__init__.py': '', 'shop/__main__.py': program,
                      'shop/part.py': "NAME = 'one'\n"}, 'x', command=('-Bm', 'shop'))
    server.waits_for('<one> __main__ [')
    server.save('shop/part.py', "NAME = 'two'\n", 'renamed')
    server.waits_for('<two>')


ASGI = '''
import part

def make():
    async def app(scope, receive, send):
        if scope['type'] == 'lifespan':
            await receive()
            part.NAME
            await send({'type': 'lifespan.startup.complete'})
            await receive()
            return await send({'type': 'lifespan.shutdown.complete'})
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': f'<{part.NAME}>'.encode()})
    return app
'''


def test_asgi_with_a_factory_in_another_folder_over_tls(written):
    certificate, key = LOCALHOST
    server = written({'src/shop.py': ASGI, 'src/part.py': "NAME = 'one'\n"}, '--app-dir', 'src',
                     '--factory', '--ssl-certfile', str(certificate), '--ssl-keyfile', str(key),
                     '--port', '0', 'shop:make')
    port = int(server.address.rpartition(':')[2])

    def get():
        with socket.create_connection(('127.0.0.1', port)) as plain, \
                client_context().wrap_socket(plain, server_hostname='localhost') as sock:
            return ask(sock)

    def ask(sock):
        sock.sendall(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
        data = b''
        while not data.endswith((b'>', b'\n')):
            more = sock.recv(65536)
            if not more:
                break
            data += more
        return data.decode()

    wait_until(lambda: '<one>' in get())
    with socket.create_connection(('127.0.0.1', port)) as plain, \
            client_context().wrap_socket(plain, server_hostname='localhost') as kept:
        assert 'HTTP/1.1 200' in ask(kept)
        server.save('src/part.py', "NAME = 'two'\n")
        wait_until(lambda: '<two>' in get())
        assert kept.recv(1) == b''    # (It cannot be handed over, so it is closed.)
    server.save('src/part.py', "other = 'two'\n")
    wait_until(lambda: '500' in get())    # (Its lifespan fails.)
    server.save('src/part.py', "NAME = 'three'\n")
    wait_until(lambda: '<three>' in get())


WSGI = '''
import part

def app(environ, start_response):
    start_response('200 OK', [])
    return [f'<{part.NAME}>'.encode()]
'''


def test_wsgi_in_a_file_on_a_unix_socket(written, tmp_path):
    path = tmp_path / 'sock'
    server = written({'web/shop.py': WSGI, 'web/part.py': "NAME = 'one'\n"},
                     '--bind', f'unix:{path}', 'web/shop.py')

    def get():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(b'GET / HTTP/1.0\r\n\r\n')
            data = b''
            while more := sock.recv(65536):
                data += more
            return data.decode()

    wait_until(lambda: '<one>' in get())
    server.save('web/part.py', "NAME = 'two'\n")
    wait_until(lambda: '<two>' in get())
    server.save('web/shop.py', 'def')
    wait_until(lambda: 'SyntaxError' in get())
    assert server.end() == 0
    assert not path.exists()


def test_a_wrong_name_ends_the_start_with_status_2_and_a_bad_file_does_not(written, tmp_path):
    server = written({'shop.py': 'def'}, '--port', '0', 'shop:app')
    server.waits_for('SyntaxError')
    assert server.end() == 0
    wrong = written({}, '--port', '0', 'shpo:app')
    assert wrong.process.wait(60) == 2
    assert 'no such module, did you mean shop?' in wrong.log
    missing = written({}, '--port', '0', '--reload-dir', 'shpo', 'shop:app')
    assert missing.process.wait(60) == 2
    assert '/shpo: no such folder' in missing.log


def test_an_interrupt_ends_it_while_the_import_hangs(written):
    server = written({'shop.py': 'import time\ntime.sleep(1000)'}, '--port', '0', 'shop:app')
    server.waits_for('503')
    server.signal('SIGINT')
    assert server.process.wait(60) in (0, 130)
