"""Program: what the workers run, and how new code comes to it."""

from __future__ import annotations

from ..loop import Reactor
from ..typed import Callable, Protocol
from .group import Group
from .slot import Slot


class Beside(Protocol):
    """What goes on beside the workers, on the reactor of the supervisor."""

    def begin(self, reactor: Reactor, group: Group) -> None:
        """Begin: the sockets are open, and no worker is forked yet. May raise `ListenError`."""

    def close(self) -> None:
        """End; also in each worker after its fork, to which nothing of this belongs.

        (There the reactor is still that of the supervisor: it must not be touched.) It may not
        have begun.
        """


class StandIn(Protocol):
    """What a worker runs in place of a program that could not start, and what is told of that."""

    late: float    # Seconds after which it stands in for a worker that still starts.

    def begins(self) -> None:
        """Take note that a worker for the program is about to be forked."""

    def serves(self) -> None:
        """Take note that a worker of the program has become ready."""

    def ended(self, code: int, first: bool) -> str:
        """Say what follows on the end of a worker that never was ready: ENDS, WAITS or AGAIN.

        `first`: nothing has been served yet.
        """

    def cut(self) -> None:
        """Take note that a worker was ended by a signal."""

    def stand_in(self, slot: Slot) -> int:
        """Be the worker that stands in; return its exit status."""


# The supervisor ends; it waits until it is told to renew; it forks the next one after a pause.
ENDS, WAITS, AGAIN = 'ends', 'waits', 'again'


class Program:
    """What each worker runs: `work(slot)`, which returns its exit status.

    With a `command` (the folder to start in, the path of a program, and its arguments), workers
    that are forked after SIGHUP become that program instead; or, with `moved`, those that are
    forked when that says that the code is elsewhere. `where` tells the log where they start. Where
    workers are forked only, `renew` is called before, which may raise a `TremoloError`: then
    nothing is renewed. With a `stand_in` there is one worker, and a failure of the program is not
    the end: another worker stands in until the program serves (again).
    """

    def __init__(self, work: Callable[[Slot], int], command: list[str] | None = None,
                 moved: Callable[[], bool] | None = None,
                 where: Callable[[], str] | None = None,
                 renew: Callable[[], object] = lambda: None,
                 stand_in: StandIn | None = None) -> None:
        self.work = work
        self.command = command
        self.moved = moved
        self.where = where
        self.renew = renew
        self.stand_in = stand_in
