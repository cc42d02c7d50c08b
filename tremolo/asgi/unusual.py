"""Unusual: what a scope says of a request that is written in an unusual way.

    get / HTTP/1.1                       a method that is not in upper case
    GET http://example.com/ HTTP/1.1     a target that is no path
    TE: trailers                         a client that takes trailers
"""

from __future__ import annotations

from ..server import Request


def upper_method(request: Request) -> str:
    """Return the method in upper case, for a request whose method is not.

    The specification of ASGI says so. HTTP itself distinguishes `get` from `GET` (RFC 9110 section
    9.1), and native handlers do. The application's answer to `head` is the one to HEAD, which has
    no body. The client may expect one, so the connection ends with this answer: nobody waits, or
    takes the next answer for it.
    """
    request.method = request.method.upper()
    if request.method == 'HEAD':
        request.keep_alive = False
    return request.method


def split_target(request: Request) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    """Return the path, the query and the fields, for a target that is no path.

    The target's authority replaces the Host field (RFC 9112 section 3.2.2).
    """
    fields = [(b'host', request.authority or b''),
              *(field for field in request.fields if field[0] != b'host')]
    return request.raw_path, request.query_string, fields


def takes_trailers(request: Request) -> bool:
    """Tell whether the client accepts trailers (RFC 9110 section 6.5.1)."""
    asked = ','.join(request.headers.get_all('te')).lower().split(',')
    return 'trailers' in [each.partition(';')[0].strip() for each in asked]
