"""Log: what a process that serves shows of its log."""

from __future__ import annotations

import logging

from ..settings import Settings


def set_up_logging(settings: Settings) -> None:
    """Show our log on stderr, unless the program has set up logging itself."""
    logger = logging.getLogger('tremolo')
    logger.setLevel('DEBUG' if settings.debug else settings.log_level.upper())
    if not logging.getLogger().handlers and not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(name)s: %(message)s'))
        logger.addHandler(handler)
