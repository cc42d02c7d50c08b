"""A browser loads the first page that anybody sees."""

from __future__ import annotations

import subprocess


def test_chromium_loads_the_welcome_page(welcome, tool, tmp_path):
    browser = tool('chromium', 'chromium-browser', 'google-chrome')
    done = subprocess.run(
        [browser, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
         '--no-first-run', '--disable-background-networking', '--disable-component-update',
         '--disable-sync', f'--user-data-dir={tmp_path}', '--dump-dom', welcome.url + '/'],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert '<h1>tremolo <span>works</span></h1>' in done.stdout
    assert f'127.0.0.1:{welcome.port}/' in done.stdout
    # The last chunk has arrived as well.
    assert 'python3 -m tremolo --help' in done.stdout
