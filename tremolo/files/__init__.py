"""Files as answers: ranges, conditions, and a body that the kernel sends (see README.md)."""

from .answer import FileAnswer
from .opening import send_file

__all__ = ['FileAnswer', 'send_file']
