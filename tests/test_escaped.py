"""What others have written is shown with escapes: each source of it, in each way to show a log."""

from __future__ import annotations

import html
import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from server_support import request, serving, virtual

from tremolo import NotFound, Tremolo, pace, spawn
from tremolo.asgi_app import AsgiApplication
from tremolo.control.table import table
from tremolo.escaped import errors_of, field_form, line, lines, markup, plain, quoted, said_by
from tremolo.http.errors import shown
from tremolo.loop import Future
from tremolo.metrics.exposition import _labels
from tremolo.output import complain
from tremolo.server.notices import shown_request
from tremolo.service.log import JsonFormatter, TextFormatter
from tremolo.wsgi.input import Errors
from tremolo.wsgi_app import WsgiApplication

FORGED = 'ERROR tremolo.error: forged'
BIDI = [*range(0x202a, 0x202f), *range(0x2066, 0x206a), 0x200e, 0x200f, 0x061c]
BAD = [chr(code) for code in (
    *(each for each in range(32) if each != 9), *range(127, 160), *BIDI, 0x2028, 0x2029, 0xfeff,
    0xd800, 0xdc80, 0xdfff)]
# (Together where they do the same: each of them would be a request.)
TEXTS = [f'x\n{FORGED}', f'x\r\n{FORGED}\n\n', f'x\r{FORGED}', f'x\u2028{FORGED}\x85{FORGED}',
         'x' + ''.join(set(BAD) - {'\n', '\r'}) + 'y']
FORMAT = '%(levelname)s %(name)s: %(message)s'


@pytest.mark.parametrize('form', [line, plain, shown, lambda text: quoted(text, 9),
                                  lambda text: lines(text, indent='')])
def test_no_form_lets_a_bad_character_through(form):
    for bad in BAD:
        text = form(f'a{bad}b').replace('\n', '')
        assert text.isprintable() and text.encode('utf-8')
        assert form(f'a{bad}b') != form('ab')
    assert 'ab' in form('ab')


def test_the_forms():
    assert line('grüße\t\x1b[2J\r\n\u202e\ud800') == 'grüße\t\\x1b[2J\\r\\n\\u202e\\ud800'
    assert lines('a\nb\r\n\x00') == 'a\n    b\\r\n    \\x00'
    assert plain('grüße') == 'gr\\xfc\\xdfe' and plain('it\'s "') == 'it\'s "'
    assert quoted(b'\xff\n' * 9, 2) == "b'\\xff\\n'" and quoted('ü' * 9, 1) == "'\\xfc'"
    assert field_form(False)('"\\\x00é ') == '\\x22\\x5C\\x00\\xE9 '
    assert field_form(True)('"\\\x00é ') == '\\u0022\\u005c\\u0000\\u00e9 '
    # (A grammar of its own: Prometheus knows three escapes, and takes all else.)
    assert _labels({'le': 'a"\\\n'}) == '{le="a\\"\\\\\\n"}'


def test_markup_is_what_python_has_for_it():
    text = ''.join(map(chr, range(256))) + '&amp;<a href="x">\u202e'
    assert markup(text) == html.escape(text)


def test_a_table_of_the_terminal_and_stderr_hold_none(capsys):
    complain(f'a\x1b[2J\ud800\u202e\n{FORGED}')
    assert capsys.readouterr().err == f'a\\x1b[2J\\ud800\\u202e\n{FORGED}\n'
    rows = [{'row': 'worker', 'worker': 0, 'pid': 1, 'state': ''.join(BAD)}]
    assert all(each.isascii() and each.isprintable() for each in table(rows, 200))


# -- the log --------------------------------------------------------------------------------------


class Shown:
    """What three handlers have shown: ours as text and JSON, and one of the program's."""

    def __init__(self) -> None:
        self.text, self.json, self.theirs = (io.StringIO() for _ in range(3))

    def check(self, count: int) -> None:
        """Each of so many records is one record; nobody's text begins one, or is a command."""
        for stream in (self.text, self.theirs):
            whole = stream.getvalue()
            assert whole.encode('utf-8')
            assert all(each.isprintable() for each in whole.replace('\t', ' ').split('\n'))
            begun = [each for each in whole.split('\n')[:-1] if not each.startswith('    ')]
            assert len(begun) == count, whole
            assert all(each.startswith(('ERROR tremolo', 'INFO tremolo', 'ERROR asyncio'))
                       and not each.startswith(FORGED) for each in begun), whole
        entries = self.json.getvalue()
        assert entries.isascii() and all(each.isprintable() for each in entries.split('\n'))
        assert len([json.loads(each) for each in entries.splitlines()]) == count


