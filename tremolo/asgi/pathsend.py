"""Pathsend: a file as the body of an answer, by its path (the extension http.response.pathsend)."""

from __future__ import annotations

from collections.abc import Awaitable

from ..typed import Any, Callable

_PIECE = 262144    # The file is read in pieces of this size, in bytes.


async def send_file(send: Callable[[Any], Awaitable[None]], path: str, wanted: bool) -> None:
    """Send a file as the whole body, piece by piece; an empty body if it is not wanted (HEAD).

    Raises `OSError` for the file, or when the client is gone.
    """
    with open(path, 'rb', buffering=0) as file:
        while wanted and (piece := file.read(_PIECE)):
            await send({'type': 'http.response.body', 'body': piece, 'more_body': True})
    await send({'type': 'http.response.body'})
