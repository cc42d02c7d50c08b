"""python -m tremolo.loop [port]: an echo server on the bare reactor, without a word of HTTP.

    $ python -m tremolo.loop 7000
    echoing on 127.0.0.1:7000
    $ nc 127.0.0.1 7000
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Generator
from typing import Any

from . import Listener, ListenError, Reactor, Stream, StreamClosed, bind, spawn


def echo(stream: Stream) -> Generator[Any, Any, None]:
    """Send back what comes, until the peer ends its side."""
    try:
        while True:
            data = yield stream.read(65536)
            if not data:
                break
            stream.write(data)
            # While the peer does not read, we do not either.
            yield stream.drain()
    except StreamClosed:
        return
    finally:
        stream.close()


def main(port: int) -> int:
    """Serve on 127.0.0.1 until SIGINT or SIGTERM; return the exit status."""
    logging.basicConfig(format='%(levelname)s: %(message)s')
    with Reactor() as reactor:
        def accepted(sock: Any, address: Any) -> None:
            stream = Stream(reactor, sock)
            stream.start()
            spawn(echo(stream))

        try:
            listener = Listener(reactor, bind(reactor, '127.0.0.1', port)[0], accepted)
        except ListenError as error:
            print(error, file=sys.stderr)
            return 1
        listener.start()
        for signum in (signal.SIGINT, signal.SIGTERM):
            reactor.add_signal(signum, reactor.stop)
        print('echoing on {}:{}'.format(*listener.address), flush=True)
        reactor.run()
        listener.close()
    return 0


if __name__ == '__main__':
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
