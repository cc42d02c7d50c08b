"""What the tests of files serve: the folder named by the environment, and a page with a player."""

import os
from pathlib import Path

from tremolo import NotFound, Tremolo, send_file

app = Tremolo()
FOLDER = Path(os.environ['FILES'])
PAGE = '''<!doctype html><title>a player</title>
<video id="player" muted preload="metadata" src="/files/{name}"></video>'''
asked = []    # What each request for a file had in its Range.


@app.route('/files/<name>', methods=['GET', 'POST'])
def files(name, request):
    if name not in os.listdir(FOLDER):
        raise NotFound
    asked.append(request.headers.get('range', ''))
    return send_file(FOLDER / name)


@app.route('/asked')
def ranges():
    return asked


@app.route('/player/<name>')
def player(name):
    return PAGE.format(name=name)
