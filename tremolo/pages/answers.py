"""Answers: what the client sees of an error.

A page is short, in plain HTML, and shows nothing of the server's state: only in debug mode it tells
more (debug.py). A client that broke HTTP is told how, in a sentence that holds nothing of its
request (`ProtocolError.sentence`): so a developer sees the mistake at once, and nobody can have a
text of his own shown to others.
"""

from __future__ import annotations

from ..escaped import markup
from ..http import ProtocolError
from ..http.replaced import replace_fields
from ..server import Connection, HTTPError, Response
from ..server.bodiless import BODILESS
from ..server.response_head import HTML, TEXT
from ..typed import Any
from .page import error_page


def send_error(response: Response, error: HTTPError) -> None:
    """Answer with an `HTTPError`: its text, or a small page that names the status."""
    if error.headers:
        replace_fields(response.headers, error.headers)
    if error.body:
        response.status = error.status
        response.content_type = TEXT
        response.send_body(response.encode(error.body))
    elif error.status == 404 and response.connection.server.routes is not None:
        from .debug import send_missing_page  # (It was imported at the start.)
        send_missing_page(response, response.connection.server.routes())
    else:
        send_page(response, error.status)


def send_failure(response: Response, error: BaseException, handler: str = '') -> None:
    """Answer an error that a handler raised, or abort the connection when the head is sent.

    A `ProtocolError`, which is the client's mistake, has its own status, and its sentence is told.
    Any other error is 500, and a test client is told of it; the page of debug mode tells it, with
    the name of the handler.
    """
    if response.layers and not response.head_sent:
        wrapped: Any = response
        wrapped.throw(None, error)    # (It calls this again for what nobody has caught.)
        return
    if not isinstance(error, ProtocolError):
        tell_client(response.connection, error)
    if response.head_sent:
        response.connection.abort('failed')
        return
    response.reset(meant=False)
    status, text = 500, ''
    if isinstance(error, ProtocolError):
        status, text = error.status, f'<p>{markup(error.sentence)}</p>'
    elif response.connection.server.settings.debug:
        from .debug import send_failure_page  # (It was imported at the start.)
        send_failure_page(response, error, handler)
        return
    send_page(response, status, text)


def tell_client(connection: Connection, error: BaseException, late: bool = False) -> None:
    """Give a test client what its request has raised (`app.client()`); others learn nothing.

    `late`: the answer was complete before.
    """
    if connection.server.failures is not None:
        connection.server.failures.append((connection, error, late))


def send_page(response: Response, status: int, more: str = '') -> None:
    """Answer with a small page that names the status; `more` is HTML."""
    response.status = status
    if status in BODILESS:
        response.send_body(b'')
        return
    response.content_type = HTML
    # A traceback may hold a lone surrogate, for example from a file's name, and UTF-8 has none.
    response.send_body(error_page(status, more).encode('utf-8', 'backslashreplace'))
