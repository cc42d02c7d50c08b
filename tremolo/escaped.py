"""Escaped: what others have written, as it may be shown: in a log, on a terminal, in a page.

Others are the clients, and whatever the text of an exception repeats. What they write must not end
a line, begin one that looks like ours, move a cursor, turn the direction of what is read (Unicode's
bidi controls), or be no text at all (a lone surrogate, which no encoding takes, and the line with
it would be lost). This is the only place that says how:

    line(text)      in one line: all that is not printable is an escape (but a tab)
    lines(text)     in several: each that follows the first is indented, so that it begins no record
    quoted(text)    as Python would write it, in ASCII; `plain` is the same without its quotes
    field_form()    as a value of the access log, from which the bytes can be had back
    markup(text)    as text of a page in HTML, or as the value of an attribute

`said_by` gives what an error says, with its causes: what of a traceback others may have written;
`message_of` the message of a record, which may raise anything when it is made.

Two formats have a grammar of their own, and so their own escapes: the labels of Prometheus
(metrics/exposition.py), and the URL of an address (settings/address.py).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import partial

from .typed import Any, Callable

# (The ampersand first: it is in the others.)
_MARKUP = ('&', '&amp;'), ('<', '&lt;'), ('>', '&gt;'), ('"', '&quot;'), ("'", '&#x27;')


def line(text: str) -> str:
    """Return a text in one line, in which each character can be seen, but for tabs."""
    if text.isprintable():
        return text
    # (What Unicode calls printable leaves out all controls, C0 and C1, all that is format, as the
    # bidi controls, both separators of lines, every blank but ours, and the surrogates.)
    return ''.join([each if each.isprintable() or each == '\t' else
                    each.encode('unicode_escape').decode('ascii') for each in text])


def lines(text: str, indent: str = '    ') -> str:
    """Return a text in lines, as it is divided by `\\n`, which are indented from the second on."""
    return text if text.isprintable() else f'\n{indent}'.join(map(line, text.split('\n')))


def quoted(arrived: bytes | str, longest: int) -> str:
    """Return the literal of at most `longest` characters, or bytes, of what arrived: in ASCII."""
    # Cut first: the repr of a megabyte takes long.
    return ascii(arrived[:longest])


def plain(text: str) -> str:
    """Return a text with an escape for each character that is not printable ASCII."""
    return text if text.isascii() and text.isprintable() else ascii(text)[1:-1]


def markup(text: str) -> str:
    """Return a text with an escape for each character that means something in HTML.

    (Python's `html.escape` does the same, but to import it takes as long as 20 of our files.)
    """
    for character, escape in _MARKUP:
        text = text.replace(character, escape)
    return text


def field_form(in_json: bool) -> Callable[[str], str]:
    r"""Return what writes Latin-1 between quotes: `"`, `\` and all outside 20-7E as `\xNN`.

    (Apache and nginx do so. JSON has `\u00NN`.)
    """
    unsafe = re.compile(r'[^ !#-\[\]-~]')
    # (No function of Python around it: it is called for each value of a line that is new.)
    if in_json:
        return partial(unsafe.sub, lambda found: f'\\u{ord(found[0]):04x}')
    return partial(unsafe.sub, lambda found: f'\\x{ord(found[0]):02X}')


def message_of(record: logging.LogRecord) -> str:
    """Return the message of a record; one that cannot be made gets another, for all handlers."""
    try:
        return record.getMessage()
    except BaseException as error:    # (An object may raise anything when it is shown.)
        # (`logging` would write a traceback of many lines.)
        try:
            text = f'{record.msg!r} % {record.args!r}: {error!r}'
        except BaseException:    # (This one can be shown in no way at all.)
            text = ' % '.join(map(class_name, (type(record.msg), type(record.args))))
            text += f': {class_name(type(error))}'
        record.msg, record.args = text, None
        return text


def text_of(value: object) -> str:
    """Return the text of an object, which may raise anything; then its class is named."""
    try:
        return str(value)
    except BaseException:
        return f'<{class_name(type(value))}>'


# The name of a class. (Its own class may say something else, or raise.)
class_name: Callable[[type], str] = type.__dict__['__name__'].__get__


def said_by(error: BaseException) -> Iterator[str]:
    """Give each text in the traceback of an error that is not the program's, but perhaps others'.

    (The text of a SyntaxError is a line of what was compiled, or evaluated.)
    """
    for each in errors_of(error):
        yield from map(text_of, (each, _of(each, 'text'), *_several(_of(each, '__notes__'))))


def errors_of(error: BaseException, most: int = 100) -> Iterator[BaseException]:
    """Give an error, and those that its traceback shows with it: causes, members of a group."""
    left: list[Any] = [error]
    seen: set[int] = set()
    while left and len(seen) < most:
        each = left.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += each.__cause__, each.__context__, *_several(_of(each, 'exceptions'))


def _of(error: BaseException, name: str) -> Any:
    try:
        return getattr(error, name, None)
    except BaseException:
        return None


def _several(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else (value,)
