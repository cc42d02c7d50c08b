"""StandingIn: which worker answers while the program does not run (`Program.stand_in`).

    the program's worker ends before READY    another one stands in, and what served before ends;
    or starts for too long                    it gives its connections to the new one
    a worker of the program sends READY       it takes over from the one that stood in

The program's worker is the slot's own, as always; the one that stands in is beside it.
"""

from __future__ import annotations

from ..loop import Reactor
from .group import ENDING, FIRST_PAUSE, STARTING, Group, SlotState, Worker
from .program import AGAIN, ENDS, StandIn
from .slot import Slot


class StandingIn:
    """Says when a worker stands in; does nothing for a program without a `stand_in`."""

    def __init__(self, reactor: Reactor, group: Group, stand_in: StandIn | None) -> None:
        self._reactor = reactor
        self._group = group
        self._stand_in = stand_in

    def begins(self) -> None:
        """Tell that a worker for the program is about to be forked."""
        if self._stand_in is not None:
            self._stand_in.begins()

    def work(self, slot: Slot) -> int:
        """Be the worker that stands in."""
        return 1 if self._stand_in is None else self._stand_in.stand_in(slot)

    def expect(self, worker: Worker) -> None:
        """Look later whether the worker is ready."""
        if self._stand_in is not None:
            self._reactor.call_later(self._stand_in.late, self._look, worker)

    def _look(self, worker: Worker) -> None:
        slot = self._group.slot_of(worker)
        if slot is not None and worker.state is STARTING and worker.pid in self._group.workers:
            slot.lack()

    def ready(self, worker: Worker, slot: SlotState | None) -> list[Worker]:
        """Take note that a worker is ready, in its slot; return the workers that it relieves."""
        if self._stand_in is None:
            return []
        if slot is not None:
            self._stand_in.serves()
            return slot.rise()
        return [older for each in self._group.slots if each.stand_in is worker
                for older in each.relieve()]

    def failed(self, slot: SlotState, worker: Worker, code: int, first: bool) -> bool:
        """Let another worker stand in for one that never was ready; return False for the end."""
        fate = ENDS if self._stand_in is None else self._stand_in.ended(code, first)
        if fate != ENDS:
            older = worker.predecessor
            slot.wait(older if older is not None and older.state is not ENDING else None)
            if fate == AGAIN:
                slot.pause(self._reactor)
            slot.lack()
        return fate != ENDS

    def cut(self, code: int) -> None:
        """Take note of how a worker has ended."""
        if code < 0 and self._stand_in is not None:
            self._stand_in.cut()

    def ended(self, worker: Worker) -> None:
        """Take note that a worker without a slot has ended: perhaps the one that stood in."""
        for each in self._group.slots:
            if each.stand_in is worker:
                each.stand_in = None
                self._reactor.call_later(FIRST_PAUSE, each.lose)
