"""ASGI 3.0 on the server: one exchange for each request, and the application's lifespan.

The tour is in README.md.
"""

from __future__ import annotations

from .exchange import Exchange, exchange
from .lifespan import Lifespan, LifespanFailed

__all__ = ['Exchange', 'Lifespan', 'LifespanFailed', 'exchange']
