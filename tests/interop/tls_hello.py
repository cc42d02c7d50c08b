"""A ClientHello that no TLS library sends today: old versions, weak ciphers, compression."""

from __future__ import annotations

import os
import socket
import struct
from typing import NamedTuple

PATIENCE = 60
SSL3, TLS1, TLS1_1, TLS1_2 = 0x300, 0x301, 0x302, 0x303
ALERT, HANDSHAKE = 21, 22
HANDSHAKE_FAILURE, PROTOCOL_VERSION = 40, 70
ECDHE_ECDSA_AES128_GCM, ECDHE_RSA_AES128_GCM, RSA_AES128 = 0xc02b, 0xc02f, 0x002f
# By RFC 5246, 4346 and 8422.
WEAK = {
    'NULL-MD5': 0x0001, 'NULL-SHA': 0x0002, 'NULL-SHA256': 0x003b, 'ECDHE-RSA-NULL-SHA': 0xc010,
    'ECDHE-ECDSA-NULL-SHA': 0xc006, 'ADH-AES128-SHA': 0x0034, 'ADH-AES128-GCM-SHA256': 0x00a6,
    'AECDH-AES128-SHA': 0xc018, 'ADH-RC4-MD5': 0x0018, 'AECDH-NULL-SHA': 0xc015,
    'DES-CBC3-SHA': 0x000a, 'ECDHE-RSA-DES-CBC3-SHA': 0xc012, 'ECDHE-ECDSA-DES-CBC3-SHA': 0xc008,
    'RC4-MD5': 0x0004, 'RC4-SHA': 0x0005, 'ECDHE-RSA-RC4-SHA': 0xc011,
    'ECDHE-ECDSA-RC4-SHA': 0xc007, 'DES-CBC-SHA': 0x0009, 'EXP-RC4-MD5': 0x0003,
    'EXP-DES-CBC-SHA': 0x0008, 'IDEA-CBC-SHA': 0x0007,
    # No forward secrecy.
    'AES128-SHA': RSA_AES128, 'AES256-SHA': 0x0035, 'AES128-GCM-SHA256': 0x009c,
}


class Answer(NamedTuple):
    """The first record that a server sent: an alert, or the parts of its ServerHello."""

    alert: int | None = None
    version: int = 0
    cipher: int = 0
    compression: int = 0


def _extension(kind: int, data: bytes) -> bytes:
    return struct.pack('>HH', kind, len(data)) + data


def _with_size(data: bytes) -> bytes:
    return struct.pack('>H', len(data)) + data


def client_hello(version: int, ciphers: list[int], name: str, compressions: bytes) -> bytes:
    extensions = b''
    if version > SSL3:
        host = b'\0' + _with_size(name.encode())
        extensions = (
            _extension(0, _with_size(host))
            + _extension(10, _with_size(struct.pack('>2H', 29, 23)))        # x25519, P-256
            + _extension(11, b'\1\0') + _extension(0xff01, b'\0')
            # ECDSA and RSA, with SHA-256, and PSS; and with SHA-1, as old clients.
            + _extension(13, _with_size(struct.pack('>5H', 0x403, 0x401, 0x804, 0x203, 0x201))))
    body = (struct.pack('>H', version) + os.urandom(32) + b'\0'
            + _with_size(struct.pack(f'>{len(ciphers)}H', *ciphers))
            + bytes([len(compressions)]) + compressions
            + (_with_size(extensions) if extensions else b''))
    handshake = b'\1' + struct.pack('>I', len(body))[1:] + body
    return struct.pack('>BHH', HANDSHAKE, min(version, TLS1), len(handshake)) + handshake


def say_hello(port: int, version: int, ciphers: list[int], name: str = 'a.example',
              compressions: bytes = b'\0') -> Answer:
    """Send one; return what comes first. A close without a word is an error here."""
    with socket.create_connection(('127.0.0.1', port), timeout=PATIENCE) as sock:
        sock.sendall(client_hello(version, ciphers, name, compressions))
        with sock.makefile('rb') as file:
            kind, _, size = struct.unpack('>BHH', file.read(5))
            data = file.read(size)
    if kind == ALERT:
        return Answer(alert=data[1])
    assert kind == HANDSHAKE
    assert data[0] == 2
    version, session = int.from_bytes(data[4:6], 'big'), data[38]
    cipher, compression = struct.unpack_from('>HB', data, 39 + session)
    return Answer(None, version, cipher, compression)
