"""Live lines: what one tab writes, all tabs show, by server-sent events from a database.

    python -m tremolo.examples.sse                            http://127.0.0.1:8000/ in two tabs
    python -m tremolo --workers 2 tremolo.examples.sse:app    the same from two processes

A browser whose stream has ended comes back by itself, and says which event it got last: so it gets
all that it has missed, from whichever process. The lines are in `events.sqlite3`, in this folder.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Generator
from contextlib import closing
from typing import Any

from tremolo import Event, EventStream, Request, Tremolo, run_in_thread, sleep

DATABASE = 'events.sqlite3'

app = Tremolo()
news = Event()    # Set for a moment when there is a new line, and `app.context.newest` its number.


@app.route('/events')
def events(sse: EventStream) -> Generator[Any, Any, None]:
    """Send what a tab has not got yet; to a new one, the last 20 lines."""
    # (Whoever is no browser may send anything as its last id.)
    known = re.fullmatch('[0-9]{1,18}', sse.last_id or '')
    seen = int(known[0]) if known else app.context.newest - 20
    while True:
        for number, line in (yield run_in_thread(
                query, 'SELECT id, line FROM lines WHERE id > ? ORDER BY id LIMIT 100', seen)):
            yield sse.send(line, id=number, retry=1000)
            seen = number
        while app.context.newest <= seen:
            yield news.wait()


@app.route('/lines', methods=['POST'])
def write(request: Request) -> Generator[Any, Any, None]:
    """Keep a line; the answer is 204."""
    form = yield request.form()
    line = (form.first('line') or '').strip()[:1000]
    if line:
        yield run_in_thread(query, 'INSERT INTO lines (line) VALUES (?)', line)


@app.on_worker_start
def begin() -> None:
    """Begin to look for lines, in each process."""
    query('CREATE TABLE IF NOT EXISTS lines (id INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT)')
    app.context.newest = newest()
    app.spawn(watch())


def newest() -> int:
    """Return the number of the newest line."""
    return int(query('SELECT ifnull(max(id), 0) FROM lines')[0][0])


def watch() -> Generator[Any, Any, None]:
    """Look for new lines, those of other processes too, ten times a second."""
    while not app.stopping.done():
        try:
            number = yield run_in_thread(newest)
        except sqlite3.Error as error:    # (A disk, or the descriptors, may be out for a while.)
            app.logger.warning('%s: %s', DATABASE, error)
            number = 0
        if number > app.context.newest:
            app.context.newest = number
            news.set()
            news.clear()
        yield sleep(0.1)


def query(statement: str, *values: Any) -> list[Any]:
    """Run one statement in a transaction of its own: on a worker thread, for it may wait."""
    with closing(sqlite3.connect(DATABASE, timeout=30)) as database, database:
        return database.execute(statement, values).fetchall()


@app.route('/')
def page() -> str:
    """Show the page below."""
    return PAGE


@app.route('/favicon.ico')
def favicon() -> None:
    """Answer 204: browsers ask for an icon, and there is none."""


PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tremolo events</title>
<style>
  :root { color-scheme: light dark; font: 17px/1.5 system-ui, sans-serif; }
  body { max-width: 40rem; margin: 8vh auto 2rem; padding: 0 1.5rem; overflow-wrap: anywhere; }
  h1 span { color: #d0582b; }
  form { display: flex; gap: .5rem; }
  input, button { font: inherit; padding: .4rem .8rem; border-radius: .5rem; border: 1px solid; }
  input { flex: 1; min-width: 0; }
  button { background: #b8481f; border-color: #b8481f; color: #fff; }
</style>
<h1>tremolo <span>events</span></h1>
<form id="form">
  <input name="line" aria-label="A line" placeholder="A line" maxlength="1000" autocomplete="off">
  <button>Write</button>
</form>
<p><output id="state">offline</output>
<ol id="lines" aria-live="polite"></ol>
<script>
  const [form, state, lines] = ['form', 'state', 'lines'].map(id => document.getElementById(id))
  const source = new EventSource('events')
  source.onopen = () => { state.value = 'online' }
  source.onerror = () => { state.value = 'offline' }
  source.onmessage = ({ data, lastEventId }) => {
    const item = document.createElement('li')
    item.value = lastEventId
    item.textContent = data
    lines.prepend(item)
  }
  form.onsubmit = event => {
    event.preventDefault()
    fetch('lines', { method: 'POST', body: new URLSearchParams(new FormData(form)) })
    form.reset()
  }
</script>
"""

if __name__ == '__main__':
    app.run(debug=True)
