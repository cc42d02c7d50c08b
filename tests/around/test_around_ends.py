"""Middleware that fails when its client has left: it is told, and all the others end as well."""

from __future__ import annotations

from server_support import request, virtual

from tremolo import Tremolo, sleep


def test_what_fails_when_its_chunks_are_closed_is_told_and_the_next_is_closed(logged):
    app = Tremolo()
    ended = []

    def through(chunks):
        try:
            yield from chunks
        finally:
            ended.append('closed')
            if len(ended) == 1:
                raise RuntimeError('in a finally')

    for _ in range(2):
        @app.middleware
        def replace(request):
            return through((yield))

    @app.route('/')
    def slow():
        while True:
            yield b'a'
            yield sleep(1)

    with virtual(app) as host:
        client = host.connect(request('/'))
        host.advance(3)
        assert ended == []
        client.reset()
        host.advance(2)
    assert ended == ['closed', 'closed']
    assert logged.count('a middleware failed while its chunks were closed') == 1
    assert logged.text.count('RuntimeError: in a finally') == 1


def test_what_fails_when_it_is_told_that_its_client_left_is_logged_and_the_next_is_told(logged):
    app = Tremolo()
    ended = []

    @app.middleware
    def outer():
        try:
            yield
        finally:
            ended.append('outer')

    @app.middleware
    def inner():
        try:
            yield
        finally:
            ended.append('inner')
            raise RuntimeError('in a finally')

    @app.route('/')
    def slow():
        yield sleep(100)

    with virtual(app) as host:
        client = host.connect(request('/'))
        host.advance(1)
        client.reset()
        host.advance(2)
    assert ended == ['inner', 'outer']
    assert logged.text.count('RuntimeError: in a finally') == 1
