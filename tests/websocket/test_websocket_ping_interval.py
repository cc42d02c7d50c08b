"""A silent client gets a ping each `ws_ping_interval`, however long it may take to answer one."""

from __future__ import annotations

import pytest
from server_support import virtual
from websocket_support import PING, PONG, Client, Sockets, echo, frame, text


@pytest.mark.parametrize('timeout', [0.5, 20.0, 0.0])
def test_pings_come_at_each_interval_and_not_later(timeout):
    with virtual(Sockets(echo), ws_ping_interval=2.0, ws_ping_timeout=timeout) as host:
        client = Client(host)
        times = []
        for _ in range(5):
            ((opcode, payload, _),) = client.wait()
            assert opcode == PING
            times.append(host.reactor.time())
            client.send(frame(PONG, payload))
        gaps = [after - before for before, after in zip(times, times[1:])]
        assert all(1.9 < gap < 2.2 for gap in gaps), gaps
        # A message is life as well: the next ping is an interval after it.
        host.until(lambda: host.reactor.time() > times[-1] + 1.5)
        client.send(text('hello'))
        assert client.messages() == [b'hello']
        said = host.reactor.time()
        assert client.wait()[0][0] == PING
        assert 1.9 < host.reactor.time() - said < 2.2
