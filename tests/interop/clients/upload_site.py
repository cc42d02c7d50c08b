"""Says what it gets of a form: names, and checksums of contents, for ../test_uploads.py."""

import hashlib
import json

from tremolo import Tremolo

app = Tremolo()


@app.route('/', methods=['POST'])
def upload(request, content_type='text/plain; charset=utf-8'):
    files, found = request.files(), []
    while part := (yield files.next()):
        size, digest = 0, hashlib.sha256()
        while piece := (yield part.read(65536)):
            size += len(piece)
            digest.update(piece)
        found.append([part.name, part.filename, size, digest.hexdigest()[:16]])
    yield json.dumps(found)


@app.route('/form', methods=['POST'])
def form(request, content_type='text/plain; charset=utf-8'):
    fields = yield request.form()
    yield json.dumps(fields)


@app.route('/limited', methods=['POST'])
def limited(request):
    yield request.form()


@app.route('/')
def page():
    return '''<!doctype html><meta charset=utf-8>
        <form method=post enctype=multipart/form-data>
          <input name="note é"><input name=files type=file multiple><input name=none type=file>
        </form>
        <form method=post action=form id=plain><input name="note é"><textarea name=text></textarea>
        </form>'''


@app.route('/favicon.ico')
def favicon():
    pass
