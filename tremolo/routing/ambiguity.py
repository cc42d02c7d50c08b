"""Ambiguity: whether an expression may take more than linear time for a text that does not match.

`re` tries one way after the other. If two repeats can match the same text, there are as many ways
as places between them: `^/(?P<a>.*)/x/(?P<b>.*)$` took 270 ms for a path of 16 KB, and everybody
waited. If a repeat stands in a repeat, as in `(\\w+)*`, the ways double with each character.

Both are seen in the expression itself (Weber and Seidl, "On the degree of ambiguity of finite
automata", 1991). It is read as an automaton whose states are its characters (Glushkov), with each
of two equal ways counted:

    exponential   from a state back to itself there are two ways for one text
    polynomial    two states p and q have a text that leads from p to p, from p to q, and from q
                  to q: what p gives back, q takes

What a lookahead tests is read as a way that ends there; a lookbehind has a fixed width and costs
nothing. A repeat of at most 64 is no repeat without end, unless another one is in it. Behind a
repeat that takes all there is, up to the end, nothing is given back: `^(?s:/(.*)/x/(.*))$` is fine.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable

from ..typed import Any, NamedTuple

_BOUNDED = 64    # A repeat up to this many times is counted as a few.
_STEPS = 100_000    # So much is looked at (0.1 s); what is larger is not judged.
# Characters that stand for all that `re` tells apart, beside those of the expression itself.
_SAMPLES = '\n\r\t !#-./09:AZ_az~\x7f\xe9\u0663\u2028\U0001f600'

EXPONENTIAL = (
    'may take a time that doubles with each character: a repeat is in another one, or has two ways '
    'for the same text; write it so that each text has one way, [a-z]+ for ([a-z]+)*')
POLYNOMIAL = (
    'may take a time that grows with the square of the length: two of its repeats match the same '
    'text; write in one of them what ends it, [^/]+ for .+')


class _Part(NamedTuple):
    """A part of the expression: how many ways it has to be empty, to begin, and to end."""

    empty: int
    first: Counter[int]
    last: Counter[int]


class _TooLarge(Exception):
    """There is more to look at than `_STEPS`."""


_NOTHING = _Part(1, Counter(), Counter())


class _Automaton:
    """An expression, taken apart by the parser of `re`."""

    def __init__(self, pattern: str, flags: int) -> None:
        parser: Any = getattr(re, '_parser', None)
        if parser is None:    # (Before Python 3.11.)
            import sre_parse as parser
        tree = parser.parse(pattern, flags)
        self.flags = tree.state.flags
        self.samples = {*_SAMPLES}
        self._note(tree)
        self.chars: list[frozenset[str]] = []    # What each state takes.
        self.looped: set[int] = set()    # States within a repeat without end.
        self.repeats = 0    # All repeats so far.
        self.steady: set[int] = set()    # States that give nothing back.
        self.follow: list[Counter[int]] = []
        self.steps = 0
        self.whole = self._sequence(tree)

    def _note(self, tree: Any) -> None:
        """Add the characters of the expression, and their neighbours, to the samples."""
        if isinstance(tree, int):
            if 0 <= tree < 0x110000:
                self.samples |= {chr(code) for code in (tree - 1, tree, tree + 1)
                                 if 0 <= code < 0x110000}
        elif isinstance(tree, (list, tuple)) or hasattr(tree, 'data'):
            for each in tree:
                self._note(each)

    # -- from the tree to states ----------------------------------------------------------------

    def _sequence(self, tree: Iterable[Any]) -> _Part:
        whole = _NOTHING
        for operator, value in tree:
            whole = self._join(whole, self._part(str(operator), value))
        return whole

    def _part(self, operator: str, value: Any) -> _Part:
        if operator == 'LITERAL' and not self.flags & re.IGNORECASE:
            return self._state(frozenset((chr(value),)))
        if operator in ('LITERAL', 'NOT_LITERAL', 'ANY', 'IN'):
            self._step(len(self.samples))
            return self._state(frozenset(
                each for each in self.samples if self._takes(operator, value, each)))
        if operator == 'BRANCH':
            return self._either(map(self._sequence, value[1]))
        if operator == 'SUBPATTERN':
            flags, (_, added, removed, tree) = self.flags, value
            self.flags = (flags | added) & ~removed
            part, self.flags = self._sequence(tree), flags
            return part
        if operator == 'ATOMIC_GROUP':
            return self._sequence(value)
        if operator in ('MAX_REPEAT', 'MIN_REPEAT', 'POSSESSIVE_REPEAT'):
            return self._repeat(operator, *value)
        if operator in ('ASSERT', 'ASSERT_NOT') and value[0] > 0:
            return _Part(1, self._sequence(value[1]).first, Counter())
        if operator == 'GROUPREF':
            return self._repeat('MAX_REPEAT', 0, 1 << 30, [('ANY', None)])
        if operator == 'GROUPREF_EXISTS':
            return self._either([self._sequence(value[1]), self._sequence(value[2] or ())])
        return _NOTHING

    def _takes(self, operator: str, value: Any, char: str) -> bool:
        if operator == 'ANY':
            return char != '\n' or bool(self.flags & re.DOTALL)
        if operator == 'IN':
            negated = str(value[0][0]) == 'NEGATE'
            return negated != any(_in_set(str(kind), which, each) for kind, which in value
                                  for each in self._cases(char))
        same = any(ord(each) == value for each in self._cases(char))
        return same == (operator == 'LITERAL')

    def _cases(self, char: str) -> set[str]:
        both = {char, char.lower(), char.upper()} if self.flags & re.IGNORECASE else {char}
        return {each for each in both if len(each) == 1}

    def _state(self, chars: frozenset[str]) -> _Part:
        self._step(20)
        state = len(self.chars)
        self.chars.append(chars)
        self.follow.append(Counter())
        return _Part(0, Counter((state,)), Counter((state,)))

    def _link(self, before: Counter[int], after: Counter[int]) -> None:
        for state, ways in before.items():
            self._step(len(after))
            for following, others in after.items():
                self.follow[state][following] += ways * others

    def _join(self, left: _Part, right: _Part) -> _Part:
        self._link(left.last, right.first)
        return _Part(left.empty * right.empty, left.first + _times(right.first, left.empty),
                     right.last + _times(left.last, right.empty))

    def _either(self, parts: Iterable[_Part]) -> _Part:
        empty, first, last = 0, Counter[int](), Counter[int]()
        for part in parts:
            empty += part.empty
            first.update(part.first)    # (Counters are added.)
            last.update(part.last)
        return _Part(empty, first, last)

    def _repeat(self, operator: str, least: int, most: int, tree: Any) -> _Part:
        begin, before = len(self.chars), self.repeats
        part = self._sequence(tree)
        nested = self.repeats > before
        self.repeats += most > 1
        if most > _BOUNDED or (most > 1 and nested):
            self._link(part.last, part.first)
            self.looped.update(range(begin, len(self.chars)))
            if operator == 'POSSESSIVE_REPEAT' and len(self.chars) == begin + 1:
                self.steady.add(begin)
        else:
            # (Three stand for all of them. `a{1,3}` is a(a(a)?)?, which has one way for each text.)
            parts = [part, *(self._sequence(tree) for _ in range(min(most, 3) - 1))]
            part = parts.pop()
            while parts:
                rest = part if len(parts) < least else _optional(part)
                part = self._join(parts.pop(), rest)
        return part if least else _optional(part)

    # -- ways through them ----------------------------------------------------------------------

    def reached(self, state: int) -> set[int]:
        """Return the states to which a text leads from this one."""
        found: set[int] = set()
        waiting = [state]
        while waiting:
            for following in self.follow[waiting.pop()]:
                self._step()
                if following not in found:
                    found.add(following)
                    waiting.append(following)
        return found

    def runs(self, start: tuple[int, ...], allowed: tuple[set[int], ...]) -> set[tuple[int, ...]]:
        """Return where one text leads from several states at the same time."""
        found: set[tuple[int, ...]] = set()
        waiting = deque([start])
        while waiting:
            heads: list[tuple[tuple[int, ...], frozenset[str]]] = [((), frozenset(self.samples))]
            for state, within in zip(waiting.popleft(), allowed):
                self._step(len(heads) * len(self.follow[state]))
                heads = [((*head, each), chars & self.chars[each]) for head, chars in heads
                         for each in self.follow[state]
                         if each in within and chars & self.chars[each]]
            for head, _ in heads:
                if head not in found:
                    found.add(head)
                    waiting.append(head)
        return found

    def _step(self, count: int = 1) -> None:
        self.steps += count
        if self.steps > _STEPS:
            raise _TooLarge

    def fault(self) -> str:
        """Return `EXPONENTIAL`, `POLYNOMIAL` or ''."""
        reached = {state: self.reached(state) for state in self.looped}
        loops = [state for state in sorted(self.looped) if state in reached[state]]
        loop_of = {state: {each for each in loops if each in reached[state]
                           and state in reached[each]} for state in loops}
        for state in loops:
            within = loop_of[state]
            if state == min(within) and self._is_exponential(state, within):
                return EXPONENTIAL
        for begin in loops:
            for end in loops:
                if begin != end and end in reached[begin] and begin not in self.steady \
                        and not self._ends_well(end) and (begin, end, end) in self.runs(
                            (begin, begin, end), (loop_of[begin], reached[begin], loop_of[end])):
                    return POLYNOMIAL
        return ''

    def _is_exponential(self, state: int, within: set[int]) -> bool:
        if any(self.follow[each][other] > 1 for each in within for other in within):
            return True
        pairs = (within, within)
        return any(one != other and (state, state) in self.runs((one, other), pairs)
                   for one, other in self.runs((state, state), pairs))

    def _ends_well(self, state: int) -> bool:
        """Tell whether this takes all that may follow: then there is nothing to give back for."""
        return (state in self.whole.last and state in self.follow[state]
                and len(self.chars[state]) == len(self.samples))


def _optional(part: _Part) -> _Part:
    return _Part(1, part.first, part.last)


def _in_set(kind: str, which: Any, char: str) -> bool:
    if kind == 'LITERAL':
        return ord(char) == which
    if kind == 'RANGE':
        return bool(which[0] <= ord(char) <= which[1])
    if kind != 'CATEGORY':
        return False    # NEGATE.
    name = str(which)
    found = (char.isdecimal() if 'DIGIT' in name else char.isspace() if 'SPACE' in name
             else char.isalnum() or char == '_')
    return bool(found != ('NOT_' in name))


def _times(ways: Counter[int], times: int) -> Counter[int]:
    return Counter({state: count * times for state, count in ways.items()}) if times else Counter()


def fault_of(pattern: str, flags: int = 0) -> str:
    """Return why an expression may take more than linear time; '' if it does not.

    It must be one that `re.compile` takes. One that is too large to be judged has no fault.
    """
    try:
        return _Automaton(pattern, flags).fault()
    except _TooLarge:
        return ''
