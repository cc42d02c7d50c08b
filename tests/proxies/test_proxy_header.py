"""The header of PROXY: every case cut at every byte, a reference to compare with, and mutations."""

from __future__ import annotations

import os
import random
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from each_case import for_each
from linear import FACTOR, ratio
from proxy_cases import (
    A4,
    B4,
    INVALID,
    LOCAL,
    VALID,
    block,
    line,
    reference,
    slow_crc32c,
    summed,
    tlv,
    v1,
    v2,
)

from tremolo.proxies.crc32c import crc32c
from tremolo.proxies.proxy_header import LONGEST, ProxyHeaderError, read_header

# How many mutated headers are read. (Millions were.)
MUTATIONS = int(os.environ.get('PROXY_MUTATIONS', '3000'))
AFTER = b'GET / HTTP/1.1\r\nHost: x\r\n\r\n'


def read(data: bytes, version: str = 'auto') -> Any:
    """Give (size, ends), 'more', or the message of the error."""
    try:
        header = read_header(data, version)
    except ProxyHeaderError as error:
        return str(error)
    return 'more' if header is None else (header.size, header.ends)


def check_cuts(data: bytes, result: Any, ends: list[int] | None = None) -> None:
    """Each beginning gives the result, or more is needed; then what follows changes nothing."""
    seen = False
    for size in ends or range(len(data) + 1):
        found = read(data[:size])
        if found == 'more':
            assert not seen, size
        else:
            assert found == result, size
            seen = True
    assert seen


@for_each(('data', 'ends'), [case[1:] for case in VALID],
          ids=[case[0] for case in VALID])
def test_a_header_is_read_however_it_is_cut(data, ends):
    for after in (b'', AFTER, data, b'\n'):
        assert read(data + after) == (len(data), ends)
    # (Of the longest ones not each cut: that would be square.)
    size = len(data)
    some = None if size < 600 else [
        *range(64), *range(64, size - 40, 97), *range(size - 40, size + 1)]
    check_cuts(data + b'', (size, ends), some)
    assert read(data[:-1]) == 'more'
    assert read(bytes(data), 'v2' if data[:1] == b'\r' else 'v1') == (size, ends)


@for_each(('data', 'message'), [case[1:] for case in INVALID],
          ids=[case[0] for case in INVALID])
def test_a_broken_header_is_refused_however_it_is_cut(data, message):
    found = read(data)
    assert message in found
    assert '\n' not in found and len(found) < 350
    check_cuts(data + AFTER, found, [*range(min(len(data), 300) + 1), len(data + AFTER)])


def test_there_are_enough_cases():
    assert len(VALID) + len(INVALID) >= 150
    assert len({name for name, *_ in VALID + INVALID}) == len(VALID) + len(INVALID)


@for_each(('data', 'ends'), [case[1:] for case in VALID],
          ids=[case[0] for case in VALID])
def test_the_reference_reads_the_same_headers(data, ends):
    assert comparable(reference(data + AFTER)) == comparable((len(data), ends))


@for_each('data', [case[1] for case in INVALID], ids=[case[0] for case in INVALID])
def test_the_reference_refuses_the_same_headers(data):
    assert reference(data + AFTER) == 'error'


def comparable(found: Any) -> Any:
    """Give addresses as numbers: systems write some in two ways."""
    if isinstance(found, str) or found[1] is None or found[1][0] is None:
        return found if found in ('more',) or not isinstance(found, str) else 'error'
    size, ends = found
    return size, [(number(host), port) for host, port in ends]


def number(host: Any) -> Any:
    if isinstance(host, str):
        host = (IPv6Address if ':' in host else IPv4Address)(host)
    return type(host), int(host)


