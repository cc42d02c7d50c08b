"""Look: the client's side of the control socket: one look is one connection, and gives all rows."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
import sys
import time

from ..typed import Any

Row = dict[str, Any]

# What a row says: its names, and the kinds of their values. (A server may be of another version.)
_NUMBER, _MAYBE = (int, float), (int, float, type(None))
_CONNECTION: dict[str, Any] = {
    'worker': int, 'pid': int, 'id': (int, type(None)), 'client': str, 'proxy': str,
    'address': str, 'scheme': str, 'phase': str, 'open': _MAYBE, 'since': _MAYBE, 'kind': str,
    'what': str, 'status': (int, type(None)), 'handler': str, 'place': str, 'waits': str,
    'in': _MAYBE, 'out': _NUMBER, 'kept': _NUMBER, 'unread': _NUMBER}
_WORKER: dict[str, Any] = {'worker': int, 'pid': (int, type(None)), 'state': str}
_TELLS: dict[str, Any] = {
    **_WORKER, 'pid': int, 'arriving': int, 'requests': int, 'memory': _MAYBE, 'lag': _NUMBER,
    'time': _NUMBER}

PATIENCE = 3.0    # Seconds until the server has begun to answer, and then between two pieces.
_MOST = 256 << 20    # Bytes of an answer.
_TOO_LARGE = 1e18    # No number of a row comes near it.


class LookFailed(Exception):
    """There is nothing to see; the message is one line that says why."""


class Look:
    """One look that goes on: call `readable` whenever its `fileno()` is, until `rows` are there.

    Raises `LookFailed`.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._pieces: list[bytes] = []
        self._size = 0
        self._rest = b''    # The end of what has come: the last line may be in it.
        self.rows: list[Row] | None = None    # All of them, once they are there.
        if not hasattr(socket, 'AF_UNIX'):
            raise LookFailed('this system has no UNIX sockets')
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        self.late = time.monotonic() + PATIENCE
        self._process = 0
        try:
            self._socket.connect(path)
            self._process = _process_of(self._socket)
        except BlockingIOError:
            self._fail(f'so many wait at {path!a} already: a handler holds the loop')
        except OSError as error:
            self._fail(f'no server answers at {path!a}: {_reason(error)}')

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def readable(self) -> None:
        """Take what has come."""
        while self.rows is None:
            try:
                data = self._socket.recv(262144)
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(f'no answer of the server at {self._path!a}: {_reason(error)}')
            if not data:
                self._fail(f'the server at {self._path!a} ended in the middle of its answer'
                           if self._size else f'the server at {self._path!a} tells nothing')
            self.late = time.monotonic() + PATIENCE
            self._size += len(data)
            self._pieces.append(data)
            self._rest = (self._rest + data)[-64:]
            if self._size > _MOST:
                self._fail(f'the server at {self._path!a} tells too much')
            if self._rest.endswith(b'"end"}\n'):
                self._finish()

    def check(self) -> None:
        """Raise `LookFailed` if the server lets us wait for too long."""
        if time.monotonic() >= self.late:
            self._fail(self._silent)

    def close(self) -> None:
        """Look no more."""
        self._socket.close()

    def _finish(self) -> None:
        try:
            rows = [json.loads(each, parse_float=_number, parse_int=_number, parse_constant=_number)
                    for each in b''.join(self._pieces).splitlines()]
            if not all(map(_is_row, rows)):
                raise ValueError
        except (ValueError, RecursionError):
            self._fail(f'what answers at {self._path!a} is no control socket of this version')
        self.close()
        self.rows = rows[:-1]

    @property
    def _silent(self) -> str:
        process = f' of process {self._process}' if self._process else ''
        more = f' (`kill -USR2 {self._process}` tells where)' if self._process else ''
        return f'no answer for {PATIENCE:g} s: a handler holds the loop{process}{more}'

    def _fail(self, why: str) -> None:
        self.close()
        raise LookFailed(why) from None


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    kind, counts = row.get('row'), row.get('connections', {})
    names = (_CONNECTION if kind == 'connection' else _TELLS if counts else
             _WORKER if kind == 'worker' else {'row': str})
    return (all(isinstance(row.get(name), kinds) for name, kinds in names.items())
            and isinstance(counts, dict)
            and all(type(count) is int for count in counts.values()))


def _number(text: str) -> float:
    """Read a number; raise `ValueError` if it is too large to be one of ours, or none (`NaN`)."""
    number = float(text)
    if not abs(number) < _TOO_LARGE:
        raise ValueError
    return number if '.' in text or 'e' in text.lower() else int(text)


def look(path: str) -> list[Row]:
    """Look, and wait for the rows. Raises `LookFailed`."""
    going = Look(path)
    try:
        while going.rows is None:
            select.select([going], [], [], max(0.0, going.late - time.monotonic()))
            going.readable()
            if going.rows is None:
                going.check()
        return going.rows
    finally:
        going.close()


def _process_of(sock: socket.socket) -> int:
    """Return the process that listens; 0 where the system does not tell."""
    if sys.platform != 'linux':
        return 0
    # (PyPy has no name for this option.)
    option = getattr(socket, 'SO_PEERCRED', 17)
    pid, _, _ = struct.unpack('3i', sock.getsockopt(
        socket.SOL_SOCKET, option, struct.calcsize('3i')))
    return int(pid)


def _reason(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return 'it has ended, or this is no socket'
    return os.strerror(error.errno) if error.errno else str(error)
