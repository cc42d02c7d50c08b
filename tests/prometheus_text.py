"""A reader of Prometheus' text format 0.0.4, strict: what it takes, Prometheus takes.

Written from the description of the format ("Exposition formats") and of its data model. Beyond the
grammar it checks what a scrape refuses or takes amiss: a sample before its TYPE, a name whose
samples do not stand together, a series twice, a counter without `_total` or that is negative, and
the rules of a histogram.
"""

from __future__ import annotations

import re

NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf'({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? (\S+)')
NUMBER = re.compile(r'[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?Inf|NaN')
KINDS = ('counter', 'gauge', 'histogram', 'summary', 'untyped')

Labels = tuple[tuple[str, str], ...]


class Samples(dict):
    """Values by `(name, labels)`; `value` finds one by its labels, `total` adds up a name's."""

    kinds: dict[str, str]

    def value(self, name: str, **labels: str) -> float:
        return self.get((name, tuple(sorted(labels.items()))), 0.0)

    def total(self, name: str) -> float:
        return sum(value for (each, _), value in self.items() if each == name)

    def labels(self, name: str, label: str) -> set[str]:
        return {dict(labels)[label] for each, labels in self if each == name}


def read(page: bytes) -> Samples:
    """Read a page. Raises `AssertionError`."""
    text = page.decode('utf-8')
    assert text.endswith('\n')
    assert '\r' not in text
    samples = Samples()
    kinds: dict[str, str] = {}
    helped: set[str] = set()
    current = ''
    for line in text[:-1].split('\n'):
        assert line, 'an empty line'
        if line.startswith('#'):
            hash_, word, name, rest = line.split(' ', 3)
            assert hash_ == '#'
            assert re.fullmatch(NAME, name), line
            if word == 'HELP':
                assert name not in helped, line
                assert re.fullmatch(r'([^\\]|\\\\|\\n)+', rest), line
                helped.add(name)
            else:
                assert word == 'TYPE', line
                assert name not in kinds, line
                assert rest in KINDS, line
                kinds[name] = rest
            assert name == current or name not in {family(each, kinds) for each, _ in samples}
            current = name
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        name, value = match[1], match[match.lastindex]
        assert NUMBER.fullmatch(value), line
        assert family(name, kinds) == current, f'{line} stands behind {current}'
        assert current in kinds and current in helped
        pairs = re.findall(LABEL, match[2] or '')
        assert len({label for label, _ in pairs}) == len(pairs), line
        assert not any(label.startswith('__') for label, _ in pairs), line
        key = name, tuple(sorted((label, unescaped(text)) for label, text in pairs))
        assert key not in samples, f'twice: {line}'
        samples[key] = float(value)
    samples.kinds = kinds
    for name, kind in kinds.items():
        check(samples, name, kind)
    return samples


def family(name: str, kinds: dict[str, str]) -> str:
    for end in ('_bucket', '_sum', '_count'):
        if name.endswith(end) and kinds.get(name[:-len(end)]) in ('histogram', 'summary'):
            return name[:-len(end)]
    return name


def unescaped(text: str) -> str:
    return re.sub(r'\\(.)', lambda match: {'n': '\n'}.get(match[1], match[1]), text)


def check(samples: Samples, name: str, kind: str) -> None:
    mine = {key: value for key, value in samples.items() if family(key[0], samples.kinds) == name}
    if kind == 'counter':
        assert name.endswith('_total')
        assert all(value >= 0 for value in mine.values())
    elif kind == 'gauge':
        assert not name.endswith(('_total', '_count', '_sum', '_bucket'))
    if kind == 'histogram':
        buckets = [(dict(labels)['le'], value) for (each, labels), value in mine.items()
                   if each == f'{name}_bucket']
        bounds = [float(bound) for bound, _ in buckets]
        counts = [value for _, value in buckets]
        assert bounds == sorted(set(bounds))
        assert buckets[-1][0] == '+Inf'
        assert counts == sorted(counts)
        assert counts[-1] == samples[f'{name}_count', ()]
        assert samples[f'{name}_sum', ()] >= 0
