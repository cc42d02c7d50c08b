"""Cases that are joined in one test: each that fails is named, and none is left out."""

from __future__ import annotations

import pytest
from each_case import for_each

seen = []


@for_each('number', range(5))
def test_each_is_run(number):
    seen.append(number)
    assert number == len(seen) - 1


@pytest.mark.parametrize('factor', [2, 3])
@for_each('number, more', [(1, 'a'), pytest.param(2, 'b', id='two')], ids=str)
def test_other_parameters_and_fixtures_are_given(factor, number, more, tmp_path):
    assert tmp_path.is_dir()
    assert (number * factor, more) in [(2, 'a'), (4, 'b'), (3, 'a'), (6, 'b')]


def test_all_that_fail_are_named_with_their_reasons():
    ran = []

    @for_each('text, number', [('a', 1), ('b', 2), pytest.param('c', 3, id='third'), ('d', 4)])
    def joined(text, number):
        ran.append(text)
        if number == 1:
            raise ValueError('no a')
        if number == 3:
            pytest.fail('no c')

    with pytest.raises(AssertionError) as caught:
        joined(4)
    assert ran == ['a', 'b', 'c', 'd']
    lines = str(caught.value).splitlines()
    assert lines[0].startswith('2 of 4 cases failed')
    assert lines[1:] == ["'a', 1: ValueError: no a", 'third: Failed: no c']
    assert isinstance(caught.value.__cause__, ValueError)


def test_names_are_given_by_a_function_or_a_list():
    def fails(each):
        assert each < 0

    for ids in (lambda value: f'case {value}', ['case 1', 'case 2']):
        with pytest.raises(AssertionError) as caught:
            for_each('each', [1, 2], ids=ids)(fails)(2)
        assert [line.split(':')[0] for line in str(caught.value).splitlines()[1:]] == [
            'case 1', 'case 2']


def test_a_case_of_another_size_is_refused():
    with pytest.raises(AssertionError):
        for_each('one, two', [(1, 2), (1,)])
    with pytest.raises(AssertionError):
        for_each('one', [])
