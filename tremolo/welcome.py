"""What `python3 -m tremolo` serves when no application is named: a page that shows it works."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

from . import Application

app = Application()

_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tremolo works</title>
<style>
  :root { color-scheme: light dark; --ink: #1d2733; --paper: #fbfaf7; --soft: #efece4;
          --accent: #b3451d; }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e9e4da; --paper: #17191d; --soft: #23262c; --accent: #f08a5d; }
  }
  body { margin: 0; background: var(--paper); color: var(--ink);
         font: 17px/1.6 system-ui, sans-serif; }
  main { max-width: 40rem; margin: 12vh auto; padding: 0 1.5rem; }
  h1 { font-size: 2.6rem; line-height: 1.1; margin: 0 0 .5rem; letter-spacing: -.02em; }
  h1 span { color: var(--accent); }
  h2 { font-size: 1rem; margin: 2.5rem 0 .5rem; }
  pre { background: var(--soft); border-left: 3px solid var(--accent); border-radius: 4px;
        padding: 1rem 1.2rem; overflow-x: auto; font: 14px/1.55 ui-monospace, monospace; }
  code { font-family: ui-monospace, monospace; }
</style>
</head>
<body>
<main>
<h1>tremolo <span>works</span></h1>
"""

_HELLO = """\
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
"""

_NEXT = """\
<h2>Then</h2>
<pre>
python3 -m tremolo hello:app          # serve it
curl -v http://127.0.0.1:8000/hello   # see what goes over the wire
python3 -m tremolo --help             # every option
</pre>
</main>
</body>
</html>
"""


@app.route('/')
def welcome(request: Any, **server: Any) -> Iterator[str]:
    """Answer in pieces, as a generator does."""
    host = html.escape(request.headers.get('host') or 'this server')
    yield _HEAD
    yield f'<p>This page was served to you from <code>{host}{html.escape(request.path)}</code>, '
    yield 'piece by piece, by a Python generator.</p>\n'
    yield _HELLO
    yield _NEXT


@app.route('/favicon.ico')
def favicon(**server: Any) -> None:
    """Browsers ask for it; nothing returned is 204."""
