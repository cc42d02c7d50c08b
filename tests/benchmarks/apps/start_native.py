"""A hello for tremolo's own way, and nothing else: what is measured is how soon it answers."""

from tremolo import Tremolo

app = Tremolo()


@app.route('/')
def hello(**server):
    yield b'Hello world!'
