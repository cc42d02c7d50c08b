"""Clients by TLS: curl, those of other languages, and a browser with a WebSocket."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from certificates import CA, LOCALHOST
from chromium import Browser
from test_clients import ALL, EXPECT, KB, MB, SMALL, Loop, run
from test_curl import checksum_of_download, curl
from test_websocket_clients import in_browser

sys.path.append(str(Path(__file__).resolve().parent.parent / 'workers'))
from worker_group import TWO, Group, wait_until

HERE = Path(__file__).resolve().parent
TLS = ('--ssl-certfile', LOCALHOST.cert, '--ssl-keyfile', LOCALHOST.key)
MIB = 1 << 20


@pytest.fixture
def trusted(monkeypatch):
    """Each client trusts our CA by now, in its own way."""
    for name in 'CLIENT_CA', 'SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'CURL_CA_BUNDLE':
        monkeypatch.setenv(name, CA)


@pytest.fixture
def secure(serve, tmp_path, trusted):
    """The site by TLS. Nothing that clients do is worth a warning."""
    with serve(str(HERE / 'site.py'), *TLS, folder=tmp_path) as server:
        yield server
    for word in 'WARNING', 'ERROR', 'Traceback':
        assert word not in server.log


# -- curl -----------------------------------------------------------------------------------------


def test_curl_gets_a_page_and_keeps_the_connection(secure, tool):
    assert secure.url.startswith('https://')
    out, err = curl(tool, '-v', secure.url, secure.url, secure.url + '/who')
    assert out.startswith(b'Hello world!Hello world!{')
    assert b'"https"' in out
    assert err.count('SSL connection using TLSv1.3') == 1
    assert err.count('Re-using existing connection') == 2
    assert 'accepted to use http/1.1' in err.lower() or 'server accepted http/1.1' in err.lower()


@pytest.mark.parametrize('version', ['1.2', '1.3'])
def test_200_mb_go_up_and_come_down_in_less_than_8_mib(secure, tool, big_file, version):
    path, expected = big_file
    only = f'--tlsv{version}', '--tls-max', version
    curl(tool, *only, '-d', 'x' * 1000, secure.url + '/upload')
    curl(tool, *only, secure.url + '/download/1')
    before = secure.resident()
    secure.forget_peak()
    out, _ = curl(tool, *only, '-T', str(path), secure.url + '/upload')
    assert out.decode() == expected
    out, _ = curl(tool, *only, '-H', 'Transfer-Encoding: chunked', '-T', str(path),
                  secure.url + '/upload')
    assert out.decode() == expected
    assert checksum_of_download(tool, *only, secure.url + '/download/200') == expected
    assert secure.resident('VmHWM') - before < 8 * MIB


def test_a_download_at_curls_pace_is_not_collected_in_memory(secure, tool):
    curl(tool, secure.url + '/download/1')
    before = secure.resident()
    secure.forget_peak()
    out, _ = curl(tool, '--limit-rate', '20M', secure.url + '/download/40')
    assert len(out) == 40 * MIB
    assert secure.resident('VmHWM') - before < 8 * MIB


def test_curl_goes_on_where_it_was(serve, tool, tmp_path, trusted, monkeypatch):
    folder = tmp_path / 'files'
    folder.mkdir()
    data = bytes(range(256)) * 16384
    (folder / 'data').write_bytes(data)
    monkeypatch.setenv('FILES', str(folder))
    with serve(str(HERE / 'files_app.py'), *TLS) as server:
        part = tmp_path / 'part'
        part.write_bytes(data[:1_234_567])
        curl(tool, '-C', '-', '-o', str(part), server.url + '/files/data')
        assert zlib.crc32(part.read_bytes()) == zlib.crc32(data)
        out, _ = curl(tool, '-r', '70000-70009,4000000-', server.url + '/files/data')
        assert data[4_000_000:] in out


def test_tls_1_1_is_refused_to_curl(secure, tool):
    done = subprocess.run(
        [tool('curl'), '-sS', '--noproxy', '*', '--tls-max', '1.1', '--ciphers',
         'DEFAULT:@SECLEVEL=0', secure.url], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60)
    assert done.returncode == 35
    assert 'alert protocol version' in done.stderr


def test_plain_http_to_the_port_of_tls_is_told_so(secure, tool):
    url = secure.url.replace('https', 'http')
    out, _ = curl(tool, '-w', ' %{http_code}', url)
    assert out.endswith(b' 400')
    assert b'https' in out.lower()
    # And the next one is served.
    assert curl(tool, secure.url)[0] == b'Hello world!'


def test_tls_to_a_plain_port_is_refused_at_once(serve, tool, tmp_path):
    with serve(str(HERE / 'site.py'), folder=tmp_path) as server:
        done = subprocess.run(
            [tool('curl'), '-sS', '-k', '--noproxy', '*', server.url.replace('http', 'https')],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert done.returncode == 35
        assert curl(tool, server.url)[0] == b'Hello world!'


# -- other languages ------------------------------------------------------------------------------


@pytest.fixture
def clients_site(serve, tmp_path, trusted):
    """What the programs of clients/ talk to."""
    with serve(str(HERE / 'clients' / 'native_site.py'), '--log-level', 'warning',
               '--body-size', '16MiB', *TLS, folder=tmp_path) as server:
        yield server
    assert server.log == ''


@pytest.mark.parametrize('framing', ['sized', 'chunked'])
@pytest.mark.parametrize('client', ALL)
def test_an_early_answer_arrives_and_the_next_request_too(client, framing, clients_site, command):
    for size in 300 * KB, 10 * MB:
        found = run(command(client), clients_site, 'early', '/refuse/401,/nowhere,/refuse/403',
                    str(size), framing)
        assert [said.get('error') or said['status'] for said in found] == [
            401, 200, 404, 200, 403, 200]


@pytest.mark.parametrize('client', EXPECT)
def test_who_expects_100_continue_sends_a_body_that_is_wanted(client, clients_site, command):
    found = run(command(client), clients_site, 'expect', '/upload,/upload', str(300 * KB))
    assert found == [{'status': 200, 'body': '300000', 'sent': True}, SMALL] * 2


@pytest.mark.parametrize('client', ALL)
def test_a_pool_of_kept_connections_and_renewals(client, command, tmp_path, trusted):
    """Connections of TLS are not handed over: the old process ends them, and none too soon."""
    workers = Group(tmp_path, *TWO, *TLS, '--log-level', 'warning',
                    command=('-m', 'tremolo', str(HERE / 'clients' / 'native_site.py')))
    try:
        old = wait_until(lambda: len(workers.pids) == 2 and workers.pids)
        loop = Loop(command(client), workers.address)
        try:
            for _ in range(3):
                loop.goes_on()
                workers.signal('SIGHUP')
                old = wait_until(
                    lambda: len(workers.pids) == 2 and not old & workers.pids   # noqa: B023
                    and workers.pids)
            loop.goes_on()
        finally:
            found = loop.end()
        print(f'{found["requests"]} requests')
        assert found['failures'] == []
    finally:
        status = workers.end()
    assert (status, workers.log) == (0, '')


# -- a browser ------------------------------------------------------------------------------------


def test_a_browser_loads_a_page_and_has_a_websocket_by_tls(serve, tmp_path):
    with serve(str(HERE / 'clients' / 'websocket_native.py'), '--log-level', 'warning', *TLS,
               folder=tmp_path) as server, \
            Browser(tmp_path / 'profile', '--ignore-certificate-errors') as browser:
        page = browser.open(f'{server.url}/run/event-of-nobody')
        assert page.evaluate('location.protocol') == 'https:'
        page.close()
        said = in_browser(browser, f'{server.url}/run')
    assert said[0] == {'echo': [], 'deflated': True}
    assert {'closed': [4002, 'that is énough']} in said
    assert {'refused': True} in said
    assert server.log == ''


def test_a_browser_that_does_not_trust_us_is_no_error(serve, tmp_path):
    """It ends its handshake with an alert; then comes one that does."""
    with serve(*TLS, '--log-level', 'warning', folder=tmp_path) as server:
        with socket.create_connection(('127.0.0.1', server.port)) as sock, \
                pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(sock, server_hostname='127.0.0.1')
        with Browser(tmp_path / 'profile', '--ignore-certificate-errors') as browser:
            page = browser.open(server.url + '/')
            assert 'tremolo' in page.evaluate('document.title + document.body.innerText')
    assert 'Traceback' not in server.log
