"""Nearest: the routes whose paths look most like one that was asked for.

Two paths are near if they have many pairs of neighbouring letters in common (Dice's coefficient): a
letter too many, a wrong one, or an end that is missing change few of them. `difflib` compares those
that are nearest by that: it knows the order of letters, too, and takes fifty times as long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from heapq import nlargest
from itertools import islice

SHOWN = 10
MOST_ROUTES = 10_000

_LONGEST = 120    # Characters of a path that are compared.
_group = re.compile('<[^<>]*>')


def nearest(path: str, routes: Iterable[tuple[str, Iterable[str]]]) -> list[tuple[str, str]]:
    """Return the nearest paths, the best one first, with the methods of each; at most SHOWN."""
    path = path[:_LONGEST].casefold()
    wanted = _pairs(path)

    def nearness(route: str) -> float:
        pairs = _pairs(_stripped(route))
        return len(pairs & wanted) / (len(pairs) + len(wanted))

    def likeness(route: str) -> float:
        compared.set_seq1(_stripped(route))
        return compared.ratio()

    methods: dict[str, set[str]] = {}
    for each, names in islice(routes, MOST_ROUTES):
        methods.setdefault(each, set()).update(names)
    near = nlargest(4 * SHOWN, methods, key=nearness)
    compared = SequenceMatcher(None, '', path, autojunk=False)
    best = sorted(near, key=likeness, reverse=True)[:SHOWN]
    return [(each, ', '.join(sorted(methods[each])) or 'any') for each in best]


def _stripped(path: str) -> str:
    """Return the path of a route as it is compared: without its groups."""
    return _group.sub('', path[:_LONGEST]).casefold()


def _pairs(path: str) -> set[str]:
    """Return the pairs of neighbours in a path, its begin and end among them."""
    text = f' {path} '
    return {text[at:at + 2] for at in range(len(text) - 1)}
