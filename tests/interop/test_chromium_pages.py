"""The pages of debug mode in a browser: on a phone, in the dark, and with nothing that runs."""

from __future__ import annotations

import pytest
from chromium import Browser

from tremolo import Tremolo


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path / 'profile') as browser:
        yield browser


@pytest.fixture
def site(logged):
    app = Tremolo()

    @app.route('/fail')
    def fail():
        long, markup = 'word' * 1000, '<script>document.title = "run"</script>'
        raise ValueError(long + markup + '<img src=x onerror="document.title = 1">')

    with app.start(debug=True) as server:
        yield server


@pytest.mark.parametrize('path', ['/fail?token=hunter2', '/fial/' + 'a' * 500])
def test_a_page_fits_a_phone_is_dark_in_the_dark_and_runs_nothing(browser, site, path):
    tab = browser.open(site.url + path)
    for width in 360, 1200:
        tab.command('Emulation.setDeviceMetricsOverride', width=width, height=800,
                    deviceScaleFactor=1, mobile=width < 600)
        tab.evaluate('document.querySelectorAll("details").forEach(each => each.open = true)')
        # No part of the page is wider than the screen. (Lines of source scroll in their own box.)
        assert tab.evaluate('document.documentElement.scrollWidth') == width
    colours = []
    for scheme in 'light', 'dark':
        tab.command('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': scheme}])
        colours.append(tab.evaluate('getComputedStyle(document.body).color'))
    assert colours == ['rgb(0, 0, 0)', 'rgb(255, 255, 255)']
    title = tab.evaluate('document.title')
    assert title.startswith(('404 ', '500 '))
    assert tab.evaluate('document.querySelectorAll("script, img, link, a").length') == 0
    assert 'hunter2' not in tab.evaluate('document.body.innerText')
    # The policy would have stopped a script, too.
    tab.evaluate('document.body.append(Object.assign(document.createElement("script"), '
                 '{text: "document.title = 1"}))')
    assert tab.evaluate('document.title') == title