def test_mutated_headers_are_read_as_the_reference_reads_them():
    chance = random.Random(20261130)
    seeds = [data for _, data, _ in VALID + INVALID if len(data) < 200]
    for _ in range(MUTATIONS):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data) + 1)
            what = chance.randrange(6)
            if what == 0 and at < len(data):
                data[at] = chance.choice(b'\0\1\2\3 \r\n.:0159afPTx\x11\x21\x31\xff')
            elif what == 1 and at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            elif what == 2:
                del data[at:at + chance.randint(1, 4)]
            elif what == 3:
                data[at:at] = bytes(chance.choices(b' 0.:\r\n\0\3', k=chance.randint(1, 4)))
            elif what == 4:
                other = chance.choice(seeds)
                data[at:] = other[chance.randrange(len(other)):]
            elif len(data) > 16:
                data[14:16] = chance.randrange(300).to_bytes(2, 'big')
        given = bytes(data)
        found = read(given)
        assert comparable(found) == comparable(reference(given)), given
        cut = chance.randrange(len(given) + 1)
        assert read(given[:cut]) in ('more', found), (given, cut)


def test_the_version_that_was_asked_for_must_come():
    assert read(v1(), 'v1') == read(v1()) == (len(v1()), (A4, B4))
    assert read(v2(), 'v2') == read(v2()) == (len(v2()), (A4, B4))
    wrong = 'it is of version 1 (proxy_protocol is v2)'
    assert read(v1(), 'v2') == wrong
    assert [read(v1()[:size], 'v2') for size in (5, 6, 7)] == ['more', wrong, wrong]
    wrong = 'it is of version 2 (proxy_protocol is v1)'
    assert read(v2(), 'v1') == wrong
    assert [read(v2()[:size], 'v1') for size in (11, 12, 13)] == ['more', wrong, wrong]
    for version in ('v1', 'v2', 'auto'):
        assert read(AFTER, version) == 'what came first is no PROXY header'


def test_the_longest_line_of_the_standard_is_one_byte_shorter_than_may_come():
    longest = line('UNKNOWN', 'ffff:' * 7 + 'ffff', 'ffff:' * 7 + 'ffff', 65535, 65535)
    assert len(longest) == 107
    assert read(longest) == (107, None)


def test_nothing_is_an_error_before_a_byte_came():
    assert read(b'') == 'more'


def test_a_bytearray_is_read_like_bytes():
    for _, data, ends in VALID:
        header = read_header(bytearray(data))
        assert header is not None
        assert (header.size, header.ends) == (len(data), ends)


def test_the_checksum_is_that_of_the_standard():
    # RFC 3720, appendix B.4 (there with the bytes in reverse), and the usual check value.
    assert crc32c(b'') == 0
    assert crc32c(b'123456789') == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b'\xff' * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(bytes(range(31, -1, -1))) == 0x113FDB5C
    chance = random.Random(1)
    for size in range(100):
        data = bytes(chance.randrange(256) for _ in range(size))
        assert crc32c(data) == slow_crc32c(data)
        assert crc32c(data[size // 3:], crc32c(data[:size // 3])) == crc32c(data)


def test_every_bit_of_a_header_with_a_checksum_counts():
    whole = summed(v2(rest=block() + tlv(5, b'id')))
    for place in range(8 * 16, 8 * len(whole)):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        # (A TLV that becomes another may hide the checksum: then the lengths do not fit, or the
        # kind of the TLV with the checksum itself was changed.)
        if read(bytes(changed)) not in ('its checksum (CRC32C) does not match',
                                        'its TLVs are malformed'):
            assert place // 8 == len(whole) - 7


def test_the_time_grows_no_faster_than_the_header():
    def tlvs(size: int) -> bytes:
        return v2(rest=block() + tlv(4) * (size // 3))

    def pieces(size: int) -> list[bytearray]:
        header = bytearray(tlvs(LONGEST - 40))
        return [header[:end] for end in range(size // 4, 4000, 4000 // (size // 4))]

    def read_all(headers: list[bytearray]) -> None:
        for each in headers:
            assert read_header(each) is None

    for make, work in ((tlvs, read), (lambda size: summed(tlvs(size)), read),
                       (lambda size: v2(LOCAL, 0, b'\x04\0\0' * (size // 3)), read),
                       (pieces, read_all)):
        # (The longest header is not long: what is square would still be sixteen.)
        assert any(ratio(work, make(1000), make(4000)) < FACTOR for _ in range(8))
