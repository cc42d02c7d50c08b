"""Conditions: what a request says of the copy that its client has (RFC 9110 section 13).

    outcome(request, '"12-34"', 'Sun, 06 Nov 1994 08:49:37 GMT', now)    # 0: answer; 304; 412
    may_be_part(request, '"12-34"', None, now)

An answer has up to two validators, its ETag and its Last-Modified: here as they are sent, and None
if it has none. `now` is in seconds since 1970, for years of two digits. A date that cannot be read
is no condition; a list of ETags that breaks the grammar names none.
"""

from __future__ import annotations

from datetime import datetime, timezone

from ..late import expression
from ..typed import TYPE_CHECKING
from .response import MONTHS

if TYPE_CHECKING:
    from .head import RequestHead

_CONDITIONS = frozenset((b'if-match', b'if-none-match', b'if-modified-since',
                         b'if-unmodified-since', b'if-range'))

# entity-tag = [ %s"W/" ] DQUOTE *etagc DQUOTE                               RFC 9110 section 8.8.3
# One element of a list of them, with its comma; elements may be empty (section 5.6.1.2).
_TAG = expression(rb'[\t ,]*(?:(W/)?("[!#-~\x80-\xff]*")[\t ]*(?:,|\Z))?')

# IMF-fixdate, rfc850-date and asctime-date                                  RFC 9110 section 5.6.7
_TIME = rb'(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})'
_DAY = rb'(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)'
_FORMS = tuple(expression(form) for form in (
    rb'%s, (?P<day>[0-9]{2}) (?P<month>[A-Z][a-z]{2}) (?P<year>[0-9]{4}) %s GMT' % (_DAY, _TIME),
    rb'[A-Z][a-z]{5,8}, (?P<day>[0-9]{2})-(?P<month>[A-Z][a-z]{2})-(?P<year>[0-9]{2}) %s GMT'
    % _TIME,
    rb'%s (?P<month>[A-Z][a-z]{2}) (?P<day>[ 0-9][0-9]) %s (?P<year>[0-9]{4})' % (_DAY, _TIME)))


def conditions_of(head: RequestHead) -> dict[bytes, bytes]:
    """Return the conditions of a request; several lines of one field are joined."""
    given: dict[bytes, bytes] = {}
    for name, value in head.fields:
        if name in _CONDITIONS:
            given[name] = given[name] + b',' + value if name in given else value
    return given


def outcome(head: RequestHead, etag: str | None, modified: str | None, now: float) -> int:
    """Return 0 to answer, 304 or 412 to answer so instead (section 13.2.2).

    It is for an answer that would be 200. Only GET and HEAD have conditions here: what another
    method is about to do was done when there is an answer.
    """
    given = conditions_of(head) if head.method in ('GET', 'HEAD') else {}
    changed = parse_date(modified.encode('latin-1'), now) if given and modified else None
    if b'if-match' in given:
        if not _names(given[b'if-match'], etag, strong=True):
            return 412
    elif changed is not None and b'if-unmodified-since' in given:
        date = parse_date(given[b'if-unmodified-since'], now)
        if date is not None and changed > date:
            return 412
    if b'if-none-match' in given:
        return 304 if _names(given[b'if-none-match'], etag, strong=False) else 0
    if changed is not None and b'if-modified-since' in given:
        date = parse_date(given[b'if-modified-since'], now)
        if date is not None and changed <= date:
            return 304
    return 0


def may_be_part(head: RequestHead, etag: str | None, modified: str | None, now: float) -> bool:
    """Tell whether If-Range lets a Range be answered by a part (section 13.1.5).

    A date has to be that of Last-Modified: it counts as strong, since a client that is not sure of
    it must not send it.
    """
    value = conditions_of(head).get(b'if-range')
    if value is None:
        return True
    if b'"' in value:
        return len(_tags(value)) == 1 and _names(value, etag, strong=True)
    date = parse_date(value, now)
    return date is not None and modified is not None and (
        date == parse_date(modified.encode('latin-1'), now))


def parse_date(value: bytes, now: float) -> int | None:
    """Return the seconds since 1970 of a date in one of the three forms; None if it is none."""
    found = next(filter(None, (form.fullmatch(value) for form in _FORMS)), None)
    if found is None or found['month'].decode() not in MONTHS:
        return None
    year, month = int(found['year']), MONTHS.index(found['month'].decode()) + 1
    if len(found['year']) == 2:
        # More than 50 years ahead is the last such year that has been.
        this = datetime.fromtimestamp(now, timezone.utc).year
        year += this // 100 * 100
        year -= 100 * (year > this + 50)
    day, hour, minute, second = (int(found[name]) for name in ('day', 'hour', 'minute', 'second'))
    try:
        when = datetime(year, month, day, hour, minute, tzinfo=timezone.utc)
    except ValueError:
        return None
    # (60 is a leap second.)
    return int(when.timestamp()) + second if second <= 60 else None


def _names(value: bytes, etag: str | None, strong: bool) -> bool:
    """Tell whether a list of ETags names one, by the strong or the weak comparison (8.8.3.2)."""
    if value == b'*':
        return True
    own = _tags((etag or '').encode('latin-1', 'replace'))
    if not own or (strong and own[0][0]):
        return False
    return any(tag == own[0][1] and not (strong and weak) for weak, tag in _tags(value))


def _tags(value: bytes) -> list[tuple[bool, bytes]]:
    """Return the ETags of a list: whether each is weak, and the rest; none if it is malformed."""
    found, place = [], 0
    while place < len(value):
        element = _TAG.match(value, place)
        if element is None or (element[2] is None and element.end() < len(value)):
            return []
        if element[2] is not None:
            found.append((element[1] is not None, element[2]))
        place = element.end()
    return found
