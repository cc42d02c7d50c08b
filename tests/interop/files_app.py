"""What the tests of files serve: the folder named by the environment, and a page with a player."""

import os
from pathlib import Path

from tremolo import NotFound, Tremolo, send_file

app = Tremolo()
FOLDER = Path(os.environ['FILES'])
PAGE = '''<!doctype html><title>a player</title>
<video id="player" muted preload="metadata" src="/files/{name}"></video>'''


@app.route('/files/<name>', methods=['GET', 'POST'])
def files(name):
    if name not in os.listdir(FOLDER):
        raise NotFound
    return send_file(FOLDER / name)


@app.route('/player/<name>')
def player(name):
    return PAGE.format(name=name)
