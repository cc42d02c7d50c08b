"""Log: what a process that serves shows of its log."""

from __future__ import annotations

import logging
import os

from ..settings import Settings
from ..settings.doubts import doubts

_FORMAT = '%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s'


def set_up_logging(settings: Settings) -> None:
    """Show our log on stderr, unless the program has set up logging itself."""
    logger = logging.getLogger('tremolo')
    logger.setLevel('DEBUG' if settings.debug else settings.log_level.upper())
    if not logging.getLogger().handlers and not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(handler)


def tell_doubts(settings: Settings) -> None:
    """Warn of options without effect, and of variables that are not known."""
    for line in doubts(settings, os.environ):
        logging.getLogger('tremolo').warning('%s', line)
