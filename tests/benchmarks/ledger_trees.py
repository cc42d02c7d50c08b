"""The two trees of the ledger: the package `tremolo` of a commit or of a folder, as a copy.

Both copies have paths of the same length, and both are compiled before they are measured.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BASE_FILE = HERE / 'ledger_base.txt'


def base_of_file() -> tuple[str, str]:
    """The commit that the ledger is compared with if nothing is said, and the reason for it."""
    commit, _, reason = BASE_FILE.read_text().partition('\n')
    return commit.strip(), ' '.join(reason.split())


def copy_package(what: str, to: Path, python: str) -> str:
    """Copy the package of a folder or of a commit, and compile it; return what to call it."""
    if (Path(what) / 'tremolo' / '__init__.py').is_file():
        shutil.copytree(Path(what) / 'tremolo', to / 'tremolo',
                        ignore=shutil.ignore_patterns('__pycache__'))
        name = 'the working tree' if Path(what).resolve() == ROOT else what
    else:
        name = _export(what, to)
    subprocess.run([python, '-m', 'compileall', '-qq', str(to)], check=True)
    return name


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(['git', '-C', str(ROOT), *arguments], capture_output=True, check=False)


def _export(commit: str, to: Path) -> str:
    found = _git('rev-parse', '--verify', '--quiet', '--end-of-options', f'{commit}^{{commit}}')
    if found.returncode:
        shallow = _git('rev-parse', '--is-shallow-repository').stdout.strip() == b'true'
        raise SystemExit(
            f'ledger: {commit} is neither a folder with tremolo in it nor a commit of this clone'
            + (', whose history is cut off: git fetch --unshallow' if shallow else ''))
    commit = found.stdout.decode().split()[-1]
    archive = _git('archive', '--format=tar', commit, 'tremolo')
    if archive.returncode:
        raise SystemExit(f'ledger: {commit}: {archive.stderr.decode().strip()}')
    to.mkdir()
    subprocess.run(['tar', '-x', '-C', str(to)], input=archive.stdout, check=True)
    return commit[:7]
