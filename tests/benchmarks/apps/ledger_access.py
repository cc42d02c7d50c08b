"""The native application of the ledger, with an access log, in a file that nobody reads."""

from __future__ import annotations

import tempfile

from ledger_native import app

from tremolo.access import lines, writer


def run(form: str) -> None:
    # (Under valgrind time flies. At a server's own speed a batch is 64 KiB, and a second has many.)
    writer._LATEST = lines._SECOND = 1000.0
    with tempfile.NamedTemporaryFile() as file:
        app.run('127.0.0.1', 0, log_level='warning', access_logfile=file.name,
                access_logformat=form)


if __name__ == '__main__':
    run('combined')
