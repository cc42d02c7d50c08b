"""Build echo_load.c and tls_load.c, the load generators of the echo race and of the one of TLS.

With the system's C compiler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


class NoCompilerError(Exception):
    """There is no C compiler, or none that can build it; the text says what is missing."""


def build(folder: Path, deflate: bool) -> Path:
    """Build echo_load into a folder, with permessage-deflate where it is needed."""
    if deflate:
        return _compile(folder, 'echo_load', ['-DDEFLATE'], ['-lz'],
                        'compression needs zlib.h: zlib1g-dev on Debian')
    return _compile(folder, 'echo_load', [], [], '')


def build_tls(folder: Path) -> Path:
    """Build tls_load into a folder."""
    return _compile(folder, 'tls_load', [], ['-lssl', '-lcrypto'],
                    'it needs openssl/ssl.h: libssl-dev on Debian')


def _compile(folder: Path, name: str, flags: list[str], libraries: list[str], hint: str) -> Path:
    compiler = shutil.which(os.environ.get('CC', 'cc'))
    if not compiler:
        raise NoCompilerError(f'there is no C compiler (cc) to build {name}.c with')
    program = folder / name
    # A library comes after what uses it.
    done = subprocess.run(
        [compiler, '-O2', *flags, '-o', str(program), str(HERE / f'{name}.c'), *libraries],
        capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoCompilerError(f'{name}.c cannot be built{hint and f" ({hint})"}: '
                              f'{done.stderr.strip()[-300:]}')
    return program
