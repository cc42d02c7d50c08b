"""Reloaded: an application under `--reload`, and what stands in for it while it cannot run.

`Service.run` and `serve` (importer.py) ask for this only if the option is given.
"""

from __future__ import annotations

from ..reload.command import runner_command
from ..reload.failure import answering
from ..reload.reloading import Reloading
from ..reload.reports import Reports
from ..server import Handle
from ..settings import Settings
from ..typed import TYPE_CHECKING, Callable
from .release import command_line

if TYPE_CHECKING:
    from ..workers.slot import Slot
    from .service import Service


def reloading(settings: Settings, work: Callable[[Slot], int],
              answering_by: Callable[[Handle], Service],
              moved: Callable[[], bool] | None = None) -> Reloading:
    """Return what watches the files of an application. Raises `SettingError`.

    `work(slot)` serves it in a worker; `answering_by` is `Service.answering_by`.
    """
    def stand_in(reports: Reports, slot: Slot) -> int:
        return answering_by(answering(reports)).work(settings, slot)

    return Reloading(settings, work, stand_in, runner_command(command_line()),
                     moved or (lambda: False))
