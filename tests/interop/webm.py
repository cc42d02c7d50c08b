"""A video made of one picture, again and again: WebM, as small a subset as plays and seeks."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

# A key frame of VP8: 16 by 16 pixels of one colour.
FRAME = base64.b64decode('kAEAnQEqEAAQAALATCWgAnS6AAOYAP7Lt/4tpHQqdX/yU/ku6VtmAAAA')
SIZE = 16


def element(identifier: str, content: bytes) -> bytes:
    """Return an element of EBML: its identifier, its size in 8 bytes, and what it holds."""
    return bytes.fromhex(identifier) + struct.pack('>Q', 1 << 56 | len(content)) + content


def number(identifier: str, value: int) -> bytes:
    return element(identifier, struct.pack('>Q', value))


def write_webm(path: Path, seconds: int, padding: int) -> None:
    """Write a video with a picture each second; behind each are `padding` bytes of nothing."""
    header = element('1a45dfa3', b''.join((
        number('4286', 1), number('42f7', 1), number('42f2', 4), number('42f3', 8),
        element('4282', b'webm'), number('4287', 2), number('4285', 2))))
    about = element('1549a966', number('2ad7b1', 1_000_000)
                    + element('4489', struct.pack('>d', seconds * 1000.0))
                    + element('4d80', b'test') + element('5741', b'test'))
    tracks = element('1654ae6b', element('ae', b''.join((
        number('d7', 1), number('73c5', 1), number('9c', 0), number('83', 1),
        element('86', b'V_VP8'), element('e0', number('b0', SIZE) + number('ba', SIZE))))))

    def seek_head(cues: int) -> bytes:
        return element('114d9b74', element(
            '4dbb', element('53ab', bytes.fromhex('1c53bb6b')) + number('53ac', cues)))

    begin = seek_head(0) + about + tracks
    cluster_size = len(cluster(0)) + len(element('ec', bytes(padding)))
    cues = element('1c53bb6b', b''.join(
        element('bb', number('b3', second * 1000) + element('b7', number('f7', 1) + number(
            'f1', len(begin) + second * cluster_size))) for second in range(seconds)))
    body = seconds * cluster_size
    with path.open('wb') as file:
        file.write(header + bytes.fromhex('18538067')
                   + struct.pack('>Q', 1 << 56 | (len(begin) + body + len(cues))))
        file.write(seek_head(len(begin) + body) + about + tracks)
        for second in range(seconds):
            file.write(cluster(second) + element('ec', bytes(padding)))
        file.write(cues)


def cluster(second: int) -> bytes:
    """Return the picture of a second."""
    return element('1f43b675', number('e7', second * 1000)
                   + element('a3', b'\x81\x00\x00\x80' + FRAME))
