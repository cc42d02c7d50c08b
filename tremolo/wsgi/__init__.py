"""wsgi: an application written for WSGI (PEP 3333), as a Service. The tour is in README.md."""

from __future__ import annotations

from .application import WsgiApplication
from .errors import ClientGone

__all__ = ['ClientGone', 'WsgiApplication']
