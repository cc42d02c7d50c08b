"""Screen: a terminal whose picture is changed, and which is left as it was found.

The picture is on the terminal's second screen, without a cursor, and keys come one by one. All of
that is put back at each end: of the block, by an error, by Ctrl-C, by a signal, and for a Ctrl-Z.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress

from ..typed import Any

try:
    import termios
    import tty
except ImportError:    # Windows.
    pass

_ENTER = '\x1b[?1049h\x1b[?25l'    # The second screen; no cursor.
_LEAVE = '\x1b[?25h\x1b[?1049l'
# The signals that end it. (The second is of Ctrl-\, the third of a terminal that goes away.)
_ENDS = [getattr(signal, name) for name in ('SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGTERM')
         if hasattr(signal, name)]
_HOME, _REST_OF_LINE, _REST = '\x1b[H', '\x1b[K', '\x1b[J'


class Screen:
    """The terminal, as long as the block lasts."""

    def __enter__(self) -> Screen:
        self._keys = sys.stdin.fileno()
        self._before: Any = termios.tcgetattr(self._keys)
        self._wake_in, self._wake_out = socket.socketpair()
        for sock in (self._wake_in, self._wake_out):
            sock.setblocking(False)
        self._woken_before = signal.set_wakeup_fd(
            self._wake_out.fileno(), warn_on_full_buffer=False)
        self._ended = False
        handlers: dict[int, Any] = {
            **dict.fromkeys(_ENDS, self._end), signal.SIGTSTP: self._suspend,
            signal.SIGWINCH: lambda *_: None}
        self._handlers = {each: signal.signal(each, handlers[each]) for each in handlers}
        try:
            self._enter()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._leave()
        for signum, handler in self._handlers.items():
            # (Who was told to end does so with a status, however often it is told.)
            signal.signal(signum, signal.SIG_IGN if self._ended else handler)
        signal.set_wakeup_fd(self._woken_before)
        self._wake_in.close()
        self._wake_out.close()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal, as it is now."""
        try:
            columns, lines = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            columns, lines = shutil.get_terminal_size()
        return max(20, columns), max(4, lines)

    def show(self, lines: Iterable[str]) -> None:
        """Show these lines, which fit, and nothing else."""
        text = f'{_REST_OF_LINE}\n'.join(lines)
        _write(f'{_HOME}{text}{_REST_OF_LINE}{_REST}')

    def wait(self, seconds: float, *also: Any) -> tuple[str, list[Any]]:
        """Wait for a key, a change of the size, or what is readable of `also`; return key and that.

        The key is '' if none was pressed, and 'q' when the terminal is gone.
        """
        readable, _, _ = select.select(
            [self._keys, self._wake_in, *also], [], [], max(0.0, seconds))
        if self._wake_in in readable:
            self._wake_in.recv(4096)
        key = ''
        if self._keys in readable:
            try:
                key = os.read(self._keys, 64).decode('latin-1')[:1] or 'q'
            except OSError:
                key = 'q'
        return key, [each for each in also if each in readable]

    def _enter(self) -> None:
        tty.setcbreak(self._keys)
        _write(_ENTER)

    def _leave(self) -> None:
        try:
            _write(_LEAVE)
        finally:
            with suppress(termios.error):    # (The terminal may be gone.)
                termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)

    def _end(self, signum: int, _: object) -> None:
        """End, by the first signal: a second one must not keep the terminal from being put back."""
        if not self._ended:
            self._ended = True
            if signum == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + signum)

    def _suspend(self, *_: object) -> None:
        """Stop as the shell expects it (Ctrl-Z), and go on when it says so."""
        self._leave()
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, ours)
        self._enter()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
