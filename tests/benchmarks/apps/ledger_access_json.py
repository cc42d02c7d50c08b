"""The same with lines of JSON."""

from __future__ import annotations

from ledger_access import run

if __name__ == '__main__':
    run('json')
