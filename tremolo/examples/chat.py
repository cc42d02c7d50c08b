"""A chat: a page, and a generator handler for the WebSocket of each tab that shows it.

    python -m tremolo.examples.chat             http://127.0.0.1:8000/ in two tabs
    python -m tremolo.examples.chat 0.0.0.0     and on the phones of the same network

A tab whose socket is closed connects again by itself, after a delay that is random and grows. It
says which line it has seen last, and gets those that it has missed. The lines and the group are in
the memory of one process, so one process must serve all tabs.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections import deque
from collections.abc import Generator
from typing import Any

from tremolo import Request, Tremolo, WebSocket

app = Tremolo()
lines: deque[dict[str, Any]] = deque(maxlen=200)
# They begin with the time in microseconds: so those of the next process are higher.
numbers = itertools.count(time.time_ns() // 1000)


@app.route('/chat/<int:seen>')
def chat(websocket: WebSocket, request: Request, seen: int) -> Generator[Any, Any, None]:
    """Pass on what one tab says to all of them."""
    name = request.query.get('name', ['somebody'])[0][:20]
    room = app.group('chat')
    yield websocket.accept()
    # No other handler runs between these two lines: so nothing is missed, and nothing comes twice.
    room.add(websocket)
    yield websocket.send(json.dumps([line for line in lines if line['number'] > seen]))
    while True:
        key, _, text = str((yield websocket.receive())).partition(' ')
        lines.append({'number': next(numbers), 'key': key, 'name': name, 'text': text})
        # A tab that is too slow is closed. It comes back, and asks for what it has missed.
        room.send(json.dumps([lines[-1]]), slow='drop')


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
<meta name="viewport"
      content="width=device-width, initial-scale=1, interactive-widget=resizes-content">
<title>tremolo chat</title>
<style>
  :root { color-scheme: light dark; font: 17px/1.45 system-ui, sans-serif;
          --paper: #f4f1ee; --bubble: #fff; --own: #f9d8ca; --soft: #6b625c; --edge: #d5cdc7; }
  @media (prefers-color-scheme: dark) {
    :root { --paper: #191614; --bubble: #2b2623; --own: #5e2d1a; --soft: #b3a8a1;
            --edge: #4a423d; }
  }
  * { box-sizing: border-box; }
  body { margin: 0 auto; max-width: 44rem; height: 100vh; height: 100dvh; display: flex;
         flex-direction: column; background: var(--paper); }
  header, form { display: flex; align-items: baseline; gap: .5rem; padding: .6rem 1rem; }
  form { padding-bottom: max(.6rem, env(safe-area-inset-bottom)); }
  h1 { font-size: 1.15rem; margin: 0; white-space: nowrap; }
  h1 span { color: #d0582b; }
  output, small { color: var(--soft); font-size: .8rem; }
  ol { flex: 1; overflow-y: auto; overscroll-behavior: contain; list-style: none; margin: 0;
       padding: .5rem 1rem; display: flex; flex-direction: column; gap: .4rem; }
  ol::before { content: ""; margin-top: auto; }
  li { max-width: 85%; align-self: flex-start; background: var(--bubble); padding: .35rem .8rem;
       border-radius: 1rem 1rem 1rem .2rem; overflow-wrap: anywhere; }
  li.own { align-self: flex-end; background: var(--own); border-radius: 1rem 1rem .2rem 1rem; }
  li.waiting { opacity: .55; }
  small { display: block; }
  input, button { font: inherit; min-width: 0; padding: .45rem .9rem; border-radius: 1.3rem;
                  border: 1px solid var(--edge); }
  input { background: var(--bubble); color: inherit; }
  output, #text { flex: 1; }
  #name { width: 7rem; }
  button { background: #b8481f; border-color: #b8481f; color: #fff; }
  :focus-visible { outline: 2px solid #d0582b; outline-offset: 1px; }
</style>
<header>
  <h1>tremolo <span>chat</span></h1>
  <output id="state">offline</output>
  <input id="name" aria-label="Your name" placeholder="Name" maxlength="20">
</header>
<ol id="lines" aria-live="polite"></ol>
<form id="form">
  <input id="text" aria-label="Message" placeholder="Message" maxlength="1000" autocomplete="off"
         enterkeyhint="send">
  <button>Send</button>
</form>
<script>
  const [list, form, name_, text, state] =
    ['lines', 'form', 'name', 'text', 'state'].map(id => document.getElementById(id))
  const me = Math.random().toString(36).slice(2)
  const waiting = new Map()   // What this tab has said and not yet heard back, by its key.
  let socket, timer, said = 0, seen = 0, failures = 0, atEnd = true

  function connect () {
    clearTimeout(timer)
    const path = `chat/${seen}?name=${encodeURIComponent(name_.value)}`
    socket = new WebSocket(new URL(path, location).href.replace('http', 'ws'))
    let first = true
    socket.onmessage = ({ data }) => {
      JSON.parse(data).forEach(show)
      if (!first) return
      // The first message is all that we have missed. What still waits has never arrived.
      first = false
      failures = 0
      state.value = 'online'
      waiting.forEach((item, key) => socket.send(`${key} ${item.text}`))
    }
    socket.onclose = () => {
      state.value = 'offline'
      // A random delay, so that not all come back at once; and longer from time to time.
      timer = setTimeout(connect, (0.5 + Math.random()) * Math.min(500 * 2 ** failures++, 20000))
    }
  }

  function show ({ number, key, name, text }) {
    const item = waiting.get(key) || document.createElement('li')
    const label = document.createElement('small')
    label.textContent = name
    item.text = text
    item.replaceChildren(label, text)
    item.classList.toggle('own', key.startsWith(me))
    item.classList.toggle('waiting', !number)
    list.append(item)
    if (!number) atEnd = true
    follow()
    if (number) {
      seen = number
      waiting.delete(key)
    } else waiting.set(key, item)
  }

  // Whoever has scrolled up to read stays there; a keyboard that opens hides no line of the others.
  const follow = () => { if (atEnd) list.scrollTop = list.scrollHeight }
  list.onscroll = () => { atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 50 }
  addEventListener('resize', follow)

  form.onsubmit = event => {
    event.preventDefault()
    if (!text.value.trim()) return
    const key = me + said++
    show({ key, name: name_.value, text: text.value })
    if (state.value === 'online') socket.send(`${key} ${text.value}`)
    text.value = ''
    text.focus()
  }

  name_.onchange = () => {
    localStorage.setItem('name', name_.value)
    socket.close()   // The next one has the new name.
  }
  addEventListener('online', () => socket.readyState === WebSocket.CLOSED && connect())
  name_.value = localStorage.getItem('name') || `guest ${Math.ceil(Math.random() * 999)}`
  connect()
</script>
"""

if __name__ == '__main__':
    host = sys.argv[1] if len(sys.argv) > 1 else '127.0.0.1'
    # Debug mode shows code on pages of errors: that is for nobody else.
    app.run(host, debug=host == '127.0.0.1', ws_message_size='8KiB')
