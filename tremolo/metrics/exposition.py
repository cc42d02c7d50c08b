"""Exposition: a reading as Prometheus reads it, in its text format 0.0.4.

    # HELP tremolo_requests_total Answers that have ended, ...
    # TYPE tremolo_requests_total counter
    tremolo_requests_total{method="GET",status="200"} 1027

All samples of a name stand together, behind its two lines. The labels come from fixed tables: a
value with a character that has to be escaped cannot occur, and is escaped all the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from ..typed import Any, Callable, NamedTuple, Union
from .layout import BOUNDS
from .reading import Reading

CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

Number = Union[int, float]
# What follows the name, which may begin with `_bucket`, `_sum` or `_count`, and the value.
Sample = tuple[str, Number]


class Family(NamedTuple):
    """All samples of one name."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    samples: Callable[[Reading], Iterable[Sample]]


def _one(value: Callable[[Reading], Number]) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: [('', value(reading))]


def _by(label: str, values: Callable[[Reading], Mapping[Any, Number]],
        ) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: [
        (_labels({label: str(name)}), value) for name, value in values(reading).items()]


def _requests(reading: Reading) -> Iterable[Sample]:
    for (method, status), count in sorted(reading.requests.items()):
        yield _labels({'method': method, 'status': status}), count


def _histogram(reading: Reading) -> Iterable[Sample]:
    total = 0
    for bound, count in itertools.zip_longest(BOUNDS, reading.buckets):
        total += count
        yield '_bucket' + _labels({'le': '+Inf' if bound is None else f'{bound:g}'}), total
    yield '_sum', reading.seconds
    yield '_count', total


def _labels(labels: Mapping[str, str]) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f'{{{",".join(pairs)}}}'


def _escaped(value: str) -> str:
    # (The grammar of this format; all that is for people has its escapes from escaped.py.)
    return value.replace('\\', r'\\').replace('"', r'\"').replace('\n', r'\n')


FAMILIES = (
    Family('tremolo_requests_total', 'counter', ('method', 'status'),
           'answers that have ended, and requests that were refused; status none: cut before its '
           'head was sent; method other: not registered, or refused before it was known',
           _requests),
    Family('tremolo_request_seconds', 'histogram', ('le',),
           'from a request to the end of its answer; what was refused is not in it', _histogram),
    Family('tremolo_request_bytes_total', 'counter', (),
           'bytes that have come of the bodies of requests',
           _one(lambda reading: reading.received)),
    Family('tremolo_response_bytes_total', 'counter', (),
           'bytes of the bodies of answers, without their framing',
           _one(lambda reading: reading.sent)),
    Family('tremolo_connections', 'gauge', ('phase',),
           'open connections by what they do; at most a second old',
           _by('phase', lambda reading: reading.phases)),
    Family('tremolo_closed_total', 'counter', ('reason',),
           'connections that have ended, by why', _by('reason', lambda reading: reading.closed)),
    Family('tremolo_refused_total', 'counter', ('status',),
           'what was refused before it was a request',
           _by('status', lambda reading: reading.refused)),
    Family('tremolo_loop_lag_seconds', 'gauge', ('worker',),
           'how late the loop was at most in the last 15 s, or is now if it stands still',
           _by('worker', lambda reading: reading.lags)),
    Family('tremolo_worker_restarts_total', 'counter', ('reason',),
           'workers that had to be replaced, by why',
           _by('reason', lambda reading: reading.restarts)),
    Family('tremolo_throttled_seconds_total', 'counter', (),
           'how long rate limits have held transfers back, all of them together',
           _one(lambda reading: reading.throttled)),
    Family('tremolo_worker_memory_bytes', 'gauge', ('worker',),
           'resident memory, on Linux', _by('worker', lambda reading: reading.memory)),
)


def exposition(reading: Reading) -> bytes:
    """Write a reading as text."""
    lines = []
    for family in FAMILIES:
        lines.append(f'# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n')
        lines += [f'{family.name}{labels} {_number(value)}\n'
                  for labels, value in family.samples(reading)]
    return ''.join(lines).encode()


def _number(value: Number) -> str:
    # (`repr` of a float is exact; a counter of bytes must not become 1e+16.)
    return repr(value)


def family_table() -> str:
    """Return the names as the Markdown table of the README at the top."""
    rows = [f'| `{each.name}{_labels_of(each)}` | {each.kind} | {each.help} |' for each in FAMILIES]
    return '\n'.join(['| name | kind | what it is |', '| --- | --- | --- |', *rows]) + '\n'


def _labels_of(family: Family) -> str:
    return f'{{{",".join(family.labels)}}}' if family.labels else ''
