"""nginx in front, with kept connections to us and nothing buffered on the way."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
import zlib

import pytest
from fronts import running_nginx

CONFIG = '''
    client_max_body_size 0;
    upstream tremolo {{
        server 127.0.0.1:{upstream};
        keepalive 4;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://tremolo;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
'''


@pytest.fixture
def proxy(site, tool, tmp_path):
    """The url of an nginx in front of the site, and the folder of its log."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]
        with running_nginx(tool('nginx'), tmp_path, CONFIG.format(port=port, upstream=site.port),
                           listener):
            yield f'http://127.0.0.1:{port}', tmp_path


def get(url, **options):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, **options), timeout=30) as answer:
        assert answer.status == 200
        while True:
            data = answer.read(65536)
            if not data:
                return
            yield data


def no_errors(folder):
    """Nothing but notices in nginx's log: it complains of what an upstream does wrong."""
    log = (folder / 'error.log').read_text()
    return not [line for line in log.splitlines() if '[notice]' not in line]


def test_nginx_keeps_its_connection_to_us(proxy):
    url, folder = proxy
    assert b''.join(get(url + '/')) == b'Hello world!'
    assert len({b''.join(get(url + '/peer')) for _ in range(20)}) == 1
    assert no_errors(folder)


def test_a_big_upload_passes_through_nginx(proxy, big_file):
    url, folder = proxy
    path, expected = big_file
    with path.open('rb') as file:
        headers = {'Content-Length': str(path.stat().st_size)}
        answer = b''.join(get(url + '/upload', data=file, headers=headers, method='PUT'))
    assert answer.decode() == expected
    assert b''.join(get(url + '/')) == b'Hello world!'
    assert no_errors(folder)


def test_a_big_upload_in_chunks_passes_through_nginx(proxy, big_file):
    url, folder = proxy
    path, expected = big_file
    with path.open('rb') as file:
        chunks = iter(lambda: file.read(65536), b'')
        answer = b''.join(get(url + '/upload', data=chunks, method='PUT'))
    assert answer.decode() == expected
    assert no_errors(folder)


def test_a_big_download_passes_through_nginx(proxy, big_file):
    url, folder = proxy
    _, expected = big_file
    size = checksum = 0
    for data in get(url + '/download/200'):
        size += len(data)
        checksum = zlib.crc32(data, checksum)
    assert f'{size} {checksum:08x}' == expected
    assert no_errors(folder)


@pytest.mark.parametrize('size', [100, 300_000, 3_000_000])
def test_an_early_answer_to_an_upload_costs_no_request(proxy, size):
    """Nobody reads what is sent there: the answer is 404 while the upload still comes."""
    url, _ = proxy
    for _ in range(10):
        with pytest.raises(urllib.error.HTTPError) as caught:
            list(get(url + '/refuse', data=iter([bytes(size // 10)] * 10), method='PUT'))
        assert caught.value.code == 404
        caught.value.close()
        assert b''.join(get(url + '/')) == b'Hello world!'
