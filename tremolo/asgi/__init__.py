"""ASGI 3.0 on the server: one exchange for each request, and the application's lifespan.

The tour is in README.md.
"""

from __future__ import annotations

from ..errors import LifespanFailed
from .application import AsgiApplication
from .exchange import Application, Exchange, Runner
from .lifespan import Lifespan

__all__ = ['Application', 'AsgiApplication', 'Exchange', 'Lifespan', 'LifespanFailed', 'Runner']
