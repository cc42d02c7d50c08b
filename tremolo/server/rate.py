"""Rate: the rate of one answer, as a handler gives it."""

from __future__ import annotations

import re

from ..errors import SettingError
from ..settings.kinds import KINDS
from ..throttling import Download
from ..typed import TYPE_CHECKING, Any
from .errors import HandlerError

if TYPE_CHECKING:
    from .response_head import ResponseHead


def checked_rate(rate: Any) -> int:
    """Return a rate in bytes/second; 0: no limit. Raises `HandlerError`."""
    try:
        number: int = 0 if rate in (None, 'off') else KINDS['rate'].convert(rate)
    except (SettingError, TypeError, ValueError, BytesWarning):
        number = -1
    if number < 0:
        # (`'1MB'`: a unit of others, of which we know ours.)
        unit = re.fullmatch('([0-9]+) ?([kmg])b', rate.lower()) if isinstance(rate, str) else None
        hint = f': write {unit[1] + unit[2].upper() + "iB"!r}' if unit else ''
        raise HandlerError(f'rate: {rate!r:.64} is not {KINDS["rate"].accepts}, or None{hint}')
    return number


def rate_answer(response: ResponseHead, rate: Any) -> None:
    """Set the rate of an answer, in bytes/second; None: no limit. Raises `HandlerError`."""
    connection, number = response.connection, checked_rate(rate)
    limit = connection.stream.write_limit
    if limit is None:
        limit = connection.stream.write_limit = Download(connection, None, None)
    if isinstance(limit, Download):
        limit.rate(response, number)
