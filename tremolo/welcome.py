"""The page that `python3 -m tremolo` serves when it is given nothing to serve."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

from tremolo import Application, Request

app = Application()

_HEAD = '''<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>tremolo works</title>
<style>
body { font: 17px/1.5 system-ui, sans-serif; max-width: 40em; margin: 4em auto; padding: 0 1em;
       color: #222; background: #fdfdfb }
h1 { font-weight: 600 } h1 span { color: #b3541e }
pre { background: #f1efe9; padding: 1em; border-radius: 6px; overflow-x: auto }
footer { color: #777; margin-top: 3em }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #1b1b1a } pre { background: #282826 } h1 span { color: #e8915b }
}
</style>
</head>
<body>
<h1><span>tremolo</span> works</h1>
'''

_REST = '''<p>Save this as <code>hello.py</code>:</p>
<pre>from tremolo import Tremolo

app = Tremolo()

@app.route('/hello')
def hello(**server):
    yield b'Hello '
    yield b'world!'
</pre>
<p>and try:</p>
<pre>python3 -m tremolo hello:app
curl -v http://127.0.0.1:8000/hello
python3 -m tremolo --help
</pre>
<footer>This page is a generator: it was sent as it was yielded.</footer>
</body>
</html>
'''


@app.route('/')
def welcome(request: Request, **server: Any) -> Iterator[str]:
    """Greet a browser."""
    yield _HEAD
    yield f'<p>This page was served to you from <code>{html.escape(request.host)}</code>.</p>\n'
    yield _REST


@app.route('/favicon.ico')
def favicon(**server: Any) -> None:
    """Browsers ask; there is none."""
