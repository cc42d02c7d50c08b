"""A static site: the files of a folder, and a route beside them.

    python -m tremolo.examples.site FOLDER      its index.html is http://127.0.0.1:8000/
    python -m tremolo.examples.site             a small site that is made for the occasion

Ranges, ETags and `If-*` are answered, and `style.css.gz` is sent for `style.css` to who prefers it.
Names that begin with a dot, and links that lead out of the folder, are not there.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import time
from pathlib import Path

from tremolo import Tremolo

app = Tremolo()

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tremolo site</title>
<link rel="stylesheet" href="style.css">
<h1>A static <span>site</span></h1>
<p>This page and its <a href="style.css">style</a> are files. The time is from a route, which wins
over a file of its name: <output>…</output>
<script>
  fetch('time').then(answer => answer.text())
    .then(time => { document.querySelector('output').value = time })
</script>
"""
STYLE = """\
:root { color-scheme: light dark; font: 17px/1.5 system-ui, sans-serif; }
body { max-width: 40rem; margin: 12vh auto 2rem; padding: 0 1.5rem; }
h1 span, a { color: #d0582b; }
output { display: block; font-size: 2rem; font-variant-numeric: tabular-nums; }
"""


@app.route('/time')
def clock() -> str:
    """Tell the time."""
    return time.strftime('%H:%M:%S')


def serve(folder: Path) -> None:
    """Serve a folder. `no-cache`: a browser keeps a file, and asks each time if it has changed."""
    app.static('/', folder, cache_control='no-cache')
    app.run()


if __name__ == '__main__':
    if len(sys.argv) > 2 or (len(sys.argv) == 2 and not Path(sys.argv[1]).is_dir()):
        sys.exit('usage: python -m tremolo.examples.site [FOLDER]')
    if len(sys.argv) == 2:
        serve(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            for name, text in ('index.html', PAGE), ('style.css', STYLE):
                Path(made, name).write_text(text, encoding='utf-8')
                Path(made, f'{name}.gz').write_bytes(gzip.compress(text.encode()))
            serve(Path(made))
