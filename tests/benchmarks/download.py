"""A reader of long answers, which measures bytes.

    python download.py PORT CONNECTIONS SECONDS < requests

The requests come as a JSON list of texts on stdin; the first is sent, again and again, until the
seconds are over, and every answer is read to its end. The last line printed is a JSON object.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time


class Download:
    """One connection: one answer after another."""

    def __init__(self, port: int, request: bytes) -> None:
        self.request = request
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=30)
        self.took: list[float] = []
        self.start()

    def start(self) -> None:
        """Ask, and read as far as the end of the head."""
        self.begun = time.perf_counter()
        self.socket.sendall(self.request)
        data = b''
        while b'\r\n\r\n' not in data:
            more = self.socket.recv(65536)
            if not more:
                raise SystemExit(f'download: {data!r}')
            data += more
        head, _, body = data.partition(b'\r\n\r\n')
        if not head.startswith(b'HTTP/1.1 200'):
            raise SystemExit(f'download: {head!r}')
        self.size = int(head.lower().split(b'content-length:')[1].split(b'\r\n')[0])
        self.left = self.size - len(body)

    def read(self, buffer: bytearray) -> bool:
        """Read what is there; return whether the answer is complete."""
        count = self.socket.recv_into(buffer, min(len(buffer), self.left))
        if not count:
            raise SystemExit(f'download: the end, {self.left} bytes too early')
        self.left -= count
        if not self.left:
            self.took.append(time.perf_counter() - self.begun)
        return not self.left


def main(port: int, connections: int, seconds: float) -> dict[str, float]:
    request = json.load(sys.stdin)[0].encode()
    buffer = bytearray(1 << 20)
    start = time.perf_counter()
    downloads = [Download(port, request) for _ in range(connections)]
    running = {download.socket.fileno(): download for download in downloads}
    while running:
        for fd in select.select(list(running), [], [], 30)[0]:
            if running[fd].read(buffer):
                if time.perf_counter() - start < seconds:
                    running[fd].start()
                else:
                    running.pop(fd).socket.close()
    elapsed = time.perf_counter() - start
    took = sorted(each for download in downloads for each in download.took)
    return {
        'requests': len(took), 'bytes': len(took) * downloads[0].size, 'seconds': elapsed,
        'errors': 0, 'p50': took[len(took) // 2] * 1000, 'p99': took[len(took) * 99 // 100] * 1000}


if __name__ == '__main__':
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
