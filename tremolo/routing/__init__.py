"""Routing: from a method and a path to what answers it, and from a name back to the path."""

from .converters import Converter, Converters
from .pattern import Pattern
from .router import Route, Router
from .tree import Search

__all__ = ['Converter', 'Converters', 'Pattern', 'Route', 'Router', 'Search']
