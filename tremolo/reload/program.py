"""Program: runs a program as the interpreter does, in the worker that `Slot.start_afresh` made.

What the program raises is told as Python tells it, and kept for the page. Its `__name__` is
`__main__`, its `sys.argv` and `sys.path` are those of a plain start.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import json
import os
import sys
import threading
import time
from types import ModuleType

from ..errors import TremoloError
from ..typed import Any, NoReturn
from . import inside
from .failure import without_machinery
from .inside import Inside
from .lifeline import hold
from .reports import Reports

_LAST = 1.0    # Seconds for Python's own end of a program.
VARIABLE = 'TREMOLO_WATCHED'    # What `Reloading` tells the program that it starts.


def main(words: list[str]) -> None:
    """Run a program: its path, or `-m` and a name, or `-c` and a text, and its arguments."""
    files, page, number, line, folders, variables = json.loads(os.environ.pop(VARIABLE))
    for fd in (files, page):
        os.set_inheritable(fd, False)
    hold(line)
    inside.begin(Inside(Reports(files, page, number), folders, variables))
    status: Any = 1
    try:
        _run(words)
        status = 0
    except SystemExit as error:
        inside.failed(error)
        status = error.code
        raise
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BaseException as error:
        _tell(error)
        inside.failed(error)
        raise SystemExit(1) from None
    finally:
        _end_soon(status if isinstance(status, int) else int(status is not None))


def _end_soon(status: int) -> None:
    """End the processes that the program has begun, and this one, whatever its threads do.

    Python's own end, which runs what is registered with `atexit`, waits for both without limit: so
    each save would leave one more that works on as before.
    """
    module = sys.modules.get('multiprocessing.process')
    for process in module.active_children() if module is not None else ():
        with contextlib.suppress(Exception):
            process.terminate()
    with contextlib.suppress(RuntimeError):    # (No more threads.)
        threading.Thread(target=_force, args=[status], daemon=True).start()


def _force(status: int) -> None:
    time.sleep(_LAST)
    os._exit(status & 0xff)


def _tell(error: BaseException) -> None:
    """Write the traceback, without our calls before those of the program."""
    error = error.with_traceback(without_machinery(error))
    sys.excepthook(type(error), error, error.__traceback__)


def _run(words: list[str]) -> None:
    module = sys.modules['__main__'] = ModuleType('__main__')
    module.__dict__['__builtins__'] = builtins
    if words[0] == '-c':
        _be_found_in('')
        sys.argv = ['-c', *words[2:]]
        exec(compile(words[1], '<string>', 'exec', dont_inherit=True), vars(module))
    elif words[0] == '-m':
        _run_module(words[1], words[2:], module)
    elif os.path.isfile(words[0]) and not _is_archive(words[0]):
        _run_file(words[0], words, module)
    else:
        # (A folder or an archive with a `__main__.py`; or nothing, which is told so.)
        import runpy
        sys.argv = words
        runpy.run_path(words[0], run_name='__main__')


def _is_archive(path: str) -> bool:
    import zipfile
    return zipfile.is_zipfile(path)


def _be_found_in(folder: str) -> None:
    """Let modules be looked for in a folder first, unless the interpreter was told not to."""
    if not (sys.flags.isolated or getattr(sys.flags, 'safe_path', False)):
        sys.path.insert(0, folder)


def _run_file(path: str, words: list[str], module: ModuleType) -> None:
    from importlib.machinery import SourceFileLoader
    _be_found_in(os.path.dirname(os.path.realpath(path)))
    sys.argv = words
    path = os.path.abspath(path)
    loader = SourceFileLoader('__main__', path)
    vars(module).update(__file__=path, __loader__=loader, __cached__=None)
    code: Any = loader.get_code('__main__')    # (Which tells that file, and takes no `.pyc`.)
    exec(code, vars(module))


def _run_module(name: str, arguments: list[str], module: ModuleType) -> None:
    _be_found_in(os.getcwd())
    sys.argv = ['-m', *arguments]
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f'{name}.__main__')
    loader: Any = spec and spec.loader
    code = loader.get_code(spec.name) if spec is not None and loader is not None else None
    if spec is None or code is None:
        _refuse(f'No module named {name}')
    sys.argv[0] = spec.origin or name
    vars(module).update(__spec__=spec, __loader__=loader, __package__=spec.parent,
                        __file__=spec.origin, __cached__=None)
    exec(code, vars(module))


def _refuse(text: str) -> NoReturn:
    raise TremoloError(text)
