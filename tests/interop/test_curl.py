"""curl, as people use it."""

from __future__ import annotations

import subprocess
import zlib

MIB = 1 << 20


def curl(tool, *arguments, timeout=120):
    """Run curl: (stdout, stderr). It must be content itself."""
    done = subprocess.run(
        [tool('curl'), '-sS', '--noproxy', '*', '--max-time', str(timeout), *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout + 10)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout, done.stderr.decode()


def checksum_of_download(tool, *arguments):
    """Size and checksum of what curl receives, in constant memory here too."""
    size = checksum = 0
    with subprocess.Popen(
            [tool('curl'), '-sS', '--noproxy', '*', '--max-time', '120', *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        for data in iter(lambda: process.stdout.read(65536), b''):
            size += len(data)
            checksum = zlib.crc32(data, checksum)
    assert process.returncode == 0
    return f'{size} {checksum:08x}'


def test_curl_gets_a_page_and_keeps_the_connection(site, tool):
    out, err = curl(tool, '-v', site.url, site.url)
    assert out == b'Hello world!Hello world!'
    assert err.count('< HTTP/1.1 200 OK') == 2
    assert '< Content-Length: 12' in err
    assert 'Re-using existing connection' in err


def test_curl_speaks_http_1_0(site, tool):
    out, err = curl(tool, '-v', '--http1.0', site.url)
    assert out == b'Hello world!'
    assert '> GET / HTTP/1.0' in err
    assert 'Transfer-Encoding' not in err
    assert 'Closing connection' in err


def test_a_streamed_answer_to_http_1_0_ends_with_the_connection(site, tool):
    _, err = curl(tool, '-v', '-o', '/dev/null', '--http1.0', site.url + '/download/2')
    assert 'Transfer-Encoding' not in err
    out, _ = curl(tool, '--http1.0', site.url + '/download/2')
    assert len(out) == 2 * MIB


def test_curl_sees_the_head_only(site, tool):
    out, _ = curl(tool, '--head', site.url)
    assert out.startswith(b'HTTP/1.1 200 OK\r\n')
    assert out.endswith(b'\r\n\r\n')


def test_200_mb_go_up_in_less_than_8_mib(site, tool, big_file):
    path, expected = big_file
    curl(tool, '-d', 'x' * 1000, site.url + '/upload')
    before = site.resident()
    site.forget_peak()
    out, _ = curl(tool, '-T', str(path), site.url + '/upload')
    assert out.decode() == expected
    assert site.resident('VmHWM') - before < 8 * MIB


def test_200_mb_go_up_in_chunks_in_less_than_8_mib(site, tool, big_file):
    path, expected = big_file
    curl(tool, '-d', 'x' * 1000, site.url + '/upload')
    before = site.resident()
    site.forget_peak()
    out, err = curl(
        tool, '-v', '-H', 'Transfer-Encoding: chunked', '-T', str(path), site.url + '/upload')
    assert '> Transfer-Encoding: chunked' in err
    assert out.decode() == expected
    assert site.resident('VmHWM') - before < 8 * MIB


def test_200_mb_come_down_in_less_than_8_mib(site, tool, big_file):
    _, expected = big_file
    curl(tool, site.url + '/download/1')
    before = site.resident()
    site.forget_peak()
    assert checksum_of_download(tool, site.url + '/download/200') == expected
    assert site.resident('VmHWM') - before < 8 * MIB


def test_a_download_at_curls_pace_is_not_collected_in_memory(site, tool):
    curl(tool, site.url + '/download/1')
    before = site.resident()
    site.forget_peak()
    out, _ = curl(tool, '--limit-rate', '20M', site.url + '/download/40')
    assert len(out) == 40 * MIB
    assert site.resident('VmHWM') - before < 8 * MIB


def test_expect_is_answered_when_the_handler_reads(site, tool):
    out, err = curl(
        tool, '-v', '-H', 'Expect: 100-continue', '--expect100-timeout', '60', '-d', 'x' * 2000,
        site.url + '/upload')
    assert err.index('< HTTP/1.1 100 Continue') < err.index('< HTTP/1.1 200 OK')
    assert out.startswith(b'2000 ')


def test_expect_saves_sending_a_body_that_is_refused(site, tool):
    out, err = curl(
        tool, '-v', '-H', 'Expect: 100-continue', '--expect100-timeout', '60', '-d', 'x' * 2000,
        '-o', '/dev/null', '-w', '%{http_code} %{size_upload}', site.url + '/refuse')
    assert out == b'404 0'
    assert '100 Continue' not in err
