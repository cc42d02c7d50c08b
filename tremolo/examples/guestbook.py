"""A guestbook: log in, write, show a picture, and see at once what others write.

    python -m tremolo.examples.guestbook [FILE]     http://127.0.0.1:8000/ in two tabs

It is what most sites consist of: forms, sessions, a database, uploads, a live page, and JSON at
/entries. All is kept in one file of SQLite, whose functions wait, so they run on worker threads.
With SECRET_KEY in the environment, logins outlive a new start. One process tells all of its pages
what is new; several workers would need a way to tell each other.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from hmac import compare_digest
from html import escape
from typing import Any

from tremolo import (
    BadRequest,
    Event,
    EventStream,
    Forbidden,
    HTTPError,
    NotFound,
    PayloadTooLarge,
    Request,
    Response,
    Semaphore,
    Tremolo,
    redirect,
    run_in_thread,
)

app = Tremolo()
app.secret_keys = [os.environ.get('SECRET_KEY') or secrets.token_hex(32)]
news = Event()    # Each new entry sets it, and the live pages wait for it.
hashing = Semaphore(2)    # So many passwords are tried at a time: other threads do the pages.

FILE = sys.argv[1] if len(sys.argv) > 1 else 'guestbook.db'
DAY = 24 * 3600
LARGEST = 2 << 20    # Bytes of a picture.
# What a picture is, is told by its first bytes. What its sender says of it counts for nothing.
PICTURES = {b'\x89PNG\r\n\x1a\n': 'image/png', b'\xff\xd8\xff': 'image/jpeg', b'GIF8': 'image/gif'}

# -- the database: everything here runs on worker threads -----------------------------------------

SELECT = 'SELECT id, name, text, time, kind FROM entries'


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open the file for one transaction; an error rolls it back."""
    with closing(sqlite3.connect(FILE)) as db, db:
        db.row_factory = sqlite3.Row
        yield db


@app.on_worker_start
def create() -> None:
    """Make the tables, if this is the first time."""
    with database() as db:
        db.execute('CREATE TABLE IF NOT EXISTS people (name TEXT PRIMARY KEY, salt BLOB, key BLOB)')
        db.execute('CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, name TEXT, '
                   'text TEXT, time INTEGER, kind TEXT, picture BLOB)')


def may_log_in(name: str, password: str) -> bool:
    """Whether this is the password of that name. A new name gets it as its own."""
    with database() as db:
        person = db.execute('SELECT salt, key FROM people WHERE name = ?', [name]).fetchone()
        if person is not None:
            return compare_digest(person['key'], hashed(password, person['salt']))
        salt = secrets.token_bytes(16)
        # (Nothing is inserted if somebody else has taken the name meanwhile.)
        return db.execute('INSERT OR IGNORE INTO people VALUES (?, ?, ?)',
                          [name, salt, hashed(password, salt)]).rowcount == 1


def hashed(password: str, salt: bytes) -> bytes:
    """Return what is kept of a password: to try one takes a third of a second."""
    return hashlib.pbkdf2_hmac('sha256', password.encode(), salt, 600_000)


def write(name: str, text: str, kind: str | None, picture: bytes) -> None:
    """Keep an entry."""
    with database() as db:
        db.execute('INSERT INTO entries (name, text, time, kind, picture) VALUES (?, ?, ?, ?, ?)',
                   [name, text, int(time.time()), kind, picture])


def newest_entries() -> list[dict[str, Any]]:
    """Return the last entries, the newest first."""
    with database() as db:
        return [*map(dict, db.execute(f'{SELECT} ORDER BY id DESC LIMIT 50'))]


def entries_after(number: str) -> list[dict[str, Any]]:
    """Return the next entries, the oldest first."""
    with database() as db:
        return [*map(dict, db.execute(f'{SELECT} WHERE id > ? ORDER BY id LIMIT 50', [number]))]


# -- sessions: a signed cookie, with a token that the forms of other sites do not know ------------


def session_of(request: Request) -> dict[str, str]:
    """Return what the cookie says; {} if there is none. (A copy of it outlives a logout.)"""
    value: dict[str, str] = json.loads(request.signed_cookie('guest', max_age=DAY) or '{}')
    return value


