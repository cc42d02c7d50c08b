"""Partner: what the reactor asks of a loop of another kind that turns together with it."""

from __future__ import annotations

from typing import Protocol


class PartnerLoop(Protocol):
    """A loop of another kind that turns together with the reactor: asyncio's, once it is needed."""

    def run(self) -> None:
        """Turn both until `stop`."""

    def step(self, timeout: float | None = None) -> None:
        """Turn both once."""

    def stop(self) -> None:
        """End `run` after this turn."""

    def close(self) -> None:
        """End the tasks that run there."""
