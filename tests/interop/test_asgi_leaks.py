"""What an ASGI application leaves behind on the server after many requests: nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

TIMES = 1000
AT_ONCE = 4
REQUESTS = 10_000


@pytest.fixture
def everything(framework):
    """The application of everything_app.py in a process."""
    with framework('everything_app') as server:
        yield server


class Client:
    """One kept connection."""

    def __init__(self, server) -> None:
        self._connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._connection.close()

    def get(self, path):
        self._connection.request('GET', path)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return body


def census(server):
    with Client(server) as client:
        return json.loads(client.get('/census'))


def do_everything(server, numbers):
    """Ask for everything, once for each number, on a few connections at once."""
    def some(part):
        with Client(server) as client:
            for number in part:
                found = json.loads(client.get(f'/everything/{number}'))
                assert found == {'square': number * number, 'inner': 2 * number, 'status': 0}

    numbers = list(numbers)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(some, [numbers[each::AT_ONCE] for each in range(AT_ONCE)]))
    with Client(server) as client:
        assert client.get(f'/done/{len(numbers)}') == b'done'


def test_everything_works_a_thousand_times_and_leaks_no_task(everything):
    do_everything(everything, range(100))
    before = census(everything)
    do_everything(everything, range(TIMES))
    after = census(everything)
    print(before, after)
    assert after['tasks'] == before['tasks']
    assert after['descriptors'] <= before['descriptors'] + 2
    assert after['threads'] <= before['threads'] + 2
    assert after['objects'] - before['objects'] < TIMES // 10


def ask_pipelined(server, count, at_once=10):
    """That many requests, of which one in ten has a body; ten on each connection."""
    plain = b'GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'
    last = b'POST /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n' \
        b'Content-Length: 5\r\n\r\nhello'
    for _ in range(count // at_once):
        with socket.create_connection(('127.0.0.1', server.port), timeout=30) as sock:
            sock.sendall(plain * (at_once - 1) + last)
            received = b''
            while data := sock.recv(65536):
                received += data
            assert received.count(b'HTTP/1.1 200 OK') == at_once


def test_ten_thousand_requests_leave_no_reference(everything):
    ask_pipelined(everything, 1000)
    before = census(everything)
    ask_pipelined(everything, REQUESTS)
    after = census(everything)
    print(before, after)
    assert after['tasks'] == before['tasks']
    assert after['descriptors'] == before['descriptors']
    assert after['objects'] - before['objects'] < 100


def leave(server, count, reset):
    """Clients, half of them within their body, that leave when the application waits for them."""
    with contextlib.ExitStack() as stack, Client(server) as client:
        for number in range(count):
            sock = stack.enter_context(
                socket.create_connection(('127.0.0.1', server.port), timeout=30))
            method, rest = (b'POST', b'Content-Length: 9\r\n\r\nhalf') if number % 2 else \
                (b'GET', b'\r\n')
            sock.sendall(b'%s /left/%d HTTP/1.1\r\nHost: 127.0.0.1\r\n%s' % (method, number, rest))
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        assert client.get(f'/done/{count}') == b'done'
        stack.close()
        assert client.get(f'/done/{count}') == b'done'


@pytest.mark.parametrize('reset', [False, True], ids=['leave', 'reset'])
def test_clients_that_leave_leave_no_reference(framework, reset):
    with framework('everything_app', '--half-close-timeout', '0.01') as server:
        leave(server, 200, reset)
        before = census(server)
        for _ in range(10):
            leave(server, 200, reset)
        after = census(server)
    print(before, after)
    assert after['tasks'] == before['tasks']
    assert after['descriptors'] == before['descriptors']
    # Timers that were cancelled are swept away by and by.
    assert after['objects'] - before['objects'] < 500


def test_tasks_of_one_connection_do_not_see_each_other_s_variables(everything):
    with Client(everything) as client:
        for _ in range(3):
            # Each request begins with none, and its tasks keep what it has set.
            assert client.get('/hold/one') == b''
            assert client.get('/hold/two') == b''
            assert json.loads(client.get('/release/one')) == ['', 'one']
            assert json.loads(client.get('/release/two')) == ['', 'two']


def test_pipelined_requests_do_not_see_each_other_s_variables(everything):
    names = [f'name{number}' for number in range(20)]
    paths = [f'/hold/{name}' for name in names] + [f'/release/{name}' for name in names]
    with socket.create_connection(('127.0.0.1', everything.port), timeout=30) as sock:
        sock.sendall(b''.join(
            b'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n' % path.encode() for path in paths))
        with sock.makefile('rb') as file:
            bodies = [read_body(file) for _ in paths]
    assert bodies[:20] == [b''] * 20
    assert [json.loads(body) for body in bodies[20:]] == [['', name] for name in names]


def read_body(file):
    """Read one answer of known length from a pipelined connection."""
    assert file.readline() == b'HTTP/1.1 200 OK\r\n'
    headers = http.client.parse_headers(file)
    return file.read(int(headers['content-length']))
