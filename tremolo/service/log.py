"""Log: what a process that serves shows of its log."""

from __future__ import annotations

import logging
import os

from ..settings import Settings

_FORMAT = '%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s'


def set_up_logging(settings: Settings) -> None:
    """Show our log on stderr, unless the program has set up logging itself; keep its level."""
    logger = logging.getLogger('tremolo')
    if logger.level == logging.NOTSET or logger.level == _Shown.level_given:
        logger.setLevel('DEBUG' if settings.debug else settings.log_level.upper())
        _Shown.level_given = logger.level
    if not logging.getLogger().handlers and not logger.handlers:
        handler = _Shown()
        handler.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(handler)


def tell_doubts(settings: Settings) -> None:
    """Warn of options without effect, and of variables that are not known."""
    # (Imported here: only a process of its own needs it, and so not `import tremolo`.)
    from ..settings.doubts import doubts

    for line in doubts(settings, os.environ):
        logging.getLogger('tremolo').warning('%s', line)


class _Shown(logging.StreamHandler):  # type: ignore[type-arg]
    """Shows a line only if no handler of the program does.

    The supervisor sets up logging before a worker imports the application, and that may call
    `logging.basicConfig`: without this each line would be there twice.
    """

    level_given = -1    # The level that was set here; any other is the program's.

    def emit(self, record: logging.LogRecord) -> None:
        """Show a line."""
        logger = logging.getLogger('tremolo')
        if logger.handlers == [self] and not (logger.propagate and logging.getLogger().handlers):
            super().emit(record)
