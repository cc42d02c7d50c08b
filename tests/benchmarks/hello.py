"""The application of the race: a generator that never waits."""

from tremolo import Tremolo

app = Tremolo()


@app.route('/')
def hello(**server):
    yield b'Hello '
    yield b'world!'
