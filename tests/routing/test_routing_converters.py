"""The converters: what the text of a group looks like, and one's own."""

from __future__ import annotations

import datetime
import math
import uuid

import pytest
from each_case import for_each

from tremolo.routing import Router

UUID = 'c0ffee00-0000-4000-8000-00000000abcd'


def read(kind, text):
    """The value of a group, None if it does not match."""
    router = Router()
    router.add(f'/<{kind}:value>', {'GET': 1})
    return router.find('GET', f'/{text}'.encode()).groups.get('value')


@for_each(('kind', 'text', 'value'), [
    ('int', '0', 0), ('int', '007', 7), ('int', '9' * 18, int('9' * 18)), ('int', '9' * 19, None),
    ('int', '9' * 5000, None), ('int', '-1', None), ('int', '+1', None), ('int', '1_0', None),
    ('int', '%D9%A1', None), ('int', '1%0A', None), ('int', '%201', None), ('int', '', None),
    ('float', '7', 7.0), ('float', '7.5', 7.5), ('float', '-7.5', -7.5), ('float', '-0', -0.0),
    ('float', '.5', None), ('float', '7.', None), ('float', '1e9', None), ('float', 'nan', None),
    ('float', 'inf', None), ('float', '-inf', None), ('float', '+1.5', None),
    ('float', '1_0.5', None), ('float', '0x1p1', None), ('float', '9' * 5000, None),
    ('float', '9' * 18 + '.' + '9' * 24, 1e18), ('float', '1.' + '0' * 5000, None),
    ('float', '%D9%A1.5', None), ('float', '1.5%0A', None), ('float', 'infinity', None),
    ('uuid', UUID, uuid.UUID(UUID)), ('uuid', UUID.upper(), uuid.UUID(UUID)),
    ('uuid', UUID.replace('-', ''), None), ('uuid', f'{{{UUID}}}', None),
    ('uuid', f'urn:uuid:{UUID}', None), ('uuid', UUID[:-1], None), ('uuid', UUID + '0', None),
    ('uuid', 'g' + UUID[1:], None), ('uuid', UUID + '%0A', None),
    ('str', 'x', 'x'), ('str', '%0A', '\n'), ('path', 'a/b', 'a/b'), ('path', '', None)])
def test_what_each_kind_reads(kind, text, value):
    got = read(kind, text)
    assert got == value and type(got) is type(value)
    assert not isinstance(got, float) or math.isfinite(got)


def own(pattern, from_text=str, to_text=str):
    router = Router()
    router.converters['own'] = (pattern, from_text, to_text)
    return router


def test_one_of_your_own():
    router = own(r'\d{4}-\d\d-\d\d', datetime.date.fromisoformat, datetime.date.isoformat)
    router.add('/on/<own:day>', {'GET': 'day'})
    router.add('/on/<own:day>-<name>', {'GET': 'event'})
    router.add('/on/<name>', {'GET': 'name'})
    search = router.find('GET', b'/on/2026-11-30')
    assert (search.target, search.groups) == ('day', {'day': datetime.date(2026, 11, 30)})
    # What `from_text` refuses by ValueError does not match, and the search goes on.
    assert router.find('GET', b'/on/2026-13-01').target == 'name'
    search = router.find('GET', b'/on/2026-11-30-a-b')
    assert search.groups == {'day': datetime.date(2026, 11, 30), 'name': 'a-b'}


@pytest.mark.parametrize(('pattern', 'good', 'bad'), [
    ('(a)|(b)', 'b', 'ab'), ('a|b', 'b', 'ba'), (r'(.)\1', 'xx', 'xy'),
    ('(?P<one>a+)', 'aa', 'b'), ('(?i:a)', 'A', 'b'), ('(?i)a', 'A', 'b'), ('^a$', 'a', 'b'),
    ('a$', 'a', 'a\n'), ('[^/]+', 'ab', 'a/b'), ('.+', 'a\nb', ''), ('(?x) a b', 'ab', 'a b')])
def test_the_groups_and_flags_of_a_pattern_are_its_own(pattern, good, bad):
    router = own(pattern)
    router.add('/<own:one>/<own:two>-<own:three>', {'GET': 1})
    escaped = ''.join(f'%{byte:02X}' for byte in bad.encode())
    search = router.find('GET', f'/{good}/{good}-{good}'.replace('\n', '%0A').encode())
    assert search.groups == {'one': good, 'two': good, 'three': good}
    for path in (f'/{escaped}/{good}-{good}', f'/{good}/{escaped}-{good}',
                 f'/{good}/{good}-{escaped}'):
        assert router.find('GET', path.replace('\n', '%0A').encode()).target is None, path


