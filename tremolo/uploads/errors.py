"""Errors of a handler that reads an upload, and the answers to a client whose form is wrong."""

from __future__ import annotations

from ..http.errors import FormError
from ..loop import StreamClosed
from ..server import HandlerError, HTTPError
from ..server.errors import BadRequest, PayloadTooLarge


class PartPassed(HandlerError):
    """A part is read after `files.next()` has gone on: read or save each part before the next."""

    def __init__(self, name: str) -> None:
        super().__init__(f'the part {name!r:.64} was passed by `files.next()`: read or save it '
                         'before you ask for the next one')


class UploadEnded(StreamClosed):
    """An upload is read after the end of its answer: what was not read by then is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.args = ('the upload is read after the end of its answer: a job or a thread that '
                     'reads it has to end before the handler does (is a `yield` missing?)',)


def answer_of(error: FormError) -> HTTPError:
    """Return the answer to a client whose form is malformed, or too much."""
    return (PayloadTooLarge if error.status == 413 else BadRequest)(error.sentence)
