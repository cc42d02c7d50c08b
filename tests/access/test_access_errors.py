"""The log of errors: what a client sends, and an exception repeats, makes no line of its own."""

from __future__ import annotations

import io
import logging
import random

import pytest
from server_support import request, virtual

from tremolo import HTTPError, Tremolo, sleep
from tremolo.service.log import JsonFormatter, TextFormatter

FORGED = '2026-11-30 10:19:03,123 [1] ERROR tremolo.error: forged'
FORMAT = '%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s'


def texts():
    """A hundred texts of exceptions, as a client may make them."""
    chance = random.Random(7)
    ends = ['\n', '\r', '\r\n', '\n\n', '\x0b', '\x0c', '\x1c', '\x85', '\u2028', '\u2029',
            '\x1b[2J', '\x1b]0;x\x07', '\x9b31m', '\x00', '\x7f', '\x08' * 40]
    for end in ends:
        yield f'a{end}{FORGED}'
        yield f'{end}{FORGED}{end}'
    for _ in range(70):
        yield ''.join(chance.choice(ends) + chance.choice(('', FORGED, 'x')) for _ in range(3))


@pytest.mark.parametrize('formatter', [TextFormatter(FORMAT), JsonFormatter()])
def test_no_text_of_an_exception_forges_a_line(logged, formatter):
    """Both ways: in a message of one line, and at the end of a traceback."""
    app, current = Tremolo(), []

    @app.route('/raises')
    def raises():
        raise ValueError(current[0])

    @app.route('/late')
    def late():
        yield b'x' * 70_000
        yield sleep(0.001)
        raise HTTPError(400, current[0])

    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    logging.getLogger('tremolo').addHandler(handler)
    tries = 0
    try:
        with virtual(app) as host:
            for text in texts():
                current[:] = [text]
                for path in ('/raises', '/late'):
                    host.connect(request(path, 'GET', 'Connection: close')).until_ended()
                tries += 1
    finally:
        logging.getLogger('tremolo').removeHandler(handler)
    assert tries >= 100
    # (`splitlines` knows all ends of lines that anybody knows.)
    lines = out.getvalue().splitlines()
    assert not any(line.startswith(FORGED) for line in lines)
    assert not set(out.getvalue()) & set(map(chr, (*range(10), *range(11, 32), *range(127, 160))))
    for line in lines:
        # A line is the first of a record, or is indented.
        assert line[:1] in (' ', '{') or ' tremolo.' in line, line


def test_a_message_of_one_line_is_one_for_the_handlers_of_the_program_too(logged):
    app = Tremolo()

    @app.route('/late')
    def late():
        yield b'x' * 70_000
        yield sleep(0.001)
        raise HTTPError(400, f'\r\n\x1b[2J{FORGED}')

    with virtual(app) as host:
        host.connect(request('/late')).until_ended()
    [message] = [each for each in logged.messages if 'after the head was sent' in each]
    assert message.isprintable() and r'\r\n\x1b[2J' in message
