"""Queries and urlencoded bodies, parameters of fields, and the text of parts."""

from __future__ import annotations

import codecs
import copy
import json
import pickle
import random
import sys
from urllib.parse import unquote_to_bytes

import pytest
from each_case import for_each
from linear import is_linear

from tremolo.http import ProtocolError
from tremolo.http.errors import FormError
from tremolo.http.form import _ESCAPES, Fields, read_fields, unescape
from tremolo.http.parameters import (
    MULTIPART,
    URLENCODED,
    boundary_of,
    decode_text,
    media_type,
    read_parameters,
)

# -- urlencoded -----------------------------------------------------------------------------------


@for_each(('data', 'fields'), [
    (b'', {}),
    (b'a=b', {'a': ['b']}),
    (b'a', {'a': ['']}),
    (b'=', {'': ['']}),
    (b'=b', {'': ['b']}),
    (b'a=', {'a': ['']}),
    (b'a==b', {'a': ['=b']}),
    (b'a=b=c', {'a': ['b=c']}),
    (b'&', {}),
    (b'&&&a=b&&&&c=d&', {'a': ['b'], 'c': ['d']}),
    (b'a=1&b=2&a=3', {'a': ['1', '3'], 'b': ['2']}),
    (b'a=b+c+d', {'a': ['b c d']}),
    (b'+a+=+', {' a ': [' ']}),
    (b'a=%2B%20%26%3D', {'a': ['+ &=']}),
    (b'%61%62=%63', {'ab': ['c']}),
    # What is no escape stays.
    (b'a=%', {'a': ['%']}),
    (b'a=%4', {'a': ['%4']}),
    (b'a=%zz', {'a': ['%zz']}),
    (b'a=%%41', {'a': ['%A']}),
    (b'a=%4%41', {'a': ['%4A']}),
    (b'a=%4x%41', {'a': ['%4xA']}),
    (b'a=% 41', {'a': ['% 41']}),
    (b'a=%+1', {'a': ['% 1']}),
    (b'a=%u00e9', {'a': ['%u00e9']}),
    (b'a=%2541', {'a': ['%41']}),
    (b'%25=%25', {'%': ['%']}),
    # UTF-8, escaped or not; what is none becomes U+FFFD.
    (b'a=%C3%BC', {'a': ['ü']}),
    ('ü=日本'.encode(), {'ü': ['日本']}),
    (b'a=\xc3%bc', {'a': ['ü']}),
    (b'a=\xff', {'a': ['\ufffd']}),
    (b'a=%FF%FEx', {'a': ['\ufffd\ufffdx']}),
    (b'a=%E2%82', {'a': ['\ufffd']}),
    (b'a=%E2%82x', {'a': ['\ufffdx']}),
    (b'a=%ED%A0%80', {'a': ['\ufffd\ufffd\ufffd']}),
    (b'a=%C0%AF', {'a': ['\ufffd\ufffd']}),
    (b'a=%F4%90%80%80', {'a': ['\ufffd' * 4]}),
    (b'a=%FC', {'a': ['\ufffd']}),
    (b'%EF%BB%BFa=%EF%BB%BF', {'\ufeffa': ['\ufeff']}),
    # A `;` is a character.
    (b'a=1;b=2', {'a': ['1;b=2']}),
    (b'a;b', {'a;b': ['']}),
    # Control characters, NUL, line ends: what was sent.
    (b'a=%00%0D%0A', {'a': ['\x00\r\n']}),
    (b'\x00=\r\n', {'\x00': ['\r\n']}),
    # The name of a charset changes nothing.
    (b'_charset_=windows-1252&a=%FC', {'_charset_': ['windows-1252'], 'a': ['\ufffd']}),
    (b'_charset_=idna&_charset_=', {'_charset_': ['idna', '']}),
    (b'n=' + b'9' * 5000, {'n': ['9' * 5000]}),
])
def test_fields_are_read_as_the_url_standard_says(data, fields):
    read = read_fields(data)
    assert read == fields
    assert list(read) == list(fields)
    assert type(read) is Fields


def by_the_letter(data):
    """The algorithm of the standard, octet by octet."""
    pairs = {}
    for sequence in data.split(b'&'):
        if not sequence:
            continue
        at = sequence.find(b'=')
        name, value = (sequence, b'') if at < 0 else (sequence[:at], sequence[at + 1:])
        pairs.setdefault(text_by_the_letter(name), []).append(text_by_the_letter(value))
    return pairs


def text_by_the_letter(octets):
    octets = bytes(0x20 if octet == 0x2b else octet for octet in octets)
    output, at = bytearray(), 0
    while at < len(octets):
        digits = octets[at + 1:at + 3]
        if octets[at] == 0x25 and len(digits) == 2 and all(
                digit in b'0123456789abcdefABCDEF' for digit in digits):
            output.append(int(digits, 16))
            at += 2
        else:
            output.append(octets[at])
        at += 1
    return output.decode('utf-8', 'replace')


