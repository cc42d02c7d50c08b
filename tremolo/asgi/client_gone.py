"""ClientGone: what an application is told by `send` when its client is gone."""

from __future__ import annotations

from ..loop import StreamClosed
from ..server import Response
from ..server.notices import why
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from ..websocket import WebSocketClosed


class ClientGone(OSError):
    """The client is gone, so the answer has no receiver; raised in the application."""


def client_gone(response: Response) -> ClientGone:
    """Return the error that says why nobody takes this answer any more."""
    reason = response.connection.reason
    return ClientGone(f'the client is gone: {why(reason)}' if reason else 'the client is gone')


def socket_gone(closed: WebSocketClosed) -> ClientGone:
    """Return the error that says why nobody takes what is sent to a WebSocket any more."""
    reason = f', {closed.reason}' if closed.reason else ''
    return ClientGone(f'the client is gone: the WebSocket is closed ({closed.code}{reason})')


def comes_from_us(error: BaseException) -> bool:
    """Tell whether the cause of an error is our own error that says the client is gone."""
    link: BaseException | None = error
    chain: dict[int, BaseException] = {}
    # (`raise error from error` makes a chain without an end, so each error is kept once.)
    while link is not None and id(link) not in chain:
        chain[id(link)] = link
        link = link.__cause__ or link.__context__
    return any(isinstance(each, (ClientGone, StreamClosed)) for each in chain.values())
