"""Partner: what the reactor asks of a loop of another kind that turns together with it."""

from __future__ import annotations

from collections.abc import Iterable, Set

from ..typed import Any, Protocol
from .work import Work


class PartnerLoop(Protocol):
    """A loop of another kind that turns together with the reactor: asyncio's, once it is needed."""

    patience: float    # Seconds that `close` waits for tasks and jobs, at most.
    left_alone: Set[Any]    # Tasks and jobs that it does not wait for.

    def run(self) -> None:
        """Turn both until `stop`."""

    def step(self, timeout: float | None = None) -> None:
        """Turn both once."""

    def stop(self) -> None:
        """End `run` after this turn."""

    def begun(self) -> None:
        """Count all tasks that there are now as work of the application's start."""

    def left(self, early: bool = False) -> Iterable[Work]:
        """Return the tasks and jobs that have not ended.

        Those of the application's start are left out, unless `early` is said.
        """

    def forget(self) -> None:
        """Let nothing run that it has in hand: in a process that was forked."""

    def close(self) -> None:
        """End the tasks that run there."""
