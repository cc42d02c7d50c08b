"""Around: what stands around an answer; see README.md."""

from .middleware import WENT_ON, Middleware, first_halves
from .response import WrappedResponse, answer_ended

__all__ = ['WENT_ON', 'Middleware', 'WrappedResponse', 'answer_ended', 'first_halves']
