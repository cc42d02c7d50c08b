"""Opening: from a path, or from an open file, to what a handler returns."""

from __future__ import annotations

import errno
import io
import logging
import os
import stat

from ..server.errors import NotFound, raise_if_scarce
from ..typed import Any, BinaryIO
from .answer import FileAnswer

_log = logging.getLogger('tremolo.server')

# (Without O_NONBLOCK the opening of a FIFO waits for its writer. O_BINARY: Windows.)
FLAGS = (os.O_RDONLY | getattr(os, 'O_CLOEXEC', 0) | getattr(os, 'O_NONBLOCK', 0)
          | getattr(os, 'O_NOCTTY', 0) | getattr(os, 'O_BINARY', 0))
# What is wrong with a path that leads nowhere.
NOWHERE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG,
                     errno.ENXIO))


def send_file(path_or_file: str | os.PathLike[str] | BinaryIO, download_name: str | None = None,
              content_type: str | None = None) -> FileAnswer:
    """Return a file as the answer of a handler: `return send_file('report.pdf')`.

    A path is opened at once, and an open file is sent from its position to its end; both are closed
    when they are sent, or cannot be. `download_name` lets a browser store the answer under that
    name. The `content_type` is guessed by the suffix of the name.

    Raises `NotFound` if the path leads to no regular file, an `HTTPError` of 503 if the process has
    too many files open, `OSError` if it cannot be opened for another reason, and `TypeError` for a
    file that is not binary or cannot seek.
    """
    if not isinstance(download_name, (str, type(None))):
        raise TypeError(f'download_name is str, not {type(download_name).__name__}')
    if isinstance(path_or_file, (str, bytes, os.PathLike)):
        path = os.fsdecode(path_or_file)
        name = os.path.basename(path)
        fd, found = _open(path)
        answer = FileAnswer.opened(fd, found, name, content_type, download_name=download_name)
    else:
        answer = _of_object(path_or_file, download_name, content_type)
    return answer


def _open(path: str) -> tuple[int, os.stat_result]:
    try:
        fd = os.open(path, FLAGS)
    except ValueError as error:    # A NUL, or half a surrogate pair.
        raise _nothing(path) from error
    except OSError as error:
        if error.errno in NOWHERE:
            raise _nothing(path) from error
        raise_if_scarce(error)
        raise
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise _nothing(path)
    return fd, found


def _nothing(path: str) -> NotFound:
    # (Most names come from a request: then it is the client's mistake, and not worth a line.)
    _log.debug('send_file: no file at %.200a', path)
    return NotFound()


def _of_object(file: Any, download_name: str | None, content_type: str | None) -> FileAnswer:
    name = getattr(file, 'name', '')
    name = os.path.basename(name) if isinstance(name, str) else ''
    try:
        text = isinstance(file, io.TextIOBase)
        if text or not file.seekable():
            kind = 'text' if text else 'a stream that cannot seek'
            raise TypeError(f'send_file takes a path or a binary file, not {kind}: '
                            + ("open it with 'rb'" if text else 'yield its pieces'))
        begin = file.tell()
        # (A real file may still hold what was written to it.)
        if hasattr(file, 'flush'):
            file.flush()
        raw = getattr(file, 'raw', file)
        if type(raw) is io.FileIO and stat.S_ISREG((found := os.fstat(raw.fileno())).st_mode):
            return FileAnswer(file, raw.fileno(), begin, max(0, found.st_size - begin), name,
                              content_type, found.st_mtime_ns, download_name=download_name)
        size = file.seek(0, os.SEEK_END) - begin
        return FileAnswer(file, -1, begin, max(0, size), name, content_type,
                          download_name=download_name)
    except AttributeError as error:
        raise TypeError('send_file takes a path or a binary file, not '
                        f'{type(file).__name__}') from error
