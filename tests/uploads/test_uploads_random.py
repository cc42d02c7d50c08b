"""Random uploads, cut anywhere and read in any way: each part is what was sent.

`UPLOAD_SEEDS=5000 python -m pytest tests/uploads/test_uploads_random.py` tries more.
"""

from __future__ import annotations

import os
import random
import re

import pytest
from server_support import chunked, request, virtual
from upload_support import TYPE, body_of, part

from tremolo import Tremolo, timeout

SEEDS = int(os.environ.get('UPLOAD_SEEDS', '60'))
BITS = [b'x', b'\r', b'\n', b'\r\n', b'--', b'\r\n--', b'\r\n--simple-boundar', b'y' * 300,
        b'--simple-boundary', b'\r\n--simple-boundaryy', b'\x00', 'ü'.encode()]


def content(rng: random.Random) -> bytes:
    while True:
        data = b''.join(rng.choices(BITS, k=rng.choice([0, 1, 3, 40])))
        if re.search(rb'(?:^|[\r\n])--simple-boundary(?!y)', data) is None:    # A delimiter.
            return data


@pytest.mark.parametrize('seed', range(0, SEEDS, 20))
def test_each_part_is_what_was_sent(seed):
    for number in range(seed, seed + 20):
        rng = random.Random(number)
        sent = [(f'part{n}', content(rng)) for n in range(rng.randrange(5))]
        found: list[tuple[str, bytes | None]] = []
        app = Tremolo()

        @app.route('/', methods=['POST'])
        def handler(request, rng=rng, found=found):
            def patient(read):
                while True:
                    try:
                        return (yield timeout(rng.choice([0.1, 1, 10]), read()))
                    except TimeoutError:
                        pass
                    except Exception as error:    # (Before Python 3.11 it is asyncio's.)
                        if type(error).__name__ != 'TimeoutError':
                            raise

            files = request.files()
            while part := (yield from patient(files.next)):
                way, data = rng.choice(['read', 'skip', 'begin', 'whole']), b''
                while way in ('read', 'begin'):
                    size = rng.choice([-1, 1, 2, 7, 1000])
                    piece = yield from patient(
                        lambda part=part, size=size: part.read(size))
                    data += piece
                    if not piece or way == 'begin':
                        break
                if way == 'whole':
                    data = (yield part.text()).encode()
                found.append((part.name, data if way in ('read', 'whole') else None))
            yield 'good'

        with virtual(app) as host:
            body = body_of(*(part(name, data, rng.choice([None, 'f'])) for name, data in sent))
            if rng.random() < 0.5:
                begin = request('/', 'POST', TYPE, f'Content-Length: {len(body)}')
            else:
                size = rng.choice([1, 7, 100])
                begin = request('/', 'POST', TYPE, 'Transfer-Encoding: chunked')
                body = chunked(*(body[i:i + size] for i in range(0, len(body), size)))
            client = host.connect(begin)
            while body:
                size = rng.choice([1, 3, 50, 1000, 5000])
                client.send(body[:size])
                body = body[size:]
                host.advance(rng.choice([0, 0.05, 0.5, 2]))
            assert client.take().body == b'good', number
        assert [name for name, _ in found] == [name for name, _ in sent], number
        for (_, got), (_, data) in zip(found, sent):
            assert got in (None, data), number
