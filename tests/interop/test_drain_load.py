"""One process that is renewed under load: its idle connections are closed soon, and none too soon.

(Workers hand their connections over, see test_workers_load.py. A process alone drains them.)
"""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='SIGHUP')

# What it answers is another number in each new process.
APPLICATION = '''
import time
import tremolo

app = tremolo.Tremolo()
born = str(time.monotonic_ns())

@app.route('/')
def index(**server):
    yield born
'''
PATIENCE = 60.0


def ask(port: int) -> bytes:
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=PATIENCE)
    connection.request('GET', '/')
    with connection.getresponse() as answer:
        body = answer.read()
    connection.close()
    return body


def test_twenty_renewals_of_one_process_lose_no_request_and_take_no_two_seconds(
        serve, tool, tmp_path):
    (tmp_path / 'example.py').write_text(APPLICATION)
    with serve('example:app', folder=tmp_path) as server:
        born = ask(server.port)
        # A browser tab: its connections are kept, and it asks nothing.
        load = subprocess.Popen(
            [tool('wrk'), '-t1', '-c32', '-d300s', '--timeout', '10s', server.url],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        times = []
        try:
            for _ in range(20):
                tab = http.client.HTTPConnection('127.0.0.1', server.port, timeout=PATIENCE)
                tab.request('GET', '/')
                assert tab.getresponse().read() == born
                began = time.monotonic()
                server.process.send_signal(signal.SIGHUP)
                while (now := ask(server.port)) == born:
                    assert time.monotonic() < began + PATIENCE
                born = now
                times.append(time.monotonic() - began)
                tab.close()
        finally:
            load.send_signal(signal.SIGINT)
            said, _ = load.communicate(timeout=PATIENCE)
    requests = int(re.search(r'(\d+) requests in', said)[1])
    print(f'{requests} requests in 20 renewals, of {sorted(times)[10]:.2f} s')
    assert 'errors' not in said, said
    assert requests > 1000
    assert sorted(times)[10] < 2
