"""Headers: a case-insensitive mapping that holds nothing which may not be sent."""

from __future__ import annotations

import pytest
from each_case import for_each

from tremolo.errors import TremoloError
from tremolo.http import HeaderError, Headers


def test_names_are_case_insensitive_and_keep_their_case():
    headers = Headers([('Content-Type', 'text/plain')])
    assert headers['content-TYPE'] == 'text/plain'
    assert 'CONTENT-TYPE' in headers
    assert list(headers) == ['Content-Type']


def test_a_missing_name_is_a_key_error_or_the_default():
    headers = Headers()
    with pytest.raises(KeyError):
        headers['a']
    with pytest.raises(KeyError):
        del headers['a']
    assert headers.get('a') is None
    assert headers.get('a', 'b') == 'b'
    assert headers.get_all('a') == []
    assert 'a' not in headers
    assert 1 not in headers


def test_a_name_may_have_several_values():
    headers = Headers([('A', '1'), ('B', '2')])
    headers.add('a', '3')
    assert headers['A'] == '1'
    assert headers.get('A') == '1'
    assert headers.get_all('A') == ['1', '3']
    assert headers.items() == [('A', '1'), ('B', '2'), ('a', '3')]
    assert list(headers) == ['A', 'B']
    assert len(headers) == 2
    assert dict(headers) == {'A': '1', 'B': '2'}


def test_setting_replaces_all_values_in_the_first_ones_place():
    headers = Headers([('A', '1'), ('B', '2'), ('a', '3')])
    headers['a'] = '4'
    headers['C'] = '5'
    assert headers.items() == [('a', '4'), ('B', '2'), ('C', '5')]


def test_deleting_removes_all_values():
    headers = Headers([('A', '1'), ('B', '2'), ('a', '3')])
    del headers['A']
    assert headers.items() == [('B', '2')]


def test_the_repr_builds_it_again():
    headers = Headers([('A', '1'), ('b', "'")])
    assert repr(headers) == "Headers([('A', '1'), ('b', \"'\")])"
    assert eval(repr(headers)).items() == headers.items()


def test_the_fields_of_a_request_are_taken_as_they_are():
    headers = Headers.from_wire([(b'a', b'\xe9\xff'), (b'b', b'')])
    assert headers.items() == [('a', '\xe9\xff'), ('b', '')]
    assert headers['A'] == '\xe9\xff'


@pytest.mark.parametrize('value', [' //evil', '\t//evil', 'a ', 'a\t', ' ', ' \t b c\t '])
def test_a_value_with_a_blank_around_it_is_refused_and_not_trimmed(value):
    # A receiver removes the blank: a caller's check of ` //evil` would not hold.
    headers = Headers()
    for set_it in (lambda: headers.add('Location', value),
                   lambda: headers.__setitem__('Location', value),
                   lambda: headers.update({'Location': value}),
                   lambda: Headers([('Location', value)])):
        with pytest.raises(HeaderError, match='begins or ends with a blank'):
            set_it()
    assert headers.items() == []


def test_other_spaces_are_part_of_a_value():
    assert Headers([('A', '\xa0b\x85')])['a'] == '\xa0b\x85'
    assert Headers([('A', 'b \t c'), ('B', '')]).items() == [('A', 'b \t c'), ('B', '')]


def set_by(way, name, value):
    if way == 'init':
        return Headers([(name, value)])
    headers = Headers()
    if way == 'item':
        headers[name] = value
    else:
        headers.add(name, value)
    return headers


@pytest.mark.parametrize('way', ['init', 'item', 'add'])
@for_each('octet', [*range(9), *range(10, 32), 127])
def test_no_control_character_gets_into_a_value(way, octet):
    for value in (f'a{chr(octet)}b', f'{chr(octet)}b', f'a{chr(octet)}'):
        with pytest.raises(HeaderError, match='header X-A has a control'):
            set_by(way, 'X-A', value)


@pytest.mark.parametrize('way', ['init', 'item', 'add'])
@for_each('name', ['', ' a', 'a ', 'a b', 'a:', 'a\r\n', 'a\n', '\xe9', '\u0661',
                   'a\x00', 'a(', 'a"', 'a/b'])
def test_a_name_is_a_token(way, name):
    with pytest.raises(HeaderError, match='malformed header name'):
        set_by(way, name, 'a')


@pytest.mark.parametrize('value', ['\u20ac', 'a\u2028b', '\U0001f600'])
def test_what_is_not_latin_1_says_so(value):
    with pytest.raises(HeaderError, match='header A is not Latin-1'):
        Headers([('A', value)])


@pytest.mark.parametrize('value', [5.5, True, b'5', None, ['5']])
def test_a_value_that_is_not_str_is_a_type_error(value):
    with pytest.raises(TypeError, match='header A is str'):
        Headers()['A'] = value
    with pytest.raises(TypeError, match='name of a header is str'):
        Headers().add(value, 'a')


def test_an_error_shows_little_and_has_its_type():
    with pytest.raises(HeaderError) as caught:
        Headers([('A', '\n' * 1000)])
    assert len(str(caught.value)) < 120
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TremoloError)


def test_a_refused_value_changes_nothing():
    headers = Headers([('A', '1')])
    with pytest.raises(HeaderError):
        headers['A'] = '\n'
    with pytest.raises(HeaderError):
        headers.add('B', '\n')
    assert headers.items() == [('A', '1')]
