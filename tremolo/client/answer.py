"""Answer: what an application has answered.

    answer.status, answer.reason       404, 'Not Found'
    answer.headers                     case-insensitive; `get_all` for a field with several lines
    answer.body, answer.text           bytes; str by the charset of its Content-Type
    answer.json()
    answer.cookies                     those that this answer sets
    answer.history                     the answers that led to it by redirects
    answer.hints                       the header fields of each 103 before it
    answer.url, answer.trailers
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Generator

from ..http import Headers
from ..http.charset import charset_of
from ..typed import Any
from .each import Each, Run
from .event_stream import EventParser, ServerEvent
from .exchange import Exchange

# The names that other test clients have for what is here.
_INSTEAD = {
    'status_code': 'answer.status', 'content': 'answer.body', 'data': 'answer.body',
    'get_data': 'answer.body', 'get_json': 'answer.json()', 'ok': 'answer.status < 400',
    'is_success': 'answer.status < 400', 'raise_for_status': 'assert answer.status == 200',
    'iter_content': 'for chunk in answer, after `with client.stream(...) as answer`',
    'iter_bytes': 'for chunk in answer, after `with client.stream(...) as answer`',
    'iter_lines': 'answer.text.splitlines()', 'reason_phrase': 'answer.reason',
    'content_type': "answer.headers['Content-Type']", 'mimetype': "answer.headers['Content-Type']",
    'location': "answer.headers['Location']",
}


class Answer:
    """An answer of the application."""

    def __init__(self, exchange: Exchange, history: list[Answer]) -> None:
        head = exchange.head
        self.status = head.status
        self.reason = head.reason
        self.headers = Headers.from_wire(head.fields)
        self.url = str(exchange.request.url)
        self.history = history
        self.hints = [Headers.from_wire(each.fields) for each in exchange.interim
                      if each.status == 103]
        self.trailers = Headers()    # With the end of the body.
        self.body = b''

    @property
    def text(self) -> str:
        """The body as text. Raises `UnicodeDecodeError` if it is not in its charset."""
        return self.body.decode(charset_of(self.headers.get('content-type')))

    def json(self) -> Any:
        """Return what the body says as JSON. Raises `ValueError`."""
        return json.loads(self.body)

    @property
    def cookies(self) -> dict[str, str]:
        """The names and values of the cookies that this answer sets."""
        pairs = (each.partition(';')[0].partition('=')
                 for each in self.headers.get_all('set-cookie'))
        return {name.strip(): value.strip() for name, _, value in pairs}

    def __getattr__(self, name: str) -> Any:
        hint = f': write {_INSTEAD[name]}' if name in _INSTEAD else ''
        raise AttributeError(f'an answer has no attribute {name!r}{hint}')

    def __repr__(self) -> str:
        return f'<Answer {self.status} {self.reason}>'


class StreamedAnswer(Answer, Each[bytes]):
    """An answer whose body comes piece by piece.

        with client.stream('GET', '/numbers') as answer:
            for chunk in answer:
                ...

    With an `AsyncClient` it is `async with`, `async for` and `await answer.read()`.
    """

    def __init__(self, exchange: Exchange, history: list[Answer], run: Run) -> None:
        super().__init__(exchange, history)
        self.exchange = exchange
        self.run = run
        del self.body    # (There is one after `read`.)

    def next_one(self) -> Generator[Any, Any, bytes | None]:
        """Wait for the next piece of the body, as it comes; None at its end."""
        self.exchange.renew()
        piece = yield from self.exchange.read()
        if not piece:
            self.trailers = Headers.from_wire(self.exchange.trailers)
        return piece or None

    def read(self) -> Any:
        """Return the rest of the body; then it is `answer.body`, too."""
        return self.run(self._read())

    def _read(self) -> Generator[Any, Any, bytes]:
        self.exchange.renew()
        self.body = yield from self.exchange.read_all()
        self.trailers = Headers.from_wire(self.exchange.trailers)
        return self.body

    def events(self) -> Events:
        """Return the server-sent events of the body: `for event in answer.events()`."""
        return Events(self)

    def leaving(self) -> Generator[Any, Any, None]:
        """Do what the end of the block does."""
        self.exchange.raise_failure()
        yield from ()

    def __getattr__(self, name: str) -> Any:
        if name == 'body':
            raise AttributeError('the body of a streamed answer is there after `answer.read()`; '
                                 'or write `for chunk in answer`')
        return super().__getattr__(name)


class Events(Each[ServerEvent]):
    """The events of an answer, as they come."""

    def __init__(self, answer: StreamedAnswer) -> None:
        self.run = answer.run
        self._answer = answer
        self._parser = EventParser()
        self._found: deque[ServerEvent] = deque()    # They came with the last piece.

    def next_one(self) -> Generator[Any, Any, ServerEvent | None]:
        """Wait for the next event; None at the end of the body."""
        while not self._found:
            piece = yield from self._answer.next_one()
            if piece is None:
                return None
            self._found.extend(self._parser.feed(piece))
        return self._found.popleft()
