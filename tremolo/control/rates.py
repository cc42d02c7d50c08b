"""Rates: bytes a second, from two looks at the same connections."""

from __future__ import annotations

from collections.abc import Iterable

from ..typed import Any

Row = dict[str, Any]


def with_rates(rows: Iterable[Row], before: Iterable[Row]) -> list[Row]:
    """Return rows with what came in and went out in a second since the look `before`.

    It is None where that is not known: of a connection that is new, for example.
    """
    moments = _moments(before)
    seen = {(row['pid'], row['id']): row for row in before if row['row'] == 'connection'}
    now = _moments(rows := list(rows))
    found = []
    for row in rows:
        if row['row'] == 'connection':
            old = seen.get((row['pid'], row['id'])) if row['id'] is not None else None
            passed = now.get(row['pid'], 0.0) - moments.get(row['pid'], 0.0)
            row = {**row, **{f'{way}_rate': _rate(row, old, way, passed) for way in ('in', 'out')}}
        found.append(row)
    return found


def _moments(rows: Iterable[Row]) -> dict[int, float]:
    """Return the time of each process when it told of itself, by its own clock."""
    return {row['pid']: row['time'] for row in rows if row['row'] == 'worker' and 'time' in row}


def _rate(row: Row, old: Row | None, way: str, seconds: float) -> int | None:
    if old is None or row[way] is None or old[way] is None or seconds <= 0:
        return None
    return max(0, int((row[way] - old[way]) / seconds))
