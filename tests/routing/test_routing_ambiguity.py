"""Patterns are linear in the path's length, or refused when they are registered."""

from __future__ import annotations

import re
import sys
import time

import pytest
from linear import FACTOR, is_linear, ratio

from tremolo.routing import Router
from tremolo.routing.ambiguity import EXPONENTIAL, POLYNOMIAL, fault_of

LINEAR = [
    r'^/page/(?P<id>\d+)$', r'^/(?P<a>[^/]+)/(?P<b>[^/]+)$', r'^/(?P<a>.+)/(?P<b>[^/]+)$',
    r'^/(?P<slug>.+)-(?P<id>\d+)$', r'^/(?P<a>\w+)/(?P<b>\w*)/?$', r'^/(?!api/)(?P<path>.*)$',
    r'^/(?:en|de|fr)/(?P<rest>.*)$', r'^/(?P<y>\d{4})/(?P<m>\d{2})/(?P<slug>[\w-]+)/$',
    r'^/(?P<path>(?:[^/]+/)*)(?P<name>[^/]+)$', r'^/(?P<name>[^/]*)\.(?P<ext>[^/.]+)$',
    r'^/(?P<ip>\d{1,3}(?:\.\d{1,3}){3})$', r'^/(?P<id>(?:[0-9a-f]{4}-){3}[0-9a-f]{12})$',
    r'^/(?P<path>.*)\.(?:css|js)$', r'^(?:/(?P<a>[a-z]+))?(?:/(?P<b>[a-z]+))?/?$',
    r'^(?s:/(?P<a>.*)/x/(?P<b>.*))$', r'^/(?P<path>(?:(?!/edit).)*)/edit$', r'^/.*/$|^/.*x$',
    r'^/(?P<a>\w{1,20})_(?P<b>\w{1,20})$', r'^/(?P<a>.+?)/?$', r'^/(?i:[A-Z]+)-\d*$',
    r'^/(?P<quoted>(?:"[^"]*"|[^"/])*)$', r'^/(?<=/)[a-z]+$', r'^/(a)?(?(1)b|c)+$']
REFUSED = [
    (r'^/(?P<a>.*)/x/(?P<b>.*)$', POLYNOMIAL), (r'^(?s:/(.*)/x/(.*)/y/(.*))$', POLYNOMIAL),
    (r'^/(?P<a>.*?)/(?P<b>.*)$', POLYNOMIAL), (r'^/[a-z]+[0-9]*[a-z]*$', POLYNOMIAL),
    (r'^/(?i:[a-z]+[A-Z]+)$', POLYNOMIAL), (r'^/(?P<a>[^/]*)\.(?P<b>[^/]+)$', POLYNOMIAL),
    (r'^/.*(?=.*x)y$', POLYNOMIAL), (r'^/(?:(?=.*x).)*$', POLYNOMIAL),
    (r'^/(?P<a>a+)(?P=a)$', POLYNOMIAL), (r'^/.{1,255}/.{1,255}$', POLYNOMIAL),
    (r'^/(?P<a>\S+)\s*(?P<b>\S*)$', POLYNOMIAL), (r'^/(?:.*x)?.*y$', POLYNOMIAL),
    (r'^/(?:.*!.*x|.*y)$', POLYNOMIAL),
    (r'^/(\w+)*$', EXPONENTIAL), (r'^/(a|a)*$', EXPONENTIAL), (r'^/(?:a?b?)*$', EXPONENTIAL),
    (r'^/(a*)*b$', EXPONENTIAL), (r'^/(a|ab|b)*$', EXPONENTIAL), (r'^/(x+x+)+y$', EXPONENTIAL),
    (r'^/(?:[^/]+/?)*$', EXPONENTIAL), (r'^/(?:\w{1,20}_?){1,20}$', EXPONENTIAL)]
# What the expressions above are slow for, if they are: again and again, with a fault at the end.
ATTACKS = ['a', 'a/', '1', '/x/', 'a.-']


@pytest.mark.parametrize('path', LINEAR)
def test_what_is_linear_is_taken_and_is_linear(path):
    router = Router()
    router.add(path, {'GET': 1})
    for attack in ATTACKS:
        assert is_linear(re.compile(path).fullmatch,
                         lambda n, attack=attack: f'/{attack * n}\n!', 300), attack


@pytest.mark.parametrize(('path', 'fault'), REFUSED)
def test_what_is_not_is_refused_and_says_what_to_write(path, fault):
    router = Router()
    with pytest.raises(ValueError, match=re.escape(f'the path {path!r} {fault}')):
        router.add(path, {'GET': 1})
    assert not router.routes
    assert '; write ' in fault


def test_the_case_of_the_issue_takes_quadratic_time_and_is_refused():
    path = r'^/(?P<a>.*)/x/(?P<b>.*)$'
    # (It is sixteen; on a busy machine a measurement may be far off.)
    assert any(ratio(re.compile(path).fullmatch, '/x/' * 100 + '\n', '/x/' * 400 + '\n') > FACTOR
               for _ in range(5))
    assert fault_of(path) == POLYNOMIAL


def test_a_possessive_repeat_gives_nothing_back():
    assert fault_of(r'^/a+a+b$') == POLYNOMIAL
    if sys.version_info >= (3, 11):
        assert fault_of(r'^/a++a+b$') == ''


def test_the_pattern_of_a_converter_is_looked_at_too():
    router = Router()
    for pattern in r'(\w+)*x', r'.+-.+x':
        with pytest.raises(ValueError, match="the pattern of the converter 'own' may"):
            router.converters['own'] = pattern, str, str
    # (In a group `.` takes all there is.)
    router.converters['own'] = r'.+-.+', str, str


def test_two_path_groups_are_refused():
    router = Router()
    with pytest.raises(ValueError, match='two groups <path:'):
        router.add('/<path:a>/x/<path:b>', {'GET': 1})


def test_what_is_very_large_is_soon_left_alone():
    begun = time.process_time()
    words = '|'.join(f'word{number}' for number in range(1000))
    assert fault_of(f'^/(?:{words})*/$') == ''
    assert time.process_time() - begun < 5


@pytest.mark.parametrize('paths', [
    ['/<path:a>/x', '/<path:a>/y/<b>', '/<path:a>/z/<int:b>/<c>'],
    ['/<a>-<int:b>', '/<a>-<b>-<int:c>', '/<a>.<b>.<c>.<int:d>'],
    ['/<own:a>-<own:b>', '/<own:a>.<own:b>.<own:c>'],
    ['/<path:a>/' + '/'.join(f'<b{each}>' for each in range(count)) + '/end'
     for count in range(1, 20)]])
@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_patterns_with_groups_take_linear_time(paths, method):
    router = Router()
    router.converters['own'] = r'[a-z.-]+!', str, str
    for path in paths:
        router.add(path, {'GET': 1})
    for attack in ('a/', 'a-', '1', '%2F'):
        assert is_linear(lambda raw: router.find(method, raw),
                         lambda n, attack=attack: f'/{attack * n}'.encode(), 500), attack
