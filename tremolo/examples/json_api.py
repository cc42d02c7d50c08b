"""An interface in JSON: notes that can be listed, added, read and removed.

    python -m tremolo.examples.json_api
    curl http://127.0.0.1:8000/notes -d '{"text": "buy milk"}'
    curl http://127.0.0.1:8000/notes

A browser gets a page for the same path, because it says that it likes HTML best. What is no JSON is
answered by 400, with the reason.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator
from html import escape
from typing import Any

from tremolo import HTTPError, NotFound, Request, Response, Tremolo

app = Tremolo()
notes: dict[int, str] = {}
numbers = itertools.count(1)

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tremolo notes</title>
<style>
  :root { color-scheme: light dark; font: 17px/1.5 system-ui, sans-serif; }
  body { max-width: 40rem; margin: 10vh auto 2rem; padding: 0 1.5rem; overflow-wrap: anywhere; }
  h1 span { color: #d0582b; }
  form { display: flex; gap: .5rem; }
  input, button { font: inherit; padding: .4rem .8rem; border-radius: .5rem; border: 1px solid; }
  input { flex: 1; min-width: 0; }
  button { background: #b8481f; border-color: #b8481f; color: #fff; }
</style>
<h1>tremolo <span>notes</span></h1>
<form><input name="text" aria-label="Note" placeholder="Note" required><button>Add</button></form>
<ul>%s</ul>
<script>
  document.forms[0].onsubmit = async event => {
    event.preventDefault()
    const text = event.target.text.value
    await fetch('notes', { method: 'POST', body: JSON.stringify({ text }) })
    location.reload()
  }
</script>
"""


def shown(number: int) -> dict[str, Any]:
    """Return a note as it is sent."""
    return {'id': number, 'text': notes[number]}


@app.route('/notes')
def listed(request: Request, response: Response) -> Any:
    """Return all notes, as JSON or as a page."""
    response.headers['Vary'] = 'Accept'
    kind = request.accepts('application/json', 'text/html')
    if kind == 'text/html':
        return PAGE % ''.join(f'<li>{escape(text)}' for text in notes.values())
    if kind is None:
        raise HTTPError(406, 'there are application/json and text/html')
    return [shown(number) for number in notes]


@app.route('/notes', methods=['POST'])
def added(request: Request, response: Response) -> Generator[Any, Any, Any]:
    """Keep a note, and say where it is."""
    note = yield request.json()
    if not isinstance(note, dict) or not isinstance(note.get('text'), str):
        raise HTTPError(422, json.dumps({'error': 'a note is {"text": "..."}'}),
                        {'Content-Type': 'application/json'})
    number = next(numbers)
    notes[number] = note['text']
    response.status = 201
    response.headers['Location'] = f'/notes/{number}'
    return shown(number)


@app.route('/notes/<int:number>')
def read(number: int) -> dict[str, Any]:
    """Return one note."""
    if number not in notes:
        raise NotFound
    return shown(number)


@app.route('/notes/<int:number>', methods=['DELETE'])
def removed(number: int) -> None:
    """Forget a note. (None is 204.)"""
    if notes.pop(number, None) is None:
        raise NotFound


if __name__ == '__main__':
    app.run()
