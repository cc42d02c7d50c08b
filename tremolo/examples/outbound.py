"""A handler that is also a client: it passes on the answer of another server, piece by piece.

    python -m tremolo.examples.outbound example.org 80
    curl http://127.0.0.1:8000/index.html

`connect` returns a Future of a stream. While a `yield` waits, other requests are served. This is
only a sketch of a client, on one page: it speaks HTTP/1.0, so that the other server closes the
connection at the end of its answer.
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
    """Request the same path from the other server, and pass on its status and its body."""
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
        # This also runs when our own client has left.
        upstream.abort()


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit('usage: python -m tremolo.examples.outbound HOST PORT')
    app.context.upstream = (sys.argv[1], int(sys.argv[2]))
    app.run()
