"""JSON text: what is read could be sent again, and all else is refused with a short reason."""

from __future__ import annotations

import json
import time

import pytest
from each_case import for_each

from tremolo.web.request import read_json


@pytest.mark.parametrize('text', [
    '{}', '[]', 'null', 'true', '0', '-0.5e-3', '"a"', ' \t\r\n[1, 2] ', '{"a": {"b": [1.25]}}',
    '"\\ud83d\\ude00"', '"\\\\ud800"', '"\\u0000"', '"é€😀"', '1e308', '-1e-999', '1' * 4300,
    '{"a": 1, "a": 2}', '[' * 100 + ']' * 100])
def test_what_is_json_is_read_and_can_be_sent_again(text):
    for data in text.encode(), b'\xef\xbb\xbf' + text.encode():
        value = read_json(data)
        assert value == json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@for_each(('data', 'reason'), [
    (b'', r'^$'), (b'{"a":\n1,', '^$'), (b'{} x', '^$'),
    (b"{'a': 1}", r'^$'), (b'[01]', '^$'), (b'[1,]', '^$'), (b'"\x00"', '^$'),
    (b'"\t"', r'^$'), (b'"\\x"', '^$'), (b'\x0b1', '^$'), (b'nan', '^$'),
    (b'+1', r'^$'), (b'1_0', '^$'), (b'"\xc2\xa0', '^$'), (b'\xc2\xa01', '^$'),
    (b'NaN', 'NaN is no number'), (b'[Infinity]', 'Infinity is no number'),
    (b'{"a": -Infinity}', '-Infinity is no number'),
    (b'1e999', 'a number is too large'), (b'[-1e309]', 'a number is too large'),
    (b'1' * 400 + b'.0', 'a number is too large'),
    (b'"\\ud800"', 'half of a surrogate pair'), (b'{"\\uDFFF": 1}', 'half of a surrogate pair'),
    (b'["\\ud83d", "\\ude00"]', 'half of a surrogate pair'),
    (b'"\xed\xa0\x80"', 'not UTF-8 at byte 1'), (b'\xff', 'not UTF-8 at byte 0'),
    ('{}'.encode('utf-16'), 'not UTF-8'), ('"é"'.encode('latin-1'), 'not UTF-8 at byte 1'),
    (b'1' * 5000, 'too many digits'), (b'[-%s]' % (b'9' * 2_000_000), 'too many digits'),
    (b'[' * 100_000, 'nested too deep'), (b'{"a":' * 100_000, 'nested too deep')])
def test_what_is_none_is_refused_soon_and_not_repeated(data, reason):
    before = time.thread_time()
    with pytest.raises(ValueError, match=reason) as caught:
        read_json(data)
    assert time.thread_time() - before < 1
    assert len(str(caught.value)) < 60
    assert not isinstance(caught.value, json.JSONDecodeError)


def test_utf_16_and_32_are_not_guessed():
    for charset in 'utf-16-le', 'utf-16-be', 'utf-32-le', 'utf-32-be':
        with pytest.raises(ValueError, match=r'^$'):
            read_json('{"a": 1}'.encode(charset))
