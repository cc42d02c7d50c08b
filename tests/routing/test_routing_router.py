"""The router alone: which pattern a path leads to, and that it costs no more than it should."""

from __future__ import annotations

import itertools
import random
import sys
from collections import Counter

import pytest

from tremolo.routing import Router, tree
from tremolo.routing import router as router_file


def router_of(*paths, method='GET'):
    """A router whose targets are the paths."""
    router = Router()
    for path in paths:
        router.add(path, {method: path})
    return router


def found(router, path, method='GET'):
    search = router.find(method, path.encode())
    return search.target, search.groups


# -- precedence -----------------------------------------------------------------------------------


# All of them match /a/12, in this order.
KINDS = ['/a/12', '/a/<date:d>', '/a/<int:i>', '/a/<float:f>', '/a/1<x>', '/a/<x>2', '/a/<x>',
         '/a/<path:p>', '/<x>/12', '/<path:p>/12', '/<path:p>', '^/a/.*', '^/.*']


@pytest.mark.parametrize('seed', range(10))
def test_the_kind_decides_and_not_the_order_of_registration(seed):
    # (Of expressions of one's own the order is what decides.)
    paths = random.Random(seed).sample(KINDS[:-2], len(KINDS) - 2) + KINDS[-2:]
    for at, expected in enumerate(KINDS):
        router = Router()
        router.converters['date'] = ('[0-9]+', lambda text: f'date {text}', str)
        for path in paths:
            # What has not the method is passed over.
            router.add(path, {'PUT' if path in KINDS[:at] else 'GET': path})
        assert found(router, '/a/12')[0] == expected, paths


def test_the_typed_kinds_in_their_order():
    router = router_of('/<name>', '/<uuid:u>', '/<float:f>', '/<int:i>')
    assert found(router, '/7') == ('/<int:i>', {'i': 7})
    assert found(router, '/7.5') == ('/<float:f>', {'f': 7.5})
    assert found(router, '/' + '9' * 5000)[0] == '/<name>'
    assert found(router, '/c0ffee00-0000-4000-8000-000000000000')[0] == '/<uuid:u>'


def test_of_mixed_segments_the_longest_begin_comes_first_and_then_the_longest_end():
    for paths in itertools.permutations(['/x-<a>', '/x-y-<a>', '/x-<a>.txt', '/<a>.txt', '/<a>']):
        router = router_of(*paths)
        assert found(router, '/x-y-1.txt') == ('/x-y-<a>', {'a': '1.txt'})
        assert found(router, '/x-1.txt') == ('/x-<a>.txt', {'a': '1'})
        assert found(router, '/x-1') == ('/x-<a>', {'a': '1'})
        assert found(router, '/1.txt') == ('/<a>.txt', {'a': '1'})
        # (No group is empty.)
        assert found(router, '/x-.txt') == ('/x-<a>', {'a': '.txt'})
        assert found(router, '/.txt') == ('/<a>', {'a': '.txt'})


def test_behind_a_path_the_most_segments_come_first():
    for paths in itertools.permutations(
            ['/f/<path:p>', '/f/<path:p>/raw', '/f/<path:p>/<name>/raw', '/f/<path:p>/<int:i>']):
        router = router_of(*paths)
        assert found(router, '/f/a') == ('/f/<path:p>', {'p': 'a'})
        assert found(router, '/f/a/raw') == ('/f/<path:p>/raw', {'p': 'a'})
        assert found(router, '/f/a/b/c/raw') == (
            '/f/<path:p>/<name>/raw', {'p': 'a/b', 'name': 'c'})
        assert found(router, '/f/a/b/7') == ('/f/<path:p>/<int:i>', {'p': 'a/b', 'i': 7})
        assert found(router, '/f/raw') == ('/f/<path:p>', {'p': 'raw'})
        assert found(router, '/f/') == (None, {}) == found(router, '/f')
        assert found(router, '/f//etc') == ('/f/<path:p>', {'p': '/etc'})


