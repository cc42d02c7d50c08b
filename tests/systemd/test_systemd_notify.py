"""What the service manager is told: ready, renewing, stopping, and that the loop turns."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import time

import pytest
from managed import APPLICATION, get, listening

from tremolo.systemd.manager import Manager

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

WORKERS = [pytest.param((), id='alone'), pytest.param(('--workers', '2'), id='workers')]
ANY_PORT = ('--port', '0')


@pytest.fixture(params=['path', 'abstract'])
def ear(request):
    """Give a socket that hears what is told, and the variable that names it."""
    with tempfile.TemporaryDirectory() as folder, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f'{folder}/n'
        sock.bind('\0' + name if request.param == 'abstract' else name)
        sock.settimeout(0)
        yield sock, '@' + name if request.param == 'abstract' else name


def heard(sock) -> list[str]:
    """Return the first line of each message that has come."""
    lines = []
    try:
        while True:
            lines.append(sock.recv(9999).decode().split('\n')[0])
    except BlockingIOError:
        return lines


# -- the messages ---------------------------------------------------------------------------------


def test_the_watchdog_is_told_at_half_of_its_time_and_only_while_the_loop_turns(world, ear):
    sock, name = ear
    environ = {'NOTIFY_SOCKET': name, 'WATCHDOG_USEC': '20000000', 'WATCHDOG_PID': str(os.getpid())}
    with world.reactor() as reactor:
        manager = Manager(environ)
        assert environ == {}
        manager.ready(reactor, 'serving')
        # (The first at once: the time of the manager runs from READY on.)
        assert heard(sock) == ['READY=1', 'WATCHDOG=1']
        for _ in range(3):
            reactor.call_later(10.001, reactor.stop)
            reactor.run()
            assert heard(sock) == ['WATCHDOG=1']
        # Nobody turns the loop: nothing is told.
        assert heard(sock) == []
        # A second READY is no second watchdog.
        manager.ready(reactor, 'serving')
        assert heard(sock) == ['READY=1']
        reactor.call_later(10.001, reactor.stop)
        reactor.run()
        assert heard(sock) == ['WATCHDOG=1']
        # The program that follows in this process gets the variables, and a whole interval.
        manager.keep(environ)
        assert heard(sock) == ['WATCHDOG=1']
        assert environ == {'NOTIFY_SOCKET': name, 'WATCHDOG_USEC': '20000000',
                           'WATCHDOG_PID': str(os.getpid())}
        manager.stopping()
        manager.stopping()
        manager.ready(reactor, 'serving')
        assert heard(sock) == ['STOPPING=1']
        manager.close()
        manager.reloading()
        assert heard(sock) == []


@pytest.mark.parametrize('variables', [
    {'WATCHDOG_USEC': '1000000', 'WATCHDOG_PID': '1'}, {'WATCHDOG_USEC': '0'},
    {'WATCHDOG_USEC': 'soon'}, {'WATCHDOG_USEC': '9' * 400}, {'WATCHDOG_USEC': '-5'}, {}])
def test_without_a_watchdog_for_this_process_there_is_none(world, ear, variables):
    sock, name = ear
    with world.reactor() as reactor:
        manager = Manager({'NOTIFY_SOCKET': name, **variables})
        manager.ready(reactor, 'serving')
        reactor.call_later(60, reactor.stop)
        reactor.run()
        assert heard(sock) == ['READY=1']
        manager.close()


def test_the_messages_are_those_of_sd_notify(world, ear):
    sock, name = ear
    with world.reactor() as reactor:
        manager = Manager({'NOTIFY_SOCKET': name})
        before = time.clock_gettime(time.CLOCK_MONOTONIC)
        manager.reloading()
        lines = sock.recv(9999).decode().split('\n')
        assert lines[0] == 'RELOADING=1' and lines[1].startswith('MONOTONIC_USEC=')
        assert before <= int(lines[1].partition('=')[2]) / 1e6 + 1e-6
        assert int(lines[1].partition('=')[2]) / 1e6 <= time.clock_gettime(time.CLOCK_MONOTONIC)
        manager.ready(reactor, 'serving')
        assert sock.recv(9999).decode().split('\n') == [
            'READY=1', 'STATUS=serving', f'MAINPID={os.getpid()}']
        manager.close()


@pytest.mark.parametrize('name', [
    '/nowhere/at/all', '@nobody', 'vsock:2:1234', 'relative', '/' + 'x' * 300, '/run/\udcff'])
def test_a_manager_that_does_not_hear_is_no_failure(world, name, caplog):
    caplog.set_level(logging.DEBUG, 'tremolo')
    with world.reactor() as reactor:
        manager = Manager({'NOTIFY_SOCKET': name})
        manager.ready(reactor, 'serving')
        manager.close()
    line, = [each for each in caplog.records if each.name == 'tremolo']
    assert line.levelname == 'DEBUG'


def test_a_manager_that_does_not_listen_holds_up_nothing(world, ear):
    sock, name = ear
    with world.reactor() as reactor:
        manager = Manager({'NOTIFY_SOCKET': name})
        for _ in range(2000):    # (More than any queue of datagrams holds.)
            manager.ready(reactor, 'serving')
        manager.close()
    assert 0 < len(heard(sock)) < 2000


def test_a_ready_that_finds_the_queue_full_is_sent_again(world, ear):
    sock, name = ear
    with world.reactor() as reactor:
        manager = Manager({'NOTIFY_SOCKET': name})
        for _ in range(2000):    # (More than any queue of datagrams holds.)
            manager.reloading()
        manager.ready(reactor, 'serving')
        assert 'READY=1' not in heard(sock)
        reactor.call_later(60, reactor.stop)
        reactor.run()
        assert heard(sock) == ['READY=1']
        # One that a renewal has overtaken is not.
        for _ in range(2000):
            manager.ready(reactor, 'serving')
        heard(sock)
        manager.reloading()
        reactor.call_later(60, reactor.stop)
        reactor.run()
        assert heard(sock) == ['RELOADING=1']
        manager.close()


def test_without_a_manager_nothing_is_imported_and_nothing_told(world):
    environ = {'HOME': '/'}
    with world.reactor() as reactor:
        manager = Manager(environ)
        manager.reloading()
        manager.ready(reactor, 'serving')
        manager.stopping()
        manager.keep(environ)
        manager.close()
    assert environ == {'HOME': '/'} and manager.given == []


# -- a whole server -------------------------------------------------------------------------------


@pytest.mark.parametrize('arguments', WORKERS)
def test_a_service_of_type_notify_reload(unit, arguments):
    server = unit(*ANY_PORT, *arguments, WATCHDOG_USEC='60000000', abstract=bool(arguments))
    pid = server.process.pid
    assert server.ready() == {'READY': '1', 'STATUS': 'serving', 'MAINPID': str(pid)}
    assert server.told() == {'WATCHDOG': '1'}
    first = server.told_all()
    assert first == []
    address = ('127.0.0.1', int(server.process.stdout.readline().split()[2].rpartition(':')[2]))
    assert get(address, '/variables') == '[]'

    def renew():
        """Renew it as systemd does; return the last message."""
        now = time.monotonic()
        server.signal('SIGHUP')
        while (message := server.told()) == {'WATCHDOG': '1'}:
            pass
        assert message['RELOADING'] == '1' and int(message['MONOTONIC_USEC']) > now * 1e6
        while 'READY' not in (message := server.told()):
            assert message == {'WATCHDOG': '1'}
        return message

    (server.folder / 'example.py').write_text(APPLICATION.replace('first', 'second'))
    assert renew() == {'READY': '1', 'STATUS': 'serving', 'MAINPID': str(pid)}
    assert ' second' in get(address)
    assert get(address, '/variables') == '[]'
    (server.folder / 'example.py').write_text('this is no Python')
    failed = {'READY': '1', 'STATUS': 'serving; the last renewal failed (see the log)',
              'MAINPID': str(pid)}
    assert renew() == failed
    assert ' second' in get(address)
    server.told_all()
    server.signal('SIGTERM')
    while 'STOPPING' not in (message := server.told()):
        assert message == {'WATCHDOG': '1'}
    assert server.process.wait(60) == 0
    assert [each for each in server.told_all() if each != {'WATCHDOG': '1'}] == []


@pytest.mark.parametrize('arguments', WORKERS)
def test_a_start_that_fails_is_never_ready(unit, arguments):
    server = unit(*ANY_PORT, *arguments, application='import nothing_of_the_kind')
    assert server.process.wait(60) == 4
    assert [each for each in server.told_all() if 'READY' in each] == []


def test_ready_is_told_after_the_start_of_the_application(unit):
    server = unit(*ANY_PORT, application=APPLICATION + """
