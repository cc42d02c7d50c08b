"""Routing: from a method and a path to what answers it, and from a name back to the path."""

from .place import Search
from .router import Each, Route, Router

__all__ = ['Each', 'Route', 'Router', 'Search']