def test_random_bytes_are_read_as_the_algorithm_says():
    rng = random.Random(21)
    alphabet = [b'a', b'=', b'&', b'+', b'%', b'%4', b'%41', b'%C3', b'%bc', b';', b'f', b'\xe2',
                b'\x82', b'\xff', b' ', b'\x00', b'%%', b'%26', b'%3d', b'0', b'A']
    for _ in range(5000):
        data = b''.join(rng.choices(alphabet, k=rng.randrange(20)))
        assert read_fields(data) == by_the_letter(data), data
    for _ in range(500):
        data = rng.randbytes(rng.randrange(60))
        assert read_fields(data) == by_the_letter(data), data
        assert unescape(data).decode('latin-1') is not None


def test_too_many_fields_are_told():
    assert len(read_fields(b'&'.join([b'a=%d' % n for n in range(1000)]))['a']) == 1000
    assert len(read_fields(b'&'.join([b'%d' % n for n in range(1000)]) + b'&' * 5000)) == 1000
    with pytest.raises(ValueError, match='too many'):
        read_fields(b'&'.join([b'a'] * 1001))
    assert len(read_fields(b'a&b&c', 3)) == 3
    assert read_fields(b'&&', 0) == {}
    for most in range(3):
        with pytest.raises(ValueError, match='too many'):
            read_fields(b'&a&b&c&', most)


def test_fields_are_a_dictionary_with_a_first_value():
    fields = read_fields(b'a=1&a=2&b=')
    assert fields.first('a') == '1'
    assert fields.first('b') == fields.first('b', 'x') == ''
    assert fields.first('c') is None
    assert fields.first('c', 'x') == 'x'
    assert json.loads(json.dumps(fields)) == {'a': ['1', '2'], 'b': ['']}
    for again in (copy.deepcopy(fields), pickle.loads(pickle.dumps(fields))):
        assert again == fields and again.first('a') == '1'
    fields['d'] = []
    assert fields.first('d', 'x') == 'x'
    assert not hasattr(fields, '__dict__')


@pytest.mark.parametrize('make', [
    lambda n: b'&' * n, lambda n: b'a&' * n, lambda n: b'=' * n, lambda n: b'%' * n,
    lambda n: b'%41' * n, lambda n: b'%41a' * n, lambda n: b'%4' * n, lambda n: b'+' * n,
    lambda n: b'a=b&' * n, lambda n: b'a=' + b'\xff' * n, lambda n: b'a' * n, lambda n: b';' * n,
    lambda n: b'&'.join([b'%d=' % each for each in range(n)])])
def test_fields_take_time_as_they_are_long(make):
    assert is_linear(lambda data: read_fields(data, 10 ** 9), make, 1_000)


@pytest.mark.skipif('PyPy' in sys.version, reason='frees nothing at once')
@pytest.mark.parametrize('octets', [b'&', b'%', b'%%%4', b'a&', b'=', b'+', b'%41', b'%41a', b'a%'])
def test_fields_take_few_times_the_memory_of_what_came(octets):
    """`urllib.parse` takes up to 190 times as much."""
    import tracemalloc
    size = 1 << 16
    data = (octets * size)[:size]
    tracemalloc.start()
    try:
        try:
            read_fields(data)
        except ValueError:
            assert octets == b'a&'
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * size + 100_000


# -- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(('value', 'kind', 'parameters'), [
    (b'', b'', {}),
    (b'a/b', b'a/b', {}),
    (b' A/B ; C=D ', b'a/b', {b'c': b'D'}),
    (b'a/b;', b'a/b', {}),
    (b'a/b;;; ;c=d;', b'a/b', {b'c': b'd'}),
    (b'a;b="c;d=\\"e\\"";f=g', b'a', {b'b': b'c;d="e"', b'f': b'g'}),
    (b'a;b=""', b'a', {b'b': b''}),
    (b'a;b=c=d', b'a', {b'b': b'c=d'}),
    (b'a;b=\tc d\t;e=f', b'a', {b'b': b'c d', b'e': b'f'}),
    (b'a;b="\\c\\\\d\\""', b'a', {b'b': b'\\c\\d"'}),
    (b"a;b*=utf-8''%41", b'a', {b'b*': b"utf-8''%41"}),
    (b';a=b', b'', {b'a': b'b'}),
])
def test_parameters_are_read(value, kind, parameters):
    assert read_parameters(value) == (kind, parameters)


@pytest.mark.parametrize('value', [
    b'a;b', b'a;b c', b'a;=b', b'a;b="c', b'a;b="c\\"', b'a;b=c"', b'a;b="c"d', b'a;b="c" d=e',
    b'a;"b"=c', b'a;b c=d', b'a;\xff=c', b'a;b=c;B=d', b'a;b=;b=', b'a; b==""', b'a;,b=c'])
def test_malformed_parameters_are_400(value):
    with pytest.raises(FormError) as caught:
        read_parameters(value)
    assert caught.value.status == 400
    assert isinstance(caught.value, ProtocolError)


