"""PROXY header: by the first bytes of a connection a proxy says who its client is.

    read_header(b'PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\\r\\nGET / HTTP/1.1\\r\\n')
        # size 44, ends (('203.0.113.7', 51234), ('192.0.2.1', 443))

Bytes in, a header out; it knows no sockets and no clock. Version 1 is a line of text, version 2 is
binary ("The PROXY protocol", HAProxy's proxy-protocol.txt, sections 2.1 and 2.2):

    version 2    12 bytes   the signature
                  1         the version (2), and the command: LOCAL (0) or PROXY (1)
                  1         the family and the transport of the addresses
                  2         how many bytes follow
                 12, 36     the addresses and ports of both ends (216: the paths of UNIX sockets)
                 the rest   TLVs: a type of one byte, a length of two, and a value

As long as `read_header` returns None, all bytes belong to the header, so whoever feeds it knows
which bytes may be taken from a socket. The same bytes give the same result, however they are cut:
each check looks at the bytes in their order, and no message shows bytes that may not be there yet.

Where the header names nobody (LOCAL, UNKNOWN, UNSPEC), its block is thrown away, as the standard
wants; but a checksum in it has to match. What the proxy says of its own TLS (PP2_TYPE_SSL) and all
other TLVs are not used: only their lengths are checked.
"""

from __future__ import annotations

import re
import struct
from socket import AF_INET6, inet_ntop, inet_pton

from ..typed import Any, Union
from .crc32c import crc32c

LONGEST_LINE = 107    # Bytes of version 1, with CRLF: what the standard reserves for it.
# Bytes of version 2 in all. (16 bits of length could say 65 KiB; HAProxy's fit into one segment.)
LONGEST = 4096

_LINE_BEGIN = b'PROXY '
_SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'
_LOCAL = 0
_UNSPEC, _INET, _INET6, _UNIX = range(4)
_STREAM, _DGRAM = 1, 2
_BLOCKS = {_UNSPEC: 0, _INET: 12, _INET6: 36, _UNIX: 216}    # Bytes of both addresses.
_CRC32C = 0x03

# One space, no leading zeros. (The groups of a match: both addresses, and both ports.)
_PORTS = rb' (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n'
_TCP4 = re.compile(rb'PROXY TCP4 ([0-9.]{7,15}) ([0-9.]{7,15})' + _PORTS)
_TCP6 = re.compile(rb'PROXY TCP6 ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45})' + _PORTS)
_UNKNOWN = re.compile(rb'PROXY UNKNOWN(?: [^\r\n]*)?\r\n')    # (What else it says is not used.)
_DECIMAL = re.compile(rb'0|[1-9][0-9]{0,2}')

# The client's end and the end that the client has reached: `(host, port)` each. On a UNIX socket
# neither has an address: None.
Ends = tuple[Any, Any]
_Bytes = Union[bytes, bytearray]


class ProxyHeaderError(Exception):
    """What came is no PROXY header, or a broken one; the message is one line for the log."""


class ProxyHeader:
    """A header that is whole: its `size` in bytes, and the `ends` that it names.

    `ends` is None if it names none: then the connection is the proxy's own (a look whether we are
    there, for example), and the socket's addresses count.
    """

    __slots__ = ('ends', 'size')

    def __init__(self, size: int, ends: Ends | None) -> None:
        self.size = size
        self.ends = ends


def read_header(data: _Bytes, version: str = 'auto') -> ProxyHeader | None:
    """Read the header that `data` begins with; None: all of it is a header's beginning.

    `version` is the one that must come: 'v1', 'v2' or, for either, 'auto'. Raises
    `ProxyHeaderError` as soon as the bytes cannot become a header.
    """
    binary = data.startswith(_SIGNATURE[:1])
    begin = _SIGNATURE if binary else _LINE_BEGIN
    if data[:len(begin)] != begin[:len(data)]:
        raise ProxyHeaderError('what came first is no PROXY header')
    if len(data) < len(begin):
        return None
    came = 'v2' if binary else 'v1'
    if version not in ('auto', came):
        raise ProxyHeaderError(f'it is of version {came[1]} (proxy_protocol is {version})')
    return _read_binary(data) if binary else _read_line(data)


