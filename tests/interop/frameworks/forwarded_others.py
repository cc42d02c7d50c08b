"""What others make of the fields of proxies: reads cases as JSON, writes what each of them says.

Each case is the fields, as pairs in lower case, and the peer. They are called as they are by their
servers, without a socket.
"""

from __future__ import annotations

import asyncio
import json
import sys

from hypercorn.middleware import ProxyFixMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix


def asgi(wrap, lines, peer):
    """The client, the scheme and the host that an ASGI application is told."""
    told = {}

    async def app(scope, receive, send):
        told.update(scope)

    scope = {'type': 'http', 'client': peer and tuple(peer), 'scheme': 'http',
             'headers': [(name.encode(), value.encode('latin-1')) for name, value in lines]}
    asyncio.run(wrap(app)(scope, None, None))
    host = dict(told['headers']).get(b'host', b'').decode('latin-1')
    return told['client'], told['scheme'], host


def wsgi(wrap, lines, peer):
    """The same of a WSGI application. (Its server leaves names with underscores out.)"""
    told = {}

    def app(environ, start_response):
        told.update(environ)
        return []

    environ = {'REMOTE_ADDR': peer[0] if peer else '', 'wsgi.url_scheme': 'http',
               'SERVER_NAME': '10.0.0.1', 'SERVER_PORT': '80', 'SCRIPT_NAME': ''}
    for name, value in lines:
        if '_' not in name:
            key = 'HTTP_' + name.upper().replace('-', '_')
            environ[key] = f'{environ[key]}, {value}' if key in environ else value
    wrap(app)(environ, None)
    return (told['REMOTE_ADDR'], None), told['wsgi.url_scheme'], told['HTTP_HOST']


def main():
    given = json.load(sys.stdin)
    trusted = given['trusted']
    others = {
        'uvicorn': lambda *case: asgi(lambda app: ProxyHeadersMiddleware(app, trusted), *case),
        'werkzeug': lambda *case: wsgi(lambda app: ProxyFix(app, x_host=1), *case),
        'hypercorn': lambda *case: asgi(lambda app: ProxyFixMiddleware(app, mode='modern'), *case),
    }
    told = {}
    for name, tell in others.items():
        told[name] = []
        for lines, peer in given['cases'][name]:
            try:
                told[name].append(tell(lines, peer))
            except Exception as error:
                told[name].append(repr(error))
    json.dump(told, sys.stdout)


if __name__ == '__main__':
    main()
