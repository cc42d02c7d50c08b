"""Pages: what the client sees of an error.

Short, in plain HTML, and of our own state nothing: a traceback is shown in debug mode alone.
"""

from __future__ import annotations

import traceback

from .server import HTTPError, Response, phrase
from .server.response import HTML, TEXT


def send_error(response: Response, error: HTTPError) -> None:
    """Answer with an `HTTPError`: its text, or a small page of the status alone."""
    for name, value in error.headers:
        response.headers.add(name, value)
    if error.body:
        response.status = error.status
        response.content_type = TEXT
        response.send(error.body.encode('utf-8'))
    else:
        send_page(response, error.status)


def send_failure(response: Response, error: BaseException) -> None:
    """Answer 500 for a mistake of the application; in debug mode with the traceback."""
    text = ''
    if response.connection.server.settings.debug:
        import html
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        text = f'<pre>{html.escape("".join(lines))}</pre>'
    send_page(response, 500, text)


def send_page(response: Response, status: int, more: str = '') -> None:
    """Answer with a small page that names the status; `more` is HTML."""
    response.status = status
    if status in (204, 304):
        response.send(b'')
        return
    title = f'{status} {phrase(status)}'
    response.content_type = HTML
    page = f'<!doctype html><title>{title}</title><h1>{title}</h1>{more}\n'
    # A traceback may hold what has no encoding: a lone surrogate of a file's name.
    response.send(page.encode('utf-8', 'backslashreplace'))
