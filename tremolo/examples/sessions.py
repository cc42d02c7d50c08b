"""Sessions: who you are is in a signed cookie, which the browser can show and nobody can change.

    python -m tremolo.examples.sessions         http://127.0.0.1:8000/

The server keeps nothing. With SECRET_KEY in the environment, sessions outlive a new start.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Generator
from html import escape
from typing import Any

from tremolo import BadRequest, Request, Response, Tremolo, redirect

DAY = 24 * 3600

app = Tremolo()
# A key that is made once, by `secrets.token_hex(32)`. To change it write [new, old] for a while.
app.secret_keys = [os.environ.get('SECRET_KEY') or secrets.token_hex(32)]

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tremolo sessions</title>
<style>
  :root { color-scheme: light dark; font: 17px/1.5 system-ui, sans-serif; }
  body { max-width: 40rem; margin: 12vh auto 2rem; padding: 0 1.5rem; overflow-wrap: anywhere; }
  h1 span { color: #d0582b; }
  form { display: flex; gap: .5rem; }
  input, button { font: inherit; padding: .4rem .8rem; border-radius: .5rem; border: 1px solid; }
  input { flex: 1; min-width: 0; }
  button { background: #b8481f; border-color: #b8481f; color: #fff; }
</style>
<h1>tremolo <span>sessions</span></h1>
"""
NOBODY = """\
<form action="login" method="post">
  <input name="name" aria-label="Your name" placeholder="Your name" maxlength="50" required>
  <button>Log in</button>
</form>
"""
SOMEBODY = """\
<p>Hello %s, this is visit %d.
<form action="logout" method="post"><button>Log out</button></form>
"""


def keep(response: Response, session: dict[str, Any]) -> None:
    """Send the session to the browser; SameSite keeps other sites from posting forms with it."""
    response.set_cookie('session', json.dumps(session), signed=True, max_age=DAY, httponly=True,
                        samesite='Lax')


@app.route('/')
def page(request: Request, response: Response) -> str:
    """Greet who is logged in."""
    response.headers['Cache-Control'] = 'no-store'
    signed = request.signed_cookie('session', max_age=DAY)
    if signed is None:
        return PAGE + NOBODY
    session = json.loads(signed)
    session['visits'] += 1
    keep(response, session)
    return PAGE + SOMEBODY % (escape(session['name']), session['visits'])


@app.route('/login', methods=['POST'])
def login(request: Request, response: Response) -> Generator[Any, Any, Any]:
    """Begin a session. (A real one asks for a password.)"""
    form = yield request.form()
    name = (form.first('name') or '').strip()[:50]
    if not name:
        raise BadRequest('a name is needed')
    keep(response, {'name': name, 'visits': 0})
    return redirect('/')


@app.route('/logout', methods=['POST'])
def logout(response: Response) -> Any:
    """End it."""
    response.set_cookie('session', max_age=0)
    return redirect('/')


if __name__ == '__main__':
    app.run()
