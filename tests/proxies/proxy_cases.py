"""Headers of PROXY, whole and broken, as data: (name, bytes, what comes out).

What comes out is the ends that are named, None for a header that names nobody, or a part of the
error. `v1` and `v2` make headers; `reference` reads them, slowly and in other words.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Any

SIGNATURE = bytes((13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10))
LOCAL, PROXY = 0x20, 0x21
NOBODY = None
UNIX = (None, None)

# What a header in hand of the tests names.
A4, B4 = ('203.0.113.7', 51234), ('192.0.2.1', 443)
A6, B6 = ('2001:db8::7', 51234), ('2001:db8::1', 443)


def line(*words: Any) -> bytes:
    return ' '.join(map(str, ('PROXY', *words))).encode('latin-1') + b'\r\n'


def v1(client: Any = A4, server: Any = B4) -> bytes:
    kind = 'TCP6' if ':' in client[0] else 'TCP4'
    return line(kind, client[0], server[0], client[1], server[1])


def tlv(kind: int, value: bytes = b'', length: int | None = None) -> bytes:
    return struct.pack('!BH', kind, len(value) if length is None else length) + value


def block(client: Any = A4, server: Any = B4) -> bytes:
    hosts = b''.join((IPv6Address if ':' in host else IPv4Address)(host).packed
                     for host, _ in (client, server))
    return hosts + struct.pack('!HH', client[1], server[1])


def v2(command: int = PROXY, family: int = 0x11, rest: bytes | None = None,
       length: int | None = None) -> bytes:
    rest = block() if rest is None else rest
    return SIGNATURE + struct.pack(
        '!BBH', command, family, len(rest) if length is None else length) + rest


def slow_crc32c(data: bytes) -> int:
    """By the definition: a division of polynomials, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        for place in range(8):
            bit = (value ^ (byte >> place)) & 1
            value = (value >> 1) ^ (0x82F63B78 if bit else 0)
    return value ^ 0xFFFFFFFF


def summed(header: bytes, wrong: int = 0) -> bytes:
    """Give a header of version 2 a checksum as its last TLV."""
    length = struct.unpack_from('!H', header, 14)[0] + 7
    header = header[:14] + struct.pack('!H', length) + header[16:] + tlv(3, bytes(4))
    return header[:-4] + struct.pack('!I', slow_crc32c(header) ^ wrong)


def paths(client: bytes = b'/run/client', server: bytes = b'/run/server') -> bytes:
    return client.ljust(108, b'\0') + server.ljust(108, b'\0')


