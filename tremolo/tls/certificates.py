"""Certificates: what a certificate says: its names, when it is valid, and whom it names.

    read_certificate(first_certificate(pem)).names      # ('example.org', '*.example.org')

A certificate (RFC 5280 section 4.1) is written in DER: each value is a tag, its length and its
bytes, and those of a sequence are values again. The module `ssl` tells these only of a peer that it
has verified; here is as much of a reader as a server's own certificate needs, and the name of a
client's in the words of RFC 4514.
"""

from __future__ import annotations

import binascii
import datetime
import re
from collections.abc import Iterator

from ..typed import NamedTuple

_PEM = re.compile(
    rb'-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----\s(.*?)-----END \1-----', re.DOTALL)

# Tags. (A context tag is written [n] in the RFC: 0x80 + n, and 0xA0 + n around other values.)
_OID, _UTC_TIME, _GENERALIZED_TIME, _SEQUENCE, _SET = 0x06, 0x17, 0x18, 0x30, 0x31
_VERSION, _EXTENSIONS, _DNS_NAME = 0xA0, 0xA3, 0x82
# How the strings of each tag are written.
_STRINGS = {0x0C: 'utf-8', 0x12: 'ascii', 0x13: 'ascii', 0x14: 'latin-1', 0x16: 'ascii',
            0x1C: 'utf-32-be', 0x1E: 'utf-16-be'}

_SUBJECT_ALT_NAME = '2.5.29.17'
_COMMON_NAME = '2.5.4.3'
# The short names of RFC 4514 section 3.
_SHORT = {
    _COMMON_NAME: 'CN', '2.5.4.7': 'L', '2.5.4.8': 'ST', '2.5.4.10': 'O', '2.5.4.11': 'OU',
    '2.5.4.6': 'C', '2.5.4.9': 'STREET', '0.9.2342.19200300.100.1.25': 'DC',
    '0.9.2342.19200300.100.1.1': 'UID'}

# An attribute of a name: its type, and its value as a tag and bytes.
_Attribute = tuple[str, int, bytes]


class Certificate(NamedTuple):
    """What a certificate says."""

    names: tuple[str, ...]    # The hosts, in lower case; `*.example.org` for one label more.
    begins: float             # When it is valid, in seconds since 1970.
    ends: float
    subject: str              # RFC 4514: 'CN=alice,O=Example,C=NL'.


def first_certificate(pem: bytes) -> bytes:
    """Return the first certificate of a PEM file, in DER. Raises `ValueError` if it has none."""
    match = _PEM.search(pem)
    if match is None:
        raise ValueError('no certificate in PEM')
    return binascii.a2b_base64(match[2])


def read_certificate(der: bytes) -> Certificate:
    """Read a certificate. Raises `ValueError` for what is none."""
    try:
        signed = _values(next(_values(next(_values(der))[1]))[1])
        tag, _ = next(signed)
        if tag == _VERSION:
            next(signed)    # The serial number.
        next(signed)    # The algorithm of the signature.
        next(signed)    # The issuer.
        begins, ends = (_time(*each) for each in _values(next(signed)[1]))
        subject = _name(next(signed)[1])
        hosts = None
        for tag, value in signed:
            if tag == _EXTENSIONS:
                hosts = _hosts(value)
    except (StopIteration, OverflowError):
        raise ValueError('the certificate is cut off') from None
    if hosts is None:
        # (RFC 6125 section 6.4.4: the common name counts where there is nothing else.)
        hosts = [_string(tag, value) for each in subject for kind, tag, value in each
                 if kind == _COMMON_NAME][-1:]
    return Certificate(tuple(host.lower() for host in hosts), begins, ends, _written(subject))


def _values(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Iterate over the values that follow each other: the tag and the bytes of each."""
    at = 0
    while at < len(data):
        tag, at = data[at], at + 2
        if at > len(data) or tag & 0x1F == 0x1F:
            raise ValueError('not DER')
        size = data[at - 1]
        if size >= 0x80:
            more = size & 0x7F
            size, at = int.from_bytes(data[at:at + more], 'big'), at + more
        if at + size > len(data):
            raise ValueError('not DER: a value is longer than what it is in')
        yield tag, data[at:at + size]
        at += size


def _oid(data: bytes) -> str:
    """Write an object identifier with dots: 2.5.4.3."""
    numbers, number = [], 0
    for byte in data:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(number)
            number = 0
    if not numbers:
        raise ValueError('not DER: an empty object identifier')
    first = min(numbers[0] // 40, 2)
    return '.'.join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _time(tag: int, data: bytes) -> float:
    """Read a time (RFC 5280 section 4.1.2.5): two digits of a year are 1950 to 2049."""
    text = data.decode('ascii')
    if tag == _UTC_TIME:
        text = ('19' if text[:2] >= '50' else '20') + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError('not a time')
    match = re.fullmatch('([0-9]{4})' + 5 * '([0-9]{2})' + 'Z', text)
    if match is None:
        raise ValueError('not a time')
    return datetime.datetime(
        *map(int, match.groups()), tzinfo=datetime.timezone.utc).timestamp()  # type: ignore


def _name(data: bytes) -> list[list[_Attribute]]:
    """Read a name: its parts, each of one attribute or several."""
    parts = []
    for _, part in _values(data):
        attributes = []
        for _, attribute in _values(part):
            (_, kind), (tag, value) = _values(attribute)
            attributes.append((_oid(kind), tag, value))
        parts.append(attributes)
    return parts


def _hosts(data: bytes) -> list[str] | None:
    """Return the hosts of the subjectAltName; None if these extensions have none."""
    for _, extension in _values(next(_values(data))[1]):
        (_, kind), *_, (_, value) = _values(extension)
        if _oid(kind) == _SUBJECT_ALT_NAME:
            return [name.decode('latin-1') for tag, name in _values(next(_values(value))[1])
                    if tag == _DNS_NAME]
    return None


def _string(tag: int, value: bytes) -> str:
    return value.decode(_STRINGS.get(tag, 'latin-1'), 'replace')


def _written(name: list[list[_Attribute]]) -> str:
    """Write a name as RFC 4514 does: the last part is first."""
    return ','.join('+'.join(_attribute(*each) for each in part) for part in reversed(name))


def _attribute(kind: str, tag: int, value: bytes) -> str:
    """Write one attribute (RFC 4514 sections 2.3 and 2.4)."""
    if kind not in _SHORT or tag not in _STRINGS:
        return f'{_SHORT.get(kind, kind)}=#{_der(tag, value).hex()}'
    text = re.sub(r'["+,;<>\\]', r'\\\g<0>', _string(tag, value))
    # (Beyond what the RFC asks for: a name shall not begin a new line of a log.)
    text = re.sub('[\0-\x1f\x7f]', lambda each: f'\\{ord(each[0]):02X}', text)
    text = re.sub('^[ #]|(?<=.) $', r'\\\g<0>', text)
    return f'{_SHORT[kind]}={text}'


def _der(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes((tag, size)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, 'big')
    return bytes((tag, 0x80 | len(length))) + length + value
