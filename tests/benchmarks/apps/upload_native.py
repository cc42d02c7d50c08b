"""An upload to disk, by tremolo: each file part of a form becomes a file in UPLOADS."""

from __future__ import annotations

import os

from tremolo import Request, Tremolo

app = Tremolo()
FOLDER = os.environ['UPLOADS']


@app.route('/upload', methods=['POST'])
def upload(request: Request):
    files = request.files()
    size = 0
    while part := (yield files.next()):
        size += yield part.save(os.path.join(FOLDER, part.name))
    yield str(size)
