"""The chat example: tabs of a real browser, and 200 sockets, while its process is renewed.

One process alone takes SIGHUP as well as one worker does: the new one serves, and the old one
closes its sockets with 1001. (Groups belong to one process, so more workers are no chat.)
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from chromium import Browser
from websocket_peer import Peer, Refused

HERE = Path(__file__).resolve().parent
CHAT = 'tremolo.examples.chat:app'
PATIENCE = 60.0


@pytest.fixture(params=[(), ('--workers', '1')], ids=['alone', 'worker'])
def chat(request, serve, tmp_path):
    with serve(CHAT, '--log-level', 'warning', *request.param, folder=tmp_path) as server:
        yield server
    assert server.log == ''


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path / 'profile') as browser:
        yield browser


def enter(browser, server, name):
    page = browser.open(server.url)
    page.evaluate(f'name_.value = "{name}"; name_.onchange()')
    page.wait('state.value === "online" && socket.url.endsWith(encodeURIComponent(name_.value))')
    return page


def say(page, line):
    page.evaluate(f'text.value = "{line}"; form.requestSubmit()')


def lines(page):
    """What a tab shows: each line with the name before it; what is not confirmed in brackets."""
    return page.evaluate('''[...list.children].map(item => {
        const line = [item.firstChild.textContent, item.lastChild.textContent].join(': ')
        return item.classList.contains('waiting') ? `(${line})` : line
    })''')


def wait_for(page, expected):
    deadline = time.monotonic() + PATIENCE
    while lines(page) != expected:
        assert time.monotonic() < deadline, (lines(page), expected)


def test_tabs_talk_and_come_back_by_themselves_and_miss_nothing(chat, browser):
    ada, bob, eve = tabs = [enter(browser, chat, name) for name in ('ada', 'bob', 'eve')]
    say(ada, 'hello <b>')
    wait_for(bob, ['ada: hello <b>'])
    say(bob, 'hello ada')
    for tab in tabs:
        wait_for(tab, ['ada: hello <b>', 'bob: hello ada'])
        # The next connection is one of the new process.
        tab.evaluate('old = socket; 0')
    chat.process.send_signal(signal.SIGHUP)
    for tab in tabs:
        tab.wait('socket !== old && state.value === "online"')
    for number, tab in enumerate(tabs):
        say(tab, f'back {number}')
        for other in tabs:
            wait_for(other, ['ada: hello <b>', 'bob: hello ada', 'ada: back 0', 'bob: back 1',
                             'eve: back 2'][:3 + number])
    # One loses its connection for a while: what is said meanwhile it gets afterwards, and what it
    # says itself waits.
    eve.evaluate('connect_ = connect; connect = () => {}; old = socket; socket.close()')
    eve.wait('state.value === "offline"')
    say(eve, 'can you hear me?')
    before = lines(ada)
    wait_for(eve, [*before, '(eve: can you hear me?)'])
    say(ada, 'where is eve?')
    wait_for(bob, [*before, 'ada: where is eve?'])
    eve.evaluate('connect = connect_; connect()')
    for tab in tabs:
        wait_for(tab, [*before, 'ada: where is eve?', 'eve: can you hear me?'])
    for tab in tabs:
        assert tab.complaints() == []


@pytest.mark.parametrize(('width', 'height'), [(360, 640), (1200, 800)])
def test_the_page_fits(width, height, serve, browser, tmp_path):
    with serve(CHAT, folder=tmp_path) as server:
        page = enter(browser, server, 'ada')
        say(page, 'a-very-long-word-' * 20)
        page.wait('waiting.size === 0')
        for dark in False, True:
            page.screenshot(tmp_path / f'{width}-{dark}.png', width, height, dark)
            assert (tmp_path / f'{width}-{dark}.png').stat().st_size > 5000
            # Nothing is wider or higher than the window, and text and paper differ.
            assert page.evaluate('[document.documentElement.scrollWidth <= innerWidth,'
                                 ' document.documentElement.scrollHeight <= innerHeight]') == [
                                     True, True]
            assert page.evaluate('getComputedStyle(document.body).backgroundColor') == (
                'rgb(25, 22, 20)' if dark else 'rgb(244, 241, 238)')


def come_back(peer, port, path):
    """Read until the server closes, and connect again; give code, reason, tries and the peer."""
    code, reason = peer.closed()
    for tries in range(1, 100):
        try:
            again = Peer(port, path)
            return code, reason, tries, again
        except (Refused, ConnectionError):
            # As a browser's tab does; all come back at about the same time.
            time.sleep(random.uniform(0.01, 0.1))
    raise AssertionError('it does not come back')


def renewed(server, peers, path, stack):
    """Renew a server: each of its sockets is closed with 1001, and comes back."""
    pool = stack.enter_context(ThreadPoolExecutor(len(peers)))
    coming = [pool.submit(come_back, peer, server.port, path) for peer in peers]
    began = time.monotonic()
    server.process.send_signal(signal.SIGHUP)
    back = [each.result(PATIENCE) for each in coming]
    took = time.monotonic() - began
    for *_, again in back:
        stack.enter_context(again)
    assert {(code, reason) for code, reason, _, _ in back} == {(1001, back[0][1])}
    refused = sum(tries - 1 for _, _, tries, _ in back)
    print(f'{len(back)} sockets came back within {took:.2f} s; {refused} handshakes were refused')
    assert took < 20
    return [again for *_, again in back]


def test_200_sockets_are_closed_with_1001_by_a_renewal_and_come_back(chat, descriptors):
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(chat.port, '/chat/0')) for _ in range(200)]
        assert {peer.receive() for peer in peers} == {'[]'}
        peers[0].send('key before')
        (line,) = {peer.receive() for peer in peers}
        (before,) = json.loads(line)
        back = renewed(chat, peers, f'/chat/{before["number"]}', stack)
        assert {again.receive() for again in back} == {'[]'}
        back[0].send('key after')
        (line,) = {again.receive() for again in back}
        (after,) = json.loads(line)
        assert (after['text'], after['number'] > before['number']) == ('after', True)
        # It is another process: it has never heard the first line.
        assert json.loads(stack.enter_context(Peer(chat.port, '/chat/0')).receive()) == [after]


def test_200_sockets_of_an_asgi_application_do_so_too(serve, descriptors, tmp_path):
    site = str(HERE / 'clients' / 'websocket_asgi.py')
    with serve(site, '--log-level', 'warning', folder=tmp_path) as server, \
            contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.port, '/run/echo')) for _ in range(200)]
        for number, peer in enumerate(renewed(server, peers, '/run/echo', stack)):
            peer.send(str(number))
            assert peer.receive() == str(number)
    assert server.log == ''
