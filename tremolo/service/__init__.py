"""service: what stands below every kind of application. The tour is in README.md."""

from __future__ import annotations

from .embedded import BoundServer, HostedServer, RunningServer
from .service import Service

__all__ = ['BoundServer', 'HostedServer', 'RunningServer', 'Service']