def test_a_way_without_an_end_is_gone_back():
    router = router_of('/a/<int:x>/c/d', '/a/<y>/c/e', '/<z>/7/<w>/f', '/<path:p>/g')
    assert found(router, '/a/7/c/d') == ('/a/<int:x>/c/d', {'x': 7})
    assert found(router, '/a/7/c/e') == ('/a/<y>/c/e', {'y': '7'})
    assert found(router, '/a/7/c/f') == ('/<z>/7/<w>/f', {'z': 'a', 'w': 'c'})
    assert found(router, '/a/7/c/g') == ('/<path:p>/g', {'p': 'a/7/c'})
    assert found(router, '/a/7/c/h') == (None, {})


def test_the_names_of_groups_may_differ_from_method_to_method():
    router = Router()
    router.add('/<a>/<int:b>', {'GET': 'get'})
    router.add('/<x>/<int:y>', {'POST': 'post'})
    assert found(router, '/p/1') == ('get', {'a': 'p', 'b': 1})
    assert found(router, '/p/1', 'POST') == ('post', {'x': 'p', 'y': 1})
    with pytest.raises(ValueError, match=r'GET /<x>/<int:y> is served already, by /<a>/<int:b>'):
        router.add('/<x>/<int:y>', {'PUT': 'put', 'GET': 'again'})
    assert found(router, '/p/1', 'PUT') == (None, {})


# -- the path -------------------------------------------------------------------------------------


@pytest.mark.parametrize(('path', 'expected'), [
    ('/a%2Fb/c', ('/<x>/<y>', {'x': 'a/b', 'y': 'c'})),
    ('/a%2fb', ('/<x>', {'x': 'a/b'})), ('/one%2Ftwo', ('/<x>', {'x': 'one/two'})),
    ('/one/two', ('/one/two', {})), ('/%6Fne/tw%6f', ('/one/two', {})),
    ('/a%2Fb/c/d', ('/<path:p>', {'p': 'a/b/c/d'})),
    ('/%2F', ('/<x>', {'x': '/'})), ('/%252F', ('/<x>', {'x': '%2F'})),
    ('/%25', ('/<x>', {'x': '%'})), ('/%', ('/<x>', {'x': '%'})), ('/%2', ('/<x>', {'x': '%2'})),
    ('/%ff%2F', ('/<x>', {'x': '\ufffd/'})), ('/%C3%A9%2F', ('/<x>', {'x': 'é/'})),
    ('/%C3/%A9', ('/<x>/<y>', {'x': '\ufffd', 'y': '\ufffd'})),
    ('/%00', ('/<x>', {'x': '\0'})), ('/', (None, {})), ('', (None, {})), ('x', (None, {})),
    ('//', ('/<path:p>', {'p': '/'})), ('//x', ('/<path:p>', {'p': '/x'}))])
def test_an_escaped_slash_never_parts_segments(path, expected):
    router = router_of('/<x>', '/<x>/<y>', '/<path:p>', '/one/two')
    assert found(router, path) == expected


def test_a_folder_is_found_by_whole_segments():
    router = Router()
    for path in '/', '/a/b', '/a':
        router.add_below(path, {'GET': path})
    assert [found(router, path)[0] for path in (
        '/', '/x', '/a', '/a/', '/a/c', '/a/b', '/a/b/c', '/ab', '/a%2Fb', '/a%2Fb/c')] == [
        '/', '/', '/a', '/a', '/a', '/a/b', '/a/b', '/', '/', '/']
    assert router.find('PUT', b'/a/b/c').methods == [{'GET': '/a/b', 'HEAD': '/a/b'}]
    with pytest.raises(ValueError, match='all below /a/b/ is served already'):
        router.add_below('/a/b/', {'GET': 'again'})


def test_head_is_for_the_target_of_get_unless_it_has_one_of_its_own():
    router = Router()
    router.add('/a', {'GET': 'get'})
    router.add('/b', {'HEAD': 'head'})
    router.add('/b', {'GET': 'get'})
    router.add('/c', {'GET': 'socket'}, head=False)
    assert found(router, '/a', 'HEAD')[0] == 'get'
    assert found(router, '/b', 'HEAD')[0] == 'head'
    assert router.find('HEAD', b'/c').methods == [{'GET': 'socket'}]
    router.add('/a', {'HEAD': 'head'})
    assert (found(router, '/a', 'HEAD')[0], found(router, '/a')[0]) == ('head', 'get')
    with pytest.raises(ValueError, match='HEAD /a is served already'):
        router.add('/a', {'HEAD': 'again'})


