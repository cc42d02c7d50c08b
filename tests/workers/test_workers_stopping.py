"""`app.stopping` in a worker: a renewal tells its streams at once, and not when time is short."""

from __future__ import annotations

import http.client
import os
import signal

import pytest
from worker_group import TWO, wait_until

STREAM = r'''
import os
import tremolo

app = tremolo.Tremolo()

@app.route('/')
def index():
    return str(os.getpid())

@app.route('/stream')
def stream():
    yield f'{os.getpid()}\n'
    yield app.stopping
    yield b'ended'
'''


@pytest.mark.parametrize('cause', ['SIGHUP', 'SIGTERM', 'max_requests', 'the worker itself'])
def test_whatever_renews_or_ends_a_worker_lets_its_streams_end(group, tmp_path, cause):
    (tmp_path / 'stopping.py').write_text(STREAM)
    workers = group(*TWO, '--shutdown-timeout', '3600', '--max-requests',
                    '3' if cause == 'max_requests' else '1000000',
                    command=('-m', 'tremolo', 'stopping:app'))
    old = wait_until(lambda: len(workers.pids) == 2 and workers.pids)
    streams = {}
    while streams.keys() != old:
        sock = workers.connect()
        sock.sendall(b'GET /stream HTTP/1.1\r\nHost: x\r\n\r\n')
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        streams.setdefault(int(answer.readline()), []).append((sock, answer))
    if cause == 'max_requests':
        seen = set(old)
        while len(seen) < 4:
            workers.get()
            seen |= workers.pids
    elif cause == 'the worker itself':
        for pid in old:
            os.kill(pid, signal.SIGTERM)
    else:
        workers.signal(cause)
    for sock, answer in (each for pair in streams.values() for each in pair):
        assert answer.read() == b'ended'
        sock.close()
    assert workers.end() == 0
