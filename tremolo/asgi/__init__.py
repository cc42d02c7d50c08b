"""ASGI 3.0 on the server: one exchange for each request, and the application's lifespan.

The tour is in README.md.
"""

from __future__ import annotations

from .exchange import Answers, Application, Exchange
from .lifespan import Lifespan, LifespanFailed

__all__ = ['Answers', 'Application', 'Exchange', 'Lifespan', 'LifespanFailed']
