"""web: the framework. An `Application` is a Service with routes. The tour is in README.md."""

from __future__ import annotations

from .application import Application

__all__ = ['Application']