def _valid() -> list[tuple[str, bytes, Any]]:
    ssl = tlv(0x20, b'\x01\0\0\0\0' + tlv(0x21, b'TLSv1.3') + tlv(0x22, b'example.org'))
    cases: list[tuple[str, bytes, Any]] = [
        ('TCP4', v1(), (A4, B4)),
        ('TCP6', v1(A6, B6), (A6, B6)),
        ('port 0', v1(('10.0.0.1', 0), B4), (('10.0.0.1', 0), B4)),
        ('port 65535', v1(A4, ('10.0.0.1', 65535)), (A4, ('10.0.0.1', 65535))),
        ('the smallest line', v1(('0.0.0.0', 0), ('0.0.0.0', 0)), (('0.0.0.0', 0),) * 2),
        ('the largest numbers', v1(('255.255.255.255', 65535), ('255.255.255.255', 65535)),
         (('255.255.255.255', 65535),) * 2),
        ('TCP6 written in full', line('TCP6', 'ffff:' * 7 + 'ffff', 'ffff:' * 7 + 'ffff', 65535,
                                      65535), (('ffff:' * 7 + 'ffff', 65535),) * 2),
        ('TCP6 with capitals and zeros', line('TCP6', '2001:0DB8:0:0::0007', '::', 1, 2),
         (('2001:db8::7', 1), ('::', 2))),
        ('TCP6 with a mapped address', line('TCP6', '::ffff:192.0.2.7', '::1', 1, 2),
         (('::ffff:192.0.2.7', 1), ('::1', 2))),
        ('TCP6 with a mapped address in hexadecimal', line('TCP6', '::ffff:c000:207', '::1', 1, 2),
         (('::ffff:192.0.2.7', 1), ('::1', 2))),
        ('UNKNOWN', line('UNKNOWN'), NOBODY),
        ('UNKNOWN and addresses', line('UNKNOWN', *A4, *B4), NOBODY),
        ('UNKNOWN and anything', line('UNKNOWN', 'a  b\tc\0', '\xff'), NOBODY),
        ('UNKNOWN and a space', line('UNKNOWN', ''), NOBODY),
        ('UNKNOWN, 107 bytes', line('UNKNOWN', 'x' * 91), NOBODY),
        ('v2 TCP4', v2(), (A4, B4)),
        ('v2 TCP6', v2(family=0x21, rest=block(A6, B6)), (A6, B6)),
        ('v2 mapped', v2(family=0x21, rest=block(('::ffff:192.0.2.7', 1), B6)),
         (('::ffff:192.0.2.7', 1), B6)),
        ('v2 zeros', v2(rest=bytes(12)), (('0.0.0.0', 0),) * 2),
        ('v2 ones', v2(rest=b'\xff' * 12), (('255.255.255.255', 65535),) * 2),
        ('v2 ports', v2(rest=block(('1.2.3.4', 1), ('5.6.7.8', 65535))),
         (('1.2.3.4', 1), ('5.6.7.8', 65535))),
        ('v2 UNIX', v2(family=0x31, rest=paths()), UNIX),
        ('v2 UNIX without paths', v2(family=0x31, rest=bytes(216)), UNIX),
        ('v2 UNIX with any bytes', v2(family=0x31, rest=b'\xff' * 216), UNIX),
        ('v2 LOCAL', v2(LOCAL, 0, b''), NOBODY),
        ('v2 UNSPEC', v2(PROXY, 0, b''), NOBODY),
        ('v2 UNSPEC by its family', v2(PROXY, 0x01, b''), NOBODY),
        ('v2 UNSPEC by its transport', v2(PROXY, 0x10), NOBODY),
        ('v2 UNSPEC transport of IPv6, no block', v2(PROXY, 0x20, b''), NOBODY),
        ('v2 UNSPEC and something', v2(PROXY, 0, b'something'), NOBODY),
        ('v2 LOCAL and something', v2(LOCAL, 0, b'something'), NOBODY),
        ('v2 LOCAL with 4,080 bytes', v2(LOCAL, 0, bytes(4080)), NOBODY),
        ('v2 LOCAL with TLVs', v2(LOCAL, 0, tlv(4) + tlv(5, b'id')), NOBODY),
        ('v2 LOCAL with a checksum', summed(v2(LOCAL, 0, b'')), NOBODY),
        ('v2 UNSPEC with a checksum', summed(v2(PROXY, 0, b'')), NOBODY),
        ('v2 TLS alone', v2(rest=block() + ssl), (A4, B4)),
        ('v2 TLS with nonsense in it', v2(rest=block() + tlv(0x20, b'\xff')), (A4, B4)),
        ('v2 checksum', summed(v2()), (A4, B4)),
        ('v2 checksum of TCP6', summed(v2(family=0x21, rest=block(A6, B6))), (A6, B6)),
        ('v2 checksum of UNIX', summed(v2(family=0x31, rest=paths())), UNIX),
        ('v2 checksum after TLS', summed(v2(rest=block() + ssl)), (A4, B4)),
        ('v2 padding', v2(rest=block() + tlv(4, bytes(100))), (A4, B4)),
        ('v2 empty TLVs', v2(rest=block() + tlv(4) * 50), (A4, B4)),
        ('v2 4,096 bytes', v2(rest=block() + tlv(4, bytes(4065))), (A4, B4)),
        ('v2 4,096 bytes with a checksum', summed(v2(rest=block() + tlv(4, bytes(4058)))),
         (A4, B4)),
        ('v2 1,355 TLVs', v2(rest=block() + tlv(4) * 1355), (A4, B4)),
    ]
    # (HAProxy, nginx and AWS send these; what is theirs alone is from 0xE0 on.)
    for kind in (0x01, 0x02, 0x05, 0x30, 0xE0, 0xEA, 0xEE, 0xEF, 0xF0, 0xF8, 0xFF, 0x00, 0x06):
        cases.append((f'v2 TLV {kind:02x}', v2(rest=block() + tlv(kind, b'value')), (A4, B4)))
        cases.append((f'v2 TLV {kind:02x} twice, and a checksum',
                      summed(v2(rest=block() + tlv(kind, b'value') * 2)), (A4, B4)))
    return cases + [(f'v2 LOCAL of family {family:02x}', v2(LOCAL, family), NOBODY)
                    for family in (0x00, 0x11, 0x12, 0x31, 0x44, 0xFF)]