@pytest.mark.parametrize(('content_type', 'kind'), [
    ('multipart/form-data; boundary=a', MULTIPART), (' Multipart/FORM-data\t;x', MULTIPART),
    ('application/x-www-form-urlencoded', URLENCODED),
    ('application/x-www-form-urlencoded; charset=windows-1252', URLENCODED),
    ('Application/X-WWW-Form-Urlencoded;', URLENCODED),
    ('text/plain', 'text/plain'), ('multipart/mixed; boundary=a', 'multipart/mixed'),
    ('multipart/form-data, multipart/form-data; boundary=a',
     'multipart/form-data, multipart/form-data'),
    ('', ''), (None, ''), (';', ''), ('multipart/form-data x', 'multipart/form-data x')])
def test_kinds_of_forms(content_type, kind):
    assert media_type(content_type) == kind


@for_each(('parameters', 'boundary'), [
    ('boundary=a', b'a'), ('BOUNDARY=a', b'a'), ('boundary="a"', b'a'),
    ('boundary = "a b"', b'a b'),
    ('charset=utf-8; boundary=a;', b'a'), ('boundary=----=_Part_0.1/2', b'----=_Part_0.1/2'),
    ("boundary='()+_,-./:=?", b"'()+_,-./:=?"), ('boundary=*****', b'*****'),
    ('boundary={a}', b'{a}'), ('boundary=a b', b'a b'), ('boundary="a;b"', b'a;b'),
    ('boundary=' + 'x' * 70, b'x' * 70), ('boundary="a "; x=y; ', None), ('boundary=a ', b'a'),
    ('boundary=', None), ('boundary=""', None), ('boundary=" "', None), ('x=y', None), ('', None),
    ('boundary=' + 'x' * 71, None), ('boundary="' + 'x' * 10_000 + '"', None),
    ('boundary=a; boundary=b', None), ('boundary=a; Boundary=a', None), ('boundary', None),
    ('boundary="a', None), ('boundary=a"b', None), ('boundary="a\\"b"', None),
    ('boundary="a\\b"', None), ('boundary="a\r\nb"', None), ('boundary=a\tb', None),
    ('boundary=\x00', None), ('boundary=\xfc', None), ('boundary=\u20ac', None),
    ('boundary=\x7f', None), ("boundary*=utf-8''a", None), ('boundary*0=a', None)])
def test_boundaries_of_a_content_type(parameters, boundary):
    content_type = f'multipart/form-data; {parameters}'
    if boundary is not None:
        assert boundary_of(content_type) == boundary
        return
    with pytest.raises(FormError) as caught:
        boundary_of(content_type)
    assert caught.value.status == 400
    assert len(str(caught.value)) < 200


# -- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(('data', 'charset', 'text'), [
    (b'', 'utf-8', ''), ('ü€𝄞'.encode(), 'utf-8', 'ü€𝄞'), (b'\xef\xbb\xbfa', 'utf-8', '\ufeffa'),
    (b'a\x00\x7f', 'us-ascii', 'a\x00\x7f'), (bytes(range(256)), 'iso-8859-1',
                                             ''.join(map(chr, range(256)))),
    (b'\x80\x93\xe4', 'windows-1252', '€“ä'),
    (b'\xff', 'utf-8', None), (b'\xed\xa0\x80', 'utf-8', None), (b'\xe2\x82', 'utf-8', None),
    (b'\xf4\x90\x80\x80', 'utf-8', None), (b'\xc0\x80', 'utf-8', None),
    (b'\x80', 'us-ascii', None), (b'\x81', 'windows-1252', None), (b'\x9d', 'windows-1252', None)])
def test_text_is_decoded_by_four_charsets_and_strictly(data, charset, text):
    if text is not None:
        assert decode_text(data, charset) == text
        return
    with pytest.raises(FormError) as caught:
        decode_text(data, charset)
    assert caught.value.status == 400


def test_no_other_codec_is_ever_looked_up():
    looked_up = []

    def search(name):
        looked_up.append(name)

    codecs.register(search)
    try:
        for charset in ('idna', 'punycode', 'zlib_codec', 'zip', 'bz2', 'rot13', 'undefined', 'hex',
                        'utf-7', 'utf-16', 'utf8', 'utf_8', 'latin-1', 'cp1252', 'ascii', 'UTF-8',
                        'no-such-thing', '', 'utf-8\x00', '\xfc', 'a' * 10_000):
            with pytest.raises(FormError, match='the charset is not') as caught:
                decode_text(b'x', charset)
            assert caught.value.status == 400
            assert len(str(caught.value)) < 200
        assert not looked_up
    finally:
        if hasattr(codecs, 'unregister'):
            codecs.unregister(search)
        else:
            # (Python 3.9: it stays, and finds nothing.)
            looked_up.clear()


@pytest.mark.parametrize('flood', [b'%', b'%4', b'%zz', b'%41', b'%zz%41'])
def test_no_flood_is_passed_by_in_one_step(flood):
    # (A large form is read on a thread, and in one step of a search no other thread runs.)
    data = flood * 10_000
    assert len(list(_ESCAPES.finditer(data))) >= data.count(b'%') / 64
    assert unescape(data) == unquote_to_bytes(data)
