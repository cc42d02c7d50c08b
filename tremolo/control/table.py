"""Table: rows as lines of text, for a terminal. Nothing that a server or a client says is trusted:
each character that is not printable ASCII is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..escaped import plain
from ..typed import Any, Callable
from .waits import short

Row = dict[str, Any]

# By what the connections are sorted: `s` goes from one to the next.
SORTS = ('age', 'rate')
_NARROW = 16    # Characters that a column of text keeps, if it has so many.


def _sized(size: Any) -> str:
    """Write a number of bytes in four to six characters; '' for what is not known."""
    if size is None:
        return ''
    number, unit = float(size), 'B'
    for unit in ('B', 'K', 'M', 'G', 'T'):
        if number < 1000 or unit == 'T':
            break
        number /= 1024
    return f'{number:.0f}{unit}' if unit == 'B' or number >= 100 else f'{number:.1f}{unit}'


def _aged(seconds: Any) -> str:
    if seconds is None:
        return ''
    if seconds < 100:
        return f'{seconds:.1f}s'
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    return f'{minutes}m{int(seconds) % 60:02}s' if minutes < 100 else f'{hours}h{minutes % 60:02}m'


def _what(row: Row) -> str:
    kind = {'websocket': '(WebSocket)', 'events': '(event stream)', 'upgraded': '(upgraded)',
            'arriving': '(arriving)'}.get(row['kind'], '')
    return f'{row["what"]} {kind}'.strip()


def _client(row: Row) -> str:
    return f'{row["client"]} via {row["proxy"]}' if row['proxy'] else row['client'] or 'unix'


def _waits(row: Row) -> str:
    where = short(row['place'])
    told = row['waits']
    more = '' if not where or where in told else f' ({where})'
    return f'{told}{more}'


# Each column: its head, its text, and whether it stands at the right. The last three share what is
# left of the width.
_COLUMNS: tuple[tuple[str, Callable[[Row], str], bool], ...] = (
    ('W', lambda row: str(row['worker'] or ''), True),
    ('AGE', lambda row: _aged(row['since']), True),
    ('IN', lambda row: _sized(row['in']), True),
    ('IN/s', lambda row: _sized(row.get('in_rate')), True),
    ('OUT', lambda row: _sized(row['out']), True),
    ('OUT/s', lambda row: _sized(row.get('out_rate')), True),
    ('KEPT', lambda row: _sized(row['kept'] + row['unread']), True),
    ('ST', lambda row: str(row['status'] or ''), True),
    ('CLIENT', _client, False),
    ('REQUEST', _what, False),
    ('HANDLER', lambda row: row['handler'], False),
    ('WAITS', _waits, False),
)


def table(rows: Sequence[Row], width: int, height: int = 0, sort: str = 'age') -> list[str]:
    """Return the lines of a table that fits into so many columns and lines (0: any number)."""
    workers = sorted((row for row in rows if row['row'] == 'worker'), key=lambda row: row['worker'])
    connections = sorted((row for row in rows if row['row'] == 'connection'), key=_KEYS[sort])
    lines = [_of_worker(row) for row in workers]
    if height and len(lines) > height // 2:
        more = len(lines) - height // 2 + 1
        lines[height // 2 - 1:] = [f'... and {more} workers more']
    lines.append('')
    left = height - len(lines) - 1 if height else len(connections)
    lines += _cells(connections[:max(0, left)], width)
    if not connections:
        lines.append('no connections')
    return [plain(line)[:width].rstrip() for line in lines[:height or None]]


_KEYS: dict[str, Callable[[Row], Any]] = {
    # What is in hand first, the oldest before the newest; what is idle last.
    'age': lambda row: (row['kind'] == '', -(row['since'] or 0)),
    'rate': lambda row: -((row.get('in_rate') or 0) + (row.get('out_rate') or 0)),
}


def _of_worker(row: Row) -> str:
    name = f'worker {row["worker"]}' if row['worker'] else 'server'
    pid = f', process {row["pid"]}' if row['pid'] else ''
    if 'connections' not in row:
        if (beat := row.get('beat')) is None:
            return f'{name}{pid} {row["state"]}'
        return (f'{name} {row["state"]}, its last sign of life was {_aged(beat)} ago: '
                f'`kill -USR2 {row["pid"]}` tells where')
    counts = {**row['connections'], 'arriving': row['arriving']}
    phases = ', '.join(f'{count} {phase}' for phase, count in sorted(counts.items()) if count)
    total = sum(counts.values())
    return (f'{name}{pid} {row["state"]}: {total} connection{"" if total == 1 else "s"}'
            f'{f" ({phases})" if phases else ""}, {row["requests"]:,} requests, '
            f'{_sized(row["memory"])} of memory, late by {row["lag"] * 1000:.0f} ms at most')


def _cells(rows: Iterable[Row], width: int) -> list[str]:
    """Return the lines of the connections, under their heads."""
    lines = [[head for head, _, _ in _COLUMNS]]
    lines += [[plain(text(row)) for _, text, _ in _COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    # (A column in which nothing stands is left out.)
    used = [any(line[number] for line in lines[1:]) or number > 8 for number in range(len(widths))]
    widths = [size * use for size, use in zip(widths, used)]
    for number in (9, 8, 10):    # The texts give way, the longest first; what waits stands last.
        over = sum(size + 1 for size in widths if size) - 1 - width
        if over > 0:
            widths[number] = max(min(widths[number], _NARROW), widths[number] - over)
    return [' '.join(_fit(text, size, right) for text, size, (_, _, right)
                     in zip(line, widths, _COLUMNS) if size) for line in lines]


def _fit(text: str, size: int, right: bool) -> str:
    if len(text) > size:
        text = text[:size - 2] + '..'
    return text.rjust(size) if right else text.ljust(size)