_MALFORMED = 'its line is malformed'
_NONE = 'what came first is no PROXY header'


def _invalid() -> list[tuple[str, bytes, str]]:
    good = ('192.0.2.1', '192.0.2.2', 1, 2)
    cases = [(f'no header: {data[:20]!r}', data, _NONE) for data in (
        b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b'\x16\x03\x01\x02\0\x01', b'\0', b' ', b'\n',
        b'proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n', b'PROXYTCP4', b'PROXY\tTCP4', b'PROXY\r\n',
        b'PRI * HTTP/2.0\r\n\r\n', b' PROXY TCP4', b'\r\nPROXY', b'\r\n\r\n\0\r\nQUIT\r',
        b'\r\n\r\n\0\r\nquit\n', b'\xef\xbb\xbfPROXY ', b'POST /')]
    cases += [(f'bad line: {bad[6:60]!r}', bad, _MALFORMED) for bad in (
        line(''), line('UNKNOWNS'), line('unknown'), line('TCP'), line('tcp4', *good),
        line('TCP4'), line('TCP4', ''), line('TCP4', *good[:3]), line('TCP4', *good, 3),
        line('', 'TCP4', *good), line('TCP4', '', *good),
        line('TCP4', good[0], '', *good[1:]), line('TCP4', *good[:3], '', 2),
        line('UDP4', *good), line('TCP5', *good), line('TCP44', *good),
        b'PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n', b'PROXY TCP4 192.0.2.1\t192.0.2.2 1 2\r\n',
        b'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n', b'PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n',
        b'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n', b'PROXY TCP4 192.0.2.1 192.0.2.2 1\r 2\r\n',
        b'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\0\r\n', b'PROXY TCP4\n192.0.2.1 192.0.2.2 1 2\r\n',
        b'PROXY UNKNOWN\n', b'PROXY UNKNOWN\r \r\n', b'PROXY UNKNOWN\t\r\n', b'PROXY \n')]
    for host in ('192.0.2', '192.0.2.1.1', '192.0.2.256', '192.0.2.999', '192.0.2.01', '192.0.2.00',
                 '192.0.2.0x1', '192.0.2.-1', '192.0.2.+1', '192.0.2.', '.192.0.2', '192..0.2',
                 '3221225985', '0xC0000201', 'localhost', '::1', '::ffff:192.0.2.1', '[::1]',
                 '192.0.2.1:80', '192.0.2.1/24', '1.1.1', '\xb2.0.0.1', '0300.0.2.1', '*', '-'):
        cases.append((f'TCP4 client {host!a}', line('TCP4', host, *good[1:]), _MALFORMED))
        cases.append((f'TCP4 server {host!a}', line('TCP4', good[0], host, 1, 2), _MALFORMED))
    for host in ('192.0.2.1', '1', ':', ':::', '::1::', '1::2::3', '12345::', '::g',
                 '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', ':1:2:3:4:5:6:7', '1:2:3:4:5:6:7:', '[::1]',
                 '::1%eth0', 'fe80::1%1', '::1/128', '::ffff:1.2.3', '::ffff:1.2.3.256', '::1.2.3.4.5',
                 '::01.2.3.4', '1.2.3.4::', '::-1', '::\xb2', '...', '.:.'):
        cases.append((f'TCP6 client {host!a}', line('TCP6', host, '::1', 1, 2), _MALFORMED))
    for port in ('65536', '99999', '100000', '00', '01', '0080', '-1', '+1', '1.0', '0x50', '',
                 'http', '1e3', '\xb2', '1_0', '4294967297'):
        cases.append((f'client port {port!a}', line('TCP4', *good[:2], port, 2), _MALFORMED))
        cases.append((f'server port {port!a}', line('TCP6', '::1', '::2', 1, port), _MALFORMED))
    cases += [
        ('107 bytes without an end', b'PROXY UNKNOWN ' + b'x' * 93, 'does not end within 107'),
        ('107 bytes with CR', b'PROXY UNKNOWN ' + b'x' * 92 + b'\r', 'does not end within 107'),
        ('108 bytes', line('UNKNOWN', 'x' * 92), 'does not end within 107 bytes'),
        ('spaces without end', b'PROXY ' + b' ' * 200, 'does not end within 107 bytes'),
    ]
    for number in (0, 1, 3, 0xF):
        cases.append((f'v2 of version {number}', v2(number << 4 | 1), f'unknown version {number}'))
    for command in (2, 3, 0xF):
        cases.append((f'v2 command {command}', v2(0x20 | command), f'command {command} is unknown'))
    for family in (0x02, 0x12, 0x22, 0x32):
        rest = bytes((0, 12, 36, 216)[family >> 4])
        cases.append((f'v2 UDP {family:02x}', v2(family=family, rest=rest), 'datagrams (UDP)'))
    for family in (0x03, 0x13, 0x1F, 0x23, 0x33, 0x40, 0x41, 0x42, 0x51, 0xF0, 0xF1, 0xFF):
        cases.append((f'v2 family {family:02x}', v2(family=family),
                      f'family and transport 0x{family:02x} are unknown'))
    for family, size in ((0x11, 0), (0x11, 11), (0x21, 12), (0x21, 35), (0x31, 36), (0x31, 215)):
        cases.append((f'v2 {family:02x} with {size} bytes', v2(family=family, rest=bytes(size)),
                      'too short for its addresses'))
    for size in (4081, 4082, 65535):
        cases.append((f'v2 with {size} bytes', v2(rest=b'', length=size), 'longer than 4096 bytes'))
        cases.append((f'v2 LOCAL with {size} bytes', v2(LOCAL, 0, b'', size), 'longer than 4096'))
    malformed = 'its TLVs are malformed'
    for name, rest in (
        ('one byte', b'\x04'), ('two bytes', b'\x04\0'), ('too long', tlv(4, b'ab', 3)),
        ('much too long', tlv(4, b'ab', 65535)), ('too short', tlv(4, b'abc', 2)),
        ('a byte after it', tlv(4, b'ab') + b'\0'), ('two bytes after it', tlv(4) + b'\0\0'),
        ('TLS too long', tlv(0x20, b'\x01', 5)), ('checksum of 3 bytes', tlv(3, bytes(3))),
        ('checksum of 5 bytes', tlv(3, bytes(5))), ('checksum of none', tlv(3)),
        ('checksum cut', tlv(3, b'ab', 4)), ('two checksums', tlv(3, bytes(4)) * 2),
    ):
        cases.append((f'v2 TLV: {name}', v2(rest=block() + rest), malformed))
        cases.append((f'v2 TCP6 TLV: {name}', v2(family=0x21, rest=block(A6, B6) + rest),
                      malformed))
    for name, header in (('TCP4', v2()), ('UNIX', v2(family=0x31, rest=paths())),
                         ('LOCAL', v2(LOCAL, 0, b'')), ('UNSPEC', v2(PROXY, 0, b''))):
        for wrong in (1, 0x80000000, 0xFFFFFFFF):
            cases.append((f'v2 {name}, checksum off by {wrong:x}', summed(header, wrong),
                          'checksum (CRC32C) does not match'))
    # One bit of what the checksum is of.
    whole = summed(v2(rest=block() + tlv(5, b'id')))
    for place in (16, 19, 24, 27, len(whole) - 8):
        changed = bytearray(whole)
        changed[place] ^= 1
        cases.append((f'v2 with a bit changed at {place}', bytes(changed), 'does not match'))
    return cases


