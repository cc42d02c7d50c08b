"""The application of broadcast.py: all sockets are in one group, and a POST is sent to all of them.

A message of a socket comes back to it. The answer to `deaf` is more than fits into the buffers of
the system.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from tremolo import Tremolo

OWED = bytes(8 << 20)

app = Tremolo()


@app.route('/')
def listen(websocket: Any) -> Generator[Any, Any, None]:
    yield websocket.accept()
    app.group('all').add(websocket)
    while True:
        message = yield websocket.receive()
        yield websocket.send(OWED if message == 'deaf' else message)


@app.route('/send', methods=['POST'])
def send(request: Any) -> Generator[Any, Any, None]:
    text = yield request.body()
    app.group('all').send(text.decode())
    yield b'sent'
