"""The echo of the race in tremolo's own words: each message goes back as it came."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from tremolo import Tremolo

app = Tremolo()


@app.route('/')
def echo(websocket: Any) -> Generator[Any, Any, None]:
    yield websocket.accept()
    while True:
        message = yield websocket.receive()
        yield websocket.send(message)
