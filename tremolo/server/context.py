"""Context: a place for an application's own values."""

from __future__ import annotations

from collections.abc import Mapping

from ..typed import TYPE_CHECKING, Any


class Context:
    """A place for an application's own values, as attributes; `options` are the server's options.

    `request.context` lives as long as its request, and its `options` are overlaid by the handler's;
    `request.connection.context` lives as long as the connection.
    """

    # (The dictionary is made when the first value is set. An `__init__` would cost each request
    # 0.06 us.)
    __slots__ = ('__dict__', 'options')

    options: Mapping[str, Any]

    if TYPE_CHECKING:
        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...
