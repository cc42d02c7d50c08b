"""A handler that is a client as well: what another server answers is passed on as it comes.

    python -m tremolo.examples.outbound example.org 80
    curl http://127.0.0.1:8000/index.html

`connect` gives a stream, and each `yield` waits for it while others are served. This is a sketch of
how to fetch, in a page: it speaks HTTP/1.0, so that the other side ends the answer by closing.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

from tremolo import HTTPError, Request, Response, StreamClosed, Tremolo, connect, timeout

app = Tremolo()
app.context.upstream = ('127.0.0.1', 80)


@app.route('^/.*')
def fetch(request: Request, response: Response, **server: Any) -> Generator[Any, Any, None]:
    """Ask the other server for the same path, and pass on its status and its body."""
    host, port = server['globals'].upstream
    try:
        upstream = yield connect(host, port, timeout=5)
    except OSError as error:
        raise HTTPError(502, f'no connection to {host}: {error.strerror}') from error
    try:
        upstream.write(b'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' % (request.raw_path, host.encode()))
        head: bytes = yield timeout(10, upstream.read_until(b'\r\n\r\n'))
        status = head.split(None, 2)[1:2]
        if not status or not status[0].isdigit():
            raise HTTPError(502, f'{host} does not speak HTTP')
        response.status = int(status[0])
        while chunk := (yield upstream.read(65536)):
            yield chunk
    except TimeoutError as error:
        raise HTTPError(504, f'{host} does not answer') from error
    except StreamClosed as error:
        raise HTTPError(502, f'{host} broke off') from error
    finally:
        # Also when our own client has left.
        upstream.abort()


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit('usage: python -m tremolo.examples.outbound HOST PORT')
    app.context.upstream = (sys.argv[1], int(sys.argv[2]))
    app.run()
