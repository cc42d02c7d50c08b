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


def readable(error: BaseException) -> BaseException:
    """Return an error that can be looked at: this one, or another if its class lets nobody look.

    An application's class may have a `__class__` or a `__getattribute__` that raises. Whoever asks
    such an error for anything fails in its turn, and `isinstance` asks it.
    """
    try:
        _ = (error.__class__, error.__cause__, error.__context__, error.__suppress_context__,
             error.args, error.with_traceback(error.__traceback__))
        return error
    except BaseException:
        kind = type(error).__name__
        instead = RuntimeError(f'an error of class {kind}, which raises when it is looked at')
        place = vars(BaseException)['__traceback__'].__get__(error)
        return instead.with_traceback(place)
