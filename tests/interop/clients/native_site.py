"""What the clients of this folder talk to; starlette_site.py has the same on Starlette."""

from __future__ import annotations

from tremolo import HTTPError, Tremolo, sleep

app = Tremolo()


@app.route('/')
def index():
    return 'Hello world!'


@app.route('/upload', methods=['POST'])
def upload(request, **server):
    """Count what arrives."""
    size = 0
    while data := (yield request.read(65536)):
        size += len(data)
    yield str(size)


@app.route('/refuse/<int:status>', methods=['POST'])
def refuse(status, **server):
    """Answer without a look at the body."""
    raise HTTPError(status)


@app.route('/slow')
def slow(stream=True):
    """Think, say something, think, and say the rest."""
    yield sleep(2)
    for _ in range(3):
        yield b'tick '
        yield sleep(0.2)
    yield sleep(1.5)
    yield b'ended'
