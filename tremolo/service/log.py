"""Log: what a process that serves shows of its log.

The loggers, of which `tremolo` is the root:

    tremolo           start, stop, signals, workers, certificates, the log's own trouble
    tremolo.app       the application's: `server['logger']`, `request.app.logger`
    tremolo.error     errors of handlers, hooks, jobs and of an ASGI or WSGI application
    tremolo.server    what clients do that a server does not expect: from DEBUG to WARNING
    tremolo.loop      errors of callbacks and tasks of the loop
    tremolo.access    one record an answer, if it has a handler (room access); else unused

A program, or the file of `log_config`, may set up their handlers; else all go to stderr.
"""

from __future__ import annotations

import logging
import os
import sys
import time

from .. import escaped
from ..errors import LogError, SettingError
from ..output import ASYNCIO, complain
from ..settings import Settings
from ..typed import Any

_FORMAT = '%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s'


def set_up_logging(settings: Settings, made: bool = True) -> None:
    """Show our log on stderr, unless the program has set up logging itself; keep its level.

    With `log_config` that file sets it up first, once in each process. If it cannot, this prints a
    line and raises `SystemExit`: 2 for a file that says nothing, 1 for what the system refuses.
    If no file shall be `made`, one that does not exist is left to its first line.
    """
    if settings.log_config:
        from .log_config import configure  # (Late: `logging.config` takes 5 ms.)
        try:
            configure(settings.log_config, made)
        except (SettingError, LogError) as error:
            complain(f'tremolo: error: {error}')
            raise SystemExit(2 if isinstance(error, SettingError) else 1) from None
    logger = logging.getLogger('tremolo')
    if logger.level == logging.NOTSET or logger.level == _Shown.level_given:
        logger.setLevel('DEBUG' if settings.debug else settings.log_level.upper())
        _Shown.level_given = logger.level
    if not logging.getLogger().handlers and not logger.handlers:
        handler = _Shown()
        in_json = settings.log_format == 'json'
        handler.setFormatter(JsonFormatter() if in_json else TextFormatter(_FORMAT))
        logger.addHandler(handler)
        # (What asyncio says of our tasks would be shown as it is, and in no format.)
        if not logging.getLogger(ASYNCIO).handlers:
            logging.getLogger(ASYNCIO).addHandler(handler)


def check_logs(settings: Settings) -> None:
    """Raise `LogError` if the access log cannot be written: before anything is bound or forked."""
    if settings.access_log or settings.access_logfile:
        from ..access.log_file import STDOUT, check_log
        check_log(settings.access_logfile or STDOUT)


def tell_doubts(settings: Settings) -> None:
    """Warn of options without effect, and of variables that are not known."""
    # (Imported here: only a process of its own needs it, and so not `import tremolo`.)
    from ..settings.doubts import doubts

    for line in doubts(settings, os.environ):
        logging.getLogger('tremolo').warning('%s', line)


def request_id_of(record: logging.LogRecord) -> str:
    """Return the id of the request that a record is about; '' if there is none."""
    given = getattr(record, 'request_id', '')    # (By a filter of the application's.)
    if given not in ('', '-'):
        return escaped.text_of(given)
    # (Without the option nothing has imported it.)
    module = sys.modules.get('tremolo.access.request_ids')
    return module.request_id.get() if module is not None else ''


class _Formatter(logging.Formatter):
    def formatException(self, ei: Any) -> str:    # (The name that `logging` has given it.)
        """Return a traceback; an attribute of an error, or the loader of a module, may raise."""
        try:
            return super().formatException(ei)
        except Exception:
            return f'{escaped.class_name(type(ei[1]))}, whose traceback cannot be shown'


class TextFormatter(_Formatter):
    """A record as text: what follows its first line is indented, and no byte of it is a command."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        escaped.message_of(record)    # (See there: one that cannot be made is replaced.)
        kept, record.exc_text = record.exc_text, None    # (Indented already, perhaps: output.py.)
        text = escaped.lines(super().format(record))
        record.exc_text = kept
        number = request_id_of(record)
        first, end, rest = text.partition('\n')
        # (Our own errors name it, behind the target.)
        if not number or f'({number})' in first:
            return text
        return f'{first} [{escaped.line(number)}]{end}{rest}'


class JsonFormatter(_Formatter):
    """A record as a JSON object on one line, in ASCII.

        {"time": "2026-11-30T10:22:04.123Z", "level": "ERROR", "logger": "tremolo.error",
         "pid": 12, "message": "...", "request_id": "...", "exception": "Traceback ..."}

    (Here it has two lines.) The last two are there if the record has them, and likewise `stack`.
    """

    def __init__(self) -> None:
        import json  # (Late: the text needs none.)
        super().__init__()
        self._dumps = json.dumps

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, without its end."""
        seconds = time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))
        entry = {'time': f'{seconds}.{int(record.msecs):03d}Z', 'level': record.levelname,
                 'logger': record.name, 'pid': record.process,
                 'message': escaped.message_of(record)}
        number = request_id_of(record)
        if number:
            entry['request_id'] = number
        if record.exc_info and record.exc_info[0] is not None:
            entry['exception'] = self.formatException(record.exc_info)
        if record.stack_info:
            entry['stack'] = record.stack_info
        return self._dumps(entry)


class _Shown(logging.StreamHandler):  # type: ignore[type-arg]
    """Shows a line only if no handler of the program does.

    The supervisor sets up logging before a worker imports the application, and that may call
    `logging.basicConfig`: without this each line would be there twice.
    """

    level_given = -1    # The level that was set here; any other is the program's.

    def emit(self, record: logging.LogRecord) -> None:
        """Show a line."""
        logger = logging.getLogger(ASYNCIO if record.name == ASYNCIO else 'tremolo')
        if logger.handlers == [self] and not (logger.propagate and logging.getLogger().handlers):
            super().emit(record)
