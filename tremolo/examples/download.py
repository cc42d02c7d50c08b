"""The files of a folder to download, by `send_file`: a download that was cut goes on.

    python -m tremolo.examples.download FOLDER
    curl -O http://127.0.0.1:8000/files/movie.mkv         # end it with Ctrl-C
    curl -C - -O http://127.0.0.1:8000/files/movie.mkv    # it goes on where it was

A browser and curl say from which byte on they want a file, and by its ETag they see whether it is
still the same one.
"""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from tremolo import NotFound, Tremolo, send_file

app = Tremolo()
app.context.folder = sys.argv[-1]


def names(folder: str) -> list[str]:
    """Return the files of the folder: no links, no folders, nothing that begins with a dot."""
    return sorted(entry.name for entry in os.scandir(folder)
                  if entry.is_file(follow_symlinks=False) and not entry.name.startswith('.'))


@app.route('/')
def index(**server: Any) -> Iterator[str]:
    """List the files as links."""
    yield '<!doctype html><title>Files</title><ul>\n'
    for name in names(server['globals'].folder):
        yield f'<li><a href="/files/{quote(name)}">{html.escape(name)}</a>\n'


@app.route('/files/<name>')
def download(name: str, **server: Any) -> Any:
    """Send a file that is in the list: so no name leads out of the folder."""
    folder = server['globals'].folder
    if name not in names(folder):
        raise NotFound
    return send_file(os.path.join(folder, name), download_name=name)


if __name__ == '__main__':
    if len(sys.argv) != 2 or not os.path.isdir(app.context.folder):
        sys.exit('usage: python -m tremolo.examples.download FOLDER')
    app.run()