def begin_session(response: Response, **values: str) -> dict[str, str]:
    """Send a session with a new token. (Behind TLS it takes `secure=True`.)"""
    session = {'token': secrets.token_hex(16), **values}
    response.set_cookie('guest', json.dumps(session), signed=True, max_age=DAY, httponly=True,
                        samesite='Lax')
    return session


def check(session: dict[str, str], token: str | None) -> None:
    """Raise `Forbidden` for a form that was not made for this session (CSRF)."""
    if not session or not compare_digest(session['token'].encode(), (token or '').encode()):
        raise Forbidden('this form is too old: load the page again')


@app.middleware
def headers(response: Response) -> Generator[None, Any, None]:
    """Let a browser run nothing but our own script, and take nothing for what it is not."""
    response.headers['Content-Security-Policy'] = (
        "default-src 'self'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'")
    response.headers['X-Content-Type-Options'] = 'nosniff'
    yield


# -- the pages ------------------------------------------------------------------------------------


@app.route('/')
def index(request: Request, response: Response, thread: bool = True) -> str:
    """Show the entries, and the form to log in, or to write."""
    response.headers['Cache-Control'] = 'no-store'
    session = session_of(request) or begin_session(response)
    found = newest_entries()
    token = session['token']
    form = WRITE % (token, escape(session['name']), token) if 'name' in session else LOG_IN % token
    return HEAD + form + LIST % (found[0]['id'] if found else 0, ''.join(map(shown, found)))


@app.route('/login', methods=['POST'])
def login(request: Request, response: Response) -> Generator[Any, Any, Any]:
    """Begin a session with a name."""
    form = yield request.form()
    check(session_of(request), form.first('token'))
    name, password = form.first('name', '').strip()[:40], form.first('password', '')
    if not name or not 8 <= len(password) <= 200:
        raise BadRequest('a name and a password of 8 letters or more are needed')
    with (yield hashing.acquire()):
        if not (yield run_in_thread(may_log_in, name, password)):
            raise Forbidden('this name has another password')
    begin_session(response, name=name)
    return redirect('/')


@app.route('/logout', methods=['POST'])
def logout(request: Request, response: Response) -> Generator[Any, Any, Any]:
    """Forget who it is."""
    form = yield request.form()
    check(session_of(request), form.first('token'))
    response.set_cookie('guest', max_age=0)
    return redirect('/')


@app.route('/entries', methods=['POST'])
def added(request: Request) -> Generator[Any, Any, Any]:
    """Keep an entry with its picture, and tell the live pages."""
    session = session_of(request)
    if 'name' not in session:
        raise Forbidden('log in first')
    files, picture = request.files(), bytearray()
    fields: dict[str, str] = {}
    while part := (yield files.next()):
        if part.name == 'picture':
            check(session, fields.get('token'))    # (It stands before the file.)
            while piece := (yield part.read()):
                picture += piece
                if len(picture) > LARGEST:
                    raise PayloadTooLarge(f'a picture has {LARGEST:,} bytes at most')
        elif part.name in ('token', 'text'):
            fields[part.name] = yield part.text()
    check(session, fields.get('token'))
    kind = next((PICTURES[each] for each in PICTURES if picture.startswith(each)), None)
    if picture and kind is None:
        raise HTTPError(415, 'a picture is a PNG, JPEG or GIF')
    text = fields.get('text', '').strip()[:1000]
    if text or picture:
        yield run_in_thread(write, session['name'], text, kind, bytes(picture))
        news.set()
        news.clear()
    return redirect('/')


@app.route('/entries')
def listed(thread: bool = True) -> list[dict[str, Any]]:
    """Return the entries as JSON."""
    return newest_entries()


@app.route('/pictures/<int:number>')
def picture(number: int, response: Response, thread: bool = True) -> bytes:
    """Send a picture; it never changes."""
    with database() as db:
        row = db.execute('SELECT kind, picture FROM entries WHERE id = ? AND kind NOTNULL',
                         [str(number)]).fetchone()    # (An int may be too large for SQLite.)
    if row is None:
        raise NotFound
    response.content_type = row['kind']
    response.headers['Cache-Control'] = 'max-age=31536000, immutable'
    content: bytes = row['picture']
    return content


