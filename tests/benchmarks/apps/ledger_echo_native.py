"""The native application of the ledger's echoes: that of the race, and the same behind the gate.

Only a tree that has WebSocket can run it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from echo_native import app
from gate import gate


@app.route('/gate')
def gate_to_echo(websocket: Any) -> Generator[Any, Any, None]:
    yield websocket.accept()
    while True:
        message = yield websocket.receive()
        gate()
        yield websocket.send(message)


if __name__ == '__main__':
    app.run('127.0.0.1', 0, log_level='warning')
