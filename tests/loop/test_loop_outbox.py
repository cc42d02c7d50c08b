"""Pieces that go ahead of others, and never into the middle of one."""

from __future__ import annotations

import contextlib

import pytest
from simulated import World

from tremolo.loop import Stream
from tremolo.sockets.outbox import Outbox


def contents(outbox):
    return [bytes(each) for each in outbox]


def test_a_piece_goes_ahead_behind_the_first_and_behind_those_before_it():
    outbox = Outbox()
    for piece in (b'one', b'two', b'three'):
        outbox.append(piece)
    assert outbox.put_ahead(b'A', False) == 1
    assert outbox.put_ahead(b'B', False) == 1
    assert contents(outbox) == [b'one', b'A', b'B', b'two', b'three']
    outbox.drop(1)
    assert outbox.put_ahead(b'C', False) == 1
    assert contents(outbox) == [b'ne', b'A', b'B', b'C', b'two', b'three']
    outbox.drop(2)
    outbox.drop(1)
    assert outbox.put_ahead(b'D', False) == 1
    assert contents(outbox) == [b'B', b'C', b'D', b'two', b'three']
    outbox.drop(3)
    assert contents(outbox) == [b'two', b'three']
    assert outbox.put_ahead(b'E', False) == 1
    assert contents(outbox) == [b'two', b'E', b'three']


def test_the_last_piece_drops_those_that_have_not_begun():
    outbox = Outbox()
    for piece in (b'one', b'two', b'three'):
        outbox.append(piece)
    outbox.put_ahead(b'A', False)
    outbox.drop(2)
    assert outbox.put_ahead(b'END', True) == 3 - 8
    assert contents(outbox) == [b'e', b'A', b'END']


@pytest.mark.parametrize('last', [False, True])
def test_a_stream_counts_what_it_keeps(last):
    world = World(seed=1, buffer_size=100, largest_piece=30)
    reactor = world.reactor()
    ours, theirs = world.network.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    stream = Stream(reactor, ours)
    pieces = [b'%02d' % number * 40 for number in range(10)]
    for piece in pieces:
        stream.write(piece)
    stream.write_ahead(b'!' * 40, last)
    received = b''
    while stream.buffered or stream.unsent:
        reactor.step(0)
        world.wait_until(world.now + 1)
        with contextlib.suppress(BlockingIOError):
            received += theirs.recv(100)
    world.wait_until(world.now + 1)
    while len(received) < stream.sent:
        received += theirs.recv(100)
    at = received.index(b'!')
    assert at % 80 == 0 and received[at:at + 40] == b'!' * 40
    rest = received[:at] + received[at + 40:]
    assert b''.join(pieces).startswith(rest) and (len(rest) < 800) is last
    stream.abort()
    theirs.close()
    reactor.close()
