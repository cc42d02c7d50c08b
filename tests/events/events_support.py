"""What the tests of events share: a reader by the letter of WHATWG HTML, and one application.

The reader is written from the chapter "Parsing an event stream" and knows nothing of the package.
"""

from __future__ import annotations

import re
from typing import Any, Callable, NamedTuple

from server_support import Incomplete, read_answer, request

from tremolo import Tremolo


class Event(NamedTuple):
    """What a page gets: the event's type, its data, and `lastEventId`."""

    data: str
    type: str = 'message'
    id: str = ''


class Reader:
    """Reads a whole event stream."""

    def __init__(self, stream: bytes) -> None:
        self.events: list[Event] = []
        self.comments = 0
        self.retry: int | None = None
        self.last_id = ''    # With this a client comes back.
        self._data = self._type = self._id = ''
        text = stream.decode('utf-8', 'replace')
        if text[:1] == '\ufeff':
            text = text[1:]
        # (What follows the last line end is no line.)
        for line in re.split('\r\n|\n|\r', text)[:-1]:
            self._line(line)

    def _line(self, line: str) -> None:
        if line == '':
            self._dispatch()
        elif line[0] == ':':
            self.comments += 1
        else:
            field, _, value = line.partition(':')
            if value[:1] == ' ':
                value = value[1:]
            self._field(field, value)

    def _field(self, field: str, value: str) -> None:
        if field == 'event':
            self._type = value
        elif field == 'data':
            self._data += value + '\n'
        elif field == 'id':
            if '\0' not in value:
                self._id = value
        elif field == 'retry' and re.fullmatch('[0-9]+', value):
            self.retry = int(value)

    def _dispatch(self) -> None:
        self.last_id = self._id
        data, type, self._data, self._type = self._data, self._type, '', ''
        if data:
            self.events.append(Event(data[:-1], type or 'message', self._id))


def application(handler: Callable[..., Any], path: str = '/') -> Tremolo:
    app = Tremolo()
    app.route(path)(handler)
    return app


def body_of(received: bytes) -> bytes:
    """Return what has come of a chunked body, also when it is cut or goes on."""
    try:
        return read_answer(received)[0].body
    except Incomplete:
        pass
    _, _, rest = received.partition(b'\r\n\r\n')
    body = b''
    while rest:
        size, mark, rest = rest.partition(b'\r\n')
        if not mark or not size:
            break
        body += rest[:int(size, 16)]
        rest = rest[int(size, 16) + 2:]
    return body


def read(client: Any) -> Reader:
    """Read what a client has received until now."""
    return Reader(body_of(client.received))


def asking(last_id: str | None = None, target: str = '/', method: str = 'GET', *lines: str,
           version: str = '1.1') -> bytes:
    """Make the request of an EventSource."""
    if last_id is not None:
        lines += (f'Last-Event-ID: {last_id.encode().decode("latin-1")}',)
    return request(target, method, 'Accept: text/event-stream', *lines, version=version)
