"""Jobs: work that goes on behind the answer that began it, and its progress as events.

    python -m tremolo.examples.jobs    http://127.0.0.1:8000/

Two jobs run at a time, the others wait for their turn. When the server stops, each job is told, and
ends after the part that it is at. The jobs are in the memory of one process.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Generator
from typing import Any

from tremolo import Event, EventStream, HTTPError, Request, Semaphore, Tremolo, run_in_thread

PARTS = 20     # The parts of a job.
MOST = 100     # Jobs that are kept.

app = Tremolo()
jobs: dict[int, dict[str, Any]] = {}
numbers = itertools.count(1)
changes = itertools.count(1)
changed = Event()        # Set for a moment with each change of a job.
places = Semaphore(2)    # So many jobs run at a time.


@app.route('/jobs', methods=['POST'])
def begin(request: Request, status: int = 202) -> Generator[Any, Any, dict[str, Any]]:
    """Begin a job, and answer at once."""
    form = yield request.form()
    while len(jobs) >= MOST:
        oldest = next(iter(jobs))
        if jobs[oldest]['state'] in ('waits', 'runs'):
            raise HTTPError(503)
        del jobs[oldest]
    number = next(numbers)
    job = jobs[number] = {'number': number, 'name': (form.first('name') or 'a job')[:50]}
    tell(job, 'waits', 0)
    app.spawn(work(job))
    return job


def work(job: dict[str, Any]) -> Generator[Any, Any, None]:
    """Do a job part by part, each on a worker thread; tell of each."""
    digest = job['name'].encode()
    with (yield places.acquire()):
        for part in range(PARTS):
            if app.stopping.done():
                tell(job, 'stopped', part)
                return
            tell(job, 'runs', part)
            digest = yield run_in_thread(hashlib.pbkdf2_hmac, 'sha256', digest, b'salt', 20_000)
    tell(job, f'done: {digest.hex()[:8]}', PARTS)


def tell(job: dict[str, Any], state: str, part: int) -> None:
    """Note how far a job is, and wake those that watch."""
    job.update(state=state, part=part, change=next(changes))
    changed.set()
    changed.clear()


@app.route('/events')
def events(sse: EventStream) -> Generator[Any, Any, None]:
    """Send each job now, and again with each change; a slow client gets the newest alone."""
    seen = 0
    while True:
        new = [dict(job) for job in jobs.values() if job['change'] > seen]
        for job in sorted(new, key=lambda job: job['change']):
            yield sse.send(json.dumps(job))
            seen = job['change']
        if not new:
            yield changed.wait()


@app.route('/')
def page() -> str:
    """Show the page below."""
    return PAGE.replace('PARTS', str(PARTS))


@app.route('/favicon.ico')
def favicon() -> None:
    """Answer 204: browsers ask for an icon, and there is none."""


PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tremolo jobs</title>
<style>
  :root { color-scheme: light dark; font: 17px/1.5 system-ui, sans-serif; }
  body { max-width: 40rem; margin: 8vh auto 2rem; padding: 0 1.5rem; overflow-wrap: anywhere; }
  h1 span { color: #d0582b; }
  form { display: flex; gap: .5rem; }
  input, button { font: inherit; padding: .4rem .8rem; border-radius: .5rem; border: 1px solid; }
  input { flex: 1; min-width: 0; }
  button { background: #b8481f; border-color: #b8481f; color: #fff; }
  progress { width: 100%; accent-color: #d0582b; }
</style>
<h1>tremolo <span>jobs</span></h1>
<form id="form">
  <input name="name" aria-label="Name" placeholder="A job" maxlength="50" autocomplete="off">
  <button>Begin</button>
</form>
<ol id="list" aria-live="polite"></ol>
<script>
  const [form, list] = ['form', 'list'].map(id => document.getElementById(id))
  new EventSource('events').onmessage = ({ data }) => {
    const job = JSON.parse(data)
    let item = document.getElementById(job.number)
    if (!item) {
      item = document.createElement('li')
      item.id = item.value = job.number
      item.append(document.createElement('label'), document.createElement('progress'))
      list.prepend(item)
    }
    item.firstChild.textContent = `${job.name}: ${job.state}`
    item.lastChild.max = PARTS
    item.lastChild.value = job.part
  }
  form.onsubmit = event => {
    event.preventDefault()
    fetch('jobs', { method: 'POST', body: new URLSearchParams(new FormData(form)) })
    form.reset()
  }
</script>
"""

if __name__ == '__main__':
    app.run(debug=True)
