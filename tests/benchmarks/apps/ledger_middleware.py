"""The native application of the ledger inside one middleware, which tells the time it took."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from ledger_native import app


@app.middleware
def timed(request: Any, response: Any) -> Generator[Any, Any, None]:
    begun = time.monotonic()
    yield
    response.headers['Server-Timing'] = f'app;dur={(time.monotonic() - begun) * 1000:08.1f}'


if __name__ == '__main__':
    app.run('127.0.0.1', 0, log_level='warning')
