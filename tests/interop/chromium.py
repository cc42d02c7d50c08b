"""A headless Chromium, driven over a pipe by its own protocol: pages, and what is in them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

# Seconds until what does not happen is a failure.
PATIENCE = 60.0
# It reads commands from its descriptor 3 and writes to 4; each ends with a NUL.
PIPES = '''
import os, sys
for source, wanted in (os.dup(int(sys.argv[1])), 3), (os.dup(int(sys.argv[2])), 4):
    os.dup2(source, wanted)
    os.set_inheritable(wanted, True)
os.execv(sys.argv[3], sys.argv[3:])
'''
NAMES = ('chromium', 'chromium-browser', 'google-chrome')


class Browser:
    """A running browser: `open` gives its pages. Without a browser the test is skipped."""

    def __init__(self, folder: Path, *more: str) -> None:
        """With more arguments of its command line."""
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if program is None:
            pytest.skip('chromium is not installed')
        command_read, self._commands = os.pipe()
        self._events, event_write = os.pipe()
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, command_read)
            stack.callback(os.close, event_write)
            self._process = subprocess.Popen(
                [sys.executable, '-c', PIPES, str(command_read), str(event_write), program,
                 '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
                 '--disable-background-networking', '--disable-component-update',
                 '--disable-sync', '--no-proxy-server', '--hide-scrollbars',
                 '--disable-dev-shm-usage', f'--user-data-dir={folder}', *more,
                 '--remote-debugging-pipe', 'about:blank'],
                pass_fds=[command_read, event_write], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._received = b''
        self._last = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            os.write(self._commands, b'{"id": 0, "method": "Browser.close"}\0')
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._commands)
            os.close(self._events)

    def command(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """Carry out a command of the protocol; give its result."""
        self._last += 1
        message: dict[str, Any] = {'id': self._last, 'method': method, 'params': parameters}
        if session:
            message['sessionId'] = session
        os.write(self._commands, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next()
            if answer.get('id') == self._last:
                if 'error' in answer:
                    pytest.fail(f'{method}: {answer["error"]}')
                return answer['result']
            if 'method' in answer:
                self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b'\0' not in self._received:
            if not select.select([self._events], [], [], PATIENCE)[0]:
                pytest.fail('the browser does not answer')
            data = os.read(self._events, 1 << 20)
            if not data:
                pytest.fail('the browser has ended')
            self._received += data
        message, _, self._received = self._received.partition(b'\0')
        return json.loads(message)

    def open(self, url: str) -> Page:
        """Open a page; wait until it is loaded."""
        target = self.command('Target.createTarget', url='about:blank')['targetId']
        session = self.command('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        page = Page(self, target, session)
        page.command('Page.enable')
        page.command('Runtime.enable')
        page.command('Page.navigate', url=url)
        page.wait('document.readyState === "complete" && location.href !== "about:blank"')
        return page


class Page:
    """A tab."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session

    def command(self, method: str, **parameters: Any) -> Any:
        return self._browser.command(method, self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """Give the value of an expression; a promise is waited for."""
        found = self.command(
            'Runtime.evaluate', expression=expression, awaitPromise=True, returnByValue=True)
        if 'exceptionDetails' in found:
            pytest.fail(f'{expression[:200]}: {found["exceptionDetails"]}')
        return found['result'].get('value')

    def call(self, function: str) -> Any:
        """Give what a function in JavaScript returns."""
        return self.evaluate(f'({function})()')

    def wait(self, condition: str) -> Any:
        """Wait until an expression is true; give its value."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.evaluate(condition)):
            if time.monotonic() > deadline:
                pytest.fail(f'never true: {condition}; {self.evaluate("document.body.innerText")}')
        return value

    def complaints(self) -> list[str]:
        """Exceptions that nobody caught in this page, until now."""
        return [str(event['params']) for event in self._browser.events
                if event['method'] == 'Runtime.exceptionThrown'
                and event.get('sessionId') == self._session]

    def screenshot(self, path: Path, width: int, height: int, dark: bool) -> None:
        self.command('Emulation.setDeviceMetricsOverride', width=width, height=height,
                     deviceScaleFactor=1, mobile=width < 600)
        self.command('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
        data = self.command('Page.captureScreenshot', format='png')['data']
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        self._browser.command('Target.closeTarget', targetId=self._target)