VALID = _valid()
INVALID = _invalid()


def reference(data: bytes) -> Any:
    """Read a header: (size, ends), 'more' or 'error'. Each beginning is looked at by itself."""
    for size in range(min(len(data), 4096) + 1):
        found = _whole(data[:size])
        if found != 'more':
            return found
    return 'more'


def _whole(data: bytes) -> Any:
    """Tell what these bytes are, of which none can be spared."""
    if b'PROXY '.startswith(data[:6]):
        if len(data) < 6 or (data[-1:] != b'\n' and len(data) < 107):
            return 'more'
        return _line(data)
    if not SIGNATURE.startswith(data[:12]):
        return 'error'
    if len(data) > 12 and data[12] not in (LOCAL, PROXY):
        return 'error'
    if len(data) > 13 and data[12] == PROXY and data[13] not in (
            0x00, 0x01, 0x10, 0x11, 0x20, 0x21, 0x30, 0x31):
        return 'error'
    if len(data) < 16:
        return 'more'
    size = 16 + data[14] * 256 + data[15]
    kind = 0 if data[12] == LOCAL else data[13]
    least = {0x11: 12, 0x21: 36, 0x31: 216}.get(kind, 0)
    if size > 4096 or size - 16 < least:
        return 'error'
    if len(data) < size:
        return 'more'
    begin = 16 + {1: 12, 2: 36, 3: 216}.get(data[13] >> 4, 0)
    tlvs = _tlvs(data, begin)
    if tlvs == 'sum' or (tlvs == 'bad' and least):
        return 'error'
    if not least:
        return size, None
    if kind == 0x31:
        return size, (None, None)
    make, width = (IPv4Address, 4) if kind == 0x11 else (IPv6Address, 16)
    client, server = make(data[16:16 + width]), make(data[16 + width:16 + 2 * width])
    ports = data[16 + 2 * width:20 + 2 * width]
    return size, ((client, ports[0] * 256 + ports[1]), (server, ports[2] * 256 + ports[3]))


