"""Which kind of application an object is. (tests/cli/test_cli.py has more of WSGI.)"""

from __future__ import annotations

import functools

from each_case import for_each

from tremolo import Tremolo
from tremolo.asgi_app import AsgiApplication
from tremolo.service.kinds import kind_of
from tremolo.wsgi_app import WsgiApplication


async def coroutine(scope, receive, send):
    pass


async def generator(scope, receive, send):
    yield


def environ(environ, start_response):
    yield b''


async def handler(request, page=1):
    raise AssertionError('it is not called')


class Asgi:
    async def __call__(self, scope, receive, send):
        pass


class Wsgi:
    def __call__(self, environ, start_response):
        raise AssertionError('it is not called')

    @classmethod
    def made(cls, environ, start_response):
        pass

    @staticmethod
    def still(environ, start_response):
        pass


class Iterated:
    def __init__(self, environ, start_response):
        raise AssertionError('it is not made')

    def __iter__(self):
        yield b''


class Odd:
    """Whatever is asked of it, it raises."""

    def __getattr__(self, name):
        raise ValueError(name)

    def __call__(self):
        pass


@for_each('app, kind', [
    (Tremolo(), 'native'), (AsgiApplication(coroutine), 'native'),
    (WsgiApplication(environ), 'native'),
    (coroutine, 'asgi'), (Asgi(), 'asgi'), (functools.partial(coroutine, {}), 'asgi'),
    (Asgi().__call__, 'asgi'), (environ, 'wsgi'), (Wsgi(), 'wsgi'), (Wsgi().__call__, 'wsgi'),
    (Wsgi.made, 'wsgi'), (Wsgi.still, 'wsgi'), (Iterated, 'wsgi'), (lambda a, b: [], 'wsgi'),
    (functools.partial(lambda a, b, c: [], 1), 'wsgi'),
    (lambda a, b, c=1, *d, e=2, **f: [], 'wsgi'),
    (lambda request, response: b'', ''), (lambda response, request: b'', ''),
    (lambda req, start: [], 'wsgi'), (handler, ''),
    (generator, ''), (Asgi, ''), (Wsgi, ''), (Odd(), ''), (5, ''), (None, ''), ('a', ''),
    (lambda a: [], ''), (lambda *a: [], ''), (lambda a, b, c: [], ''), (lambda a, *, b: [], ''),
    (lambda a, b, *, c: [], ''), (dict, ''), (print, ''), (type, ''),
], ids=repr)
def test_the_kind_of_an_application(app, kind):
    assert kind_of(app) == kind