def test_all_that_matches_without_the_method_is_told():
    router = Router()
    for number, path in enumerate(['/a', '/<x>', '/<path:p>', '^/a$', '/b', '/<int:i>']):
        router.add(path, {'PUT': number}, head=False)
    router.add_below('/', {'GET': 9})
    assert found(router, '/a')[0] == 9
    assert router.find('POST', b'/a').methods == [
        {'PUT': 0}, {'PUT': 1}, {'PUT': 2}, {'PUT': 3}, {'GET': 9, 'HEAD': 9}]


@pytest.mark.parametrize(('path', 'said'), [
    ('/<a><b>', 'two groups side by side'), ('/<int:a><b>', 'two groups side by side'),
    ('/<path:a>/x/<path:b>', 'two groups <path:...>'),
    ('/x<path:a>', 'stands alone between two slashes'), ('/<path:a>.txt', 'stands alone'),
    ('/<path:a>-<b>', 'stands alone'), ('/<a>/<int:a>', "two groups 'a'"),
    ('/<a<b>>', 'malformed'), ('/<<a>>', 'malformed'), ('/<a/b>', 'malformed'),
    ('/<day:a>', r"unknown converter 'day': there are .* app.converters\['day'\] = \(pattern"),
    ('<a>/', 'begins neither with / nor'), ('^/(', 'malformed')])
def test_a_pattern_that_makes_no_sense_is_told(path, said):
    with pytest.raises(ValueError, match=said):
        router_of(path)


# -- the cost -------------------------------------------------------------------------------------


def calls(function):
    """How many functions of Python it calls."""
    counted = Counter()

    def note(frame, event, _):
        if event == 'call':
            counted[frame.f_code.co_name] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return sum(counted.values())


def cost(router, *paths):
    """The most calls that one of these paths takes, with a method that is there or is not."""
    for path in paths:
        router.find('GET', path)
    return max(calls(lambda path=path, method=method: router.find(method, path))
               for path in paths for method in ('GET', 'PUT'))


def test_exact_paths_cost_the_same_however_many_there_are():
    costs = []
    for count in 1, 10, 10_000:
        router = router_of(*(f'/page/{number}' for number in range(count)), '/<a>/<b>/<c>')
        assert len(router.exact) == count
        assert router.exact[b'/page/0']['GET'] == '/page/0'
        costs.append(cost(router, b'/page/%d' % (count - 1), b'/p%61ge/0', b'/page/none', b'/'))
    assert costs[0] == costs[1] == costs[2] < 12


@pytest.mark.parametrize(('pattern', 'path'), [
    ('/p{}/<int:id>', '/p{}/7'), ('/<name>/p{}', '/x/p{}'), ('/<a>/<b>/<c>/p{}', '/x/y/z/p{}'),
    ('/file{}-<int:id>.txt', '/file{}-7.txt'), ('/<name>-{}.txt', '/x-{}.txt'),
    ('/<path:name>/p{}', '/a/b/c/d/e/p{}'), ('/p{}/<path:name>', '/p{}/a/b/c/d/e'),
    ('/<path:name>/p{}/<x>', '/a/b/c/d/p{}/x')])
def test_a_thousand_patterns_cost_as_few_steps_as_ten(pattern, path):
    costs = []
    for count in 10, 1000:
        router = router_of(*(pattern.format(number) for number in range(100, 100 + count)))
        paths = [path.format(number).encode() for number in (100, 99 + count, 99, 'none')]
        costs.append(cost(router, *paths, paths[0] + b'/x', paths[0][:-1], b'/'))
    assert costs[0] == costs[1] < 40


def walks(router, path, method='GET'):
    """How many nodes of the tree a search comes to."""
    seen, real = [], tree.walk

    def counting(node, *more):
        seen.append(node)
        return real(node, *more)

    tree.walk = router_file.walk = counting
    try:
        router.find(method, path)
    finally:
        tree.walk = router_file.walk = real
    assert len(seen) == len(set(map(id, seen))), 'twice at one node'
    return len(seen)


