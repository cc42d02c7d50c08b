"""Signed values: what comes back is what was signed, under the same name, and not too old."""

from __future__ import annotations

import base64
import random

import pytest

from tremolo.http import HeaderError, format_cookie
from tremolo.web.signed import Signer

OLD, NEW, OTHER = 'o' * 32, b'n' * 32, 'x' * 64
NOW = 1_700_000_000.9


@pytest.mark.parametrize('value', ['', 'anna', 'a b;c="d",\\é€😀', '{"a": 7}', 'x' * 2000,'\x00\n'])
def test_what_was_signed_comes_back(value):
    signer = Signer([NEW])
    signed = signer.sign('user', value, NOW)
    assert format_cookie('user', signed) == f'user={signed}; Path=/'
    assert signer.read('user', signed, NOW) == value


def test_keys_are_changed_without_ending_sessions():
    signed = Signer([OLD]).sign('user', 'anna', NOW)
    assert Signer([NEW, OLD]).read('user', signed, NOW) == 'anna'
    assert Signer([NEW, OTHER, OLD]).read('user', signed, NOW) == 'anna'
    assert Signer([NEW]).read('user', signed, NOW) is None
    again = Signer([NEW, OLD]).sign('user', 'anna', NOW)
    assert Signer([NEW]).read('user', again, NOW) == 'anna'
    assert Signer([OLD]).read('user', again, NOW) is None


def test_name_value_and_time_are_signed():
    signer = Signer([NEW])
    signed = signer.sign('user', 'anna', NOW)
    value, time, signature = signed.split('.')
    other = base64.urlsafe_b64encode(b'root').decode().rstrip('=')
    assert signer.read('admin', signed, NOW) is None
    assert signer.read('use', signed, NOW) is None
    assert signer.read('user', f'{other}.{time}.{signature}', NOW) is None
    assert signer.read('user', f'{value}.{int(time) + 1}.{signature}', NOW) is None
    # A boundary cannot be moved from one part into another.
    assert signer.read(f'user={value}', f'.{time}.{signature}', NOW) is None
    assert signer.read('user', f'{value}{time[0]}.{time[1:]}.{signature}', NOW) is None


@pytest.mark.parametrize('age', [0, 1, 59, 60])
def test_what_is_young_enough_is_read(age):
    signer = Signer([NEW])
    assert signer.read('a', signer.sign('a', 'b', NOW), int(NOW) + age, 60) == 'b'


@pytest.mark.parametrize(('age', 'max_age'), [(60.1, 60), (61, 60), (1, 0), (1e9, 1), (1, -1),
                                              (-61, None), (-61, 60), (-1e9, None)])
def test_what_is_too_old_or_of_the_future_is_not(age, max_age):
    signer = Signer([NEW])
    assert signer.read('a', signer.sign('a', 'b', NOW), int(NOW) + age, max_age) is None


def test_without_a_limit_age_does_not_matter_and_clocks_may_differ():
    signer = Signer([NEW])
    signed = signer.sign('a', 'b', NOW)
    assert signer.read('a', signed, NOW + 1e9) == signer.read('a', signed, NOW - 59, 1) == 'b'


@pytest.mark.parametrize('spoilt', [
    '', '.', '..', 'a', 'a.b.c', '.1.', 'é', '\ud800', 'a' * 100_000, '.' * 100_000, '1' * 100_000])
def test_what_was_never_signed_is_none(spoilt):
    assert Signer([NEW]).read('a', spoilt, NOW) is None


def test_no_change_of_a_character_is_accepted():
    signer, random_ = Signer([NEW, OLD]), random.Random(21)
    signed = signer.sign('user', 'anna', NOW)
    for place in range(len(signed)):
        for other in {*'A.=-_09az \n\u0661'} - {signed[place]}:
            changed = signed[:place] + other + signed[place + 1:]
            assert signer.read('user', changed, NOW) is None
        assert signer.read('user', signed[:place], NOW) is None
        assert signer.read('user', signed[:place] + signed[place + 1:], NOW) is None
    for _ in range(300):
        letters = list(signed)
        random_.shuffle(letters)
        assert signer.read('user', ''.join(letters), NOW) is None
    for more in '=', '.', 'A', ' ', '\n':
        assert signer.read('user', signed + more, NOW) is None


@pytest.mark.parametrize(('keys', 'told'), [
    ([], 'secret_keys is empty'), ('a' * 32, 'a list of keys'), (b'a' * 32, 'a list of keys'),
    (['short'], 'secret key 1 has 5 bytes, and 32 are needed'), ([''], 'has 0 bytes'),
    ([OLD, b'n' * 31], 'secret key 2 has 31 bytes'), ([None], 'secret key 1 is NoneType'),
    ([7], 'secret key 1 is int'), (None, 'a list of keys')])
def test_a_key_that_is_none_or_short_is_told_and_not_shown(keys, told):
    with pytest.raises(ValueError, match=told) as caught:
        Signer(keys)
    assert 'short' not in str(caught.value) and 'nnn' not in str(caught.value)


@pytest.mark.parametrize('value', [7, None, b'a', {'a': 1}, '\ud800'])
def test_what_is_no_text_is_told(value):
    with pytest.raises(HeaderError, match='the value of cookie a '):
        Signer([NEW]).sign('a', value, NOW)
