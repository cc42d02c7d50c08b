"""Fixtures of the tests of the server."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest


class Lines(logging.Handler):
    """Keeps what the server's logger says, from INFO on."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def texts(self) -> list[str]:
        """The lines, without the port that the system chose."""
        return [re.sub(r'^127\.0\.0\.1:\d+: ', 'CLIENT: ', each.getMessage())
                for each in self.records]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger('tremolo.server')
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)
