"""Habits: what is written in handlers for other frameworks and for tremolo 0.5, and what here.

    AttributeError: 'Request' object has no attribute 'args': write request.query.first(name)

Such an error of Python is told with what to write, in the log and on the page of debug mode.
Nothing here runs before a handler has failed.
"""

from __future__ import annotations

import linecache
from contextlib import suppress

from ..late import expression

# What is looked for, and what to write. It is looked for in the message of the error and, after a
# line break, the line of the program that has failed. (`\1` is the group of the expression.)
_WAIT = (r'it is a Future: write `(yield request.\1())` in a generator, `(await request.\1())` in '
         r'an `async def`, `request.\1().result()` in a thread')
_PLAIN = type(iter(()))    # (CPython names it `tuple_iterator`, PyPy otherwise.)
_HABITS = [(expression(pattern), instead) for pattern, instead in (
    (r"'method' object .*\n.*\brequest\.(form|json|body)\b(?!\()", _WAIT),
    (r"'method' object .*\n.*\brequest\.files\b(?!\()",
     'write `files = request.files()`, and `part = yield files.next()`'),
    (r"\bTask\b.*\n.*\brequest\.(json|body|read)\(", _WAIT),
    (r"'Request' object has no attribute '(?:args|query_params|GET)'",
     'write request.query.first(name)'),
    (r"'Request' object has no attribute '(?:POST|values)'",
     'write `form = yield request.form()`, and form.first(name)'),
    (r"'Request' object has no attribute 'FILES'",
     'write `files = request.files()`, and `part = yield files.next()`'),
    (r"'Request' object has no attribute 'get_json'", 'write `yield request.json()`'),
    (r"'Request' object has no attribute '(?:data|get_data|stream)'",
     'write `yield request.body()`, or `yield request.read(size)` for each piece'),
    (r"'Request' object has no attribute '(?:session|\w*signed_cookies?)'",
     'write request.signed_cookie(name), and response.set_cookie(name, value, signed=True)'),
    (r"'Request' object has no attribute '(?:params|path_params|view_args|match_info)'",
     'write request.groups'),
    (r"'Request' object has no attribute '(?:remote_addr|ip)'", 'write request.client'),
    (r"'Request' object has no attribute 'server'",
     'write `app` in the signature: app.spawn(job()), app.context, app.logger'),
    (r"'Request' object has no attribute 'url_for'",
     'write app.url_for(name), and app in the signature'),
    (r"'Request' object has no attribute 'is_disconnected'",
     'write request.disconnected.done()'),
    (r"'Request' object has no attribute 'accept_mimetypes'",
     "write request.accepts('text/html', 'application/json')"),
    (r"'Response' object has no attribute 'send_?file'", 'write `return send_file(path)`'),
    (r"'Response' object has no attribute 'redirect'", 'write `return redirect(url)`'),
    (r"'Response' object has no attribute 'set_signed_cookie'",
     'write response.set_cookie(name, value, signed=True)'),
    (r"'Response' object has no attribute '(?:delete|unset)_cookie'",
     'write response.set_cookie(name, max_age=0)'),
    (r"'Response' object has no attribute '(?:status_code|set_status)'", 'write response.status'),
    (r"'Response' object has no attribute '(?:mimetype|media_type)'",
     'write response.content_type'),
    (r"'Response' object has no attribute '(?:set|add)_header'",
     'write response.headers[name] = value'),
    (r"'Fields' object has no attribute '(?:get_?list|get_?all)'", 'write .get(name, [])'),
    (r"'Fields' object has no attribute", 'write .first(name), or [name] for a list of values'),
    # (The second is what CPython 3.15 says.)
    (r"object Files |'Files' object can't be awaited",
     'write `part = yield files.next()`, or `async for part in files:`'),
    (r"'Files' object|type 'Files'", 'write `part = yield files.next()`, and look at part.name'),
    (r"'Part' object has no attribute 'size'", 'write `size = yield part.save(path)`'),
    (r"'Part' object|(?:got|object) '?Part\b",
     'write `yield part.read()`, `async for piece in part.stream()` or `yield part.save(path)`'),
    (r"send_file\(\) got an unexpected keyword argument '(?:as_attachment|\w*filename)'",
     "write download_name='...', which makes it an attachment"),
    (r"send_file\(\) got an unexpected keyword argument '(?:mimetype|media_type)'",
     "write content_type='...'"),
    (r"redirect\(\) got an unexpected keyword argument '(?:status_)?code'", 'write status='),
    (r"redirect\(\) got an unexpected keyword argument 'permanent'", 'write status=308'),
    (r"\b(?:form|files)\(\) got an unexpected keyword argument",
     'limits are options: form_size, form_fields, part_count, body_size'),
    (r"'Request' object (?:has no attribute '(?:state|user|g|app)'|does not supp|is not subsc)",
     'write `request.context.user = ...`, and request.context.user; `app` in the signature'),
    (r"'Response' object has no attribute '(?:body|text|content|data|[gs]et_data|body_iterator)'",
     'return the body; in a middleware write `chunks = yield`, and return what replaces them'),
    # (The chunks of a body that is whole are a plain iterator.)
    (rf"(?:'|object )(?:Taken|{_PLAIN.__name__})(?:' (?:object|has no)|'? )",
     "a bare `yield` returns the chunks of the body, and b''.join(chunks) is all that has come; "
     'for the rest write `response` in the signature'),
    (r"no running event loop", 'write app.spawn(job()), or `async def` for the handler'),
    (r"'Response' object has no attribute 'background'", 'write app.spawn(job())'),
    (r"'EventStream' object has no attribute '(?:close|end)'", 'return, and the stream ends'),
    (r"'EventStream' object has no attribute 'last_event_id'", 'write sse.last_id'),
    (r"'EventStream' object has no attribute '(?:comment|ping)'", 'sse_heartbeat sends comments'),
    (r"EventStream\.send\(\) takes|\bsend\(\) takes .*\n.*\bsse\.send\(",
     'write event=, id= or retry='),
    (r"\bsend\(\) got an unexpected keyword argument 'json'", 'write sse.send(json.dumps(...))'),
    (r"'EventStream' object has no attribute '(request|response)'",
     r'write `\1` in the signature, beside sse'),
    (r"\bsend\(\) got an unexpected keyword argument 'event_id'", 'write id='),
    (r"'(?:FileAnswer|HTTPError)' object|object (?:FileAnswer|HTTPError) ", 'return it'),
    (r"\bLater'?(?:\n| )", 'a `yield`, an `await` or, in a thread, `.result()` is missing'),
)]


def advise(error: BaseException) -> None:
    """Add to the message of an error what to write instead, if it is one of the known habits."""
    if type(error) not in (AttributeError, TypeError, RuntimeError):
        return
    # (Python 3.9 does not tell whose attribute is missing: another class may have the same name.)
    owner = getattr(error, 'obj', None)
    if not (owner is None or type(owner) is _PLAIN
            or type(owner).__module__.startswith('tremolo.')):
        return
    # (With middleware or error handlers the response is a `Wrapped`.)
    text = f'{error}\n{_line_of(error)}'.replace("'Wrapped' object", "'Response' object")
    for pattern, instead in _HABITS:
        found = pattern.search(text)
        if found is not None:
            error.args = (f'{error}: {found.expand(instead)}',)
            break


def _line_of(error: BaseException) -> str:
    """Return the line of the program that has failed; '' if its file is not there."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    line = ''
    if place is not None:
        with suppress(Exception):    # (It may be that no file can be opened now.)
            line = linecache.getline(place.tb_frame.f_code.co_filename, place.tb_lineno)
    return line
