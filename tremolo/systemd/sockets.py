"""Sockets that another program has opened: a service manager (LISTEN_FDS), or whoever started us.

    given = take(os.environ)            # [(Address fd:3:web, [<socket>]), ...]
    sock = inherited(parse_bind('fd:5'))

systemd opens the sockets of a socket unit, and keeps them: while no process of ours is there, the
clients wait in their queues. It hands them over as descriptors from 3 on; three variables say how
many, for which process, and by which names (sd_listen_fds(3)).

Nothing is bound here, and no file of a UNIX socket is ever removed: they belong to who made them.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
from collections.abc import MutableMapping

from ..errors import SettingError
from ..loop import ListenError
from ..settings import Address

_log = logging.getLogger('tremolo')

_FIRST = 3    # The descriptor of the first socket: SD_LISTEN_FDS_START.
_MOST = 2**31 - 1    # A larger number is no C int.
_UNNAMED = 'unknown'    # The name of a socket whose unit gives it none.
_FAMILIES = ('AF_INET', 'AF_INET6', 'AF_UNIX')

Given = list[tuple[Address, list[socket.socket]]]


def take(environ: MutableMapping[str, str]) -> Given:
    """Take the sockets that systemd has for this process; the variables are removed.

    So neither the variables nor the sockets come to a child, not even to one for which the
    variables say something. Raises `SettingError` for variables that cannot be read, `ListenError`
    for a descriptor that is not open, or no listening stream socket.
    """
    count, pid, names = [environ.pop(variable, '')
                         for variable in ('LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES')]
    environ.pop('LISTEN_PIDFDID', None)    # (From systemd 259 on: the same as the process id.)
    if not count and not pid:
        return []
    if _number('LISTEN_PID', pid or '0') != os.getpid():
        # (A shell that starts us without `exec` has the id that systemd meant.)
        _log.debug('LISTEN_FDS is for process %s, and not for this one: ignored', pid)
        return []
    number = _number('LISTEN_FDS', count)
    named = names.split(':') if names else []
    if named and len(named) != number:
        raise SettingError(f'LISTEN_FDNAMES: has {len(named)} names, and LISTEN_FDS is {number}')
    if not names.isprintable():
        raise SettingError(f'LISTEN_FDNAMES: {names[:64]!r} are not names')
    given: Given = []
    for fd in range(_FIRST, _FIRST + number):
        sock = _listening(fd, f'LISTEN_FDS: {number} sockets were promised, and')
        name = (named[fd - _FIRST] if named else '') or _UNNAMED
        given.append((Address(None, fd=fd, name=name), [sock]))
    return given


def inherited(address: Address) -> socket.socket:
    """Return a socket of our own for the descriptor of an address: `fd:5`. Raises `ListenError`.

    It is a duplicate: the program in which a server runs may have an object that closes the first.
    That one is kept from our children, too.
    """
    if address.fd is None:
        raise ListenError(f'cannot listen on {address.place}: systemd has given no socket of this '
                          'name (LISTEN_FDNAMES)')
    sock = _listening(address.fd, f'cannot listen on {address.place}:')
    try:
        return sock.dup()
    except OSError as error:
        raise ListenError(f'cannot listen on {address.place}: {error.strerror}') from error
    finally:
        sock.detach()


def _number(variable: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= _MOST - _FIRST):
        raise SettingError(f'{variable}: {text[:64]!r} is not a number')
    return int(text)


def _listening(fd: int, what: str) -> socket.socket:
    """Return the listening stream socket of a descriptor, which no child gets."""
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise ListenError(f'{what} descriptor {fd} is no socket')
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise ListenError(f'{what} descriptor {fd} is not open: {error.strerror}') from error
    wrong = _wrong(sock)
    if wrong:
        sock.detach()
        raise ListenError(f'{what} descriptor {fd} {wrong}')
    return sock


def _wrong(sock: socket.socket) -> str:
    """Say what a socket is, if nobody can connect to it as to an HTTP server; else ''."""
    kind = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    if kind != socket.SOCK_STREAM:
        return f'is a {"datagram" if kind == socket.SOCK_DGRAM else "packet"} socket, not a stream'
    if sock.family not in [getattr(socket, name, None) for name in _FAMILIES]:
        return f'is a socket of another family: {sock.family}'
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return 'does not listen: it is a connection, or not bound'
    return ''
