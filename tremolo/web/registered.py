"""Registered: a function as it was registered: what it asks for, and its options on a server.

How a request runs it is told by the subclass in handlers.py. Nothing here runs while requests are
answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..settings import under_all_names
from ..typed import Any, Callable
from .signature import Signature


class Registered:
    """A registered function, bound to a server or not yet."""

    sockets_only = False    # Whether it answers nothing but the handshake of a WebSocket.

    def __init__(self, function: Callable[..., Any], signature: Signature) -> None:
        self.function = function
        self.name = signature.name
        self.is_async = signature.is_async
        self.is_generator = signature.is_generator
        self.thread = signature.thread
        self.stream = signature.stream
        self.defaults = signature.defaults
        self._signature = signature
        self._collects = signature.collects
        self._presets = signature.presets

    def bind(self, options: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Prepare for a server. A server's option holds where the handler has none of its own.

        The objects in `given` are the arguments that are the same for every request.
        """
        self.options: Mapping[str, Any] = MappingProxyType(
            {**options, **under_all_names(self.defaults)})
        self.buffer_size: int = self.options['buffer_size']
        if self.thread:
            from ..places import threads  # noqa: F401 (Late: many programs have none.)
        self._prepare(given)

    def _prepare(self, given: Mapping[str, Any]) -> None:
        """Make what calls the function."""
        raise NotImplementedError
