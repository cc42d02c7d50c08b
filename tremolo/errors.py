"""Floor 0: the root of everything that tremolo raises on purpose.

Each floor defines its own errors below these; `tremolo.exceptions` gathers them and draws the tree.
"""


class TremoloError(Exception):
    """Whatever tremolo raises on purpose."""


class SettingError(TremoloError):
    """An option, an application or an address that cannot be met as asked (exit status 2)."""
