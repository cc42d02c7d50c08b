"""What the server's logger says, for the tests of several rooms."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager


class Lines(logging.Handler):
    """Keeps what the server's logger says."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        """The lines from INFO on, without the port that the system chose."""
        return [re.sub(r'^127\.0\.0\.1:\d+: ', 'CLIENT: ', each.getMessage())
                for each in self.records if each.levelno >= logging.INFO]


@contextmanager
def server_lines(level: int = logging.INFO) -> Iterator[Lines]:
    """Keep the lines of this level, and above it, as long as the block lasts."""
    handler, logger = Lines(level), logging.getLogger('tremolo.server')
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield handler
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
