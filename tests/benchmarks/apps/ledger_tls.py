"""The native application of the ledger, over TLS."""

from __future__ import annotations

from pathlib import Path

from ledger_native import app

CERTIFICATES = Path(__file__).resolve().parents[2] / 'certificates'

if __name__ == '__main__':
    app.run('127.0.0.1', 0, log_level='warning', ssl_certfile=str(CERTIFICATES / 'localhost.pem'),
            ssl_keyfile=str(CERTIFICATES / 'localhost.key'))
