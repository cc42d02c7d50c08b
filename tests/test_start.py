"""The start: what is imported when, counted in processes of their own (late.py tells the rules).

`import tremolo` imports what a name needs when the name is asked for. A server has everything that
a request may need before it accepts the first one: later it may have no descriptor for a file.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import tremolo

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60

# What `import tremolo` and a server of plain handlers do without. (Those of the second line come
# with asyncio.)
NEVER = {'difflib', 'email', 'encodings.idna', 'html', 'http', 'pathlib', 'platform', 'zlib',
         'typing', 'asyncio', 'concurrent.futures', 'ssl', 'subprocess',
         # What an option brings, and what only a start that fails needs.
         'tremolo.access', 'tremolo.control', 'tremolo.metrics', 'tremolo.reload',
         'tremolo.service.health', 'tremolo.service.log_config', 'tremolo.service.rotation',
         'tremolo.settings.access_format', 'tremolo.settings.habits'}
# `traceback` itself imports `ast` when it shows the first traceback with a line of source; without
# a descriptor it cannot read that line either, and shows the traceback without it. PyPy's imports
# more for it, and so does that of CPython 3.15.
TRACEBACK = {'_ast', 'ast', 'traceback', '_colorize', 'opcode', 'dis'}
if sys.version_info >= (3, 15):
    TRACEBACK |= {'annotationlib', 'dataclasses', 'pathlib'}

NATIVE = '''
import sys
from tremolo import Tremolo, sleep

app = Tremolo()

@app.route('/', methods=['GET', 'POST'])
def hello(request, response):
    request.query, request.cookies, request.headers, request.path, request.client
    response.set_cookie('a', 'b', expires='Sun, 06 Nov 1994 08:49:37 GMT')
    response.set_cookie('c', '', expires='Thu, 01-Jan-1970 00:00:00 GMT')
    response.headers['X-Own'] = 'b'
    body = yield request.body()
    yield str(len(body))

@app.route('/json', methods=['POST'])
def json(request):
    data = yield request.json()
    yield sleep(0.001)
    yield str(data)

@app.route('/form', methods=['POST'])
def form(request):
    form = yield request.form()
    yield str(form)

@app.route('/files', methods=['POST'])
def files(request):
    files = request.files()
    while part := (yield files.next()):
        yield (yield part.text()) if part.filename is None else str((yield part.save('saved')))

@app.route('/fail')
def fail():
    raise ValueError('on purpose')

@app.route('/thread')
def thread(thread=True):
    return {'a': 1}

@app.route('/page/<int:id>')
def page(id):
    return str(id), 'utf-8'

@app.route('/modules')
def modules():
    return [sorted(sys.modules), sorted({*sys.modules} - begun)]
'''
ASYNC = NATIVE + '''
@app.route('/async')
async def coroutine():
    return 'done'

@app.route('/chunks')
async def chunks():
    yield 'done'

@app.route('/socket')
async def talk(websocket):
    async for message in websocket:
        pass
'''
ASGI = '''
import json, sys

async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        return
    if scope['type'] == 'websocket':
        await receive()
        await send({'type': 'websocket.accept'})
        return await send({'type': 'websocket.close'})
    if scope['path'] == '/fail':
        raise ValueError('on purpose')
    while (await receive()).get('more_body', False):
        pass
    body = json.dumps([sorted(sys.modules), sorted({*sys.modules} - begun)]).encode()
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    for more in True, False:
        await send({'type': 'http.response.body', 'body': body, 'more_body': more})
        body = b''
'''
WSGI = '''
import json, sys

def app(environ, start_response):
    path, stream = environ['PATH_INFO'], environ['wsgi.input']
    if path == '/fail':
        raise ValueError('on purpose')
    print(stream.read(), end='', file=environ['wsgi.errors'])
    if path == '/thread':
        start_response('200 OK', [])
        return environ['wsgi.file_wrapper'](open(json.__file__, 'rb'))
    start_response('404 Lost' if path == '/none' else '200 OK', [('X-Own', 'b')])
    return answer(json.dumps([sorted(sys.modules), sorted({*sys.modules} - begun)]).encode())

def answer(body):
    yield body[:10]
    yield body[10:]
'''
# Notes the modules that are there when the server begins to accept.
NOTE = '''
from tremolo.server import Server

begun = set()

def start(self, start=Server.start):
    begun.update(sys.modules)
    start(self)

Server.start = start
'''
PARTS = (
    b'--b\r\nContent-Disposition: form-data; name="a"; filename*=utf-8\'\'%C3%BC\r\n\r\nx\r\n'
    b'--b\r\nContent-Disposition: form-data; name="b"\r\n'
    b'Content-Type: text/plain; charset=windows-1252\r\n\r\nx\r\n--b--\r\n')
UPLOAD = (b' HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n'
          b'Content-Length: %d\r\n\r\n%b' % (len(PARTS), PARTS))
REQUESTS = (
    b'GET /?a=%20b&c=d HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\n\r\n',
    b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n',
    b'POST /json HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n{"a":1}',
    b'POST /json HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz',
    b'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab',
    b'POST /form HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n'
    b'Content-Length: 6\r\n\r\na=%20b',
    b'POST /form' + UPLOAD,
    b'POST /files' + UPLOAD,
    b'POST /files' + UPLOAD.replace(b'name=', b'nam='),
    b'POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na=1',
    b'GET /fail HTTP/1.1\r\nHost: a\r\n\r\n',
    b'GET /thread HTTP/1.1\r\nHost: a\r\n\r\n',
    b'GET /page/3 HTTP/1.1\r\nHost: a\r\n\r\n',
    b'GET /none HTTP/1.1\r\nHost: a\r\n\r\n',
    b'PUT / HTTP/1.1\r\nHost: a\r\n\r\n',
    b'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
    b'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n',
    b'GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n',
    b'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n',
    b'bad\r\n\r\n',
    b'GET / HTTP/1.1\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n',
    b'GET /async HTTP/1.1\r\nHost: a\r\n\r\n',
    b'GET /chunks HTTP/1.1\r\nHost: a\r\n\r\n',
    b'GET /socket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
    b'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n'
    b'Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n',
    b'GET /modules HTTP/1.0\r\n\r\n',
)


def ask(port: int, request: bytes) -> bytes:
    """Ask once, say that nothing more comes, and return all that is answered."""
    with socket.socket() as client:
        client.settimeout(PATIENCE)
        client.connect(('127.0.0.1', port))
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        answer = b''
        while data := client.recv(65536):
            answer += data
        return answer


def run(program: str) -> str:
    done = subprocess.run([sys.executable, '-S', '-c', program], cwd=ROOT, capture_output=True,
                          text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, '')
    return done.stdout


@pytest.fixture
def serve(tmp_path):
    """Start an application by the command line; return what its page /modules says in the end."""
    def served(source: str, note: str, *options: str) -> tuple[set[str], set[str]]:
        (tmp_path / 'site_app.py').write_text(source + note, encoding='utf-8')
        process = subprocess.Popen(
            [sys.executable, '-S', '-m', 'tremolo', 'site_app:app', '--port', '0', *options],
            cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        try:
            found = re.match(r'running on http://127\.0\.0\.1:(\d+) ', process.stdout.readline())
            for request in REQUESTS:
                answer = ask(int(found[1]), request)
                assert answer.startswith(b'HTTP/1.1 '), request
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.communicate()
        there, new = json.loads(answer.partition(b'\r\n\r\n')[2])
        return set(there), set(new)

    return served


def test_import_tremolo_imports_almost_nothing():
    program = ('import sys; before = {*sys.modules}; import tremolo; '
               'print(*sorted({*sys.modules} - before))')
    new = set(run(program).split())
    assert {name for name in new if name.startswith('tremolo')} == {
        'tremolo', 'tremolo.adopting', 'tremolo.typed'}
    assert not new & (NEVER | {'logging', 're', 'socket', 'threading', 'json', 'urllib.parse'})


def test_each_public_name_is_there_when_it_is_asked_for():
    program = ('import tremolo\n'
               'print({name for name in tremolo.__all__ if not hasattr(tremolo, name)})\n'
               'print({*tremolo.__all__} - {*dir(tremolo)})\n'
               'from tremolo import *\n'
               'print(Tremolo is Application, sleep.__module__, tremolo.sleep is sleep)')
    assert run(program) == 'set()\nset()\nTrue tremolo.loop.sleep True\n'


@pytest.mark.parametrize('name', ['errors', 'exceptions', 'http', 'loop', 'output', 'server',
                                  'service', 'settings', 'web', 'workers'])
def test_the_modules_that_came_with_the_package_come_when_they_are_asked_for(name):
    assert run(f'import tremolo; print(tremolo.{name}.__name__)') == f'tremolo.{name}\n'


def test_a_name_that_is_nowhere_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tremolo' has no attribute 'nothing'"):
        _ = tremolo.nothing


def test_the_loop_knows_the_adopter_and_guards_the_loggers_however_it_is_imported():
    program = ('import logging; from tremolo.loop import foreign; '
               'print(foreign._adopt.__module__, "handle" in vars(logging.getLogger("tremolo")))')
    assert run(program) == 'tremolo True\n'


def test_a_server_of_plain_handlers_does_without(serve):
    there, _ = serve(NATIVE, 'begun = set()')
    # (Before Python 3.10 `python -m` itself imports `typing`.)
    runner = {'typing'} if sys.version_info < (3, 10) else set()
    assert there & NEVER <= TRACEBACK | runner


def test_an_application_of_exact_paths_does_without_what_is_for_groups_and_debug():
    program = (
        "import sys; from tremolo import Tremolo\n"
        "app = Tremolo(); app.route('/a b', name='a')(lambda: 'found')\n"
        "with app.client() as client:\n"
        "    print(client.get('/a%20b').text, client.get('/b').status, app.url_for('a'))\n"
        "late = ('routing.tree routing.pattern routing.converters service.monitor edge proxies'\n"
        "        ).split()\n"
        "print({f'tremolo.{each}' for each in late} & {*sys.modules})")
    assert run(program) == 'found 404 /a%20b\nset()\n'


@pytest.mark.parametrize('source', [NATIVE, ASYNC, ASGI, WSGI],
                         ids=['native', 'async', 'ASGI', 'WSGI'])
def test_no_request_imports_anything(serve, source):
    there, new = serve(source, NOTE)
    assert 'tremolo.server' in there and 'tremolo.pages.debug' not in there
    assert new <= TRACEBACK


@pytest.mark.parametrize('source', [ASYNC, ASGI], ids=['async', 'ASGI'])
def test_no_request_that_is_logged_counted_and_shown_imports_anything(serve, source):
    options = ('--access-logfile=log', '--access-logformat=json', '--request-id', '--health=/none',
               '--log-format=json', '--metrics=127.0.0.1:0', '--control=control')
    there, new = serve(source, NOTE, *options)
    assert {'tremolo.access.writer', 'tremolo.control.desk', 'tremolo.metrics.page'} <= there
    assert new <= TRACEBACK


@pytest.mark.parametrize('source', [NATIVE, ASGI], ids=['native', 'ASGI'])
def test_no_request_of_debug_mode_imports_anything(serve, source):
    there, new = serve(source, NOTE, '--debug')
    assert {'tremolo.pages.debug', 'tremolo.pages.nearest'} <= there
    assert new <= TRACEBACK
