"""Event stream: the events of an answer (https://html.spec.whatwg.org/#parsing-an-event-stream)."""

from __future__ import annotations

import codecs

from ..typed import NamedTuple


class ServerEvent(NamedTuple):
    """An event, with the names that `sse.send` has."""

    data: str
    event: str = 'message'
    id: str = ''    # The last one that was sent, by this event or an earlier one.
    retry: int | None = None    # Likewise: milliseconds after which a client connects again.


class EventParser:
    """Text in, in any pieces; events out. What is no field is left out, as browsers do."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder('utf-8')('replace').decode
        self._text = ''
        self._begun = False
        self._after_cr = False    # Whether the last line ended with a CR.
        self._data: list[str] = []
        self._event = ''
        self._id = ''
        self._retry: int | None = None

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Take bytes; return the events that are whole now."""
        self._text += self._decode(data)
        if not self._begun and self._text:
            self._begun = True
            self._text = self._text[self._text[0] == '\ufeff':]
        found = []
        while (line := self._line()) is not None:
            if line:
                self._field(line)
            elif self._data:
                found.append(ServerEvent('\n'.join(self._data), self._event or 'message',
                                         self._id, self._retry))
            if not line:
                self._data, self._event = [], ''
        return found

    def _line(self) -> str | None:
        """Return the next line; None if it is not whole. It ends with CRLF, LF or CR."""
        if self._after_cr and self._text:
            # (A CR is an end at once: its LF may never come.)
            self._text, self._after_cr = self._text[self._text[0] == '\n':], False
        ends = [place for place in map(self._text.find, '\r\n') if place >= 0]
        if not ends:
            return None
        line, end, self._text = (self._text[:min(ends)], self._text[min(ends)],
                                 self._text[min(ends) + 1:])
        self._after_cr = end == '\r'
        return line

    def _field(self, line: str) -> None:
        name, _, value = line.partition(':')
        value = value[value.startswith(' '):]
        if name == 'data':
            self._data.append(value)
        elif name == 'event':
            self._event = value
        elif name == 'id' and '\0' not in value:
            self._id = value
        elif name == 'retry' and value.isascii() and value.isdigit() and len(value) < 16:
            self._retry = int(value)
