"""Static: a folder of files at a path, for GET and HEAD.

    folder = StaticFolder('/assets', 'build', cache_control='max-age=3600')
    folder.find(request)    # a FileAnswer, or 308 to the path of a folder; raises NotFound

The path of a request is split at its slashes as it came, and each name is decoded for itself: so a
name that has a slash when it is decoded (`%2f`) is no way to another folder, and there is no file
of that name. An empty name, and one that begins with a dot, leads to nothing; but `.well-known` is
a folder like any other (RFC 8615). Links may lead to names with a dot: who made them meant it.

A folder has no listing. Its path with a slash at its end is that of its `index.html`.

Beside `app.js` may lie `app.js.br` and `app.js.gz`, the same compressed: who prefers one of them
(RFC 9110 section 12.5.3) gets it, and each of the three says `Vary: Accept-Encoding`.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterable
from urllib.parse import quote, unquote_to_bytes

from ..http.accept import read_elements
from ..http.text_fields import encode_pair
from ..server import HTTPError, Request
from ..server.errors import NotFound, raise_if_scarce
from .answer import FileAnswer
from .opening import NOWHERE
from .safe_open import MOST_FOLDERS, ByPath, Walk, walk_in

_log = logging.getLogger('tremolo.server')

# The codings of siblings, the best first, and the suffixes of their names.
_SIBLINGS = {'br': b'.br', 'gzip': b'.gz'}
_INDEX = b'index.html'
# What is wrong with a path that leads nowhere, or to what the process may not read.
_UNREADABLE = NOWHERE | {errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENODEV}
# What may stand in the Location of a folder as it came (all is visible ASCII).
_SAFE = "%-._~:/?#[]@!$&'()*+,;="


class StaticFolder:
    """The files of a folder, at a path."""

    def __init__(self, path: str, folder: str | os.PathLike[str],
                 cache_control: str | None = None) -> None:
        """Take the folder, which may be a link. Raises `ValueError` for what is no folder."""
        self._prefix = [name.encode() for name in path.split('/') if name]
        self._folder = os.fsencode(os.path.abspath(folder))
        # (An empty name would be the working directory.)
        if not os.fspath(folder) or not os.path.isdir(self._folder):
            there = '' if os.path.isabs(folder) else f' in {os.getcwd()}'
            raise ValueError(f'{os.fspath(folder)!r} is no folder{there}')
        self._fields: list[tuple[str, str]] = []
        if cache_control is not None:
            encode_pair('Cache-Control', cache_control)
            self._fields.append(('Cache-Control', cache_control))

    def find(self, request: Request) -> FileAnswer | HTTPError:
        """Return the answer to a request.

        Raises `NotFound`, an `HTTPError` of 503 if the process has too many files open, and
        `OSError` if the system fails otherwise.
        """
        path = request.raw_path
        # (In a mounted application the path begins with its prefix; the room `web` knows it.)
        names = self._names(path, getattr(request, 'root_path', '').count('/'))
        try:
            if not names:
                raise IsADirectoryError
            with walk_in(self._folder) as walk:
                walk.enter(names[:-1])
                return self._answer(request, walk, names[-1])
        except IsADirectoryError:
            if path.endswith(b'/'):
                raise NotFound from None
            # (The path has no empty name, so this is never the `//host` of another site.)
            query = b'?' + request.query_string if request.query_string else b''
            return HTTPError(308, headers={'Location': quote(path + b'/' + query, _SAFE)})
        except OSError as error:
            raise_if_scarce(error)
            if error.errno not in _UNREADABLE:
                raise
            _log.debug('static: no file for %.200a: %s', path, error)
            raise NotFound from error

    def _names(self, path: bytes, first: int) -> list[bytes]:
        """Return the decoded names below the folder; the last one is empty if it ends in a slash.

        The path of the folder begins behind the `first` ones.

        Raises `NotFound` for a name that no file has here.
        """
        count = first + len(self._prefix)
        # (A head may have 16,000 of them: to decode each would take 40 ms.)
        if path.count(b'/') > count + MOST_FOLDERS:
            raise NotFound
        names = [unquote_to_bytes(name) for name in path.split(b'/')[1:]]
        rest = names[count:]
        if names[first:count] != self._prefix or b'' in rest[:-1]:
            raise NotFound
        for name in rest:
            if b'/' in name or b'\0' in name or (name[:1] == b'.' and name != b'.well-known'):
                raise NotFound
        return rest

    def _answer(self, request: Request, walk: Walk | ByPath, name: bytes) -> FileAnswer:
        """Open a file and its siblings, and return the answer with the one that is preferred."""
        name = name or _INDEX
        opened = {'': _regular(walk, name)}
        try:
            for coding, suffix in _SIBLINGS.items():
                try:
                    opened[coding] = _regular(walk, name + suffix)
                except OSError as error:
                    if error.errno not in _UNREADABLE:
                        raise
            fields = self._fields.copy()
            if len(opened) > 1:
                fields.append(('Vary', 'Accept-Encoding'))
            accept = b', '.join(each for field, each in request.fields
                                if field == b'accept-encoding').decode('latin-1')
            coding = best_coding(accept, [each for each in opened if each])
            if coding:
                fields.append(('Content-Encoding', coding))
            fd, found = opened.pop(coding)
        finally:
            for other, _ in opened.values():
                os.close(other)
        return FileAnswer.opened(fd, found, os.fsdecode(name), None, coding, fields)


def _regular(walk: Walk | ByPath, name: bytes) -> tuple[int, os.stat_result]:
    """Open a regular file, and look at it. Raises `OSError` for all else."""
    fd = walk.open(name)
    found = os.fstat(fd)
    if stat.S_ISREG(found.st_mode):
        return fd, found
    os.close(fd)
    raise OSError(errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.ENXIO, 'no regular file')


def best_coding(accept: str | None, offers: Iterable[str]) -> str:
    """Return the coding that the client likes best, of equals the first; '' for none.

    None is chosen where no coding is accepted, and where the client likes it better (RFC 9110
    section 12.5.3). A client that says nothing gets none.
    """
    weights = {{'x-gzip': 'gzip'}.get(name, name): weight
               for name, _, weight in read_elements(accept or '')}
    best, most = '', weights.get('identity', 0.0)
    for offer in offers:
        weight = weights.get(offer, weights.get('*', 0.0))
        if weight > most or (weight == most > 0 and not best):
            best, most = offer, weight
    return best
