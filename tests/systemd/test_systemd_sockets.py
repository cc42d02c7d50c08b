"""Sockets that systemd has opened, and descriptors that whoever started us has."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import time
from pathlib import Path

import pytest
from managed import APPLICATION, get, listening, received

from tremolo import Tremolo
from tremolo.errors import SettingError
from tremolo.loop import ListenError
from tremolo.settings import Address, Settings
from tremolo.systemd.sockets import inherited, take

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

WORKERS = [pytest.param((), id='alone'), pytest.param(('--workers', '2'), id='workers'),
           pytest.param(('--workers', '2', '--preload'), id='preload')]


def accepts(address) -> bool:
    """Return whether somebody listens there."""
    with socket.socket() as sock:
        return sock.connect_ex(address) == 0


def links_of(pid):
    """What the descriptors of a process are; some may go meanwhile."""
    found = []
    for fd in os.listdir(f'/proc/{pid}/fd'):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f'/proc/{pid}/fd/{fd}'))
    return found


@pytest.mark.parametrize('arguments', WORKERS)
def test_sockets_replace_host_and_port_and_bind_adds(unit, tmp_path, arguments):
    tcp, path = listening(), os.path.relpath(tmp_path / 's')
    unix = listening(socket.AF_UNIX, path)
    with tcp, unix:
        address = tcp.getsockname()
        # (Port 9 of this machine would be refused: nobody may listen there.)
        server = unit('--port', '9', *arguments, sockets=[tcp, unix])
        server.ready()
        for each in (address, path):
            assert ' first ' in get(each)
        assert get(address, '/variables') == '[]'
        # One socket is shared by all: each worker has the very same inode, and no other.
        inodes = {os.readlink(f'/proc/self/fd/{each.fileno()}') for each in (tcp, unix)}
        for pid in server.workers or {server.process.pid}:
            assert inodes <= set(links_of(pid))
        assert server.end() == 0
        assert os.path.exists(path)
        more = unit('--bind', '127.0.0.1:0', *arguments, sockets=[tcp, unix])
        more.ready()
        lines = [more.process.stdout.readline() for _ in range(3)]
        ports = {int(each) for each in re.findall(r'http://127.0.0.1:(\d+)', ''.join(lines))}
        assert len(ports) == 2 and address[1] in ports
        for each in (*(('127.0.0.1', port) for port in ports), path):
            assert ' first ' in get(each)
        assert more.end() == 0
        assert os.path.exists(path)
        # What came while nobody was there waits for the next one.
        with socket.create_connection(address) as client:
            client.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
            unit(*arguments, sockets=[tcp, unix]).ready()
            assert ' first ' in received(client)


@pytest.mark.parametrize('arguments', WORKERS)
def test_a_renewal_keeps_them_with_their_names_and_options(unit, arguments):
    web, admin = listening(), listening()
    with web, admin:
        server = unit('--bind', 'fd:admin?body_size=10', *arguments, sockets=[web, admin],
                      names='a?b%3F:admin')
        server.ready()
        old = server.workers

        def check():
            for sock, status in ((web, '404'), (admin, '413')):
                with socket.create_connection(sock.getsockname()) as client:
                    client.sendall(b'POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n'
                                   b'Connection: close\r\n\r\n' + b'x' * 11)
                    assert client.recv(99).split()[1] == status.encode()

        check()
        for _ in range(1 if arguments else 2):
            server.signal('SIGHUP')
            assert 'RELOADING' in server.told()
            server.ready()
            check()
        while old & server.workers:    # (They answer what they have, and end.)
            time.sleep(0.01)
        assert server.end() == 0
        assert 'error' not in server.log.lower()


# A name of a descriptor that only the application knows.
NAMED = APPLICATION + '''
app.listen('fd:admin', keep_alive=0)
if __name__ == '__main__':
    app.run()
'''


@pytest.mark.parametrize('command', [
    ('-m', 'tremolo', 'named:app', '--workers', '1'),
    ('-c', 'import named; named.app.run(workers=1)')],
    ids=lambda command: ' '.join(command[1:]))
def test_a_name_may_stand_in_the_application_and_may_mean_two_sockets(unit, tmp_path, command):
    (tmp_path / 'named.py').write_text(NAMED)
    sockets = [listening() for _ in range(3)]
    server = unit(command=command, sockets=sockets, names='admin:web:admin')
    server.ready()

    def check():
        for sock, closed in zip(sockets, (True, False, True)):
            with socket.create_connection(sock.getsockname()) as client:
                client.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
                head = client.recv(9999).partition(b'\r\n\r\n')[0].lower()
                assert (b'connection: close' in head) is closed

    check()
    server.signal('SIGHUP')
    assert 'RELOADING' in server.told()
    server.ready()
    check()
    assert server.end() == 0
    for each in sockets:
        each.close()


@pytest.mark.parametrize('arguments', [
    ('--fd', '3'), ('--bind', 'fd://3', '--workers', '2')], ids=' '.join)
def test_a_descriptor_without_systemd(unit, arguments):
    with listening() as sock:
        server = unit(*arguments, sockets=[sock], LISTEN_FDS='', LISTEN_PID='')
        server.ready()
        address = sock.getsockname()
        assert ' first ' in get(address)
        server.signal('SIGHUP')
        assert 'RELOADING' in server.told()
        server.ready()
        assert ' first ' in get(address)
        assert server.end() == 0
        assert accepts(address)    # (It is ours yet.)


def test_sockets_for_another_process_are_ignored_and_the_variables_removed():
    environ = {'LISTEN_FDS': '1', 'LISTEN_PID': '1', 'LISTEN_FDNAMES': 'a', 'LISTEN_PIDFDID': '5',
               'HOME': '/'}
    assert take(environ) == []
    assert environ == {'HOME': '/'}
    for each in ({'LISTEN_FDS': '2'}, {'LISTEN_FDS': 'x', 'LISTEN_PID': '1'}, {}):
        assert take(each) == []
        assert each == {}


@pytest.mark.parametrize('variables, complaint', [
    ({'LISTEN_FDS': 'two'}, "LISTEN_FDS: 'two' is not a number"),
    ({'LISTEN_FDS': '-1'}, "LISTEN_FDS: '-1' is not a number"),
    ({'LISTEN_FDS': ''}, "LISTEN_FDS: '' is not a number"),
    ({'LISTEN_FDS': '²'}, "LISTEN_FDS: '²' is not a number"),
    ({'LISTEN_FDS': '9' * 400}, "LISTEN_FDS: '9999"),
    ({'LISTEN_FDS': '2147483647'}, "LISTEN_FDS: '2147483647' is not"),
    ({'LISTEN_FDS': '1', 'LISTEN_PID': 'x'}, "LISTEN_PID: 'x' is not a number"),
    ({'LISTEN_FDS': '2', 'LISTEN_FDNAMES': 'a'}, 'LISTEN_FDNAMES: has 1 names, and LISTEN_FDS is'),
    ({'LISTEN_FDS': '1', 'LISTEN_FDNAMES': 'a\nb'}, "LISTEN_FDNAMES: 'a\\nb' are not names"),
])
def test_variables_that_cannot_be_read(variables, complaint):
    environ = {'LISTEN_PID': str(os.getpid()), **variables}
    with pytest.raises(SettingError) as caught:
        take(environ)
    assert str(caught.value).startswith(complaint)
    assert environ == {}


def datagram():
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(('127.0.0.1', 0))
    return sock


def packets():
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.bind('')
    sock.listen()
    return sock


def bound():
    sock = socket.socket()
    sock.bind(('127.0.0.1', 0))
    return sock


def connected():
    with listening() as sock:
        return socket.create_connection(sock.getsockname())


LIES = [
    pytest.param(Path(os.devnull).open, 'is no socket', id='a file'),
    pytest.param(datagram, 'is a datagram socket, not a stream', id='a datagram socket'),
    pytest.param(packets, 'is a packet socket, not a stream', id='a packet socket'),
    pytest.param(socket.socket, 'does not listen', id='a new socket'),
    pytest.param(bound, 'does not listen', id='a bound socket'),
    pytest.param(connected, 'does not listen', id='a connection'),
]


@pytest.mark.parametrize('make, complaint', LIES)
def test_a_descriptor_that_nobody_can_connect_to_is_refused_and_stays_open(make, complaint):
    with make() as lie:
        with pytest.raises(ListenError) as caught:
            inherited(Address(None, fd=lie.fileno()))
        assert str(caught.value).startswith(
            f'cannot listen on fd:{lie.fileno()}: descriptor {lie.fileno()} {complaint}')
        os.fstat(lie.fileno())


def test_a_descriptor_that_is_not_open_and_a_name_that_is_not_given():
    with pytest.raises(ListenError, match='cannot listen on fd:999: descriptor 999 is not open'):
        inherited(Address(None, fd=999))
    with pytest.raises(ListenError, match='cannot listen on fd:web: systemd has given no socket'):
        Tremolo().start(bind='fd:web')


def refused(unit, *arguments, **more):
    """Return the status of a program that does not start, and its one line."""
    server = unit(*arguments, **more)
    status = server.process.wait(60)
    assert server.process.stdout.read() == ''
    assert server.told_all() == []
    line, = server.log.splitlines()
    assert line.startswith('tremolo: error: ')
    return status, line[len('tremolo: error: '):]


@pytest.mark.parametrize('arguments', WORKERS[:2])
def test_what_is_not_as_promised_ends_the_start_with_one_line(unit, arguments, tmp_path):
    with listening() as good, datagram() as bad:
        before = '--bind=unix:s'
        for sockets, more, status, line in (
            ([good], {'LISTEN_FDS': '90'},
             1, 'LISTEN_FDS: 90 sockets were promised, and descriptor '),
            ([good, bad], {}, 1, 'LISTEN_FDS: 2 sockets were promised, and descriptor 4 is a '),
            ([good], {'LISTEN_FDS': 'x'}, 2, "LISTEN_FDS: 'x' is not a number"),
        ):
            ended, told = refused(unit, before, *arguments, sockets=sockets, **more)
            assert (ended, told[:len(line)]) == (status, line)
        ended, told = refused(unit, before, '--bind', 'fd:api', *arguments, sockets=[good],
                              names='web')
        assert (ended, told) == (1, 'cannot listen on fd:api: systemd has given no socket of this '
                                    'name (LISTEN_FDNAMES)')
        ended, told = refused(unit, before, '--fd', '4', *arguments, sockets=[good, bad],
                              LISTEN_FDS='', LISTEN_PID='')
        assert ended == 1 and told.startswith('cannot listen on fd:4: descriptor 4 is a datagram')
    assert not (tmp_path / 's').exists()    # (Nothing is half started.)


def test_an_application_is_not_imported_before_the_sockets_are_looked_at(unit):
    with listening() as sock:
        status, _ = refused(unit, sockets=[sock], LISTEN_FDS='7',
                            application='open("imported", "w")')
        assert status == 1


# -- inside another program -----------------------------------------------------------------------


@pytest.mark.parametrize('options', [{'fd': None}, {'bind': 'fd:{}'}, {'bind': ['fd://{}']}])
def test_a_descriptor_of_the_program_itself(options):
    app = Tremolo()
    app.route('/')(lambda: 'Hello world!')
    with listening() as sock:
        number = sock.fileno()
        os.set_inheritable(number, True)
        given = {'fd': number} if 'fd' in options else {
            'bind': [each.format(number) for each in options['bind']]
            if isinstance(options['bind'], list) else options['bind'].format(number)}
        for _ in range(2):
            with app.start(**given) as running:
                assert running.address == sock.getsockname()
                assert get(running.address) == 'Hello world!'
                assert not os.get_inheritable(number)
        # The descriptor stays open, and the program's own.
        assert accepts(sock.getsockname())
    with listening() as sock:
        app.listen(f'fd:{sock.fileno()}')
        with app.start() as running:
            assert [get(each.address) for each in running.server.listeners] == ['Hello world!'] * 2


def test_a_unix_socket_of_others_keeps_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = Tremolo()
    app.route('/')(lambda: 'Hello world!')
    with listening(socket.AF_UNIX, 's') as sock:
        with app.start(fd=sock.fileno()):
            assert get('s') == 'Hello world!'
        assert os.path.exists('s')


def test_fd_is_a_bind_that_adds():
    assert Settings(fd=3).addresses == (Address(None, fd=3),)
    assert Settings(fd='3', bind=':80').addresses == (Address('', 80), Address(None, fd=3))
    for given in {'port': 80}, {'host': '::'}:
        with pytest.raises(SettingError, match=r'^fd: is a socket that has its address'):
            Settings(fd=3, **given)
    assert Settings.load({}, {'TREMOLO_FD': '3', 'PORT': '81'}).addresses == (Address(None, fd=3),)
    assert Settings.load({'port': 81}, {'TREMOLO_FD': '3'}).addresses == (
        Address('127.0.0.1', 81),)
    for wrong in 'web', -1, '3.5':
        with pytest.raises(SettingError, match=r'^fd: '):
            Settings(fd=wrong)