@app.route('/live/<after>')
def live(sse: EventStream, after: str) -> Generator[Any, Any, None]:
    """Send each entry after that one, as it is written. A page that comes back misses nothing."""
    seen = sse.last_id or after
    something = news.wait()    # (Always asked for before we look: else it could come in between.)
    while True:
        found = yield run_in_thread(entries_after, seen)
        for entry in found:
            seen = str(entry['id'])
            yield sse.send(shown(entry), id=seen)
        if not found:
            yield something
            something = news.wait()


@app.error(404)
def missing(response: Response) -> str:
    """Show a page of our own."""
    return HEAD + '<p>There is no such page. <a href="/">The guestbook</a> is here.'


@app.route('/live.js')
def script(response: Response) -> str:
    """Send the script of the page."""
    response.content_type = 'text/javascript; charset=utf-8'
    return SCRIPT


def shown(entry: dict[str, Any]) -> str:
    """Return an entry as HTML: the same for the page and for the live pages."""
    picture = f'<img src="/pictures/{entry["id"]}" alt="">' if entry['kind'] else ''
    when = time.strftime('%d %b %Y, %H:%M', time.localtime(entry['time']))
    return (f'<li><b>{escape(entry["name"])}</b> <small>{when}</small>'
            f'<p>{escape(entry["text"])}</p>{picture}</li>')


SCRIPT = """\
const list = document.getElementById('entries')
const events = new EventSource('/live/' + list.dataset.newest)
events.onmessage = event => list.insertAdjacentHTML('afterbegin', event.data)
"""
HEAD = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tremolo guestbook</title>
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
  form, li { background: var(--card); border: 1px solid var(--edge); border-radius: 1rem;
             padding: 1rem; }
  form { display: grid; gap: .8rem; }
  form + form { background: none; border: 0; padding: .6rem 1rem; justify-items: end; }
  input, textarea, button { font: inherit; width: 100%; min-width: 0; padding: .5rem .9rem;
    border-radius: .7rem; border: 1px solid var(--edge); color: inherit;
    background: var(--paper); }
  form:first-of-type button { background: #b8481f; border-color: #b8481f; color: #fff; }
  form + form button { width: auto; padding: .2rem .9rem; }
  ul { list-style: none; padding: 0; display: grid; gap: .8rem; }
  li { overflow-wrap: anywhere; }
  li p { margin: .3rem 0 0; white-space: pre-wrap; }
  img { display: block; max-width: 100%; max-height: 60vh; border-radius: .7rem;
        margin-top: .6rem; }
  small { color: var(--soft); }
  :focus-visible { outline: 2px solid #d0582b; outline-offset: 1px; }
</style>
<h1>tremolo <span>guestbook</span></h1>
"""
LOG_IN = """\
<form action="/login" method="post">
  <input type="hidden" name="token" value="%s">
  <input name="name" aria-label="Your name" placeholder="Your name" maxlength="40" required>
  <input name="password" type="password" aria-label="Password" placeholder="Password"
         minlength="8" maxlength="200" required>
  <button>Log in</button>
  <small>A new name is yours from then on, with the password that you choose.</small>
</form>
"""
WRITE = """\
<form action="/entries" method="post" enctype="multipart/form-data">
  <input type="hidden" name="token" value="%s">
  <textarea name="text" aria-label="What you write" placeholder="What do you say, %s?" rows="3"
            maxlength="1000"></textarea>
  <input name="picture" type="file" aria-label="A picture" accept=".png,.jpg,.jpeg,.gif">
  <button>Write</button>
</form>
<form action="/logout" method="post">
  <input type="hidden" name="token" value="%s">
  <button>Log out</button>
</form>
"""
LIST = """\
<ul id="entries" data-newest="%d" aria-live="polite">%s</ul>
<script src="/live.js"></script>
"""

if __name__ == '__main__':
    app.run()