def test_going_back_costs_a_step_for_each_node_however_long_the_path_is():
    kinds = [each for size in range(1, 5)
             for each in itertools.product(['a', '<x{}>', '<path:p>'], repeat=size)
             if each.count('<path:p>') < 2]
    router = router_of(*('/' + '/'.join(each).format(*range(4)) + '/end' for each in kinds))
    costs = [walks(router, b'/a' * size) for size in (10, 100, 1000, 10_000)]
    assert costs[0] == costs[1] == costs[2] == costs[3] < 400


@pytest.mark.parametrize(('pattern', 'text'), [
    ('/<a>-<b>-<int:c>', '-' * 8000 + 'x'), ('/<a>-<b>-<int:c>', '1-' * 4000),
    ('/<a>ab<b>cd<c>', 'ab' * 4000), ('/<int:a>-<b>', '-' * 8000),
    ('/<w:a>-<w:b>-<w:c>!', '-a' * 4000),
    ('/<a>-<b>-<c>-<int:d>-<int:e>', '1-' * 4000 + 'x')])
def test_a_mixed_segment_is_parted_in_a_bounded_number_of_ways(pattern, text):
    router = Router()
    read = Counter()
    router.converters['w'] = ('[a-z-]+', lambda text: read.update([len(text)]) or text, str)
    router.add(pattern, {'GET': 1})
    assert cost(router, f'/{text}'.encode()) < 500
    assert sum(read.values()) <= 4 * 102


# -- against a slow reference ---------------------------------------------------------------------


def ways_of(segments, texts):
    """All ways in which segments of a pattern match those of a path: (ranks, values)."""
    if not segments:
        return [((), ())] if not texts else []
    kind, *others = segments
    found = []
    if kind == '<path>':
        for size in range(1, len(texts) + 1):
            value = '/'.join(texts[:size])
            if value:
                found += [(((9, -len(others)), *ranks), (value, *values))
                          for ranks, values in ways_of(others, texts[size:])]
        return found
    if not texts:
        return []
    text, *rest = texts
    if kind == '<int>':
        step = (1, int(text)) if text.isdigit() else None
    elif kind == 'x<name>':
        step = (5, text[1:]) if text.startswith('x') and len(text) > 1 else None
    elif kind == '<name>':
        step = (7, text) if text else None
    else:
        step = (0, None) if text == kind else None
    if step is None:
        return []
    rank, value = step
    own = () if value is None else (value,)
    return [(((rank, 0), *ranks), (*own, *values)) for ranks, values in ways_of(others, rest)]


def check_against_the_reference(seed, patterns=30, paths=40):
    chance = random.Random(seed)
    written = {'<int>': '<int:g{}>', '<name>': '<g{}>', 'x<name>': 'x<g{}>', '<path>': '<path:g{}>'}
    router, shapes = Router(), {}
    for _ in range(patterns):
        shape = tuple(chance.choice(['a', '1', 'xa', '', '<int>', '<name>', 'x<name>', '<path>'])
                      for _ in range(chance.randint(1, 5)))
        if shape in shapes.values() or shape.count('<path>') > 1:
            continue
        path = ''.join('/' + written.get(kind, kind).format(at) for at, kind in enumerate(shape))
        shapes[path] = shape
        router.add(path, {chance.choice(['GET', 'PUT']): path}, head=False)
    for _ in range(paths):
        texts = [chance.choice(['a', '1', 'xa', 'x', '', '12', 'b']) for _ in range(
            chance.randint(1, 7))]
        path = '/' + '/'.join(texts)
        matches = [(ranks, pattern, values) for pattern, shape in shapes.items()
                   for ranks, values in ways_of(shape, texts)]
        # Exact paths first; then by the kind of each segment.
        matches.sort(key=lambda match: ('<' in match[1], match[0]))
        for method in 'GET', 'PUT':
            search = router.find(method, path.encode())
            right = [(pattern, values) for _, pattern, values in matches
                     if method in next(each for each in router.routes
                                       if each.path == pattern).targets]
            if right:
                assert (search.target, tuple(search.groups.values())) == right[0], (seed, path)
            else:
                there = {target for methods in search.methods for target in methods.values()}
                assert search.target is None
                assert there == {pattern for _, pattern, _ in matches}, (seed, path)


@pytest.mark.parametrize('seed', range(10))
def test_it_finds_what_a_slow_reference_finds(seed):
    check_against_the_reference(seed)
