"""Welcome: the page that `python3 -m tremolo` serves when no application is named."""

import html
from collections.abc import Iterator
from typing import Any

from . import Application

app = Application()

_HEAD = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tremolo works</title>
<style>
  :root { color-scheme: light dark; font: 17px/1.6 system-ui, sans-serif; }
  main { max-width: 40rem; margin: 12vh auto; padding: 0 1.5rem; }
  h1 span { color: #d0582b; }
  pre { border-left: 3px solid #d0582b; padding: .5rem 1.2rem; overflow-x: auto; }
</style>
<main>
<h1>tremolo <span>works</span></h1>
"""

_REST = """\
<h2>Your first application</h2>
<p>Save this as <code>hello.py</code>:</p>
<pre>
from tremolo import Tremolo

app = Tremolo()

@app.route('/hello')
def hello(**server):
    yield b'Hello '
    yield b'world!'
</pre>
<h2>Then</h2>
<pre>
python3 -m tremolo hello:app          # serve it
curl -v http://127.0.0.1:8000/hello   # see what goes over the wire
python3 -m tremolo --help             # every option
</pre>
"""


@app.route('/')
def welcome(request: Any, **server: Any) -> Iterator[str]:
    """Answer in pieces, as a generator does."""
    host = html.escape(request.headers.get('host') or 'this server')
    yield _HEAD
    yield f'<p>This page was served to you from <code>{host}{html.escape(request.path)}</code>, '
    yield 'piece by piece, by a Python generator.</p>\n'
    yield _REST


@app.route('/favicon.ico')
def favicon(**server: Any) -> None:
    """Answer 204: browsers ask for an icon, and there is none."""
