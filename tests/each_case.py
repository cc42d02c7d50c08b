"""Many small cases as one test: pytest itself takes 2 ms for each test, and they take less."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def for_each(names: str | Iterable[str], cases: Iterable[Any],
             ids: Any = None) -> Callable[..., Any]:
    """Run all cases in one test, which fails with the name of each that failed.

    The arguments are those of `pytest.mark.parametrize`. The cases share the fixtures of the test,
    so this is for functions that leave nothing: parsers, tables, a server that serves them all.
    The name of the test says how many cases there are.
    """
    keys = [name.strip() for name in names.split(',')] if isinstance(names, str) else list(names)
    all_values, labels = _read(cases, len(keys), ids)

    def join(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def test(cases_in_one: int, **fixtures: Any) -> None:
            failed: list[tuple[int, BaseException]] = []
            for number, values in enumerate(all_values):
                try:
                    function(**dict(zip(keys, values)), **fixtures)
                except (Exception, pytest.fail.Exception) as error:
                    failed.append((number, error))
            if failed:
                lines = [f'{labels[number] or _shown(all_values[number])}: {_first_line(error)}'
                         for number, error in failed]
                raise AssertionError('\n'.join([
                    f'{len(failed)} of {cases_in_one} cases failed (the first is shown above):',
                    *lines])) from failed[0][1]

        signature = inspect.signature(function)
        wanted = [each for name, each in signature.parameters.items() if name not in keys]
        count = inspect.Parameter('cases_in_one', inspect.Parameter.POSITIONAL_OR_KEYWORD)
        test.__signature__ = signature.replace(parameters=[count, *wanted])  # type: ignore
        return pytest.mark.parametrize(
            'cases_in_one', [len(all_values)], ids=[f'{len(all_values)} cases'])(test)

    return join


def _read(cases: Iterable[Any], size: int, ids: Any) -> tuple[list[Any], list[str]]:
    """Give the values of each case, and its name ('' if it has none)."""
    all_values, labels = [], []
    given = [] if ids is None or callable(ids) else list(ids)
    for number, case in enumerate(cases):
        label = ''
        if hasattr(case, 'marks'):
            # It is a `pytest.param`.
            assert not case.marks
            values, label = case.values, case.id or ''
        else:
            values = (case,) if size == 1 else tuple(case)
        assert len(values) == size, values
        if callable(ids):
            label = '-'.join(str(ids(value)) for value in values)
        elif given:
            label = str(given[number])
        all_values.append(values)
        labels.append(label)
    assert all_values and len(given) in (0, len(all_values))
    return all_values, labels


def _shown(values: Any) -> str:
    try:
        return ', '.join(map(repr, values))[:200]
    except ValueError:
        # (A number of thousands of digits is not shown.)
        return ', '.join(type(value).__name__ for value in values)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return f'{type(error).__name__}: {text.splitlines()[0] if text else ""}'
