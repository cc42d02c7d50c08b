"""TLS of real processes: certificates before the fork, and new ones on SIGHUP.

Three modes: workers that the supervisor forks, one process that begins anew, and workers that start
their program afresh.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import sys

import pytest
from certificates import ENCRYPTED_KEY, OTHER_KEY, PASSWORD, A, B, client_context
from worker_group import APPLICATION, PATIENCE, TWO, wait_until

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

PROGRAM = APPLICATION + '''
@app.route('/password')
def password(request, **server):
    options = server['context'].options
    return f"{options['ssl_keyfile_password']} {options['keyfile_password']} {dict(options)}"

if __name__ == '__main__':
    app.run(port=0, ssl_certfile='live/cert.pem', ssl_keyfile='live/key.pem', **{options})
'''
PAIR = ('--ssl-certfile', 'live/cert.pem', '--ssl-keyfile', 'live/key.pem')
MODES = {
    'workers': (('-m', 'tremolo', 'example:app'), (*TWO, *PAIR)),
    'preloaded': (('-m', 'tremolo', 'example:app'), (*TWO, '--preload', *PAIR)),
    'alone': (('-m', 'tremolo', 'example:app'), ('--port', '0', *PAIR)),
    'program': (('example.py',), ()),
}


def put(folder, cert, key):
    """Let the link `live` lead to a new folder with this pair."""
    names = sorted(path.name for path in folder.glob('pair*'))
    new = folder / f'pair{len(names)}'
    new.mkdir()
    shutil.copy(cert, new / 'cert.pem')
    shutil.copy(key, new / 'key.pem')
    (folder / 'next').symlink_to(new.name)
    os.replace(folder / 'next', folder / 'live')


class Client:
    """A client that looks at a server's certificate, and comes back with its session."""

    def __init__(self, address, session=None, context=None, path='/'):
        host, port = address.rpartition('//')[2].split(':')
        self.context = context or client_context()
        with socket.create_connection((host, int(port)), PATIENCE) as plain, \
                self.context.wrap_socket(plain, session=session) as sock:
            sock.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'.encode())
            data = b''
            while more := sock.recv(65536):
                data += more
            self.body = data.partition(b'\r\n\r\n')[2].decode()
            self.name = sock.getpeercert()['subjectAltName'][0][1]
            self.session, self.resumed = sock.session, sock.session_reused


def shown(server):
    try:
        return Client(server.address).name
    except ssl.SSLError:
        return ''


@pytest.fixture
def started(group, tmp_path):
    """Start a server in one of the modes, with the certificate of a.example."""
    def start(mode, *more):
        put(tmp_path, *A)
        (tmp_path / 'example.py').write_text(
            PROGRAM.replace('{options}', repr({'workers': 1} if mode == 'program' else {})))
        command, arguments = MODES[mode]
        server = group(*arguments, *more, command=command)
        assert server.address.startswith('https://127.0.0.1:'), server.log
        return server
    return start


@pytest.mark.parametrize('mode', MODES)
def test_a_new_pair_is_served_on_sighup_and_a_bad_one_keeps_the_old(mode, started, tmp_path):
    server = started(mode)
    put(tmp_path, B.cert, OTHER_KEY)
    server.signal('SIGHUP')
    wait_until(lambda: any(words in server.log for words in (
        'the old workers go on', 'the old program goes on', 'goes on in its place')))
    assert shown(server) == 'a.example'
    assert server.log.count('does not belong to the certificate') == 1
    assert 'Traceback' not in server.log
    if mode != 'program':    # (Its new worker ends, as with any code that does not start.)
        assert server.log.count('ERROR') == 1
    put(tmp_path, *B)
    assert shown(server) == 'a.example'
    server.signal('SIGHUP')
    wait_until(lambda: shown(server) == 'b.example')
    assert server.end() == 0


@pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_in_another_worker_and_not_after_new_certificates(
        version, started, tmp_path):
    server = started('workers')
    context = client_context()
    context.maximum_version = version
    first = Client(server.address, context=context)
    pids, session = {first.body}, first.session
    for _ in range(60):
        again = Client(server.address, session, context)
        assert again.resumed
        pids, session = pids | {again.body}, again.session
        if len(pids) > 1:
            break
    assert len(pids) == 2
    before = server.pids
    server.signal('SIGHUP')
    wait_until(lambda: not before & server.pids and server.pids)
    last = Client(server.address, session, context)
    assert (last.resumed, last.name) == (False, 'a.example')
    assert server.end() == 0


def test_a_worker_that_replaces_another_has_its_sessions(started):
    server = started('workers')
    context = client_context()
    first = Client(server.address, context=context)
    before = server.pids
    for pid in before:
        os.kill(pid, 15)
    wait_until(lambda: server.pids and not before & server.pids)
    assert Client(server.address, first.session, context).resumed
    assert server.end() == 0


def test_an_address_of_its_own_is_announced_by_its_own_scheme(group, tmp_path):
    (tmp_path / 'example.py').write_text(APPLICATION + f'''
app.listen(0, ssl_certfile={A.cert!r}, ssl_keyfile={A.key!r})
''')
    for arguments in (TWO, (*TWO, '--preload'), ('--port', '0')):
        server = group(*arguments)
        assert server.address.startswith('http://')
        line = server.process.stdout.readline()
        assert line.startswith('running on https://127.0.0.1:'), line
        assert Client(line.split()[2]).name == 'a.example'
        assert server.get().endswith('first')
        assert server.end() == 0


@pytest.mark.parametrize('mode', ['workers', 'preloaded', 'alone'])
def test_a_certificate_that_cannot_be_used_ends_the_start_with_one_line(mode, group, tmp_path):
    put(tmp_path, A.cert, OTHER_KEY)
    command, arguments = MODES[mode]
    arguments = [each for each in arguments if each not in ('--port', '0')]
    server = group(*arguments, '--bind', 'unix:app.sock', command=command)
    assert server.end() == 1
    assert server.log == (f'tremolo: error: ssl_keyfile: {tmp_path}/live/key.pem does not belong '
                          f'to the certificate {tmp_path}/live/cert.pem\n')
    assert server.address == '' and not (tmp_path / 'app.sock').exists()


@pytest.mark.parametrize('mode', ['workers', 'alone'])
def test_a_bad_certificate_of_one_address_leaves_nothing_of_the_others(mode, group, tmp_path):
    (tmp_path / 'example.py').write_text(APPLICATION + f'''
app.listen('unix:other.sock')
app.listen(0, ssl_certfile={A.cert!r}, ssl_keyfile={OTHER_KEY!r})
''')
    server = group(*((*TWO, '--preload') if mode == 'workers' else ('--port', '0')))
    assert server.end() == 1
    assert server.log.startswith('tremolo: error: ssl_keyfile: ') and server.log.count('\n') == 1
    assert not (tmp_path / 'other.sock').exists()


def test_a_password_is_printed_nowhere(group, tmp_path):
    """Fault 27 of the earlier tremolo: it printed all options, the password too, at its start."""
    (tmp_path / 'example.py').write_text(PROGRAM)
    server = group(*TWO, '--debug', '--ssl-certfile', A.cert, '--ssl-keyfile', ENCRYPTED_KEY,
                   '--ssl-keyfile-password', PASSWORD)
    body = Client(server.address, path='/password').body
    assert body.startswith('*** *** {') and PASSWORD not in body
    server.signal('SIGUSR2')
    server.signal('SIGHUP')
    wait_until(lambda: 'handed over' in server.log)
    assert server.end() == 0
    assert PASSWORD not in server.log.replace('ssl_keyfile_password', '')
