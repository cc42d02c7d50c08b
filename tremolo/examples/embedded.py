"""A server inside the loop of another program: a device that measures, and shows the results.

    python -m tremolo.examples.embedded
    curl http://127.0.0.1:8000/

There is no thread and no asyncio. The program's own `select` also watches one descriptor of the
server, wakes up at the server's next deadline, and calls `step(0)`.
"""

from __future__ import annotations

import os
import select
import time

from tremolo import Tremolo

app = Tremolo()
measured: list[float] = []


@app.route('/')
def index() -> dict[str, object]:
    """Show the last measurements; the loop below fills the list, in the same thread."""
    return {'count': len(measured), 'last': measured[-5:]}


@app.route('/quit', methods=['POST'])
def leave() -> str:
    """End the program."""
    measured.append(float('nan'))
    return 'bye\n'


def main() -> None:
    """Measure every half second, and step the server in between."""
    server = app.start(port=int(os.environ.get('TREMOLO_PORT', '8000')), thread=False)
    print(f'running on {server.url}', flush=True)
    next_measurement = time.monotonic()
    try:
        while not measured or measured[-1] == measured[-1]:
            now = time.monotonic()
            if now >= next_measurement:
                measured.append(os.getloadavg()[0])
                next_measurement += 0.5
            deadline = server.next_deadline()
            wake = next_measurement if deadline is None else min(next_measurement, deadline)
            select.select([server], [], [], max(0.0, wake - now))
            server.step(0)
    finally:
        server.stop()


if __name__ == '__main__':
    main()
