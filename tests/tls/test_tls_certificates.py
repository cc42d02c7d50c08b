"""What a certificate says, read from its DER."""

from __future__ import annotations

import contextlib
import random
import ssl

import certificates
import pytest
from certificates import CLIENT, COMBINED

from tremolo.tls.certificates import first_certificate, read_certificate


def read(path):
    with open(path, 'rb') as file:
        return read_certificate(first_certificate(file.read()))


@pytest.mark.parametrize('name, names', [
    ('a', ('a.example',)), ('b', ('b.example', 'www.b.example')), ('wildcard', ('*.w.example',)),
    ('punycode', ('xn--bcher-kva.example',)), ('localhost', ('localhost',)),
    ('common_name', ('cn.example',)), ('chain', ('chain.example',)), ('rsa', ('rsa.example',)),
])
def test_the_names_are_those_of_the_subject_alt_name_or_else_the_common_name(name, names):
    assert read(certificates.pair(name).cert).names == names


@pytest.mark.parametrize('name', ['a', 'expired', 'future', 'client', 'rsa', 'ca'])
def test_the_dates_are_those_that_openssl_reads(name):
    path = certificates.pair(name).cert
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.CA)
    authority, = context.get_ca_certs()
    found = read(path)
    assert found.begins < found.ends
    if name == 'ca':
        assert found.begins == ssl.cert_time_to_seconds(authority['notBefore'])
        assert found.ends == ssl.cert_time_to_seconds(authority['notAfter'])
    years = {'expired': (2020, 2021), 'future': (2119, 2120)}.get(name, (2020, 2120))
    assert [each.ends if place else each.begins
            for place, each in enumerate([found] * 2)] == [
        ssl.cert_time_to_seconds(f'Jan  1 00:00:00 {year} GMT') for year in years]


def test_a_name_is_written_by_rfc_4514():
    assert read(CLIENT.cert).subject == (
        'CN=alice,OU=bücher,OU=more,O=Strings\\, Bows & Co.,C=NL')


def name_of(*values, kind='2.5.4.3'):
    """Return the name of a certificate with these common names, as tags and bytes."""
    from tremolo.tls.certificates import _written
    return _written([[(kind, tag, value)] for tag, value in values])


@pytest.mark.parametrize('tag, value, text', [
    (0x0C, b' x ', 'CN=\\ x\\ '), (0x0C, b'#x', 'CN=\\#x'), (0x0C, b' ', 'CN=\\ '),
    (0x0C, b'a"+,;<>\\b', 'CN=a\\"\\+\\,\\;\\<\\>\\\\b'), (0x0C, b'a\0b\nc', 'CN=a\\00b\\0Ac'),
    (0x1E, 'bü'.encode('utf-16-be'), 'CN=bü'), (0x13, b'plain', 'CN=plain'), (0x0C, b'', 'CN='),
    (0x0C, b'\xff', 'CN=\ufffd'), (0x02, b'\x05', 'CN=#020105'),
])
def test_what_would_be_read_otherwise_is_escaped(tag, value, text):
    assert name_of((tag, value)) == text


def test_a_name_of_an_unknown_kind_is_written_in_hexadecimal():
    assert name_of((0x16, b'x@y'), kind='1.2.840.113549.1.9.1') == (
        '1.2.840.113549.1.9.1=#1603784079')
    assert name_of((0x0C, 200 * b'x'), kind='1.2').startswith('1.2=#0c81c878')


def test_a_file_may_have_more_than_the_certificate():
    assert read(COMBINED).names == ('a.example',)


@pytest.mark.parametrize('pem', [
    b'', b'-----BEGIN CERTIFICATE-----\n', b'-----BEGIN PRIVATE KEY-----\nAA==\n-----END -----'])
def test_a_file_without_a_certificate_is_told(pem):
    with pytest.raises(ValueError):
        first_certificate(pem)


def test_a_certificate_that_is_broken_anywhere_is_a_value_error_and_no_other():
    with open(CLIENT.cert, 'rb') as file:
        der = first_certificate(file.read())
    chance = random.Random(23)
    for size in range(len(der)):
        with pytest.raises(ValueError):
            read_certificate(der[:size])
    for _ in range(2000):
        broken = bytearray(der)
        for _ in range(chance.choice((1, 1, 2, 5))):
            broken[chance.randrange(len(der))] = chance.randrange(256)
        with contextlib.suppress(ValueError):
            read_certificate(bytes(broken))
