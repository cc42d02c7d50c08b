"""The entry of `python -m tremolo`."""

from .cli import run_and_leave

if __name__ == '__main__':
    run_and_leave()
