"""Run a parser over pieces, and write down what it said."""

from __future__ import annotations

from tremolo.http import EndOfBody, ProtocolError, RequestHead, RequestParser


def facts(head):
    """What a head says, as a tuple that can be compared."""
    return ('head', head.method, head.target, head.minor, head.keep_alive, head.content_length,
            head.chunked, head.has_body, head.expect_continue, head.upgrade, head.authority,
            tuple(head.fields))


def run(pieces, limits):
    """Feed the pieces; return the events (adjacent bytes joined) and the error, as a tuple."""
    parser = RequestParser(limits)
    events = []
    for piece in pieces:
        parser.feed(piece)
        try:
            while True:
                event = parser.next_event()
                if event is None:
                    break
                if isinstance(event, RequestHead):
                    events.append(facts(event))
                elif isinstance(event, EndOfBody):
                    events.append(('end', tuple(event.trailers)))
                elif events[-1][0] == 'data':
                    events[-1] = ('data', events[-1][1] + event)
                else:
                    events.append(('data', event))
        except ProtocolError as error:
            return events, (error.status, error.reason)
    return events, None


def is_whole(data, limits):
    """Whether nothing is missing from the last message."""
    parser = RequestParser(limits)
    parser.feed(data)
    while parser.next_event() is not None:
        pass
    return parser.idle


def requests(events, error):
    """Sum events up as the cases do: (method, target, body) each, then the status if refused."""
    summary = []
    for event in events:
        if event[0] == 'head':
            summary.append((event[1], event[2], b''))
        elif event[0] == 'data':
            method, target, body = summary[-1]
            summary[-1] = (method, target, body + event[1])
    return [*summary, error[0]] if error else summary
