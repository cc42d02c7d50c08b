"""The entry of `python -m tremolo`."""

import gc

if __name__ == '__main__':
    # The collector would look through all modules again and again as they come: 1 % of a start.
    gc.disable()
    from .cli import run_and_leave
    gc.enable()
    run_and_leave()
