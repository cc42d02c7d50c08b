"""Leads: the lines with which the heads of one client begin are read once.

A client sends the same first lines in each of its requests, up to the first that changes or belongs
to one user: a cookie, for example. The parser of a connection remembers them as a `Lead` (head.py):
their bytes, and what they say. A head that begins with the same bytes is read on behind them
(measured: 20 % fewer instructions for a head of a browser with 12 fields). One that has no other
lines is looked for as a whole, from its end, if nothing else has come and its request line is
short: it is searched neither for the end of that line nor for its own (ASGI, 3 fields: 4.5 % fewer
for all of a request).

A lead has nothing in it but lines that `known_field` knows (fields.py): each was checked, and none
holds a secret. It ends before Content-Length, which changes. It is learnt from the second head of a
connection, because many connections send only one. A head that begins differently makes it shorter:
what remains are the lines that all heads had. (A browser asks for pages and for pictures with the
same first half. To learn anew each time would cost such a connection half as much again.)

Connections share their leads: there are at most 256, of at most 32 lines and 1,024 bytes; a full
dictionary is emptied. A connection keeps its own lead, even if others have forgotten it.
"""

from __future__ import annotations

from .fields import known_field
from .head import NO_LINES, Lead, read_lines

# What a connection has instead of a lead before it has sent a head, and before its second one.
NEW = Lead(b'', NO_LINES.said)
_SECOND = Lead(b'', NO_LINES.said)

_leads: dict[bytes, Lead] = {}
_MOST_LEADS = 256
_LONGEST_LEAD = 1024
_MOST_LINES = 32


def next_lead(lead: Lead, lines: bytes) -> Lead:
    """Return the lead of a connection after a head with these lines, which had no use for `lead`.

    It is `NO_LINES`, and remains so, if the heads of the connection have no first lines in common.
    """
    if lead is NEW:
        return _SECOND
    if lead is NO_LINES:
        return NO_LINES
    size = 0
    if lead is _SECOND:
        for line in lines.split(b'\r\n', _MOST_LINES)[:-1]:
            field = known_field(line)
            if field is None or field[0] == b'content-length' or size + len(line) >= _LONGEST_LEAD:
                break
            size += len(line) + 2
    else:
        for line in lead.text.splitlines(keepends=True):
            if not lines.startswith(line, size):
                break
            size += len(line)
    return _lead_of(lines[:size])


def _lead_of(lines: bytes) -> Lead:
    """Return the lead with these lines, the same for all connections."""
    if lines and lines not in _leads:
        # (`>=`: reactors in several threads may each add one at once.)
        if len(_leads) >= _MOST_LEADS:
            _leads.clear()
        _leads[lines] = Lead(lines, read_lines(NO_LINES, lines, _MOST_LINES))
    return _leads.get(lines, NO_LINES)
