"""Frames of a client, ways to feed a `FrameParser`, and a slow reference of what it must say."""

from __future__ import annotations

import zlib

from tremolo.ws.parser import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MORE,
    PIECE,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameParser,
)

MASK = b'\xa1\x07\x80\x3c'
MOST = 1 << 20


def masked(payload, mask=MASK):
    """The payload XOR the mask, as section 5.3 writes it: octet by octet."""
    return bytes(octet ^ mask[place % 4] for place, octet in enumerate(payload))


def masked_at_once(payload, mask=MASK):
    """The same for large payloads: as two integers."""
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], 'big')
    return (int.from_bytes(payload, 'big') ^ key).to_bytes(size, 'big')


def client(first, payload=b'', mask=MASK, size=None):
    """A frame of a client with this first byte; `size` is told instead of the true one."""
    size = len(payload) if size is None else size
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0xfe)) + size.to_bytes(2, 'big')
    else:
        head = bytes((first, 0xff)) + size.to_bytes(8, 'big')
    return head + mask + (masked(payload, mask) if len(payload) < 1000
                          else masked_at_once(payload, mask))


def text(message):
    return client(0x81, message.encode())


def run(pieces, message_size=MOST, agreed=None, takes=False):
    """Feed the pieces, or take them; return the events, and the error as a tuple."""
    parser = FrameParser(message_size, agreed and agreed.inflater())
    events = []
    try:
        for piece in pieces:
            if takes:
                event = parser.take(piece)
            else:
                parser.feed(piece)
                event = parser.next_event()
            while event is not None:
                if event[0] != MORE:
                    events.append(event)
                event = parser.next_event()
    except FrameError as error:
        return events, (error.code, error.reason)
    return events, None


def octets(data):
    return [data[at:at + 1] for at in range(len(data))]


def same_however_split(data, message_size=MOST, agreed=None):
    """What the parser says of the data: whole, at each place in two, and byte by byte."""
    whole = run([data], message_size, agreed)
    assert run(octets(data), message_size, agreed) == whole
    for at in range(1, len(data)):
        assert run([data[:at], data[at:]], message_size, agreed) == whole, at
    return whole


class Wrong(Exception):
    """The reference found a fault: the code."""


def reference(data, message_size=MOST, window=None, keeps=True):
    """The events and the code of the error, found octet by octet, as the RFCs tell it.

    `window` are the bits with which messages are inflated; None: they are not compressed.
    """
    events = []
    octet = iter(data)
    message = Message(message_size, window, keeps)
    try:
        while True:
            event = read_frame(octet, message)
            if event is not None:
                events.append(event)
            if event is not None and event[0] == CLOSE:
                return events, None
    except StopIteration:
        return events, None
    except Wrong as wrong:
        return events, wrong.args[0]


def need(truth, code=1002):
    if not truth:
        raise Wrong(code)


