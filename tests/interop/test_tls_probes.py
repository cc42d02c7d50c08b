"""What `openssl s_client` finds out about our TLS, as the scanners of TLS do.

Each probe for something that must be refused is made to `openssl s_server` as well, where it is
allowed: a probe that nobody could pass would say nothing.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest
from certificates import CA, CLIENT, CLIENT_CHAIN, CLIENT_EXPIRED, RSA, STRANGER, WILDCARD, A, B
from tls_hello import (
    ECDHE_ECDSA_AES128_GCM,
    ECDHE_RSA_AES128_GCM,
    HANDSHAKE_FAILURE,
    PROTOCOL_VERSION,
    SSL3,
    TLS1,
    TLS1_1,
    TLS1_2,
    WEAK,
    say_hello,
)

PATIENCE = 60
SITE = str(Path(__file__).resolve().parent / 'site.py')
PAIRS = tuple(word for pair in (A, B, WILDCARD, RSA)
              for word in ('--ssl-certfile', pair.cert, '--ssl-keyfile', pair.key))
VERSIONS = ('-tls1_2', '-tls1_3')
# With this, OpenSSL's own security level forbids nothing.
ANY = 'ALL:COMPLEMENTOFALL:@SECLEVEL=0'
WHO = b'GET /who HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n'


@pytest.fixture(scope='module')
def secure(serve, tmp_path_factory):
    """The site with four certificates. No probe is worth more than a counted line."""
    with serve(SITE, *PAIRS, folder=tmp_path_factory.mktemp('site')) as server:
        yield server
    assert 'Traceback' not in server.log
    assert 'ERROR' not in server.log


@pytest.fixture(scope='module')
def mutual(serve, tmp_path_factory):
    """The ports of the sites that treat certificates of clients in each of the ways."""
    with contextlib.ExitStack() as stack:
        servers = {}
        for reqs in 'none', 'optional', 'required':
            ca = () if reqs == 'none' else ('--ssl-ca-certs', CA, '--ssl-cert-reqs', reqs)
            servers[reqs] = stack.enter_context(serve(
                SITE, *PAIRS, *ca, folder=tmp_path_factory.mktemp('site')))
        yield {reqs: server.port for reqs, server in servers.items()}
    for server in servers.values():
        assert 'Traceback' not in server.log
        assert 'ERROR' not in server.log


@pytest.fixture
def probe(tool):
    """Run `openssl s_client` to its end: all that it said."""
    program = tool('openssl')

    def run(port: int, *arguments: str, send: bytes = b'', name: str = 'a.example') -> str:
        server_name = ('-servername', name) if name else ('-noservername',)
        # What is sent ends with an answer that closes; else s_client ends with its input.
        wait = ('-ign_eof',) if send else ()
        done = subprocess.run(
            [program, 's_client', '-connect', f'127.0.0.1:{port}', *server_name, *wait, *arguments],
            input=send, capture_output=True, timeout=PATIENCE, check=False)
        return (done.stdout + done.stderr).decode(errors='replace')

    return run


@pytest.fixture
def permissive(tool):
    """Run an `openssl s_server` that takes everything that it can; give its port."""
    program = tool('openssl')

    @contextlib.contextmanager
    def run(*arguments: str):
        # Its port is one that nobody had a moment ago, and it is asked until it answers.
        with socket.create_server(('127.0.0.1', 0)) as listener:
            port = listener.getsockname()[1]
        process = subprocess.Popen(
            [program, 's_server', '-accept', f'127.0.0.1:{port}', '-cert', RSA.cert, '-key',
             RSA.key, '-cipher', ANY, '-www', *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    socket.create_connection(('127.0.0.1', port)).close()
                    break
                assert time.monotonic() < deadline
                assert process.poll() is None
            yield port
        finally:
            process.kill()
            process.wait()

    return run


def agreed(said: str) -> tuple[str, str] | None:
    """The version and the cipher of a handshake that was completed."""
    found = re.search(r'(?:New|Reused), (TLSv[\d.]+|SSLv3), Cipher is (\S+)', said)
    return (found[1], found[2]) if found and found[2] != '(NONE)' else None


def common_name(said: str) -> str:
    return re.search(r'^subject=.*?CN ?= ?([^\s,]+)', said, re.MULTILINE)[1]


def answered_by(said: str) -> int:
    """The process that answered."""
    return int(re.search(r'"pid": ?(\d+)', said)[1])


# -- versions and ciphers -------------------------------------------------------------------------


@pytest.mark.parametrize('version', VERSIONS)
def test_tls_1_2_and_1_3_are_spoken(secure, probe, version):
    said = probe(secure.port, version, '-CAfile', CA, '-verify_return_error',
                 '-verify_hostname', 'a.example', send=WHO)
    assert agreed(said)[0] == {'-tls1_2': 'TLSv1.2', '-tls1_3': 'TLSv1.3'}[version]
    assert 'Verify return code: 0 (ok)' in said
    assert re.search('"scheme": ?"https"', said)


@pytest.mark.parametrize('version', ['-tls1', '-tls1_1'])
def test_tls_1_0_and_1_1_are_refused(secure, probe, permissive, version):
    said = probe(secure.port, version, '-cipher', ANY)
    assert agreed(said) is None
    assert 'alert protocol version' in said
    with permissive() as port:
        assert agreed(probe(port, version, '-cipher', ANY))


@pytest.mark.parametrize('version', [SSL3, TLS1, TLS1_1], ids=['SSLv3', '1.0', '1.1'])
def test_old_versions_get_the_alert_that_says_so(secure, version):
    # (Where OpenSSL was built without SSLv3, it does not know that this is a version.)
    expected = {PROTOCOL_VERSION, *([HANDSHAKE_FAILURE] if version == SSL3 else [])}
    assert say_hello(secure.port, version, list(WEAK.values())).alert in expected


def test_an_old_fallback_is_not_taken_from_a_client_that_could_do_better(secure, probe):
    """RFC 7507: the client says that it has tried a newer version before."""
    said = probe(secure.port, '-tls1_2', '-fallback_scsv')
    assert agreed(said) is None
    assert 'inappropriate fallback' in said


@pytest.mark.parametrize('name', ['a.example', 'rsa.example'])
@pytest.mark.parametrize('cipher', WEAK)
def test_weak_ciphers_are_refused(secure, cipher, name):
    assert say_hello(secure.port, TLS1_2, [WEAK[cipher]], name).alert == HANDSHAKE_FAILURE


def test_the_probes_for_ciphers_are_answered_where_the_cipher_is_good(secure, permissive):
    for name, cipher in (
            ('a.example', ECDHE_ECDSA_AES128_GCM), ('rsa.example', ECDHE_RSA_AES128_GCM)):
        found = say_hello(secure.port, TLS1_2, [*WEAK.values(), cipher], name)
        assert (found.version, found.cipher) == (TLS1_2, cipher)
    with permissive() as port:
        for weak in 'NULL-SHA256', 'ADH-AES128-SHA', 'AES128-SHA':
            assert say_hello(port, TLS1_2, [WEAK[weak]]).cipher == WEAK[weak]


def test_nothing_is_compressed(secure, probe):
    for offered in b'\1\0', b'\0\1':
        found = say_hello(secure.port, TLS1_2, [ECDHE_ECDSA_AES128_GCM], compressions=offered)
        assert (found.alert, found.compression) == (None, 0)
    for version in VERSIONS:
        assert 'Compression: NONE' in probe(secure.port, version, '-comp')


# -- renegotiation, and the end -------------------------------------------------------------------


def renegotiate(port: int, program: str) -> str:
    """Ask for a new handshake on a connection of TLS 1.2, and then for a page."""
    with subprocess.Popen(
            [program, 's_client', '-connect', f'127.0.0.1:{port}', '-servername', 'a.example',
             '-tls1_2'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        said = b''
        while b'---\nread' not in said and b'Extended master secret' not in said:
            data = process.stdout.read1(65536)
            assert data, said
            said += data
        process.stdin.write(b'R\n')
        process.stdin.flush()
        while b'RENEGOTIATING' not in said:
            data = process.stdout.read1(65536)
            assert data, said
            said += data
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(WHO)
            process.stdin.flush()
        said += process.stdout.read()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait(PATIENCE)
    return said.decode(errors='replace')


def test_renegotiation_is_refused(secure, tool, permissive):
    said = renegotiate(secure.port, tool('openssl'))
    assert 'no renegotiation' in said
    assert 'HTTP/1.1 200' not in said
    with permissive('-client_renegotiation') as port:
        said = renegotiate(port, tool('openssl'))
        assert 'no renegotiation' not in said
        assert 'HTTP/1.0 200' in said


def test_secure_renegotiation_is_told_of(secure, probe):
    """RFC 5746: clients refuse servers that do not know of it."""
    assert 'Secure Renegotiation IS supported' in probe(secure.port, '-tls1_2')


@pytest.mark.parametrize('version', VERSIONS)
def test_the_end_is_told(secure, probe, version):
    said = probe(secure.port, version, '-msg', send=WHO)
    assert re.search(r'<<< .*Alert.*warning close_notify', said)
    assert 'unexpected eof' not in said


# -- names and protocols --------------------------------------------------------------------------


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize(('name', 'expected'), [
    ('a.example', 'a.example'), ('b.example', 'b.example'), ('www.b.example', 'b.example'),
    ('B.EXAMPLE', 'b.example'), ('rsa.example', 'rsa.example'), ('x.w.example', 'w.example'),
    # The first one: for what nobody has, for two labels, for none, and for no name.
    ('nobody.example', 'a.example'), ('x.y.w.example', 'a.example'), ('w.example', 'a.example'),
    ('', 'a.example')])
def test_each_name_gets_its_certificate(secure, probe, version, name, expected):
    said = probe(secure.port, version, name=name)
    assert agreed(said)
    assert common_name(said) == expected


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize(('offered', 'chosen'), [
    ('http/1.1', 'http/1.1'), ('h2,http/1.1', 'http/1.1'), ('http/1.1,h2', 'http/1.1'),
    ('h2', None), ('http/1.0,spdy/3', None), (None, None)])
def test_alpn_is_http_1_1_or_nothing(secure, probe, version, offered, chosen):
    said = probe(secure.port, version, *(('-alpn', offered) if offered else ()), send=WHO)
    assert 'HTTP/1.1 200 OK' in said
    found = re.search(r'ALPN protocol: (\S+)', said)
    assert (found and found[1]) == chosen


# -- resumption -----------------------------------------------------------------------------------


@pytest.mark.parametrize('version', VERSIONS)
def test_a_session_is_resumed_by_the_other_worker_as_well(serve, probe, tmp_path, version):
    with serve(SITE, *PAIRS, '--workers', '2', folder=tmp_path) as server:
        session = str(tmp_path / 'session')
        said = probe(server.port, version, '-sess_out', session, send=WHO)
        assert 'New, TLS' in said
        made_by = answered_by(said)
        resumed_by = set()
        for number in range(200):
            said = probe(server.port, version, '-sess_in', session, send=WHO)
            assert 'Reused, TLS' in said
            assert common_name(said) == 'a.example'
            resumed_by.add(answered_by(said))
            if len(resumed_by) == 2 and number > 20:
                break
        assert len(resumed_by) == 2
        assert made_by in resumed_by


# -- certificates of clients ----------------------------------------------------------------------


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize(('reqs', 'client', 'refused'), [
    ('none', None, None), ('none', CLIENT, None), ('none', STRANGER, None),
    ('optional', None, None), ('optional', CLIENT, None), ('optional', CLIENT_CHAIN, None),
    ('optional', STRANGER, 'unknown ca'), ('optional', CLIENT_EXPIRED, 'certificate expired'),
    ('required', CLIENT, None), ('required', CLIENT_CHAIN, None),
    ('required', None, 'certificate required|handshake failure'),
    ('required', STRANGER, 'unknown ca'), ('required', CLIENT_EXPIRED, 'certificate expired')])
def test_certificates_of_clients(mutual, probe, version, reqs, client, refused):
    shown = ('-cert', client.cert, '-key', client.key, '-cert_chain', client.cert) if client else ()
    said = probe(mutual[reqs], version, *shown, send=WHO)
    if refused is None:
        assert 'HTTP/1.1 200 OK' in said
    else:
        assert 'HTTP/1.1' not in said
        assert re.search(f'alert ({refused})', said), said
