"""wrk: many requests at once, and none of them goes wrong."""

from __future__ import annotations

import re
import subprocess


def test_ten_seconds_of_wrk_show_no_error(site, tool):
    done = subprocess.run(
        [tool('wrk'), '-t1', '-c64', '-d10s', site.url + '/'], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    # wrk mentions these only when there were any.
    assert 'Socket errors' not in done.stdout, done.stdout
    assert 'Non-2xx' not in done.stdout, done.stdout
    assert int(re.search(r'(\d+) requests in', done.stdout)[1]) > 10_000