def test_what_a_converter_raises_otherwise_is_told():
    def broken(text):
        raise KeyError(text)

    router = own('x', broken)
    router.add('/<own:x>', {'GET': 1})
    with pytest.raises(KeyError):
        router.find('GET', b'/x')


@pytest.mark.parametrize(('name', 'parts', 'said'), [
    ('day', ('[', str, str), "pattern of the converter 'day' is malformed"),
    ('day', ('[a-z]*', str, str), r'matches an empty text, .*: write \+'),
    ('day', (b'x', str, str), r"is str: write app.converters\['day'\] = \(pattern, from_text"),
    ('day', ('x', str), 'no tuple of three: write app.converters'),
    ('day', 'x', 'no tuple of three'), ('day', None, 'no tuple of three'),
    ('day', ('x', None, str), 'needs two functions, and None is none'),
    ('day', ('x', str, 'iso'), "needs two functions, and 'iso' is none"),
    ('int', ('x', str, str), "there is a converter 'int': choose another name"),
    ('path', ('x', str, str), 'choose another name'),
    ('a-b', ('x', str, str), 'as that of a variable'), ('', ('x', str, str), 'as that of a var'),
    ('é', ('x', str, str), 'as that of a variable'), (7, ('x', str, str), 'as that of a variable')])
def test_what_is_no_converter_is_told_when_it_is_set(name, parts, said):
    router = Router()
    with pytest.raises(ValueError, match=said):
        router.converters[name] = parts
    with pytest.raises(ValueError, match=said):
        router.converters.update({name: parts})
    assert list(router.converters) == ['str', 'int', 'float', 'uuid', 'path']


def test_one_that_is_set_twice_is_told():
    router = own('x')
    with pytest.raises(ValueError, match="there is a converter 'own'"):
        router.converters['own'] = ('y', str, str)


def test_of_ones_own_the_first_that_was_set_comes_first():
    router = Router()
    for name in 'b', 'a':
        router.converters[name] = ('x', str, str)
    router.add('/<a:v>', {'GET': 'a'})
    router.add('/<b:v>', {'GET': 'b'})
    assert router.find('GET', b'/x').target == 'b'


# -- back to the URL ------------------------------------------------------------------------------


def url(path, **groups):
    router = Router()
    router.converters['date'] = (
        r'\d{4}-\d\d-\d\d', datetime.date.fromisoformat, datetime.date.isoformat)
    router.add(path, {'GET': path}, name='it')
    made = router.url('it', groups)
    # What is made leads back to the same values.
    search = router.find('GET', made.encode())
    assert search.target == path
    return made


@for_each(('path', 'groups', 'expected'), [
    ('/', {}, '/'), ('/a b/é', {}, '/a%20b/%C3%A9'), ('/x?y#z%', {}, '/x%3Fy%23z%25'),
    ('/<x>', {'x': 'a/b'}, '/a%2Fb'), ('/<x>', {'x': 'é ?#%'}, '/%C3%A9%20%3F%23%25'),
    ('/<x>', {'x': '/'}, '/%2F'), ('/<x>', {'x': '//evil.example'}, '/%2F%2Fevil.example'),
    ('/<x>', {'x': '\\evil.example'}, '/%5Cevil.example'), ('/<x>', {'x': '\r\nX: y'},
     '/%0D%0AX:%20y'), ('/<x>', {'x': '\0'}, '/%00'), ('/<x>', {'x': 7}, '/7'),
    ('/<x>', {'x': '...'}, '/...'), ('/<x>', {'x': '%2e%2E'}, '/%252e%252E'),
    ('/<int:i>', {'i': 7}, '/7'), ('/<int:i>', {'i': '7'}, '/7'),
    ('/<float:f>', {'f': -1.5}, '/-1.5'), ('/<float:f>', {'f': 3}, '/3'),
    ('/<float:f>', {'f': 0.00012345678901234567}, '/0.00012345678901234567'),
    ('/<uuid:u>', {'u': uuid.UUID(UUID)}, f'/{UUID}'),
    ('/<date:d>', {'d': datetime.date(2026, 11, 30)}, '/2026-11-30'),
    ('/f/<path:p>', {'p': 'a b/c/é'}, '/f/a%20b/c/%C3%A9'), ('/f/<path:p>', {'p': '/etc'},
     '/f//etc'), ('/f/<path:p>/raw', {'p': 'a//b/'}, '/f/a//b//raw'),
    ('/file-<int:i>.txt', {'i': 3}, '/file-3.txt'), ('/<a>-<int:b>', {'a': 'x-y', 'b': 3},
     '/x-y-3'), ('/<a>.<b>', {'a': '.', 'b': 'b'}, '/..b')])
