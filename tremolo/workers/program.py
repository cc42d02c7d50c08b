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


class Program:
    """What each worker runs: `work(slot)`, which returns its exit status.

    With a `command` (the folder to start in, the path of a program, and its arguments), workers
    that are forked after SIGHUP become that program instead; or, with `moved`, those that are
    forked when that says that the code is elsewhere. `where` tells the log where they start. Where
    workers are forked only, `renew` is called before, which may raise a `TremoloError`: then
    nothing is renewed.
    """

    def __init__(self, work: Callable[[Slot], int], command: list[str] | None = None,
                 moved: Callable[[], bool] | None = None,
                 where: Callable[[], str] | None = None,
                 renew: Callable[[], object] = lambda: None) -> None:
        self.work = work
        self.command = command
        self.moved = moved
        self.where = where
        self.renew = renew
