"""The native application of the ledger, with metrics."""

from __future__ import annotations

from ledger_native import app

if __name__ == '__main__':
    app.run('127.0.0.1', 0, log_level='warning', metrics='127.0.0.1:0')