def _tlvs(data: bytes, at: int) -> str:
    sums = []
    while at < len(data):
        length = data[at + 1] * 256 + data[at + 2] if len(data) - at >= 3 else 99999
        if at + 3 + length > len(data) or (data[at] == 3 and length != 4):
            return 'bad'
        if data[at] == 3:
            sums.append(at + 3)
        at += 3 + length
    if at > len(data) or len(sums) > 1:
        return 'bad'
    for place in sums:
        blank = data[:place] + bytes(4) + data[place + 4:]
        if slow_crc32c(blank).to_bytes(4, 'big') != data[place:place + 4]:
            return 'sum'
    return 'good'


def _line(data: bytes) -> Any:
    if data[-2:] != b'\r\n':
        return 'error'
    text = data[:-2].decode('latin-1')
    if text == 'PROXY UNKNOWN' or text.startswith('PROXY UNKNOWN '):
        return 'error' if '\r' in text else (len(data), None)
    words = text.split(' ')
    if len(words) != 6 or words[1] not in ('TCP4', 'TCP6'):
        return 'error'
    make = IPv4Address if words[1] == 'TCP4' else IPv6Address
    hosts = []
    for word in words[2:4]:
        octets = word.rpartition(':')[2].split('.')
        if not word.isascii() or '%' in word or (len(octets) > 1 and any(
                octet != '0' and octet.startswith('0') for octet in octets)):
            return 'error'
        try:
            hosts.append(make(word))
        except ValueError:
            return 'error'
    if not all(port.isascii() and port.isdigit() and len(port) < 6 and str(int(port)) == port
               and int(port) < 65536 for port in words[4:]):
        return 'error'
    return len(data), ((hosts[0], int(words[4])), (hosts[1], int(words[5])))
