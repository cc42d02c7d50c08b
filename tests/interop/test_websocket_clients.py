"""WebSocket clients of Python, of Node, and a browser: with and without compression.

What each of them does is in clients/: it echoes messages of many sizes, asks for a subprotocol, and
is closed from either side. They talk to a native application and to an ASGI one.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from pathlib import Path

import pytest
from chromium import Browser

PROGRAMS = Path(__file__).resolve().parent / 'clients'
PATIENCE = 120
PYTHON = ('websockets', 'websockets-sync', 'aiohttp', 'websocket-client')
# websocket-client has no compression, and those of the W3C's kind always offer it: only a server
# that has it off is without it then.
CASES = [
    *((client, deflate) for client in ('websockets', 'websockets-sync', 'aiohttp', 'ws')
      for deflate in ('on', 'off', 'refused')),
    ('websocket-client', 'off'),
    *((client, deflate) for client in ('undici', 'chromium') for deflate in ('on', 'refused'))]


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp('browser')) as browser:
        yield browser


@pytest.fixture(scope='module', params=['native', 'asgi'])
def servers(request, serve, tmp_path_factory):
    """The servers of a kind: one with compression, and one without.

    Nothing that these clients do is worth a warning.
    """
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(serve(
            str(PROGRAMS / f'websocket_{request.param}.py'), '--log-level', 'warning', *compression,
            folder=tmp_path_factory.mktemp('site')))
            for compression in ((), ('--no-ws-compression',))]
        yield request.param, *servers
    assert [server.log for server in servers] == ['', '']


def in_browser(browser, url: str) -> list[dict]:
    """Do what the W3C's clients do, in a page of that server."""
    page = browser.open(url)
    try:
        return page.call(f'''async () => {{
            const said = []
            const run = {(PROGRAMS / 'websocket_w3c.js').read_text(encoding='utf-8')}
            await run(WebSocket, '{url.replace('http', 'ws')}', what => said.push(what))
            return said
        }}''')
    finally:
        page.close()


def in_program(command: list[str], url: str, deflate: str) -> list[dict]:
    """Run a client to its end; give what it said."""
    done = subprocess.run(
        [*command, url, 'off' if deflate == 'off' else 'on'], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def event(url: str) -> list:
    """How the next socket has ended, in the eyes of the server."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url + '/event', timeout=PATIENCE) as answer:
        return json.loads(answer.read())


@pytest.mark.parametrize(('client', 'deflate'), CASES)
def test_messages_subprotocols_and_closes_from_either_side(
        client, deflate, servers, browser, request, tool):
    kind, compressing, plain = servers
    # The sockets below one folder have their own events.
    url = f'{(plain if deflate == "refused" else compressing).url}/{client}-{deflate}'
    if client == 'chromium':
        said = in_browser(browser, url)
    elif client in PYTHON:
        said = in_program([request.getfixturevalue('frameworks_python'),
                           str(PROGRAMS / 'websocket_client.py'), client], url, deflate)
    else:
        request.getfixturevalue('node_packages')
        said = in_program(
            [tool('node'), str(PROGRAMS / 'websocket_client.mjs'), client], url, deflate)
    w3c, empty_close = client in ('undici', 'chromium'), client in ('undici', 'chromium', 'ws')
    assert said == [
        {'echo': [], 'deflated': deflate == 'on'},
        *([] if w3c else [
            {'pong': 'between', 'fragments': None if client == 'aiohttp' else 'some fragments é'},
            {'pinged': 'pong' if kind == 'native' else 'ping'}]),
        {'closed': 1000},
        {'subprotocol': 'tremolo'},
        {'closed': 4001},
        *([{'closed': [1005, '']}] if empty_close else []),
        {'closed': [4002, 'that is énough']},
        {'closed': [1000, '']},
        {'closed': 1009},
        {'refused': True if w3c else 403}]
    seen = [[1000, ''], [4001, 'that is all']] + [[1005, '']] * empty_close
    assert [event(url) for _ in seen] == seen
