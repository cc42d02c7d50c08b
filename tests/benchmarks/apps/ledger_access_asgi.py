"""The ASGI application of the ledger, with an access log, in a file that nobody reads."""

from __future__ import annotations

import tempfile

from ledger_asgi import app

from tremolo.asgi_app import AsgiApplication

if __name__ == '__main__':
    with tempfile.NamedTemporaryFile() as file:
        AsgiApplication(app).run('127.0.0.1', 0, log_level='warning', access_logfile=file.name)