def _read_line(data: _Bytes) -> ProxyHeader | None:
    """Read version 1 (section 2.1)."""
    size = data.find(b'\n', 0, LONGEST_LINE) + 1
    if not size:
        if len(data) >= LONGEST_LINE:
            raise ProxyHeaderError(f'its line does not end within {LONGEST_LINE} bytes')
        return None
    line = bytes(data[:size])
    if _UNKNOWN.fullmatch(line):
        return ProxyHeader(size, None)
    for pattern, canonical in ((_TCP4, _canonical4), (_TCP6, _canonical6)):
        if match := pattern.fullmatch(line):
            client, server = map(canonical, match.group(1, 2))
            ports = tuple(map(int, match.group(3, 4)))
            if client and server and max(ports) <= 65535:
                return ProxyHeader(size, ((client, ports[0]), (server, ports[1])))
    raise ProxyHeaderError(f'its line is malformed: {line[:64]!r}')


def _canonical4(host: bytes) -> str:
    """Return an IPv4 address as a socket would tell it, or '' if it is none."""
    numbers = host.split(b'.')
    # (Systems differ in whether `inet_pton` takes 010, and for what.)
    fits = len(numbers) == 4 and all(
        _DECIMAL.fullmatch(number) and int(number) < 256 for number in numbers)
    return host.decode() if fits else ''


def _canonical6(host: bytes) -> str:
    """Return an IPv6 address as a socket would tell it, or '' if it is none."""
    try:
        return inet_ntop(AF_INET6, inet_pton(AF_INET6, host.decode()))
    except OSError:
        return ''


def _read_binary(data: _Bytes) -> ProxyHeader | None:
    """Read version 2 (section 2.2)."""
    if len(data) < 13:
        return None
    number, command = data[12] >> 4, data[12] & 15
    if number != 2:
        raise ProxyHeaderError(f'it is of the unknown version {number}')
    if command > 1:
        raise ProxyHeaderError(f'its command {command} is unknown')
    if len(data) < 14:
        return None
    family, transport = data[13] >> 4, data[13] & 15
    named = command != _LOCAL and family != _UNSPEC and transport != 0
    # (The family of LOCAL is ignored, whatever it is.)
    if command != _LOCAL:
        if family not in _BLOCKS or transport > _DGRAM:
            raise ProxyHeaderError(f'its family and transport 0x{data[13]:02x} are unknown')
        if transport == _DGRAM:
            raise ProxyHeaderError('it is about datagrams (UDP), and this is a stream')
    if len(data) < 16:
        return None
    size = 16 + int.from_bytes(data[14:16], 'big')
    if size > LONGEST:
        raise ProxyHeaderError(f'it is longer than {LONGEST} bytes')
    if named and size < 16 + _BLOCKS[family]:
        raise ProxyHeaderError('it is too short for its addresses')
    if len(data) < size:
        return None
    header = bytes(data[:size])
    whole = _check_tlvs(header, 16 + _BLOCKS.get(family, 0))
    if not named:
        return ProxyHeader(size, None)
    if not whole:
        raise ProxyHeaderError('its TLVs are malformed')
    return ProxyHeader(size, _ends(header, family))


def _ends(header: bytes, family: int) -> Ends:
    """Return the ends that the block of addresses names."""
    if family == _UNIX:
        return None, None
    if family == _INET:
        numbers = struct.unpack_from('!4B4BHH', header, 16)
        hosts = ['.'.join(map(str, each)) for each in (numbers[:4], numbers[4:8])]
    else:
        *addresses, _, _ = numbers = struct.unpack_from('!16s16sHH', header, 16)
        hosts = [inet_ntop(AF_INET6, each) for each in addresses]
    return (hosts[0], numbers[-2]), (hosts[1], numbers[-1])


def _check_tlvs(header: bytes, at: int) -> bool:
    """Walk over the TLVs; return whether they end where the header ends.

    A checksum must be that of the whole header, with zeros in its own place.
    """
    checksum = 0    # Where it is.
    while at + 3 <= len(header):
        kind, length = header[at], int.from_bytes(header[at + 1:at + 3], 'big')
        at += 3
        if kind == _CRC32C:
            if length != 4 or checksum:
                return False
            checksum = at
        at += length
    if at != len(header):
        return False
    if checksum:
        found = crc32c(header[:checksum])
        found = crc32c(header[checksum + 4:], crc32c(bytes(4), found))
        if header[checksum:checksum + 4] != found.to_bytes(4, 'big'):
            raise ProxyHeaderError('its checksum (CRC32C) does not match')
    return True
