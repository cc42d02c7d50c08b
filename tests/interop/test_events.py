"""Events in a real browser: an EventSource comes back to the next process, and misses nothing."""

from __future__ import annotations

import signal
import time
import urllib.request

import pytest
from chromium import Browser

SSE = 'tremolo.examples.sse:app'
JOBS = 'tremolo.examples.jobs:app'
PATIENCE = 60.0


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path / 'profile') as browser:
        yield browser


def write(server, line):
    with urllib.request.urlopen(f'{server.url}/lines', f'line={line}'.encode(),
                                timeout=PATIENCE) as answer:
        assert answer.status == 204


def open_tab(browser, server):
    page = browser.open(server.url)
    page.evaluate('''window.opened = 0
        source.addEventListener('open', () => opened++)''')
    page.wait('state.value === "online"')
    return page


def shown(page):
    """The lines of a tab, the first one first, each with its number."""
    return page.evaluate(
        '[...lines.children].map(item => [item.value, item.textContent]).reverse()')


@pytest.mark.parametrize('options', [('--workers', '2'), ()], ids=['two workers', 'alone'])
def test_an_eventsource_comes_back_after_sighup_and_misses_nothing(
        browser, serve, tmp_path, options):
    with serve(SSE, '--log-level', 'warning', *options, folder=tmp_path) as server:
        tabs = [open_tab(browser, server) for _ in range(3)]
        total = 0
        for _ in range(3):
            opened = [tab.evaluate('opened') for tab in tabs]
            # (More than the 20 that a tab gets which sends no Last-Event-ID.)
            for number in range(60):
                total += 1
                write(server, total)
                if number == 20:
                    server.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + PATIENCE
            while any(tab.evaluate('opened') == before
                      for tab, before in zip(tabs, opened)) and time.monotonic() < deadline:
                total += 1
                write(server, total)
                time.sleep(0.02)
            for tab in tabs:
                tab.wait(f'lines.childElementCount >= {total}')
                assert shown(tab) == [[number, str(number)] for number in range(1, total + 1)]
        for tab in tabs:
            assert tab.evaluate('opened') >= 3
            assert tab.evaluate('state.value') == 'online'
            assert tab.complaints() == []
    assert server.log == ''


def test_a_tab_writes_and_another_one_shows_it(browser, serve, tmp_path):
    with serve(SSE, '--log-level', 'warning', folder=tmp_path) as server:
        one, two = open_tab(browser, server), open_tab(browser, server)
        one.evaluate('form.elements[0].value = "<b>hello</b> é"; form.requestSubmit()')
        for tab in one, two:
            tab.wait('lines.childElementCount === 1')
            assert shown(tab) == [[1, '<b>hello</b> é']]
        two.close()
    assert server.log == ''


def test_jobs_show_their_progress_and_a_stop_ends_them(browser, serve, tmp_path):
    with serve(JOBS, '--log-level', 'warning', folder=tmp_path) as server:
        page = browser.open(server.url)
        for name in 'one', 'two', 'three':
            page.evaluate(f'form.elements[0].value = "{name}"; form.requestSubmit()')
        page.wait('list.childElementCount === 3')
        page.wait('[...list.querySelectorAll("label")].some(each => /done: /.test(each.innerText))')
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 5
        assert page.complaints() == []
    assert server.log == ''
