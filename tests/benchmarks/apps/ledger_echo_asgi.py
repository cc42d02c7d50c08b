"""The ASGI application of the ledger's echoes: that of the race, and the same behind the gate.

Only a tree that has WebSocket can run it.
"""

from __future__ import annotations

from asgi_app import Message, Receive, Send
from echo_asgi import app
from gate import gate

from tremolo.asgi_app import AsgiApplication


async def choose(scope: Message, receive: Receive, send: Send) -> None:
    async def receive_and_stop() -> Message:
        message = await receive()
        if message['type'] == 'websocket.receive':
            gate()
        return message

    gated = scope.get('path') == '/gate'
    await app(scope, receive_and_stop if gated else receive, send)


if __name__ == '__main__':
    AsgiApplication(choose).run('127.0.0.1', 0, log_level='warning')
