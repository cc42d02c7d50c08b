"""The WSGI application of the ledger: pages of the race, and the gate.

The gate stands in a thread here. So it does not hold up the loop: what a request costs depends a
little on how the system runs the threads, and the row says less exactly what has changed.
"""

from __future__ import annotations

from collections.abc import Iterable

from gate import gate
from wsgi_app import PAGES, Environ, StartResponse, app, hello, upload

from tremolo.wsgi_app import WsgiApplication


def gate_to_hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    gate()
    return hello(environ, start_response)


def gate_to_upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    gate()
    return upload(environ, start_response)


PAGES.update({'/gate': gate_to_hello, '/upload/gate': gate_to_upload})

if __name__ == '__main__':
    WsgiApplication(app).run('127.0.0.1', 0, log_level='warning', threads=1)