@pytest.fixture
def shown_logs(logged: Any, monkeypatch: Any) -> Iterator[Shown]:
    monkeypatch.setattr(pace, 'MOST_LINES', 1000)
    with showing() as each:
        yield each


@contextmanager
def showing() -> Iterator[Shown]:
    shown = Shown()
    handlers = [logging.StreamHandler(each) for each in (shown.text, shown.json, shown.theirs)]
    for handler, formatter in zip(handlers, (
            TextFormatter(FORMAT), JsonFormatter(), logging.Formatter(FORMAT))):
        handler.setFormatter(formatter)
    loggers = [logging.getLogger(name) for name in ('tremolo', 'asyncio')]
    level = loggers[0].level
    loggers[0].setLevel(logging.INFO)
    for logger in loggers:
        logger.handlers += handlers
    try:
        yield shown
    finally:
        loggers[0].setLevel(level)
        for logger in loggers:
            logger.handlers = [each for each in logger.handlers if each not in handlers]


class Said(Exception):
    """An error whose text is the request's body."""


def grouped(text: str) -> BaseException:
    class Group(Exception):    # (Python has them from 3.11 on, packages before.)
        exceptions = (Said(text),)

    kind: Any = getattr(__import__('builtins'), 'ExceptionGroup', None)
    return kind('several', [Said(text)]) if kind else Group(text)


def noted(text: str) -> BaseException:
    error = Said('' if hasattr(BaseException, 'add_note') else text)
    error.__notes__ = [text]    # type: ignore[attr-defined]
    return error


def caused(text: str) -> BaseException:
    error = ValueError('harmless')
    error.__cause__ = Said(text)
    return error


def malformed(text: str) -> BaseException:
    return SyntaxError('malformed', ('<sent>', 1, 1, text))


ERRORS = [Said, grouped, noted, caused, malformed]


@pytest.mark.parametrize('kind', ['plain', 'generator', 'thread', 'async'])
def test_the_text_of_an_error_of_a_handler(kind, shown_logs):
    app = Tremolo()
    errors = [make(text) for make in ERRORS for text in TEXTS]
    left = iter(errors)

    if kind == 'generator':
        @app.route('/')
        def index():
            raise next(left)
            yield
    elif kind == 'async':
        @app.route('/')
        async def index():
            raise next(left)
    else:
        @app.route('/')
        def index(thread=kind == 'thread'):
            raise next(left)

    with serving(app) as host:
        client = host.connect()
        for _ in errors:
            client.send(request('/'))
            assert client.take().status == 500
        client.close()
    shown_logs.check(len(errors))


def test_what_has_no_traceback_and_what_a_client_sends(shown_logs):
    app = Tremolo()
    left = iter(TEXTS)

    @app.route('/late')
    def late():
        yield b'x' * 100_000    # (The head is sent.)
        raise NotFound(next(left))

    @app.route('/<path:rest>', methods=['GET', 'TRACE'])
    def fails(request, rest):
        raise Said(''.join([request.path, *request.query['q']]))

    @app.route('/job')
    def job(reactor):
        text = next(jobs)

        def work():
            raise Said(text)
            yield

        spawn(work())
        reactor.call_soon(fail, Said(text))
        Future(reactor).set_exception(Said(text))    # (Nobody looks at it.)
        return ''

    def fail(error):
        raise error

    jobs = iter(TEXTS)
    with virtual(app) as host:
        for _ in TEXTS:    # (Each has two: the connection is cut.)
            host.connect(request('/late'))
            host.settle()
        shown_logs.check(2 * len(TEXTS))
        for target in ('/a%0A%1B%E2%80%AE?q=%0D%0A%00', '/b%ff?q=%C2%85%E2%80%A8'):
            host.connect(request('/x').replace(b'/x', target.encode('latin-1')))
            host.settle()
        shown_logs.check(2 * len(TEXTS) + 2)
        # Refused: the reason shows what has come.
        for data in (b'GET / HTTP/1.1\r\nHost: a\r\nX\x1b: b\r\n\r\n',
                     b'\x1b[2J / HTTP/1.1\r\n\r\n',
                     b'GET / HTTP/1.1\r\nHost: \x9b\xe2\x80\xae\r\n\r\n'):
            host.connect(data)
            host.settle()
        shown_logs.check(2 * len(TEXTS) + 5)
        for _ in TEXTS:
            host.connect(request('/job'))
            host.settle()
    import gc
    gc.collect()
    shown_logs.check(5 * len(TEXTS) + 5)


