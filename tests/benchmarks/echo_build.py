"""Build echo_load.c, the load generator of the echo race, with the system's C compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / 'echo_load.c'


class NoCompilerError(Exception):
    """There is no C compiler, or none that can build it; the text says what is missing."""


def build(folder: Path, deflate: bool) -> Path:
    """Build it into a folder, with permessage-deflate where it is needed."""
    compiler = shutil.which(os.environ.get('CC', 'cc'))
    if not compiler:
        raise NoCompilerError('there is no C compiler (cc) to build echo_load.c with')
    program = folder / 'echo_load'
    # The library comes after what uses it.
    more = (['-DDEFLATE'], ['-lz']) if deflate else ([], [])
    done = subprocess.run(
        [compiler, '-O2', *more[0], '-o', str(program), str(SOURCE), *more[1]],
        capture_output=True, text=True, check=False)
    if done.returncode:
        hint = ' (compression needs zlib.h: zlib1g-dev on Debian)' if deflate else ''
        raise NoCompilerError(f'echo_load.c cannot be built{hint}: {done.stderr.strip()[-300:]}')
    return program
