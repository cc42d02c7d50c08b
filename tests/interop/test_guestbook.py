"""The guestbook in a browser: log in, write, upload a picture, and see it live in a second tab."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from chromium import Browser

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60


def png() -> bytes:
    """A picture: 40 by 30 red points."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack(
            '>I', zlib.crc32(name + data))

    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 40, 30, 8, 2, 0, 0, 0))
            + chunk(b'IDAT', zlib.compress((b'\0' + b'\xff\0\0' * 40) * 30)) + chunk(b'IEND', b''))


class Guestbook:
    """A guestbook that runs, and can be stopped and started again at the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = '0'
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'tremolo.examples.guestbook', 'book.db'], cwd=self._folder,
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'TREMOLO_PORT': self._port,
                 'SECRET_KEY': 'k' * 32}, stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline()
        self.url, self._port = re.search(r'(http://127\.0\.0\.1:(\d+))', line).groups()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def book(tmp_path):
    book = Guestbook(tmp_path)
    yield book
    book.stop()


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path / 'profile') as browser:
        yield browser


def fill(tab, selector: str, text: str) -> None:
    """Type a text, as on a keyboard."""
    tab.evaluate(f'document.querySelector({json.dumps(selector)}).focus()')
    tab.command('Input.insertText', text=text)


def click(tab, text: str) -> None:
    """Click the button with this text."""
    tab.evaluate('[...document.querySelectorAll("button")]'
                 f'.find(each => each.innerText === {json.dumps(text)}).click()')


def write(tab, text: str) -> None:
    """Write an entry, and wait for the page that comes then."""
    fill(tab, 'textarea', text)
    tab.evaluate('window.old = true')
    click(tab, 'Write')
    tab.wait('!window.old && document.readyState === "complete"')


def choose(tab, file: Path) -> None:
    """Choose a file in the form."""
    # (By the object: the numbers of nodes change when the page does, between two commands.)
    found = tab.command('Runtime.evaluate', expression='document.querySelector("[type=file]")')
    tab.command('DOM.setFileInputFiles', objectId=found['result']['objectId'], files=[str(file)])


def log_in(tab) -> None:
    fill(tab, '[name=name]', 'Ada <L>')
    fill(tab, '[name=password]', 'correct horse')
    click(tab, 'Log in')
    tab.wait('!!document.querySelector("textarea")')


def test_log_in_write_upload_and_see_it_live_in_a_second_tab(book, browser, tmp_path):
    (tmp_path / 'red.png').write_bytes(png())
    other = browser.open(f'{book.url}/')
    tab = browser.open(f'{book.url}/')
    log_in(tab)
    fill(tab, 'textarea', '<script>document.title = "mine"</script><img src=x onerror=alert(1)>')
    choose(tab, tmp_path / 'red.png')
    click(tab, 'Write')
    # Both show it, the other one without being loaded again, and its picture is a picture.
    for each in tab, other:
        each.wait('!!document.querySelector("li img") && document.querySelector("li img").complete')
        assert each.evaluate('document.querySelector("li img").naturalWidth') == 40
        assert each.evaluate('document.querySelector("li p").innerText').startswith('<script>')
        assert each.evaluate('document.querySelectorAll("li").length') == 1
        assert each.evaluate('document.title') == 'tremolo guestbook'
    # (The tab that was first is not logged in as it was loaded: only its form is old.)
    assert other.evaluate('!!document.querySelector("[name=password]")')
    assert not tab.complaints() and not other.complaints()
    click(tab, 'Log out')
    tab.wait('!!document.querySelector("[name=password]")')


def test_a_tab_that_was_cut_off_comes_back_and_misses_nothing(book, browser):
    other = browser.open(f'{book.url}/')
    tab = browser.open(f'{book.url}/')
    log_in(tab)
    write(tab, 'one')
    other.wait('document.querySelectorAll("li").length === 1')
    book.stop()
    book.start()
    tab.command('Page.navigate', url=f'{book.url}/')
    tab.wait('!!document.querySelector("textarea") && document.readyState === "complete"')
    write(tab, 'two')
    write(tab, 'three')
    # EventSource comes back by itself, with its Last-Event-ID.
    other.wait('document.querySelectorAll("li").length === 3')
    assert other.evaluate('[...document.querySelectorAll("li p")].map(each => each.innerText)') == [
        'three', 'two', 'one']
