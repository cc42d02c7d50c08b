"""Methods: a scope's method is in upper case, whatever the client wrote.

The specification of ASGI says so. HTTP itself distinguishes `get` from `GET` (RFC 9110 section
9.1), and native handlers do.
"""

from __future__ import annotations

from ..server import Request


def upper_method(request: Request) -> str:
    """Return the method in upper case, for a request whose method is not.

    The application's answer to `head` is the one to HEAD, which has no body. The client may expect
    one, so the connection ends with this answer: nobody waits, or takes the next answer for it.
    """
    request.method = request.method.upper()
    if request.method == 'HEAD':
        request.keep_alive = False
    return request.method