def test_a_url_is_escaped_and_leads_back(path, groups, expected):
    assert url(path, **groups) == expected


@for_each(('path', 'groups', 'said'), [
    ('/<x>', {'x': ''}, "x of '/<x>': '' does not match <str"),
    ('/<x>', {'x': None}, 'None is no value of a URL'), ('/<x>', {'x': b'x'}, "b'x' is no value"),
    ('/<x>', {'x': '.'}, r'no URL has a segment \. or \.\.'), ('/<x>', {'x': '..'}, 'no URL has'),
    ('/f/<path:p>', {'p': 'a/../b'}, 'no URL has'), ('/f/<path:p>', {'p': '.'}, 'no URL has'),
    ('/.<x>', {'x': '.'}, 'no URL has'), ('/<path:p>', {'p': '/evil.example'}, 'another host'),
    ('/<path:p>', {'p': '//evil.example'}, 'another host'), ('/f/<path:p>', {'p': ''}, 'not match'),
    ('/<x>', {'x': '\udcff'}, 'is not UTF-8'), ('/<int:i>', {'i': -1}, '-1 does not match <int'),
    ('/<int:i>', {'i': True}, 'True does not match'), ('/<int:i>', {'i': 1.0}, 'does not match'),
    ('/<int:i>', {'i': 10 ** 18}, 'does not match'), ('/<int:i>', {'i': 'x'}, 'does not match'),
    ('/<int:i>', {'i': 10 ** 5000}, 'i of'), ('/<float:f>', {'f': math.nan}, 'does not match'),
    ('/<float:f>', {'f': math.inf}, 'does not match'), ('/<float:f>', {'f': 1e300}, 'does not'),
    ('/<uuid:u>', {'u': UUID.replace('-', '')}, 'does not match <uuid'),
    ('/<date:d>', {'d': 'today'}, "d of '/<date:d>'"), ('/<date:d>', {'d': 7}, 'd of'),
    ('/<a>-<b>', {'a': 'x', 'b': 'y-z'}, "'x-y-z' would not be read as the same groups"),
    ('/<x>', {'y': 1}, r"'it' has no route with these groups \(y\): there is /<x>"),
    ('/<x>', {}, r'these groups \(none\): there is /<x>'), ('/x', {'x': 1}, 'there is /x'),
    ('/<x>', {'x': 1, 'y': 2}, r'\(x, y\)'), ('^/(?P<x>a)', {'x': 'a'}, r'begins with \^')])
def test_a_url_that_would_not_lead_back_is_told(path, groups, said):
    with pytest.raises(ValueError, match=said):
        url(path, **groups)


def test_an_unknown_name_is_told_which_there_are():
    router = Router()
    with pytest.raises(ValueError, match="no route has the name 'page': there are none"):
        router.url('page', {})
    router.add('/', {'GET': 1}, name='home')
    router.add('/b', {'GET': 1}, name='b')
    with pytest.raises(ValueError, match="no route has the name 'page': there are home, b"):
        router.url('page', {})


def test_a_function_and_flasks_static_are_told_what_to_write():
    def page():
        """A handler."""

    router = Router()
    router.add('/page', {'GET': page}, name='page')
    with pytest.raises(ValueError, match="is no name: write 'page'"):
        router.url(page, {})
    with pytest.raises(ValueError, match="the URL of a file is its folder's path"):
        router.url('static', {'filename': 'a.css'})


def test_of_several_routes_with_a_name_the_first_counts_whose_groups_fit():
    router = Router()
    for path in '/<int:id>', '/n/<id>', '/<a>/<b>', '/all':
        router.add(path, {'GET': path}, name='it')
    assert router.url('it', {'id': 7}) == '/7'
    assert router.url('it', {'id': 'seven'}) == '/n/seven'
    assert router.url('it', {'b': 1, 'a': 2}) == '/2/1'
    assert router.url('it', {}) == '/all'
