"""The ASGI application of the ledger: pages of the race, a page that waits, and the gate.

It uses only names of tremolo that every tree has: it runs on the base and on the head alike.
"""

from __future__ import annotations

import asyncio

from asgi_app import PAGES, Receive, Send, app, hello, upload
from gate import gate

from tremolo.asgi_app import AsgiApplication


async def wait(receive: Receive, send: Send) -> None:
    await asyncio.sleep(0)
    await hello(receive, send)


async def gate_to_hello(receive: Receive, send: Send) -> None:
    gate()
    await hello(receive, send)


async def gate_to_upload(receive: Receive, send: Send) -> None:
    gate()
    await upload(receive, send)


async def gate_to_wait(receive: Receive, send: Send) -> None:
    gate()
    await wait(receive, send)


PAGES.update({
    '/wait': wait, '/gate': gate_to_hello, '/upload/gate': gate_to_upload,
    '/wait/gate': gate_to_wait})

if __name__ == '__main__':
    AsgiApplication(app).run('127.0.0.1', 0, log_level='warning')
