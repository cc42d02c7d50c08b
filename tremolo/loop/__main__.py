"""python -m tremolo.loop [port]: an echo server on the bare reactor, without a word of HTTP.

    $ python -m tremolo.loop 7000
    echoing on 127.0.0.1:7000
    $ nc 127.0.0.1 7000
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from typing import Any

from . import Listener, ListenError, Reactor, Stream, StreamClosed, bind, spawn


def echo(stream: Stream) -> Generator[Any, Any, None]:
    """Send back what comes, until the peer ends its side."""
    stream.start()
    try:
        while data := (yield stream.read(65536)):
            stream.write(data)
            # While the peer does not read, we do not either.
            yield stream.drain()
    except StreamClosed:
        return
    finally:
        stream.close()


def main(port: int) -> None:
    """Serve on 127.0.0.1 until SIGINT or SIGTERM."""
    def accepted(sock: Any, address: Any) -> None:
        spawn(echo(Stream(reactor, sock)))

    with Reactor() as reactor:
        try:
            listener = Listener(reactor, bind(reactor, '127.0.0.1', port)[0], accepted)
        except ListenError as error:
            sys.exit(str(error))
        listener.start()
        for signum in (signal.SIGINT, signal.SIGTERM):
            reactor.add_signal(signum, reactor.stop)
        print('echoing on {}:{}'.format(*listener.address), flush=True)
        reactor.run()
        listener.close()


if __name__ == '__main__':
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
