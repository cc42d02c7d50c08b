"""The native application of the ledger, mounted in another one."""

from __future__ import annotations

from ledger_native import app

from tremolo import Application

outer = Application()
outer.mount('/sub', app)

if __name__ == '__main__':
    outer.run('127.0.0.1', 0, log_level='warning')
