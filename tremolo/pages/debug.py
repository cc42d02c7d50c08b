"""Debug: the pages of debug mode: why a handler failed, and which routes there are.

A page has at most LARGEST bytes, takes no longer than a moment, and needs no file: what cannot be
read is left out. It holds nothing but text, which is escaped, and its policy (CSP) forbids a
browser to run or load anything. A client whose Accept does not name HTML, such as curl, gets the
same as plain text.

`Service.serve_on` imports this where the option `debug` is on: nothing else needs it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..escaped import markup
from ..server import Response
from ..server.response_head import HTML, TEXT
from ..typed import TYPE_CHECKING
from .nearest import nearest
from .page import error_page
from .raised import Call, Raised, read_errors, traceback_of
from .values import HIDDEN, is_secret, printable, read_values, shortened, without_secrets

if TYPE_CHECKING:
    _Values = dict[int, list[tuple[str, str]]]    # The variables of each call, by its id.

_log = logging.getLogger('tremolo.error')

LARGEST = 200 << 10

# Bytes of the page for the calls; the request has less, and the text has the rest.
_FOR_CALLS = 100 << 10
_FOR_REQUEST = 30 << 10
_SECONDS = 0.5      # For the values of all variables.
_FIELD = 400        # Characters of a field of the request.

_STYLE = (
    'body{max-width:64rem;margin-top:5vh}h1 b{font-size:2.4rem}'
    'h2{font:1.15rem/1.4 system-ui,sans-serif;margin:2rem 0 .6rem;white-space:pre-wrap}'
    'em{font-style:normal;font-weight:700;color:#d0582b}'
    'details{border:1px solid #8885;border-radius:.6rem;margin:.5rem 0;padding:.4rem .8rem}'
    'details details{border:0;padding:0}summary{cursor:pointer}summary span{opacity:.75}'
    'q{display:block;quotes:none;margin-left:1.1rem}[open]>summary>q{display:none}'
    'code,pre,q,table{font:.8rem/1.6 ui-monospace,Consolas,monospace}'
    'pre{border:0;padding:0;margin:.4rem 0}pre.source{white-space:pre;overflow-x:auto}'
    'mark{display:inline-block;min-width:100%;background:#d0582b40;color:inherit}'
    'table{border-spacing:0}td,th{text-align:left;vertical-align:top;padding:.1rem 0}'
    'th{font-weight:600;padding-right:1rem;max-width:11rem;overflow-wrap:break-word}')


def send_failure_page(response: Response, error: BaseException, handler: str) -> None:
    """Answer 500 with what was raised, where, and the request; `handler` is its name."""
    text = more = ''
    try:
        if _wants_text(response):
            text = f'500\n\n{traceback_of(error)}\n'
        else:
            more = _failure(response, error, handler)
    except Exception:
        # It is read from objects that may do anything.
        _log.exception('the page of debug mode cannot be made')
    _send(response, 500, text, more)


def _failure(response: Response, error: BaseException, handler: str) -> str:
    return f'{_errors(error)}{_request(response, handler)}{_as_text(error)}'


def told(error: BaseException, variables: bool = True) -> str:
    """Return what was raised, and where, as HTML for a page that has no request."""
    return _errors(error, variables) + _as_text(error)


def _errors(error: BaseException, variables: bool = True) -> str:
    errors = list(read_errors(error))
    calls = [call for raised in errors for call in raised.calls]
    values = {} if not variables else dict(zip(map(id, calls), read_values(
        [call.variables for call in calls], _SECONDS)))
    parts = _Parts(_FOR_CALLS)
    for raised in errors:
        _add_error(parts, raised, values)
    return f'<style>{_STYLE}</style>{parts.joined()}'


def _as_text(error: BaseException) -> str:
    text = markup(_middle_out(traceback_of(error)))
    return f'<details><summary>As text</summary><pre>{text}</pre></details>'


def send_missing_page(response: Response, routes: Iterable[tuple[str, Iterable[str]]]) -> None:
    """Answer 404 with the routes that look most like the path that was asked for."""
    request = response.request
    path = printable(shortened(request.path))
    found = [(methods, printable(shortened(path))) for path, methods in nearest(path, routes)]
    if _wants_text(response):
        lines = ''.join(f'    {methods} {path}\n' for methods, path in found)
        _send(response, 404, f'404: there is nothing at {path} for {request.method}\n\n'
              f'The nearest routes:\n{lines}' if found else '404: there are no routes\n', '')
        return
    rows = ''.join(f'<tr><th>{markup(methods)}<td>{markup(path)}' for methods, path in found)
    more = f'<p>The nearest routes:<table>{rows}</table>' if found else '<p>There are no routes.'
    _send(response, 404, '', f'<style>{_STYLE}</style><p>There is nothing at <code>'
          f'{markup(path)}</code> for {markup(request.method)}.{more}')


def _wants_text(response: Response) -> bool:
    accepted = response.request.headers.get_all('accept')
    return bool(accepted) and 'text/html' not in ','.join(accepted).lower()


def send_told(response: Response, status: int, text: str, more: str) -> None:
    """Answer with a text, or with HTML for who wants that."""
    _send(response, status, text if _wants_text(response) else '', more)


def _send(response: Response, status: int, text: str, more: str) -> None:
    response.status = status
    response.content_type = TEXT if text else HTML
    headers = response.headers
    headers['Cache-Control'] = 'no-store'
    headers['Content-Security-Policy'] = "default-src 'none'; style-src 'unsafe-inline'"
    page = text or error_page(status, more)
    response.send_body(page.encode('utf-8', 'backslashreplace')[:LARGEST])


class _Parts:
    """Pieces of a page, until they have so many bytes; what comes then is left out."""

    def __init__(self, left: int) -> None:
        self.left = left
        self._parts: list[str] = []
        self._full = False

    def add(self, *choices: str) -> None:
        """Add the first of these pieces that there is room for."""
        for choice in choices:
            size = len(choice.encode('utf-8', 'backslashreplace'))
            if size <= self.left and not self._full:
                self._parts.append(choice)
                self.left -= size
                return
        self._full = True

    def joined(self) -> str:
        return ''.join(self._parts) + ('<p>… the rest is left out.' if self._full else '')


def _add_error(parts: _Parts, raised: Raised, values: _Values) -> None:
    """Add what an exception says, and its calls, the last one first."""
    indent = f' style="margin-left:{raised.depth}rem"' if raised.depth else ''
    how = f'<p{indent}>{markup(raised.how)}' if raised.how else ''
    text = f'\n{raised.text}' if '\n' in raised.text else f' {raised.text}'
    parts.add(f'{how}<h2{indent}><em>{markup(raised.kind)}</em>{markup(text)}</h2>')
    for number, call in enumerate(raised.inner):
        first = not raised.how and not number
        _add_call(parts, call, values, f'{indent} open' if first else indent)
    if raised.left_out:
        parts.add(f'<p{indent}>… {raised.left_out:,} calls are left out …')
    for call in raised.outer:
        _add_call(parts, call, values, indent)


def _add_call(parts: _Parts, call: Call, values: _Values, attributes: str) -> None:
    """Add a call with its lines of source, and its variables, if there is room for them."""
    source = call.source()
    line = dict(source).get(call.line, '').strip()
    lines = ''.join(
        f'<mark>{number:>4}  {markup(text)}</mark>\n' if number == call.line
        else f'{number:>4}  {markup(text)}\n' for number, text in source)
    rows = ''.join(f'<tr><th>{markup(name)}<td>{markup(value)}'
                   for name, value in values.get(id(call), ()))
    begin = (f'<details{attributes}><summary><code>{markup(call.file)}:{call.line}</code> '
             f'<span>in {markup(call.name)}</span><q>{markup(line)}</q></summary>'
             f'<pre class="source">{lines or "(Its source cannot be read.)"}</pre>')
    variables = f'<details><summary>Variables</summary><table>{rows}</table></details>'
    parts.add(f'{begin}{variables if rows else ""}</details>',
              f'{begin}… its variables are left out</details>')


def _request(response: Response, handler: str) -> str:
    """Return what was asked, and by whom; the values of secrets are hidden."""
    request = response.request
    client = request.client
    target = without_secrets(_text(request.target))
    rows = [('asked', f'{request.method} {target} HTTP/{request.version}'),
            *([('handler', handler)] if handler else []),
            ('client', f'{client[0]}, port {client[1] or "unknown"}' if client
             else 'on a UNIX socket')]
    rows += [(_text(name), HIDDEN if is_secret(_text(name)) else without_secrets(_text(value)))
             for name, value in request.fields]
    parts = _Parts(_FOR_REQUEST)
    for name, text in rows:
        parts.add(f'<tr><th>{markup(name)}<td>{markup(printable(text))}')
    return f'<details><summary>The request</summary><table>{parts.joined()}</table></details>'


def _text(data: bytes) -> str:
    return shortened(data.decode('latin-1'), _FIELD)


def _middle_out(text: str, most: int = 6000) -> str:
    """Return a text without its middle, if it is longer."""
    half = most // 2
    return text if len(text) <= most else f'{text[:half]}\n…\n{text[-half:]}'
