"""Doubts: what is no mistake for sure, but does not do what was meant; told once at the start.

    doubts(settings, os.environ)    # ['TREMOLO_IDEL_TIMEOUT: no such option, did you mean …']

A variable may be meant for something else, so the start does not end because of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..late import expression
from .options import BY_NAME, OPTIONS, WORKERS
from .settings import Settings

# Without a supervisor the process asks itself to be renewed: these two have their effect.
_ALONE = ('workers', 'max_requests', 'limit_memory')
# What a process of its own sets up: inside another program that is the program's.
_OF_RUN = ('reload', 'log_format', 'log_config', 'drain_delay', 'metrics')
# Variables that are no options: Kubernetes tells of a service with the name `tremolo` by these.
_NOT_MEANT = expression(r'TREMOLO_(INHERITED|SERVICE_HOST|SERVICE_PORT\w*|PORT_[0-9]+_\w+)')


def doubts(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Return a line for each option that has no effect, and each variable that is not known."""
    lines = []
    if not settings.workers:
        lines = [f'{name}: has no effect without workers' for name in _changed(settings)
                 if name not in _ALONE]
    if settings.reload_dir and not settings.reload:
        lines.append('reload_dir: has no effect without reload')
    for variable in sorted(environ):
        name = variable[len('TREMOLO_'):].lower()
        if variable.startswith('TREMOLO_') and name not in BY_NAME \
                and not _NOT_MEANT.fullmatch(variable):
            lines.append(f'{variable}: {_about(name)}')
    return lines


def only_for_workers(settings: Settings) -> str:
    """Return the name of an option that has no effect inside another program; '' if none is."""
    of_run = [name for name in _OF_RUN if getattr(settings, name) != BY_NAME[name].default]
    return next(iter([*_changed(settings), *of_run]), '')


def _changed(settings: Settings) -> list[str]:
    # (`threads` has its effect in each process, also inside another program.)
    return [option.name for option in OPTIONS if option.group == WORKERS
            and option.name != 'threads' and getattr(settings, option.name) != option.default]


def _about(name: str) -> str:
    # (Imported here: it takes milliseconds, and most environments have no such variable.)
    import difflib

    near = difflib.get_close_matches(name, BY_NAME, 1)
    return 'no such option' + ''.join(f', did you mean TREMOLO_{each.upper()}?' for each in near)
