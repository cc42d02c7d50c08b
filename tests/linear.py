"""Whether work takes time as its input is long, and not as its square."""

from __future__ import annotations

import gc
import time

# Small enough that what sre notes down does not outgrow the cache. Four times the input may take
# nine times the time: what is linear takes four, and what is quadratic sixteen.
SIZE = 2_500
FACTOR = 9
# What is linear may still take more than nine times as long at one size, again and again: where its
# objects outgrow the nursery of PyPy (1 to 4 MiB, as the machine's cache is), each is copied. So a
# size that fails is followed by larger ones, on which that is past; what is quadratic is more so.
GROWN = (1, 2, 4, 8) * 2
# So many runs of the long input, and three of one that takes longer.
ROUNDS = 6
ENOUGH = 0.25
# What takes less than so many times as long after three runs is linear without a doubt.
CLEAR = 6


def ratio(function, less, more):
    """How many times as long one input takes as another, by the best of several runs of each.

    In processor time: what others do meanwhile does not count. But it slows down what is measured.
    So the two take turns, and the short one gets as much time as the long one: a neighbour is there
    for both. (One after the other, what is quadratic looked linear in a twentieth of the tries.)
    """
    short, long = [], []
    for turn in range(ROUNDS):
        for data, times in (more, long), *[(less, short)] * 4:
            begun = time.thread_time()
            function(data)
            times.append(time.thread_time() - begun)
        times_as_long = (min(long) - 5e-5) / max(min(short), 1e-9)
        if turn > 1 and (times_as_long < CLEAR or sum(long) > ENOUGH):
            break
    return times_as_long


def is_linear(function, make, size=SIZE):
    """Whether work on four times the input takes about four times as long; noise gets chances."""
    # The collector looks through all that the tests before have left, now and then.
    gc.disable()
    try:
        return any(ratio(function, make(grown * size), make(4 * grown * size)) < FACTOR
                   for grown in GROWN)
    finally:
        gc.enable()
