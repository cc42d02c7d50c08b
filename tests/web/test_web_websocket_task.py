"""The task of a handler that waits for messages, and the Future that it waits for."""

from __future__ import annotations

import sys

import pytest
from web_sockets import TEXT, connect, frame, serve

import tremolo
from tremolo import gather, sleep
from tremolo.websocket import WebSocketClosed

counted = pytest.mark.skipif(sys.implementation.name != 'cpython', reason='counts references')


@counted
def test_the_future_of_a_message_serves_for_the_next_one():
    seen = set()

    def handler(websocket):
        yield websocket.accept()
        while True:
            message = yield websocket.receive()
            seen.add(id(websocket.spare))
            yield websocket.send(message)

    with serve(handler) as host:
        socket = connect(host)
        for number in range(20):
            socket.send(str(number))
            assert socket.take() == str(number)
    assert len(seen) == 1


def test_a_future_that_is_kept_keeps_its_message():
    kept = []

    def handler(websocket):
        yield websocket.accept()
        for _ in range(3):
            future = websocket.receive()
            kept.append(future)
            first = yield future
            again = yield future
            yield websocket.send(f'{first} {again}')
        for future in kept:
            yield websocket.send((yield future))

    with serve(handler) as host:
        socket = connect(host)
        for message in 'abc':
            socket.send(message)
            assert socket.take() == f'{message} {message}'
        assert [socket.take() for _ in range(3)] == ['a', 'b', 'c']
        assert len({id(future) for future in kept}) == 3
        assert [future.result() for future in kept] == ['a', 'b', 'c']


def test_others_may_wait_for_the_same_future():
    got = []

    def other(future):
        got.append((yield future))

    def handler(websocket):
        yield websocket.accept()
        while True:
            future = websocket.receive()
            waiting = [tremolo.spawn(other(future)) for _ in range(2)]
            message = yield future
            yield gather(*waiting)
            yield websocket.send(message + str(got))
            got.clear()

    with serve(handler) as host:
        socket = connect(host)
        for message in 'ab':
            socket.send(message)
            assert socket.take() == f"{message}['{message}', '{message}']"


def test_one_that_gives_up_takes_nothing_from_the_handler():
    def handler(websocket):
        yield websocket.accept()
        future = websocket.receive()

        def other():
            yield future

        waiting = tremolo.spawn(other())
        host.reactor.call_later(1, waiting.cancel)
        yield websocket.send((yield future))

    with serve(handler) as host:
        socket = connect(host)
        host.advance(2)
        socket.send('hello')
        assert socket.take() == 'hello'
        assert socket.closed() == (1000, '')


def test_many_messages_in_one_packet_come_in_order():
    def handler(websocket):
        yield websocket.accept()
        while True:
            message = yield websocket.receive()
            if message == 'wait':
                yield sleep(1)
            yield websocket.send(message)

    with serve(handler) as host:
        socket = connect(host)
        sent = [str(number) for number in range(40)]
        sent[5:5] = sent[20:20] = ['wait']
        for some in (sent[:1], sent[1:3], sent[3:30], sent[30:]):
            socket.client.send(b''.join(frame(TEXT, each.encode()) for each in some))
            host.settle()
        assert [socket.take() for _ in sent] == sent


def test_a_handler_that_waits_is_told_of_the_end_once():
    told = []

    def handler(websocket):
        yield websocket.accept()
        while len(told) < 3:
            try:
                yield websocket.receive()
            except WebSocketClosed as error:
                told.append(error.code)

    with serve(handler) as host:
        socket = connect(host)
        socket.send('hello')
        host.settle()
        socket.close(4000)
        host.settle()
    assert told == [4000] * 3


def test_a_handler_that_never_waits_lets_others_run():
    def handler(websocket):
        yield websocket.accept()
        while True:
            yield websocket.send('x')

    with serve(handler) as host:
        first, second = connect(host), connect(host)
        for _ in range(1000):
            assert first.take() == second.take() == 'x'


def test_a_task_that_is_cancelled_while_it_waits_ends():
    tasks = []

    def handler(websocket, request):
        yield websocket.accept()
        host.reactor.call_soon(lambda: tasks.append(request.connection.task))
        try:
            while True:
                yield websocket.send((yield websocket.receive()))
        except tremolo.Cancelled as error:
            yield websocket.close(4001, str(error))

    with serve(handler) as host:
        socket = connect(host)
        socket.send('hello')
        assert socket.take() == 'hello'
        tasks[0].cancel('enough')
        assert socket.closed() == (4001, 'enough')
        host.settle()
        assert not host.reactor.tasks
