"""The page's server: what it answers, and that nobody can hold it."""

from __future__ import annotations

import os
import socket
import threading

import pytest
from server_support import Virtual, request
from simulated import World

from tremolo import Tremolo
from tremolo.errors import SettingError
from tremolo.exceptions import ListenError
from tremolo.loop import Reactor
from tremolo.metrics.page import Page
from tremolo.settings import Address


class Host(Virtual):
    """A page in a simulated world."""

    def __init__(self) -> None:
        self.world = World(seed=1)
        self.reactor = self.world.reactor()
        self.made = 0
        self.page = Page(self.reactor, Address('127.0.0.1', 0), self.make)
        self.server = self.page._server
        self.page.start()
        self.clients = []

    def make(self) -> bytes:
        self.made += 1
        return b'page %d\n' % self.made


@pytest.fixture
def host():
    host = Host()
    yield host
    host.close()


def take(host: Host, data: bytes, method: str = 'GET'):
    client = host.connect(data)
    client.until_ended()
    return client.take(method)


def test_what_it_answers(host):
    answer = take(host, request('/metrics'))
    assert answer.status == 200
    assert answer.body == b'page 1\n'
    assert answer.headers['content-type'] == 'text/plain; version=0.0.4; charset=utf-8'
    assert answer.headers['connection'] == 'close'
    assert take(host, request('/metrics?name[]=up')).body == b'page 2\n'
    head = take(host, request('/metrics', 'HEAD'), 'HEAD')
    assert (head.status, head.headers['content-length']) == (200, '7')
    assert take(host, request('/')).status == 404
    assert take(host, request('/metrics/')).status == 404
    refused = take(host, request('/metrics', 'POST', body=b'x'))
    assert (refused.status, refused.headers.get('allow')) in ((405, 'GET, HEAD'), (413, None))
    assert take(host, request('/metrics', 'DELETE')).headers['allow'] == 'GET, HEAD'


def test_a_page_that_cannot_be_made_is_a_500_and_the_next_is_tried(host, logged):
    host.page._make = None
    assert take(host, request('/metrics')).status == 500
    assert logged.count('the page cannot be made') == 1
    host.page._make = host.make
    assert take(host, request('/metrics')).status == 200


def test_slow_clients_cannot_hold_it(host):
    for _ in range(50):
        host.connect(b'GET /metr')
    for _ in range(50):
        host.connect()
    answer = host.connect(request('/metrics'))
    answer.until_ended()
    assert answer.take().body == b'page 1\n'
    assert len(host.server.connections) <= 32


def test_fifty_hostile_clients_do_not_let_a_scrape_wait(host):
    for each in (b'GET /metr', b'', request('/metrics')) * 17:
        host.connect(each)
    began = host.reactor.time()
    assert take(host, request('/metrics')).status == 200
    assert host.reactor.time() - began < 0.5


def test_one_page_is_made_for_all_who_ask_at_once_and_one_for_each_connection(host):
    clients = [host.connect(request('/metrics') * 20) for _ in range(30)]
    for each in clients:
        each.until_ended()
    assert all(each.take().body.startswith(b'page') for each in clients)
    assert host.made < 10


def test_an_address_that_is_taken_is_told_in_one_line():
    with socket.socket() as sock, Reactor() as reactor:
        sock.bind(('127.0.0.1', 0))
        sock.listen()
        with pytest.raises(ListenError, match=r'metrics: cannot listen on 127\.0\.0\.1:'):
            Page(reactor, Address('127.0.0.1', sock.getsockname()[1]), bytes)


def test_a_unix_socket_has_the_mode_that_is_asked_for_and_its_file_goes(tmp_path):
    path = str(tmp_path / 'metrics')
    with Reactor() as reactor:
        page = Page(reactor, Address(None, path=path), bytes, 0o600)
        assert os.stat(path).st_mode & 0o777 == 0o600
        page.close()
        assert not os.path.exists(path)


def test_a_forked_process_leaves_the_page_to_its_parent():
    reactor = Reactor()
    page = Page(reactor, Address('127.0.0.1', 0), lambda: b'page\n')
    page.start(thread=True)
    address = page.sockets[0].getsockname()
    pid = os.fork()
    if not pid:
        page.close()
        # It listens no more, and nothing was taken from the poller of the parent.
        os._exit(any(sock.getsockname() == address for sock in page.sockets
                     if os.readlink(f'/proc/self/fd/{sock.fileno()}') != '/dev/null'))
    assert os.waitpid(pid, 0)[1] == 0
    with socket.create_connection(address, 30) as sock:
        sock.sendall(request('/metrics'))
        assert sock.makefile('rb').read().endswith(b'page\n')
    assert page._thread in threading.enumerate()
    page.close()
    reactor.close()


@pytest.mark.parametrize('how', ['start', 'client'])
def test_inside_another_program_it_is_refused(how):
    with pytest.raises(SettingError, match='metrics: has no effect inside another program'):
        getattr(Tremolo(), how)(metrics='127.0.0.1:0')
