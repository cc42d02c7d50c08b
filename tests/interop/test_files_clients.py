"""Files as clients take them: a browser seeks in a video, curl goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import subprocess
import urllib.request
from pathlib import Path

import pytest
from chromium import Browser
from webm import write_webm

HERE = Path(__file__).resolve().parent
MIB = 1 << 20
# Of the sparse file that curl gets in four parts: FILES_SIZE=4294967296 is the whole test.
SIZE = int(os.environ.get('FILES_SIZE', 256 * MIB))


@pytest.fixture
def site(serve, tmp_path, monkeypatch):
    folder = tmp_path / 'files'
    folder.mkdir()
    monkeypatch.setenv('FILES', str(folder))
    with serve(str(HERE / 'files_app.py')) as server:
        server.folder = folder
        yield server


def test_a_video_seeks_in_a_browser(site, tmp_path):
    write_webm(site.folder / 'video.webm', seconds=64, padding=MIB)
    with Browser(tmp_path / 'profile') as browser:
        page = browser.open(f'{site.url}/player/video.webm')
        page.wait('player.readyState >= 1')
        assert page.evaluate('[player.duration, player.videoWidth]') == [64, 16]
        for second in (50, 5, 60):
            page.evaluate(f'player.currentTime = {second}')
            page.wait('!player.seeking && player.readyState >= 2 '
                      f'&& player.currentTime == {second}')
        assert page.evaluate('player.error') is None
    with urllib.request.urlopen(f'{site.url}/asked', timeout=30) as answer:
        asked = [int(re.fullmatch(r'bytes=(\d+)-\d*', each)[1]) for each in json.load(answer)]
    # It has asked for what lies there, and was never sent what lies before.
    assert any(49 * MIB < each < 52 * MIB for each in asked), asked


def digest(path: Path) -> str:
    found = hashlib.blake2b()
    with path.open('rb') as file:
        while data := file.read(MIB):
            found.update(data)
    return found.hexdigest()


def test_curl_goes_on_three_times_and_the_memory_stays_flat(site, tool, tmp_path):
    big, copy = site.folder / 'big.bin', tmp_path / 'copy.bin'
    with big.open('wb') as file:
        for place in range(0, SIZE, SIZE // 8):    # (The rest of it is holes.)
            file.seek(place)
            file.write(os.urandom(MIB))
        file.truncate(SIZE)
    before = site.resident()
    site.forget_peak()
    for part in range(1, 5):
        # A file of its own that is too long for it is what ends curl the first three times.
        most = SIZE * part // 4
        done = subprocess.run(
            [tool('curl'), '-sS', '--noproxy', '*', '-C', '-', '-o', str(copy),
             '--max-time', '600', f'{site.url}/files/big.bin'],
            preexec_fn=lambda most=most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
            stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert (done.returncode == 0) is (part == 4), done.stderr
        assert copy.stat().st_size == most
    assert digest(copy) == digest(big)
    assert site.resident('VmHWM') - before < 2 * MIB
    with urllib.request.urlopen(f'{site.url}/asked', timeout=30) as answer:
        asked = json.load(answer)
    assert [bool(each) for each in asked] == [False, True, True, True]
    big.unlink()
    copy.unlink()
