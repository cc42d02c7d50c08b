"""Content types: from the name of a file to what it holds.

The types are those of Python's `mimetypes` without the files and the registry of the system, so an
application answers alike wherever it runs; and those below, which some versions of Python do not
know, or know otherwise.
"""

from __future__ import annotations

import mimetypes
import os

UNKNOWN = 'application/octet-stream'

_types = {
    **mimetypes.MimeTypes().types_map[True],
    # A compressed file is what it is: it is not unpacked on the way.
    '.br': UNKNOWN, '.bz2': 'application/x-bzip2', '.gz': 'application/gzip',
    '.tgz': 'application/gzip', '.xz': 'application/x-xz', '.zst': 'application/zstd',
    '.avif': 'image/avif', '.flac': 'audio/flac', '.ico': 'image/vnd.microsoft.icon',
    '.js': 'text/javascript', '.m4a': 'audio/mp4', '.map': 'application/json',
    '.md': 'text/markdown', '.mjs': 'text/javascript', '.mkv': 'video/matroska',
    '.ogg': 'audio/ogg', '.opus': 'audio/ogg', '.otf': 'font/otf', '.rtf': 'application/rtf',
    '.ttf': 'font/ttf', '.wasm': 'application/wasm', '.wav': 'audio/wav', '.webm': 'video/webm',
    '.webmanifest': 'application/manifest+json', '.webp': 'image/webp', '.woff': 'font/woff',
    '.woff2': 'font/woff2', '.yaml': 'application/yaml', '.yml': 'application/yaml',
}


def content_type_of(name: str) -> str:
    """Return the Content-Type of a file by the last suffix of its name.

    Text is said to be UTF-8, as all text of an answer is. (XML says itself what it is.)
    """
    found = _types.get(os.path.splitext(name)[1].lower(), UNKNOWN)
    if found.startswith('text/') and found != 'text/xml':
        return found + '; charset=utf-8'
    return found
