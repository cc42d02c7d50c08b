"""Reloaded: an application under `--reload`, and what stands in for it while it cannot run.

`Service.run` and `serve` (importer.py) ask for this only if the option is given.
"""

from __future__ import annotations

from ..loop import Reactor
from ..reload.command import runner_command
from ..reload.failure import answering
from ..reload.reloading import Reloading
from ..reload.reports import Reports
from ..server import Handle
from ..settings import Settings
from ..typed import TYPE_CHECKING, Callable
from .release import command_line
from .service import Service

if TYPE_CHECKING:
    from ..workers.slot import Slot


class _StandIn(Service):
    """Answers each request with why the application does not run."""

    def __init__(self, reports: Reports) -> None:
        super().__init__()
        self._reports = reports

    def handle_on(self, reactor: Reactor, settings: Settings, mounted_at: str = '') -> Handle:
        """Return what answers each request."""
        return answering(self._reports)


def reloading(settings: Settings, work: Callable[[Slot], int],
              moved: Callable[[], bool] = lambda: False) -> Reloading:
    """Return what watches the files of an application. Raises `SettingError`.

    `work(slot)` serves it in a worker.
    """
    made: list[Reloading] = []

    def stand_in(slot: Slot) -> int:
        return _StandIn(made[0].reports).work(settings, slot)

    made.append(Reloading(settings, work, stand_in, runner_command(command_line()), moved))
    return made[0]
