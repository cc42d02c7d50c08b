"""What the programs of these tests talk to."""

import os
import random
import zlib

from tremolo import NotFound, Tremolo

app = Tremolo()

MIB = 1 << 20
BLOCK = random.Random(1).getrandbits(8 * MIB).to_bytes(MIB, 'little')


@app.route('/')
def hello(**server):
    yield b'Hello '
    yield b'world!'


@app.route('/upload', methods=['PUT', 'POST'])
def upload(request, **server):
    """Count what arrives and sum it up, in constant memory."""
    size = checksum = 0
    while True:
        data = yield request.read(65536)
        if not data:
            break
        size += len(data)
        checksum = zlib.crc32(data, checksum)
    yield f'{size} {checksum:08x}'


@app.route('/download/<int:count>')
def download(count, content_type='application/octet-stream', **server):
    """That many MiB, of unknown length to the client."""
    for _ in range(count):
        for start in range(0, MIB, 65536):
            yield BLOCK[start:start + 65536]


@app.route('/refuse', methods=['PUT', 'POST'])
def refuse(**server):
    """Answer without a look at the body."""
    raise NotFound


@app.route('/peer')
def peer(request, **server):
    """The client's port: who comes by the same connection gets the same."""
    return str(request.client[1])


@app.route('/who')
def who(request):
    """Which process answers, who asks, and by what."""
    return {'pid': os.getpid(), 'client': request.client, 'scheme': request.scheme}
