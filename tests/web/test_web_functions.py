"""Functions: what their code objects tell is what `inspect` tells."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from tremolo.web.functions import EMPTY, bare, is_async, is_generator, parameters_of

ROOT = Path(__file__).resolve().parents[2]


def nothing():
    return None


def named(a, b, c=3, *, d, e=5):
    yield a


def unnamed(a, b=2, /, c=3, *rest, d=4, **others):
    yield a


def defaults(a=1, *, b, c=None, **server):
    return a


def arguments(*args):
    return args


async def waits(request, **server):
    pass


async def yields(a=(), *args, b):
    yield a


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def marked(a, b=1):
    yield a


marked.note = 'an attribute of its own'


class Methods:
    def method(self, a, b=1):
        yield a

    async def __call__(self, c, **d):
        pass


FUNCTIONS = [
    nothing, named, unnamed, defaults, arguments, waits, yields, lambda x, y=2, **z: x, marked,
    decorated(named), decorated(waits), functools.partial(named, 1), functools.partial(waits, 1),
    Methods().method, Methods.method, Methods()]


def as_inspect_tells(function):
    kinds = {inspect.Parameter.VAR_KEYWORD: 'rest', inspect.Parameter.VAR_POSITIONAL: 'unnamed',
             inspect.Parameter.POSITIONAL_ONLY: 'unnamed'}
    return [(each.name, kinds.get(each.kind, 'named'),
             EMPTY if each.default is each.empty else each.default)
            for each in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize('function', FUNCTIONS, ids=lambda each: getattr(each, '__name__', 'other'))
def test_a_function_is_what_inspect_says(function):
    assert parameters_of(function) == as_inspect_tells(function)
    assert is_generator(function) == inspect.isgeneratorfunction(function)
    assert is_async(function) == (inspect.iscoroutinefunction(function)
                                  or inspect.isasyncgenfunction(function))
    assert bare(function) is inspect.unwrap(function)


def test_what_is_no_function_has_no_parameters():
    with pytest.raises((TypeError, ValueError)):
        parameters_of(3)


def test_inspect_is_imported_with_the_first_function_that_is_not_plain():
    program = '''
import functools, sys
before = {*sys.modules}
import tremolo
app = tremolo.Tremolo()

@app.route('/a/<name>')
def plain(name, rate=1000, **server):
    yield name

print('inspect' in {*sys.modules} - before)
app.route('/b')(functools.partial(plain, 'b'))
print('inspect' in sys.modules)
'''
    done = subprocess.run([sys.executable, '-S', '-c', program], cwd=ROOT, capture_output=True,
                          text=True, timeout=60, check=True)
    assert done.stdout == 'False\nTrue\n'
