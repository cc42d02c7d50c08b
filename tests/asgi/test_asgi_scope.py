"""The scope of each request: what is kept for the next one, and that nobody notices it."""

from __future__ import annotations

import copy
import json
import random
from types import SimpleNamespace

import pytest
from server_support import request, serving

from tremolo.asgi.runner import Runner
from tremolo.asgi_app import AsgiApplication
from tremolo.http import Limits, RequestParser
from tremolo.server import Request

STATE = {'pool': object()}


def runner(**options):
    async def app(scope, receive, send):
        raise AssertionError('nobody calls it')

    return Runner(app, lambda *_: None, lambda *_: None, **options)


def parsed(wire):
    """A request as the server has it, without a connection."""
    parser = RequestParser(Limits(), Request)
    parser.feed(wire)
    found = parser.next_event()
    ends = ('1.2.3.4', 5), ('5.6.7.8', 80), 'http'
    found.begin(SimpleNamespace(known_addresses=None, addresses=ends))
    return found


def scope_of(made, target='/', method='GET', *lines, version=b'1.1'):
    wire = request(target, method, *lines).replace(b' HTTP/1.1\r\n', b' HTTP/%b\r\n' % version)
    return made.scope(parsed(wire))


# Kept are short paths without a query.
KEPT = ['/', '/upload', '/api/v1/users', '/%61', '/a%20b', '//', '/A;b=c', '/' + 'a/' * 31 + 'a']
OTHERS = [
    '/?a=b', '/?', 'http://host.example/', 'http://user.example/reset/abc?d', '/' + 'a/' * 32,
    '/reset?token=abc', '*']


@pytest.mark.parametrize('root', ['', '/mount'])
def test_a_kept_scope_says_what_a_new_one_says(root):
    rng = random.Random(20)
    old = runner(root_path=root, state=STATE)
    for _ in range(2000):
        target = rng.choice(KEPT + OTHERS)
        method = 'OPTIONS' if target == '*' else rng.choice(['GET', 'HEAD', 'POST', 'get', 'put'])
        asked = target, method, *rng.sample(['A: b', 'Accept: c'], rng.randrange(3))
        version = rng.choice([b'1.0', b'1.1'])
        fresh = scope_of(runner(root_path=root, state=STATE), *asked, version=version)
        assert scope_of(old, *asked, version=version) == fresh
        assert list(scope_of(old, *asked, version=version)) == list(fresh)
    assert set(old._kept) == {target.encode() for target in KEPT}


@pytest.mark.parametrize('target', OTHERS)
def test_a_long_target_and_one_with_a_query_are_not_kept(target):
    made = runner()
    for _ in range(2):
        scope_of(made, target, 'OPTIONS' if target == '*' else 'GET')
    assert made._kept == {}


def test_few_targets_are_kept():
    made = runner()
    letters = 'abcdefghijklmnopqrstuvwxyz'
    for one in letters:
        for two in letters:
            scope_of(made, f'/{one}{two}')
            assert 0 < len(made._kept) <= 256
            assert max(map(len, made._kept)) <= 64


def mutable(value, found):
    """All objects within a scope that can be changed, by their identity."""
    if isinstance(value, (dict, list, set, bytearray)):
        found[id(value)] = value
    if isinstance(value, dict):
        value = list(value.values())
    for each in value if isinstance(value, (list, tuple)) else ():
        mutable(each, found)
    return found


@pytest.mark.parametrize('target', ['/', '/?a=b', 'http://host.example/'])
@pytest.mark.parametrize('debug', [False, True])
def test_two_scopes_share_nothing_that_can_be_changed(target, debug):
    made = runner(state=STATE, debug=debug)
    first, second, third = (scope_of(made, target, 'GET', 'A: b') for _ in range(3))
    held = mutable(made.__dict__, {})
    for one, other in [(first, second), (second, third), (first, third)]:
        for place, value in mutable(one, {}).items():
            # (The options of an extension: nobody has a reason to change them.)
            if place in mutable(other, {}) or place in held:
                assert value == {} and value is not one['state']


def test_a_scope_can_be_copied_and_written_down():
    scope = scope_of(runner())
    assert copy.deepcopy(scope) == scope == dict(scope)
    extensions = scope['extensions']
    assert json.loads(json.dumps(extensions)) == extensions == {
        'http.response.early_hint': {}, 'http.response.trailers': {}, 'http.response.pathsend': {}}


def test_what_an_application_changes_in_its_scope_changes_nothing_for_the_next():
    seen = []

    async def app(scope, receive, send):
        seen.append(copy.deepcopy(scope))
        for name in list(scope):
            if isinstance(scope[name], (dict, list)):
                scope[name].clear()
                if isinstance(scope[name], dict):
                    scope[name]['new'] = 1
            scope[name] = None
        scope['route'] = 'new'
        scope.pop('path')
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'done'})

    with serving(AsgiApplication(app), lifespan='off') as host:
        client = host.connect()
        for _ in range(3):
            for target in '/', '/?a', '/reset/8f3a9c1d':
                client.send(request(target))
                assert client.take().body == b'done'
    assert seen[:3] == seen[3:6] == seen[6:]
    assert [scope['path'] for scope in seen[:3]] == ['/', '/', '/reset/8f3a9c1d']


@pytest.mark.parametrize('root', ['', '/root'])
@pytest.mark.parametrize('target', ['/sub/x', '/s%75b/a%2Fb?c', '/sub', '/sub/' + 'y' * 100])
def test_in_a_mount_the_path_is_whole_and_the_prefix_is_its_root(root, target):
    plain = runner(root_path=root)
    mounted = runner(root_path=root, mounted_at='/sub')
    for _ in range(2):
        expected = scope_of(plain, target)
        assert scope_of(mounted, target) == {**expected, 'root_path': f'{root}/sub'}
        assert expected['path'].startswith(f'{root}/sub')


def test_an_application_is_told_where_it_is_mounted():
    class Mounted(AsgiApplication):
        def handle_on(self, reactor, settings):
            return super().handle_on(reactor, settings, '/sub')

    async def app(scope, receive, send):
        told = json.dumps([scope['path'], scope['root_path'], scope['raw_path'].decode()]).encode()
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': told})

    with serving(Mounted(app), lifespan='off') as host:
        for _ in range(2):
            client = host.connect(request('/sub/a%20b'))
            assert json.loads(client.take().body) == ['/sub/a b', '/sub', '/sub/a%20b']
