"""Uploads: a page with a form, and the files that it sends, saved as they arrive.

    python -m tremolo.examples.upload           http://127.0.0.1:8000/, into the folder `uploads`
    python -m tremolo.examples.upload FOLDER    into another one, which is made if it is not there

The server gives each file a name of its own, with what the client calls it behind a number: a name
that a client chooses may be that of a file that is there already, or of a device, or too long.
"""

from __future__ import annotations

import html
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from tremolo import Part, Request, Tremolo, redirect

app = Tremolo()
folder = Path(sys.argv[1] if len(sys.argv) > 1 else 'uploads')


@app.route('/', methods=['POST'])
def save(request: Request) -> Generator[Any, Any, Any]:
    """Save the files of a form, one after the other, whatever their size."""
    files = request.files()
    while part := (yield files.next()):
        if part.filename:    # (It is empty if nothing was chosen, and None for a field.)
            yield part.save(folder / name_for(part))
    # The browser asks for the page, and may load it again without sending the files again.
    return redirect('/')


def name_for(part: Part) -> str:
    """Return a name that no other file has: a number, and the last bit of what was sent."""
    known = ''.join(c if c.isalnum() or c in '.-_' else '_' for c in part.filename or '')
    return f'{time.time_ns()}-{known[-40:]}'


@app.route('/')
def page() -> str:
    """Show the page below, with what is in the folder."""
    files = [each for each in sorted(folder.iterdir(), reverse=True) if each.name[:1] != '.']
    lines = [f'<li>{html.escape(each.name.partition("-")[2])} '
             f'<small>{each.stat().st_size:,} bytes</small>' for each in files]
    return PAGE.replace('{files}', ''.join(lines) or '<li>nothing yet')


PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tremolo upload</title>
<style>
  :root { color-scheme: light dark; font: 17px/1.5 system-ui, sans-serif;
          --paper: #f4f1ee; --card: #fff; --soft: #6b625c; --edge: #d5cdc7; }
  @media (prefers-color-scheme: dark) {
    :root { --paper: #191614; --card: #2b2623; --soft: #b3a8a1; --edge: #4a423d; }
  }
  * { box-sizing: border-box; }
  body { margin: 0 auto; max-width: 40rem; padding: 1.5rem 1rem; background: var(--paper); }
  h1 { font-size: 1.3rem; margin: 0 0 1rem; }
  h1 span { color: #d0582b; }
  form { display: grid; gap: .8rem; padding: 1rem; border-radius: 1rem; background: var(--card);
         border: 1px solid var(--edge); }
  input, button { font: inherit; width: 100%; min-width: 0; padding: .5rem .9rem;
                  border-radius: .7rem; border: 1px solid var(--edge); color: inherit;
                  background: var(--paper); }
  button { background: #b8481f; border-color: #b8481f; color: #fff; }
  ul { list-style: none; padding: 0; }
  li { padding: .35rem 0; border-bottom: 1px solid var(--edge); overflow-wrap: anywhere; }
  small { color: var(--soft); white-space: nowrap; }
  :focus-visible { outline: 2px solid #d0582b; outline-offset: 1px; }
</style>
<h1>tremolo <span>upload</span></h1>
<form method="post" enctype="multipart/form-data">
  <input name="files" aria-label="Files" type="file" multiple required>
  <button>Upload</button>
</form>
<ul>{files}</ul>
</html>
"""

if __name__ == '__main__':
    os.makedirs(folder, exist_ok=True)
    app.run()
