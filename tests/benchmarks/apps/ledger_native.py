"""The native application of the ledger: pages of the race, a page that waits, and the gate.

It uses only names of tremolo that every tree has: it runs on the base and on the head alike.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from gate import gate
from native import app, hello, upload

from tremolo import sleep


@app.route('/wait')
def wait(**server: Any) -> Generator[Any, Any, None]:
    yield sleep(0)
    yield b'Hello world!'


@app.route('/page/<int:id>')
def page(id: int) -> Generator[bytes, None, None]:
    yield b'Hello '
    yield b'world!'


@app.route('/page/<int:id>/gate')
def gate_to_page(id: int) -> Generator[bytes, None, None]:
    gate()
    yield from page(id)


@app.route('/gate')
def gate_to_hello(**server: Any) -> Generator[bytes, None, None]:
    gate()
    yield from hello()


@app.route('/upload/gate', methods=['POST'])
def gate_to_upload(request: Any) -> Generator[Any, bytes, None]:
    gate()
    yield from upload(request)


@app.route('/wait/gate')
def gate_to_wait(**server: Any) -> Generator[Any, Any, None]:
    gate()
    yield from wait()


if __name__ == '__main__':
    app.run('127.0.0.1', 0, log_level='warning')
