"""Command: the command line that starts a program again, inside our runner (`__main__.py`).

    python -X dev shop.py --fast    becomes    python -X dev .../reload/__main__.py shop.py --fast

The runner is there before the program: it sees what the program imports, and survives what is wrong
in its first line.
"""

from __future__ import annotations

import os

from ..errors import SettingError

_RUNNER = os.path.join(os.path.dirname(__file__), '__main__.py')
# The options of the interpreter that have a value of their own.
_VALUED = 'WX'
_LONG_VALUED = '--check-hash-based-pycs'


def runner_command(command: list[str]) -> list[str]:
    """Return what to start in place of a command: the folder, the interpreter, its arguments.

    Raises `SettingError` if the program has no file, no module and no text.
    """
    folder, interpreter, *words = command
    options, program = split(words)
    if not program or program[0] == '-':
        raise SettingError('reload: a program that is typed in cannot be started again; write it '
                           'to a file')
    return [folder, interpreter, *options, _RUNNER, *program]


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the options of the interpreter, and the program with its arguments.

    The program is a path, or `-m` and a name, or `-c` and a text.
    """
    index = 0
    while index < len(words) and words[index].startswith('-') and words[index] != '-':
        word = words[index]
        index += 1
        if word == _LONG_VALUED:
            index += 1
        elif not word.startswith('--'):
            for at, letter in enumerate(word[1:], 1):
                if letter in 'cm':
                    value = [word[at + 1:]] if word[at + 1:] else words[index:index + 1]
                    rest = words[index + (not word[at + 1:]):]
                    flags = [word[:at]] if at > 1 else []
                    return [*words[:index - 1], *flags], [f'-{letter}', *value, *rest]
                if letter in _VALUED:
                    index += at == len(word) - 1
                    break
    return words[:index], words[index:]
