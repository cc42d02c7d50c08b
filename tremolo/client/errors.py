"""Errors of the test client: what the server sent is no answer of HTTP, or is no WebSocket."""

from __future__ import annotations

from ..errors import TremoloError
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .answer import Answer


class AnswerError(TremoloError):
    """The answer breaks HTTP, is cut, or leads where this client cannot go."""


class WebSocketRefused(TremoloError):
    """The application did not accept the WebSocket: it sent `answer` instead."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer

    def __str__(self) -> str:
        return f'no WebSocket, but {self.answer.status} {self.answer.reason}'
