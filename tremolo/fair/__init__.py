"""Fair: whose turn it is in a loop that has too much to do. See README.md."""

from .fairness import be_fair

__all__ = ['be_fair']
