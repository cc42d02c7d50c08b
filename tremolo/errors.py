"""Floor 0: the root of everything that tremolo raises on purpose, and errors of no single room.

Each room defines its own errors below `TremoloError`. The ones here are those that several rooms
need, or that `tremolo.exceptions` must have without importing the room that raises them: the room
`asgi` imports asyncio. `tremolo.exceptions` gathers all errors and draws the tree.
"""


class TremoloError(Exception):
    """Whatever tremolo raises on purpose."""


class SettingError(TremoloError):
    """An option, an application or an address that cannot be met as asked (exit status 2)."""


class TlsError(TremoloError):
    """A certificate or a key that cannot be used as it is (exit status 1)."""


class LogError(TremoloError):
    """A log that the system does not let us write, or set up (exit status 1)."""


class HookFailed(TremoloError):
    """A hook raised before the first connection (exit status 3); its traceback is in the log."""


class LifespanFailed(TremoloError):
    """The lifespan of an ASGI application did not start (exit status 3); tells its message."""