@app.on_worker_start
def begin():
    while not os.path.exists('go'):
        yield tremolo.sleep(0.01)
    open('begun', 'w').close()
""")
    assert server.told_all() == []
    (server.folder / 'go').write_text('')
    server.ready()
    assert (server.folder / 'begun').exists()
    # Not only a signal ends it.
    address = ('127.0.0.1', int(server.process.stdout.readline().split()[2].rpartition(':')[2]))
    get(address, '/stop')
    assert server.told()['STOPPING'] == '1'
    assert server.process.wait(60) == 0


def test_a_stop_while_a_renewal_is_put_off_is_told(unit):
    server = unit(*ANY_PORT, application=APPLICATION + """
@app.route('/held')
def held():
    while not os.path.exists('go'):
        yield tremolo.sleep(0.01)
    yield 'held'
""")
    server.ready()
    address = ('127.0.0.1', int(server.process.stdout.readline().split()[2].rpartition(':')[2]))
    with socket.create_connection(address, 60) as sock:
        sock.sendall(b'GET /held HTTP/1.1\r\nHost: x\r\n\r\n')
        get(address)    # (So the first one has begun.)
        server.signal('SIGHUP')
        assert server.told()['RELOADING'] == '1'
        while 'serving goes on' not in server.log:
            get(address)
        get(address, '/stop')
        assert server.told()['STOPPING'] == '1'
        (server.folder / 'go').touch()
        assert server.process.wait(60) == 0


def test_a_loop_that_stands_still_tells_nothing_and_a_worker_does_not_speak(unit):
    server = unit(*ANY_PORT, '--workers', '1', WATCHDOG_USEC='100000')
    server.ready()
    assert server.told() == server.told() == {'WATCHDOG': '1'}
    (worker,) = server.workers
    os.kill(worker, signal.SIGSTOP)
    assert server.told() == server.told() == {'WATCHDOG': '1'}
    # (The worker has no variable, and no socket of its own for it.)
    links = [os.readlink(f'/proc/{worker}/fd/{fd}') for fd in os.listdir(f'/proc/{worker}/fd')]
    ours = [os.readlink(f'/proc/{server.process.pid}/fd/{fd}')
            for fd in os.listdir(f'/proc/{server.process.pid}/fd')]
    assert len([each for each in ours if each.startswith('socket:') and each not in links]) >= 2
    os.kill(worker, signal.SIGCONT)
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        server.ear.settimeout(0.2)
        with pytest.raises(socket.timeout):    # (Before Python 3.10 it is no TimeoutError.)
            for _ in range(50):
                server.told()
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_a_socket_unit_without_messages_needs_no_manager_to_hear(unit):
    with listening() as sock:
        server = unit(sockets=[sock], NOTIFY_SOCKET='')
        assert server.process.stdout.readline().startswith('running on ')
        assert ' first ' in get(sock.getsockname())
        assert server.told_all() == []
