"""CPython's own tests of event loops, run on the reactor's: `python asyncio_suite.py`."""

from __future__ import annotations

import signal
import unittest
from pathlib import Path
from sys import path

from test.test_asyncio import test_events, test_sock_lowlevel, utils

path.insert(0, str(Path(__file__).resolve().parents[2]))

from tremolo.bridge import ReactorEventLoop
from tremolo.loop import Reactor


class ClosingLoop(ReactorEventLoop):
    """A loop that takes its reactor along."""

    def close(self):
        super().close()
        self.reactor.close()


class Events(test_events.UnixEventLoopTestsMixin, test_events.SubprocessTestsMixin,
             utils.TestCase):
    def create_event_loop(self):
        return ClosingLoop(Reactor())


class Sockets(test_sock_lowlevel.BaseSockTestsMixin, utils.TestCase):
    def create_event_loop(self):
        return ClosingLoop(Reactor())


if __name__ == '__main__':
    # (They look for Python's own handler. A process in the background begins with SIGINT ignored.)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    unittest.main()
