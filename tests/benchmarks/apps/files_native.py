"""The native application of files.py: one file, named by the environment."""

import os

from tremolo import Tremolo, send_file

app = Tremolo()


@app.route('/file')
def file():
    return send_file(os.environ['BENCHMARK_FILE'])