def read_frame(octet, message):
    first = next(octet)
    fin, rsv1, opcode = first >> 7, first >> 6 & 1, first & 15
    need(first >> 4 & 3 == 0)
    need(opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
    need(not rsv1 or (message.window is not None and opcode in (TEXT, BINARY)))
    control = opcode >= CLOSE
    need(fin or not control)
    need(control or (opcode == CONTINUATION) == (message.kind is not None))
    second = next(octet)
    need(second >> 7 == 1)
    size = second & 127
    need(size < 126 or not control)
    if size >= 126:
        digits = [next(octet) for _ in range(2 if size == 126 else 8)]
        least = 126 if size == 126 else 65536
        size = 0
        for digit in digits:
            size = size * 256 + digit
        need(least <= size < 2 ** 63)
    if opcode in (TEXT, BINARY):
        message.begin(opcode, rsv1)
    if not control and not message.compressed:
        need(len(message.data) + size <= message.most, 1009)
    mask = [next(octet) for _ in range(4)]
    if control:
        return read_control(opcode, bytes([next(octet) ^ mask[at % 4] for at in range(size)]))
    for at in range(size):
        message.add(next(octet) ^ mask[at % 4])
    return message.end() if fin else None


def read_control(opcode, payload):
    if opcode != CLOSE:
        return opcode, payload
    if not payload:
        return CLOSE, (1005, '')
    need(len(payload) > 1)
    code = payload[0] * 256 + payload[1]
    need(code in {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
    need(is_beginning(payload[2:]), 1007)
    try:
        return CLOSE, (code, payload[2:].decode())
    except UnicodeDecodeError:
        raise Wrong(1007) from None


class Message:
    """The message that is being read. Each octet is looked at as it comes."""

    def __init__(self, most, window, keeps):
        self.most, self.window, self.keeps = most, window, keeps
        self.kind = self.inflate = None
        self.data = bytearray()
        self.compressed = False

    def begin(self, kind, compressed):
        self.kind, self.compressed, self.data = kind, compressed, bytearray()
        self.some, self.after, self.character = False, b'', b''

    def add(self, octet):
        if not self.compressed:
            self.take(octet)
            return
        self.some = True
        if self.inflate is None:
            self.inflate = zlib.decompressobj(-self.window)
        if self.inflate.eof:
            self.after += bytes([octet])
        else:
            self.inflate_some(bytes([octet]))
            self.after = self.inflate.unused_data
        need(self.after in (b'', b'\x00'), 1007)

    def inflate_some(self, octets):
        try:
            # (A little at a time: what comes before a fault is looked at first.)
            while True:
                plain = self.inflate.decompress(octets, 1)
                octets = self.inflate.unconsumed_tail
                for each in plain:
                    self.take(each)
                if not plain:
                    return
        except zlib.error:
            raise Wrong(1007) from None

    def take(self, octet):
        need(len(self.data) < self.most, 1009)
        self.data.append(octet)
        if self.kind == TEXT:
            self.character += bytes([octet])
            need(is_beginning(self.character), 1007)
            if is_whole(self.character):
                self.character = b''

    def end(self):
        if self.compressed and self.some:
            if self.inflate.eof:
                need(self.after == b'\x00', 1007)
                self.inflate = None
            else:
                need(not self.final(), 1007)
        need(not self.character, 1007)
        kind, data, self.kind = self.kind, bytes(self.data), None
        return kind, data if kind == BINARY else data.decode()

    def final(self):
        """What the four bytes that were not sent bring out: nothing, if the message is whole."""
        inflate = self.inflate
        try:
            if self.keeps:
                return inflate.decompress(b'\x00\x00\xff\xff\x00\x00\x00\xff\xff', 1) or inflate.eof
            self.inflate = None
            return (inflate.decompress(b'\x00\x00\xff\xff\x03\x00', 1) or not inflate.eof
                    or inflate.unused_data)
        except zlib.error:
            return True


def is_whole(data):
    """Whether these bytes, with which UTF-8 may begin, are one character."""
    return len(data) == (1 if data[0] < 0x80 else 2 if data[0] < 0xe0 else 3 if data[0] < 0xf0
                         else 4)


def is_beginning(data):
    """Whether some UTF-8 begins with the data (the table of RFC 3629 section 4)."""
    at = 0
    while at < len(data):
        lead = data[at]
        at += 1
        if lead < 0x80:
            continue
        low, high = {0xe0: (0xa0, 0xbf), 0xed: (0x80, 0x9f), 0xf0: (0x90, 0xbf),
                     0xf4: (0x80, 0x8f)}.get(lead, (0x80, 0xbf))
        if not 0xc2 <= lead <= 0xf4:
            return False
        for _ in range(1 if lead < 0xe0 else 2 if lead < 0xf0 else 3):
            if at == len(data):
                return True
            if not low <= data[at] <= high:
                return False
            low, high = 0x80, 0xbf
            at += 1
    return True


__all__ = [
    'MASK', 'MOST', 'PIECE', 'client', 'masked', 'octets', 'reference', 'run',
    'same_however_split', 'text',
]
