"""Around: what stands around an answer; see README.md."""

from .middleware import WENT_ON, Middleware, Rest, first_halves
from .response import WrappedResponse

__all__ = ['WENT_ON', 'Middleware', 'Rest', 'WrappedResponse', 'first_halves']
