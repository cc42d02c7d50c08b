"""Answers that come piece by piece, and their events."""

from __future__ import annotations

import asyncio
import random

import pytest
from client_support import KINDS

from tremolo import Tremolo, sleep
from tremolo.client.event_stream import EventParser, ServerEvent


@pytest.fixture
def app():
    app = Tremolo()
    app.context.ended = []

    @app.route('/numbers')
    def numbers(context, app, stream=True):
        try:
            for number in range(1000):
                yield b'%d\n' % number
                yield sleep(0)
        finally:
            app.context.ended.append(number)

    @app.route('/big')
    async def big():
        for _ in range(400):
            yield b'x' * 50_000

    @app.route('/events')
    async def events(content_type='text/event-stream'):
        yield 'id: 1\ndata: one\n\n:comment\n\nevent: add\nda'
        await asyncio.sleep(0.001)
        yield 'ta: two\ndata: lines\n\nretry: 1500\ndata: three\n\ndata: cut off'

    return app


@pytest.mark.parametrize('kind', KINDS)
def test_a_stream_gives_the_head_and_then_the_pieces(kind):
    with kind().client() as client:
        with client.stream('GET', '/hello') as answer:
            assert answer.status == 200
            with pytest.raises(AttributeError, match=r'answer\.read\(\)'):
                _ = answer.body
            assert b''.join(answer) == b'Hello world!'
            assert list(answer) == []
        with client.stream('POST', '/echo', data=b'abc', headers={'X': 'y'}) as answer:
            assert answer.read() == answer.body == b'abc'


def test_a_stream_comes_as_it_is_sent_and_ends_with_its_block(app):
    with app.client() as client, client.stream('GET', '/numbers') as answer:
        pieces = iter(answer)
        assert [next(pieces) for _ in range(3)] == [b'0\n', b'1\n', b'2\n']
        # Others can ask meanwhile.
        with client.stream('GET', '/numbers') as second:
            assert next(iter(second)) == b'0\n'
        assert client.get('/numbers').text.endswith('\n999\n')
        assert next(pieces)
        # The handler is ended: its client has left.
    assert app.context.ended[0] < 999
    assert len(app.context.ended) == 3


def test_a_stream_that_is_not_read_is_held_back(app):
    with app.client() as client, client.stream('GET', '/big') as answer:
        first = next(iter(answer))
        for _ in range(20):
            client.get('/nothing')
        stream = answer.exchange.wire.connection.stream
        assert stream.buffered < 200_000
        assert len(first) + len(answer.read()) == 20_000_000


def test_events(app):
    with app.client() as client, client.stream('GET', '/events') as answer:
        events = answer.events()
        assert next(events) == ServerEvent('one', id='1')
        assert list(events) == [('two\nlines', 'add', '1', None),
                                ('three', 'message', '1', 1500)]
    client = app.client()
    with client.stream('GET', '/events') as answer:
        assert [event.data for event in answer.events()] == ['one', 'two\nlines', 'three']


def test_streams_and_events_in_a_running_loop(app):
    async def main():
        async with app.client() as client:
            async with client.stream('GET', '/events') as answer:
                seen = [event.data async for event in answer.events()]
            assert seen == ['one', 'two\nlines', 'three']
            async with client.stream('GET', '/numbers') as answer:
                async for piece in answer:
                    assert piece == b'0\n'
                    break
                assert (await answer.read()).endswith(b'\n999\n')

    asyncio.run(main())


def read(pieces) -> list[ServerEvent]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


# A stream and its events, by the rules of the HTML standard (and its own examples).
STREAMS = [
    (b'data: YHOO\ndata: +2\ndata: 10\n\n', ['YHOO\n+2\n10']),
    (b': test\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n',
     [('first', 'message', '1'), ('second', 'message', ''), (' third', 'message', '')]),
    (b'data\n\ndata\ndata\n\ndata:', ['', '\n']),
    (b'data:test\n\ndata: test\n\n', ['test', 'test']),
    (b'\xef\xbb\xbfdata: a\n\n', ['a']),
    (b'\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n', ['b']),
    (b'data: a\r\rdata: b\r\n\r\ndata: c\n\r\ndata: d\r\n\n', ['a', 'b', 'c', 'd']),
    (b'event: x\n\ndata: a\n\n', ['a']),
    (b'event: x\ndata: a\n\ndata: b\n\n', [('a', 'x', ''), 'b']),
    (b'id: a\0b\ndata: a\n\nid: \xc3\xbc\ndata: \xff\n\n', ['a', ('\ufffd', 'message', 'ü')]),
    (b'retry: 1x\ndata: a\n\nretry: \xd9\xa3\ndata: a\n\nretry: ' + b'9' * 5000 + b'\ndata: a\n\n',
     ['a', 'a', 'a']),
    (b'Data: a\n data: b\nunknown: c\ndata : d\n\ndata: e\n\n', ['e']),
]


@pytest.mark.parametrize('stream, events', STREAMS)
def test_events_are_read_by_the_rules_of_browsers_however_they_are_cut(stream, events):
    wanted = [ServerEvent(each) if isinstance(each, str) else ServerEvent(*each)
              for each in events]
    assert read([stream]) == wanted
    assert read([bytes((each,)) for each in stream]) == wanted
    for place in range(0, len(stream), 1 + len(stream) // 200):
        assert read([stream[:place], stream[place:]]) == wanted


def test_any_stream_of_events_is_the_same_however_it_is_cut():
    chance = random.Random(3)
    for _ in range(300):
        stream = b''.join(chance.choice([
            b'data', b':', b' ', b'\r', b'\n', b'\r\n', b'a', b'\xc3\xbc', b'id', b'event', b'\0',
            b'retry: 1', b'\xef\xbb\xbf']) for _ in range(40))
        assert read([stream]) == read([bytes((each,)) for each in stream])


def test_the_end_of_an_event_counts_before_the_lf_of_its_crlf():
    parser = EventParser()
    assert parser.feed(b'data: a\r\n\r') == [ServerEvent('a')]
    assert parser.feed(b'\ndata: b\r\r') == [ServerEvent('b')]
