"""Faults of tremolo 0.5 about routes, hooks, threads and errors that no other file here names.

(9 and 20 are in test_web_routes.py, 16 in test_web_views.py, 39 in test_service_spawn.py; those of
middleware and error handlers are in the tests of the room `around`, those of events in `events`.)
"""

from __future__ import annotations

import pytest

from tremolo import StreamClosed, Tremolo, sleep
from tremolo.settings import OPTIONS


@pytest.fixture
def app():
    return Tremolo()


@pytest.mark.parametrize('value', [{'a': 1}, ['a'], 1, True, 1.5])
def test_fault_8_what_is_returned_never_leaves_the_client_waiting(app, value, logged):
    app.route('/')(lambda: value)
    answer = app.client(raise_errors=False).get('/')
    if isinstance(value, (dict, list)):
        assert answer.json() == value
    else:
        assert answer.status == 500 and 'returned' in logged.text


def test_fault_9_traffic_moves_no_mounted_route(app):
    inner = Tremolo()
    inner.route(r'^/user\w*$')(lambda: 'user')
    inner.route('/<name>')(lambda name: name)
    app.mount('/sub', inner)
    client = app.client()
    for _ in range(2):
        assert [client.get(f'/sub/{each}').text for each in ('user', 'users', 'a')] == [
            'user', 'users', 'a']


def test_fault_14_text_that_is_yielded_is_sent(app):
    @app.route('/')
    def index():
        yield 'a'
        yield sleep(0)
        yield 'b'

    assert app.client().get('/').text == 'ab'


def test_fault_15_an_option_that_is_keyword_only_counts(app):
    @app.route('/')
    def index(*, status=201, content_type='text/plain'):
        return 'made'

    answer = app.client().get('/')
    assert (answer.status, answer.headers['Content-Type']) == (201, 'text/plain')


def test_fault_25_the_text_of_an_error_is_told_to_nobody(app, logged):
    @app.error(404)
    def lost(error):
        raise ValueError('<script>secret</script>')

    answer = app.client(raise_errors=False).get('/nowhere')
    assert answer.status == 500 and 'secret' not in answer.text
    assert 'secret' in logged.text


@pytest.mark.parametrize('mounted', [False, True])
def test_fault_40_hooks_find_all_options_and_a_stop_changes_none(app, mounted):
    inner = Tremolo() if mounted else app
    if mounted:
        app.mount('/sub', inner)
    seen = []

    @inner.on_worker_start
    def begin(app):
        seen.append(dict(app.context.options))

    @inner.on_worker_stop
    def end(globals):
        seen.append(dict(globals.options))

    with app.client(handler_timeout=7):
        assert seen[0]['handler_timeout'] == 7
    assert {each.name for each in OPTIONS} <= seen[0].keys()
    assert seen[0] == seen[1] == dict(inner.context.options)


def test_fault_41_a_thread_learns_of_the_end_at_its_next_look_at_the_client(app, logged):
    ended = []

    @app.route('/')
    def index(request, response, thread=True, handler_timeout=0.02):
        request.disconnected.result()
        try:
            response.write(b'for nobody').result()
        except StreamClosed as error:
            ended.append(str(error))

    with app.client(raise_errors=False) as client:
        assert client.get('/').status == 503
    assert len(ended) == 1 and 'handler_timeout' in ended[0]


@pytest.mark.parametrize('kind', ['plain', 'thread', 'generator', 'async'])
def test_fault_41_stop_iteration_is_an_error_as_any_other(app, kind, logged):
    def raising():
        return next(iter(()))

    def thread(thread=True):
        raising()

    def generator():
        yield sleep(0)
        raising()

    async def coroutine():
        raising()

    app.route('/')({'plain': raising, 'thread': thread, 'generator': generator,
                    'async': coroutine}[kind])
    assert app.client(raise_errors=False).get('/').status == 500
    assert 'StopIteration' in logged.text
