"""Fixtures of the tests of what comes before HTTP; the cases of the room proxies serve, too."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / 'proxies'))


class Lines(logging.Handler):
    """Keeps what the server's logger says, from DEBUG on."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        """The lines from INFO on, without the port that the system chose."""
        return [re.sub(r'^127\.0\.0\.1:\d+: ', 'CLIENT: ', each.getMessage())
                for each in self.records if each.levelno >= logging.INFO]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger('tremolo.server')
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)
