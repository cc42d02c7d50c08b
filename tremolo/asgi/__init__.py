"""asgi: an application written for ASGI 3.0, as a Service. The tour is in README.md."""

from __future__ import annotations

from ..errors import LifespanFailed
from .application import AsgiApplication
from .exchange import Exchange
from .lifespan import Lifespan
from .runner import Application, Runner

__all__ = ['Application', 'AsgiApplication', 'Exchange', 'Lifespan', 'LifespanFailed', 'Runner']
