"""log_config: sets up logging as a file says (`log_config`), in each process anew.

The file is JSON, the dictionary of `logging.config.dictConfig`:

    {"version": 1,
     "handlers": {"file": {"class": "logging.handlers.WatchedFileHandler",
                           "filename": "/var/log/shop/error.log"}},
     "loggers": {"tremolo": {"level": "INFO", "handlers": ["file"]}}}

It is applied before the application is imported, in the supervisor and in each worker: what a
handler has opened does not survive a fork as a rule (a thread, a connection). A worker gets what
the supervisor has read; at SIGHUP that reads it anew, and nothing is renewed if it cannot be used.

Unless the file says `"disable_existing_loggers": true`, no logger is silenced; Python would silence
all that the file does not name, and with them ours.
"""

from __future__ import annotations

import json
import logging.config
import os

from ..errors import LogError, SettingError
from ..typed import Any


class _Applied:
    """What this process has applied, or the one that has forked it."""

    path = ''
    text = b''
    process = 0


def configure(path: str, made: bool = True) -> None:
    """Set up logging as a file says, unless this process has done so.

    If none shall be `made`, a log file that does not exist is left to the first line in it. Raises
    `SettingError` if the file does not say it, `LogError` if the system refuses something.
    """
    if _Applied.path == path and _Applied.process == os.getpid():
        return    # (The application may have changed it since, and means it.)
    text = _Applied.text if _Applied.path == path else _read(path)
    _apply(path, text, made)
    _Applied.path, _Applied.text, _Applied.process = path, text, os.getpid()


def configure_anew(path: str) -> None:
    """Read and apply the file once more, at SIGHUP; if it cannot be, all stays as it was.

    Raises what `configure` raises.
    """
    text = _read(path)
    try:
        _apply(path, text)
    except (SettingError, LogError):
        _apply(path, _Applied.text)
        raise
    _Applied.text = text


def _read(path: str) -> bytes:
    try:
        with open(path, 'rb') as file:
            return file.read()
    except OSError as error:
        raise LogError(f'log_config: {path}: {error.strerror}') from error


def _apply(path: str, text: bytes, made: bool = True) -> None:
    try:
        config: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingError(f'log_config: {path} is not JSON: {error} (YAML and INI, which others '
                           'take, are not read)') from None
    if not isinstance(config, dict):
        raise SettingError(f'log_config: {path} is JSON, but not an object: {{"version": 1, ...}}')
    config.setdefault('disable_existing_loggers', False)
    try:
        if not made:
            _delay_new_files(config)
        logging.config.dictConfig(config)
    except Exception as error:    # (A class that it names may raise any.)
        raise _told(path, error) from error


def _delay_new_files(config: dict[str, Any]) -> None:
    """Let handlers make no file until they write. Raises `OSError` if the folder is missing."""
    for handler in config.get('handlers', {}).values():
        name = handler.get('filename')
        if name and not os.path.exists(name) and str(handler.get('class')).startswith('logging.'):
            os.scandir(os.path.dirname(name) or '.').close()
            handler['delay'] = True


def _told(path: str, error: BaseException) -> Exception:
    """Return the error that says in one line what is wrong with the file."""
    reasons = [_line(error)]
    refused = isinstance(error, OSError)
    while error.__cause__ is not None:
        error = error.__cause__
        reasons.append(_line(error))
        refused = refused or isinstance(error, OSError)
    text = f'log_config: {path}: ' + ': '.join(dict.fromkeys(reasons))
    return LogError(text) if refused else SettingError(text)


def _line(error: BaseException) -> str:
    text = ' '.join(str(error).split())
    return text if isinstance(error, (ValueError, OSError)) and text else (
        f'{type(error).__name__}: {text}')
