"""Python's clients, and curl; see README.md.

    python client.py CLIENT URL SCENARIO [ARGUMENT...]
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 30
PIECE = 16384
KEPT = 4


def tls() -> ssl.SSLContext | None:
    """Who is trusted; None: whoever is by default."""
    ca = os.environ.get('CLIENT_CA')
    return ssl.create_default_context(cafile=ca) if ca else None


def say(status: int, body: bytes, **more: Any) -> None:
    print(json.dumps({'status': status, 'body': body.decode(), **more}), flush=True)


def pieces(size: int) -> Iterator[bytes]:
    for start in range(0, size, PIECE):
        yield b'x' * min(PIECE, size - start)


def body_of(size: int, framing: str) -> Any:
    return b'x' * size if framing == 'sized' else pieces(size)


class Client:
    """A client with its pool: `ask` gives (status, body)."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def early(self, paths: str, size: str, framing: str) -> None:
        for path in paths.split(','):
            for target, body in (
                    (path, body_of(int(size), framing)), ('/upload', b'small')):
                try:
                    say(*self.ask('POST', target, body))
                except Exception as error:
                    print(json.dumps({'error': f'{target}: {error!r}'}))

    def renewal(self) -> None:
        ended = threading.Event()
        failures: list[str] = []
        requests = [0] * KEPT

        def loop(number: int) -> None:
            while not ended.is_set():
                try:
                    found = (self.ask('GET', '/'), self.ask('POST', '/upload', b'small'))
                    if found != ((200, b'Hello world!'), (200, b'5')):
                        failures.append(repr(found))
                except Exception as error:
                    failures.append(repr(error))
                requests[number] += 2
                if not number and requests[number] % 20 == 0:
                    print('more', flush=True)

        threads = [threading.Thread(target=loop, args=(number,)) for number in range(KEPT)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        ended.set()
        for thread in threads:
            thread.join()
        print(json.dumps({'requests': sum(requests), 'failures': failures}))


class Requests(Client):
    def __init__(self, url: str) -> None:
        import requests
        super().__init__(url)
        self.session = requests.Session()
        # No proxy of the environment.
        self.session.trust_env = False
        self.session.verify = os.environ.get('CLIENT_CA', True)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        answer = self.session.request(method, self.url + path, data=body, timeout=TIMEOUT)
        return answer.status_code, answer.content

    def close(self) -> None:
        self.session.close()


class Httpx(Client):
    def __init__(self, url: str) -> None:
        import httpx
        super().__init__(url)
        self.client = httpx.Client(timeout=TIMEOUT, trust_env=False, verify=tls() or True)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        answer = self.client.request(method, self.url + path, content=body)
        return answer.status_code, answer.content

    def close(self) -> None:
        self.client.close()


class HttpClient(Client):
    """`http.client`: a connection for each thread, which connects again when it was closed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.here = threading.local()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        if not hasattr(self.here, 'connection'):
            place = urlsplit(self.url).netloc
            self.here.connection = (
                http.client.HTTPSConnection(place, timeout=TIMEOUT, context=tls())
                if self.url.startswith('https:')
                else http.client.HTTPConnection(place, timeout=TIMEOUT))
        connection = self.here.connection
        try:
            # It may break when the server has closed: the answer is there.
            with contextlib.suppress(BrokenPipeError):
                connection.request(
                    method, path, body, encode_chunked=isinstance(body, Iterator), headers={
                        'Transfer-Encoding': 'chunked'} if isinstance(body, Iterator) else {})
            with connection.getresponse() as answer:
                return answer.status, answer.read()
        except BaseException:
            connection.close()
            raise

    def half_close(self) -> None:
        parts = urlsplit(self.url)
        with socket.create_connection((parts.hostname, parts.port), TIMEOUT) as sock:
            sock.sendall(b'GET /slow HTTP/1.1\r\nHost: test\r\n\r\n')
            sock.shutdown(socket.SHUT_WR)
            try:
                with http.client.HTTPResponse(sock) as answer:
                    answer.begin()
                    say(answer.status, answer.read())
            except (OSError, http.client.HTTPException) as error:
                print(json.dumps({'error': repr(error)}))


class Aiohttp(Client):
    """aiohttp, whose loop runs in a thread of its own."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.session = self._run(self._open())

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(TIMEOUT)

    async def _open(self) -> Any:
        import aiohttp
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT),
                                     connector=aiohttp.TCPConnector(ssl=tls() or True))

    async def _ask(self, method: str, path: str, body: Any, size: int) -> tuple[int, bytes]:
        async with self.session.request(
                method, self.url + path, data=body, expect100=bool(size),
                headers={'Content-Length': str(size)} if size else {}) as answer:
            return answer.status, await answer.read()

    def ask(self, method: str, path: str, body: Any = None,
            size: int = 0) -> tuple[int, bytes]:
        if isinstance(body, Iterator):
            body = in_turns(body)
        return self._run(self._ask(method, path, body, size))

    def expect(self, paths: str, size: str) -> None:
        for path in paths.split(','):
            sent = []

            async def counted(sent: list[int] = sent) -> Any:
                for piece in pieces(int(size)):
                    sent.append(len(piece))
                    yield piece

            try:
                say(*self.ask('POST', path, counted(), int(size)), sent=bool(sent))
                say(*self.ask('POST', '/upload', b'small'))
            except Exception as error:
                print(json.dumps({'error': f'{path}: {error!r}'}))

    def close(self) -> None:
        self._run(self.session.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


async def in_turns(body: Iterator[bytes]) -> Any:
    for piece in body:
        yield piece


class Curl(Client):
    """One run of curl for all that it asks: it keeps its connections within a run only."""

    COMMON = ('-sS', '--noproxy', '*', '--max-time', str(TIMEOUT))

    def early(self, paths: str, size: str, framing: str) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(int(size))
            self._each(paths, [
                '-X', 'POST', '-T', file.name, '-H', 'Expect:',
                *(['-H', 'Transfer-Encoding: chunked'] if framing == 'chunked' else [])])

    def expect(self, paths: str, size: str) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(int(size))
            self._each(paths, [
                '--expect100-timeout', str(TIMEOUT), '-X', 'POST', '-T', file.name,
                '-H', 'Expect: 100-continue'], True)

    def _each(self, paths: str, upload: list[str], counts: bool = False) -> None:
        said = r'\n%{http_code} %{size_upload}\n'
        arguments: list[str] = []
        for path in paths.split(','):
            if arguments:
                arguments.append('--next')
            arguments += [
                *self.COMMON, '-w', said, *upload, self.url + path,
                '--next', *self.COMMON, '-w', said, '-d', 'small', self.url + '/upload']
        done = subprocess.run(
            ['curl', *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        rows = re.findall(rb'(.*)\n(\d\d\d) (\d+)\n', done.stdout)
        for number, (body, status, sent) in enumerate(rows):
            more = {'sent': sent != b'0'} if counts and not number % 2 else {}
            say(int(status), body, **more)
        if done.stderr:
            print(json.dumps({'error': done.stderr.decode()}))

    def renewal(self) -> None:
        """GET only, on one connection at a time, until it is ended; it has no loop for more."""
        with subprocess.Popen(
                ['curl', *self.COMMON[:3], '-o', '/dev/null', '-w', r'%{http_code}\n',
                 self.url + '/?[1-10000000]'],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True) as process:
            ender = threading.Thread(target=lambda: (sys.stdin.read(), process.terminate()))
            ender.start()
            # What was cut short by its own end does not count.
            lines = []
            for line in process.stdout:
                if line.endswith('\n'):
                    lines.append(line)
                if len(lines) % 100 == 0:
                    print('more', flush=True)
            ender.join()
        print(json.dumps({'requests': len(lines),
                          'failures': [line for line in lines if line != '200\n']}))


CLIENTS = {'requests': Requests, 'httpx': Httpx, 'aiohttp': Aiohttp, 'http.client': HttpClient,
           'curl': Curl}


def main() -> None:
    name, url, scenario, *arguments = sys.argv[1:]
    client = CLIENTS[name](url)
    try:
        getattr(client, scenario.replace('-', '_'))(*arguments)
    finally:
        client.close()


main()