def test_the_text_of_an_error_of_an_asgi_application_and_of_asyncio(shown_logs):
    left = iter(TEXTS)

    async def application(scope, receive, send):
        assert scope['type'] == 'http'
        text = next(left)
        import asyncio
        asyncio.get_running_loop().call_soon(fail, text)
        await asyncio.sleep(0)
        raise Said(text)

    def fail(text):
        raise Said(text)

    with serving(AsgiApplication(application)) as host:
        for _ in TEXTS:
            host.ask(request('/', 'GET', 'Connection: close'))
    shown_logs.check(2 * len(TEXTS))


def test_the_text_of_an_error_of_a_wsgi_application_and_its_lines(shown_logs):
    left = iter(TEXTS)

    def application(environ, start_response):
        text = next(left)
        environ['wsgi.errors'].write(text.replace('\n', ' ') + '\n')
        raise Said(text)

    with serving(WsgiApplication(application)) as host:
        for _ in TEXTS:
            host.ask(request('/', 'GET', 'Connection: close'))
    shown_logs.check(2 * len(TEXTS))


def test_a_harmless_error_is_shown_by_a_handler_of_the_program_as_it_shows_others(logged):
    """Its formatter makes the traceback; only what is escaped is made here."""
    records: list[tuple[Any, ...]] = []
    handler = logging.Handler()
    # (At once: the next handler's formatter keeps there what it has made.)
    handler.emit = lambda record: records.append(    # type: ignore[method-assign]
        (record.msg, record.args, record.exc_text, bool(record.exc_info)))
    logger = logging.getLogger('tremolo.error')
    logger.addHandler(handler)
    try:
        logger.error('one %s', 'x', exc_info=Said('grüße'))
        logger.error('two %s', 'x\n', exc_info=Said('a\nb'))
    finally:
        logger.removeHandler(handler)
    assert records == [
        ('one %s', ('x',), None, True),
        ('two x\\n', None, '    test_escaped.Said: a\n    b', True)]


class Odd(Exception):
    """An error that raises whatever is asked of it."""

    exceptions = text = __notes__ = property(lambda self: 1 / 0)
    raises: type[BaseException] = RuntimeError

    def __str__(self) -> str:
        raise self.raises

    __repr__ = __str__


def test_an_error_that_can_be_shown_in_no_way_is_one_record(shown_logs, monkeypatch):
    monkeypatch.setattr(Odd, 'raises', SystemExit)
    logger = logging.getLogger('tremolo.error')
    logger.error('%s raised %s', 'shop.buy', Odd())
    logger.error('%s failed', 'shop.buy', exc_info=Odd())
    assert shown_logs.json.getvalue().count('\n') == 2
    assert list(said_by(Odd())) == ['<Odd>', 'None', 'None'] and len(list(errors_of(Odd()))) == 1


def test_extras_of_the_application_keep_no_line_from_being_written(logged):
    circle: list[Any] = []
    circle.append(circle)
    with showing() as each:
        extras = [{'a': circle}, {'a': Odd()}, {'request_id': Odd()}, {'request_id': 'a\n\ud800'}]
        if sys.flags.bytes_warning < 2:    # (Else bytes are an error for whoever shows them.)
            extras += [{'a': b'\xff'}, {'request_id': b'\n'}]
        for extra in extras:
            logging.getLogger('tremolo.app').error('a line', extra=extra)
        each.check(len(extras))


def test_the_lines_of_wsgi_errors_are_escaped_one_by_one(shown_logs):
    stream = Errors()
    for text in TEXTS:
        stream.write(text)
        stream.flush()
    shown_logs.check(sum(bool(part.strip('\r')) for text in TEXTS for part in text.split('\n')))


def test_a_target_is_shown_in_ascii():
    class Request:
        method, target, mark = 'GET' * 99, ('/\xff\x1b' * 999).encode('latin-1'), b''

    text = shown_request(Request())    # type: ignore[arg-type]
    assert text.isascii() and text.isprintable() and len(text) < 900


if sys.version_info >= (3, 11):
    def test_python_shows_notes():
        """(The matrix above would prove nothing of them.)"""
        import traceback
        assert 'x' in ''.join(traceback.format_exception(noted('x')))
