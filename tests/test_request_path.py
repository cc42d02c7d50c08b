"""The files on a request's way: what runs between a request's first byte and its answer's last one.

A profile function on the reactor's thread notes each function of the package that is called there
while requests are answered, of a native and of an ASGI application. The connections are kept, and
have answered each of the requests before: so what is imported, begun or ended does not count.
"""

from __future__ import annotations

import asyncio
import gc
import math
import re
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Callable

import pytest
from server_support import Real, request, serving
from test_house import PACKAGE, code_lines

from tremolo import Tremolo, sleep
from tremolo.asgi_app import AsgiApplication

# The files on a request's way have fewer lines of code (see `code_lines`) together.
PATH_LINES = 3140

# Larger than what is read at once: a handler that asks for it has to wait.
LARGE = bytes(300_000)
REQUESTS = (
    request('/'),
    request('/body', 'POST', body=b'x' * 10),
    request('/body', 'POST', body=LARGE),
    request('/waiting'),
)
ANSWERS = b'Hello world!', b'10', b'%d' % len(LARGE), b'waited'


def native_application() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def hello():
        yield b'Hello '
        yield b'world!'

    @app.route('/body', methods=['POST'])
    def body(request):
        data = yield request.body()
        yield str(len(data))

    @app.route('/waiting')
    def waiting():
        yield sleep(0.001)
        yield b'waited'

    return app


async def answer(scope: Any, receive: Any, send: Any) -> None:
    body = b'Hello world!'
    if scope['method'] == 'POST':
        size, more = 0, True
        while more:
            event = await receive()
            size += len(event.get('body', b''))
            more = event.get('more_body', False)
        body = b'%d' % size
    elif scope['path'] == '/waiting':
        await asyncio.sleep(0.001)
        body = b'waited'
    head = [(b'content-length', b'%d' % len(body))]
    await send({'type': 'http.response.start', 'status': 200, 'headers': head})
    await send({'type': 'http.response.body', 'body': body})


def asgi_application() -> AsgiApplication:
    return AsgiApplication(answer)


class Trace:
    """The files of the package in which a function was called on the thread of a server."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.running = False

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """Take an event of `sys.setprofile`; a generator that goes on is called, too."""
        if self.running and event == 'call':
            self.files.add(frame.f_code.co_filename)

    def of_package(self) -> set[str]:
        """Return them as the rules of the house name them."""
        paths = [Path(file) for file in self.files if not file.startswith('<')]
        return {path.relative_to(PACKAGE).as_posix() for path in paths if PACKAGE in path.parents}


def files_on_the_way(make: Callable[[], Any]) -> set[str]:
    """Serve an application and trace its answers to all `REQUESTS`."""
    trace = Trace()
    # (What other tests have left is garbage of theirs: its finalizers are on no request's way.)
    gc.disable()
    threading.setprofile(trace.note)
    try:
        # No client is too slow here, however busy the machine is.
        with serving(make(), lifespan='off', rate_grace=3600) as host:
            threading.setprofile(None)    # type: ignore[arg-type]
            # (Under a profile all turns are long: to ration them is no part of the way.)
            host.on_loop(host.reactor.fairness.end)
            host.on_loop(lambda: setattr(host.reactor, 'long_turn', math.inf))
            # Twice the same: what follows an answer in a later turn is seen before the trace ends.
            for running in (False, True, True):
                if running and not trace.running:
                    # (A second begins: the Date is made anew, however fast the machine is.)
                    host.on_loop(lambda: setattr(host.server.heads, '_date_until', -1.0))
                    host.on_loop(lambda: setattr(trace, 'running', True))
                ask(host)
            host.on_loop(lambda: setattr(trace, 'running', False))
    finally:
        threading.setprofile(None)    # type: ignore[arg-type]
        gc.enable()
    return trace.of_package()


def ask(host: Real) -> None:
    """Send all `REQUESTS`, one after the other, on one connection that is kept."""
    client = host.clients[0] if host.clients else host.connect()
    for sent, body in zip(REQUESTS, ANSWERS):
        client.send(sent)
        got = client.take()
        assert (got.status, got.body) == (200, body)


@pytest.fixture(scope='module')
def traced() -> dict[str, set[str]]:
    return {'native': files_on_the_way(native_application),
            'ASGI': files_on_the_way(asgi_application)}


# The rules

def path_is_short(root: Path, files: set[str]) -> list[str]:
    lines = {name: code_lines(root / name) for name in sorted(files)}
    total = sum(lines.values())
    if total < PATH_LINES:
        return []
    listed = ''.join(f'\n{count:5} {name}' for name, count in lines.items())
    return [f'the files on a request\'s way have {total} lines of code, and have to stay under '
            f'{PATH_LINES}:{listed}']


def tour_names_each_file(tour: str, files: set[str]) -> list[str]:
    """Report each file that the tour's reading order does not name, as `loop/reactor.py`."""
    order = re.search(r'(?ms)^## Reading order.*?(?=^## |\Z)', tour)
    named = set(re.findall(r'`([\w./]+\.py)`', order[0])) if order else set()
    return [f'the reading order in tremolo/README.md does not name `{name}`'
            for name in sorted(files - named)]


@pytest.mark.parametrize('kind', ['native', 'ASGI'])
def test_the_files_on_a_requests_way_are_short(kind, traced):
    assert path_is_short(PACKAGE, traced[kind]) == []


def test_the_files_on_both_ways_are_short_together(traced):
    assert path_is_short(PACKAGE, traced['native'] | traced['ASGI']) == []


def test_the_tour_lists_every_file_on_a_requests_way(traced):
    tour = (PACKAGE / 'README.md').read_text(encoding='utf-8')
    assert tour_names_each_file(tour, traced['native'] | traced['ASGI']) == []


def test_a_trace_sees_what_answers_and_not_what_begins_or_ends(traced):
    common = {'loop/reactor.py', 'loop/stream.py', 'http/parser.py', 'server/connection.py',
              'http/response.py'}
    assert common <= traced['native'] & traced['ASGI']
    assert {'web/handlers.py', 'loop/task.py'} <= traced['native']
    assert {'asgi/exchange.py', 'bridge/event_loop.py'} <= traced['ASGI']
    assert not [name for name in traced['native'] if name.startswith(('asgi/', 'bridge/'))]
    assert not [name for name in traced['ASGI'] if name.startswith('web/')]
    assert not [name for name in traced['native'] | traced['ASGI']
                if name.startswith(('service/', 'settings/')) or name == 'loop/listener.py']


def test_a_path_that_is_long_is_found_out(tmp_path):
    for name in 'one.py', 'two.py':
        (tmp_path / name).write_text('x = 1\n' * (PATH_LINES // 2), encoding='utf-8')
    assert path_is_short(tmp_path, {'one.py'}) == []
    complaint, = path_is_short(tmp_path, {'one.py', 'two.py'})
    assert f'have {PATH_LINES} lines' in complaint and f'{PATH_LINES // 2} two.py' in complaint


def test_a_tour_that_leaves_a_file_out_is_found_out():
    tour = '`loop/task.py`\n## Reading order\n`loop/reactor.py`, `stream.py`\n## More\n`loop/x.py`'
    files = {'loop/task.py', 'loop/reactor.py', 'loop/stream.py', 'loop/x.py'}
    missing = [line.split('`')[1] for line in tour_names_each_file(tour, files)]
    assert missing == ['loop/stream.py', 'loop/task.py', 'loop/x.py']
    assert tour_names_each_file('no order', {'app.py'}) != []
