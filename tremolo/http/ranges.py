"""Ranges: which bytes of an answer a client asks for (RFC 9110 section 14).

    ranges_of(b'bytes=0-99, -1', 1000)    # [(0, 100), (999, 1000)]: from, and up to but not with
    ranges_of(b'bytes=1000-', 1000)       # []: none of them is there, the answer is 416
    ranges_of(b'lines=1-2', 1000)         # None: the answer is whole

What is no range of bytes by the grammar is ignored (section 14.2). So is a request that would cost
more than it gives: more than 16 ranges, or three that overlap. The numbers may have any number of
digits; they are never converted if they are longer than a size can be.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..late import expression

_MOST = 16    # Ranges in one answer.
_MOST_OVERLAPS = 2    # Ranges that have bytes in common with another.
_MOST_DIGITS = 19    # Of a number below 2**63.

# range-spec = int-range / suffix-range                                      RFC 9110 section 14.1.1
# int-range  = first-pos "-" [ last-pos ]
# (A unit may say what else a range is: bytes have these two only.)
_RANGE = expression(rb'([0-9]*)-([0-9]*)')

Range = tuple[int, int]


def ranges_of(value: bytes, size: int) -> list[Range] | None:
    """Return the ranges that are there of `size` bytes, in their order.

    None: the answer is whole. An empty list: it is 416.
    """
    unit, _, specs = value.partition(b'=')
    # (An empty element of a list counts as none, section 5.6.1.2.)
    wanted = [spec for spec in (each.strip(b'\t ') for each in specs.split(b',')) if spec]
    if unit.lower() != b'bytes' or not wanted or len(wanted) > _MOST or not size:
        return None
    found = []
    for spec in wanted:
        numbers = _RANGE.fullmatch(spec)
        if numbers is None or spec == b'-':
            return None
        first, last = (digits.lstrip(b'0') or digits[:1] for digits in numbers.groups())
        if first and last and (len(first), first) > (len(last), last):
            return None    # Such a range is invalid, and so are all.
        if not first:
            begin, end = max(0, size - _number(last)), size
        else:
            begin, end = _number(first), min(size, _number(last) + 1 if last else size)
        if begin < end:
            found.append((begin, end))
    return found if _overlaps(found) <= _MOST_OVERLAPS else None


def content_range(part: Range | None, size: int) -> str:
    """Return the value of Content-Range for a part, or for a 416."""
    return f'bytes */{size}' if part is None else f'bytes {part[0]}-{part[1] - 1}/{size}'


def _number(digits: bytes) -> int:
    return int(digits) if len(digits) <= _MOST_DIGITS else 10 ** _MOST_DIGITS


def _overlaps(ranges: Sequence[Range]) -> int:
    """Return how many ranges have bytes in common with another one."""
    return sum(any(one is not other and one[0] < other[1] and other[0] < one[1]
                   for other in ranges) for one in ranges)
