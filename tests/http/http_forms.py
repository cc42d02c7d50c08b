"""What the tests of forms share: a parser that is fed and drained, parts as data, and pieces."""

from __future__ import annotations

from collections import namedtuple

from tremolo.http import ProtocolError
from tremolo.http.errors import FormError
from tremolo.http.multipart import (
    END_OF_FORM,
    END_OF_PART,
    MultipartParser,
    PartHead,
    PartLimits,
)

Part = namedtuple('Part', 'name filename content_type content', defaults=(None, 'text/plain', b''))


def form_data(name, *more):
    """The head of a part, with its empty line."""
    lines = [b'Content-Disposition: form-data; name="%s"' % name, *more]
    return b'\r\n'.join(lines) + b'\r\n\r\n'


def body(*parts, boundary=b'b'):
    """A form of parts, each of which is a head with its empty line, and contents."""
    return b''.join([b'--%s\r\n%s\r\n' % (boundary, part) for part in parts]
                    + [b'--%s--\r\n' % boundary])


def events_of(pieces, boundary=b'b', limits=PartLimits()):
    """All events, with the pieces of contents joined, and the error."""
    parser = MultipartParser(boundary, limits)
    events, begun = [], []
    error = None
    try:
        for piece in [*pieces, None]:
            if piece is None:
                parser.feed_eof()
            else:
                parser.feed(piece)
            while (event := parser.next_event()) is not None:
                if type(event) is bytes:
                    assert event, 'an empty piece'
                    begun.append(event)
                    continue
                if begun:
                    events.append(b''.join(begun))
                    begun = []
                events.append(event)
    except FormError as caught:
        assert caught.status in (400, 413)
        error = caught.status, caught.sentence
        # It is dead.
        parser.feed(b'--b\r\n\r\n')
        assert parser.next_event() is None
    if begun:
        events.append(b''.join(begun))
    assert error or events[-1] is END_OF_FORM
    return events, error


def parts_of(data, boundary=b'b', limits=PartLimits()):
    """The parts of a good form. Raises `FormError`."""
    events, error = events_of([data], boundary, limits)
    if error:
        raise FormError(*error)
    parts = []
    for event in events[:-1]:
        if isinstance(event, PartHead):
            parts.append(Part(event.name, event.filename, event.content_type))
        elif event is not END_OF_PART:
            parts[-1] = parts[-1]._replace(content=event)
    return parts


def in_bytes(data):
    return [data[at:at + 1] for at in range(len(data))]


def alike_however_split(data, boundary=b'b', limits=PartLimits()):
    """Cut the data in two at each place, and into bytes; return what all of these give."""
    whole = events_of([data], boundary, limits)
    for at in range(1, len(data)):
        assert events_of([data[:at], data[at:]], boundary, limits) == whole, at
    assert events_of(in_bytes(data), boundary, limits) == whole
    assert events_of([b'', *in_bytes(data)[:3], b'', data[3:], b''], boundary, limits) == whole
    return whole


assert issubclass(FormError, ProtocolError)
