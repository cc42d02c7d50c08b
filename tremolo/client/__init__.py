"""client: a client in the same process, for the tests of an application; see README.md."""

from .answer import Answer
from .client import AsyncClient, Client
from .errors import AnswerError, WebSocketRefused

__all__ = ['Answer', 'AnswerError', 'AsyncClient', 'Client', 'WebSocketRefused']
