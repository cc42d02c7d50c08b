"""An event as bytes: what a reader by the letter of WHATWG makes of it."""

from __future__ import annotations

import random
import re

import pytest
from events_support import Event, Reader

from tremolo import HandlerError
from tremolo.events.wire import COMMENT, encode

# What readers have stumbled over: line ends, what else Python takes for one, blanks, and the marks
# of the format itself.
PARTS = ['\r', '\n', '\r\n', '\0', ':', ' ', '\t', '\ufeff', 'data:', 'id: 9', 'event:x', 'retry:5',
         '\x0b', '\x0c', '\x1c', '\x1e', '\x85', '\u2028', '\u2029', 'a', 'é', '😀', '']


@pytest.mark.parametrize(('args', 'wire'), [
    (('text',), b'data: text\n\n'),
    (('',), b'data: \n\n'),
    (('two\nlines',), b'data: two\ndata: lines\n\n'),
    (('a\r\nb\rc\n',), b'data: a\ndata: b\ndata: c\ndata: \n\n'),
    ((' blank',), b'data:  blank\n\n'),
    ((b'bytes',), b'data: bytes\n\n'),
    ((bytearray(b'\xc3\xa9'),), 'data: é\n\n'.encode()),
    (('x', 'news', '7', 3000), b'event: news\nid: 7\nretry: 3000\ndata: x\n\n'),
    (('x', None, 7), b'id: 7\ndata: x\n\n'),
    (('x', None, ''), b'id: \ndata: x\n\n'),
    (('x', None, None, 0), b'retry: 0\ndata: x\n\n'),
])
def test_the_bytes_of_an_event(args, wire):
    assert encode(*args) == wire


def test_empty_data_arrives_as_an_event():
    assert Reader(encode('')).events == [Event('')]
    assert Reader(encode('\n')).events == [Event('\n')]


def test_each_line_end_of_data_is_a_line_and_arrives_as_lf():
    """Fault of tremolo 0.5: outer line ends of data were removed."""
    assert Reader(encode('\n\na\r\nb\rc\n\n')).events == [Event('\n\na\nb\nc\n\n')]


def test_a_comment_is_no_event():
    reader = Reader(COMMENT + encode('a', None, 1) + COMMENT + COMMENT + encode('b'))
    assert reader.events == [Event('a', id='1'), Event('b', id='1')]
    assert reader.comments == 3


def test_what_is_sent_is_what_a_reader_gets(rounds=3000):
    """A seeded mixture of all that has a meaning in the format."""
    rng = random.Random(22)
    sent, wire, last = [], b'', ''
    for _ in range(rounds):
        data = ''.join(rng.choices(PARTS, k=rng.randrange(8)))
        event = ''.join(rng.choices(PARTS[3:], k=rng.randrange(3)))
        event = event if rng.random() < 0.5 else None
        id = rng.choice([None, 'é', '7', 8, '😀:', ':x', ''])
        wire += encode(data, event, id, rng.choice([None, 5]))
        if rng.random() < 0.1:
            wire += COMMENT
        last = last if id is None else str(id)
        sent.append(Event(re.sub('\r\n|\r', '\n', data), event or 'message', last))
    assert Reader(wire).events == sent
    assert Reader(wire).last_id == last


# -- what cannot be sent --------------------------------------------------------------------------


@pytest.mark.parametrize('end', ['\r', '\n', '\r\n'])
@pytest.mark.parametrize('place', ['{}x', 'x{}', 'x{}data: evil'])
def test_a_line_end_in_event_or_id_raises(end, place):
    text = place.format(end)
    with pytest.raises(HandlerError, match=r'an event is named in one line: .* has a line end'):
        encode('x', event=text)
    with pytest.raises(HandlerError, match='an id comes back as a field, in which there is no line '
                                           'end'):
        encode('x', id=text)


@pytest.mark.parametrize('id', ['a\0', '\x01', '\x7f', 'a\tb', ' a', 'a ', ' '])
def test_an_id_that_could_not_come_back_raises(id):
    with pytest.raises(HandlerError, match='no other control character, and no blank at an end'):
        encode('x', id=id)


def test_an_id_that_no_head_has_room_for_raises():
    """A browser that comes back with it is refused by 431, and never comes again."""
    encode('x', id='a' * 4096)
    for id in 'a' * 4097, '\u20ac' * 2000:
        with pytest.raises(HandlerError, match=r'in the head of .* at most 4096 bytes'):
            encode('x', id=id)


@pytest.mark.parametrize('retry', [-1, 1.5, '3', True, 3.0])
def test_retry_is_a_whole_number_of_milliseconds(retry):
    with pytest.raises(HandlerError, match=r'retry is a whole number of milliseconds .* as 3000'):
        encode('x', retry=retry)


@pytest.mark.parametrize(('args', 'said'), [
    (({'a': 1},), r'data is str, not dict: write `sse\.send\(json\.dumps\(\.\.\.\)\)`'),
    (([1],), r'json\.dumps'),
    ((7,), r'data is str, not int: write str\(\.\.\.\)'),
    ((None,), 'data is str, not NoneType'),
    (('x', 3), 'event is str, not int'),
    (('x', None, True), 'id is str, not bool'),
    (('x', None, 1.5), 'id is str, not float'),
    ((b'\xff',), 'data is sent as UTF-8'),
    (('\ud800',), 'an event is sent as UTF-8'),
])
def test_what_is_no_text_is_told_what_to_write(args, said):
    with pytest.raises(HandlerError, match=said):
        encode(*args)
