"""What the tests of the access log share: a writer that keeps its lines."""

from __future__ import annotations

import pytest

from tremolo.access import log as log_module


class Kept:
    """Stands in the place of the writer. `text` is what a file would hold."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, line: bytes) -> None:
        # Each is a line, and a line only.
        assert line.endswith(b'\n') and line.count(b'\n') == 1, line
        assert line.isascii() and line[:-1].decode('ascii').isprintable(), line
        self.written.append(line)

    def close(self) -> None:
        self.closed = True

    @property
    def lines(self) -> list[str]:
        return [line[:-1].decode('ascii') for line in self.written]


@pytest.fixture
def kept(monkeypatch):
    """Let access logs write into an object that keeps the lines."""
    found = Kept()
    monkeypatch.setattr(log_module, 'LogWriter', lambda *_, **more: found)
    return found
