"""A load generator for machines without wrk: as many connections, one request at a time on each.

    python load.py PORT CONNECTIONS SECONDS < requests

The requests come as a JSON list of texts on stdin and are sent in turn; the last line printed is a
JSON object. Python is slower here than most servers are there, so only what the server's CPU did
for each request says something, not the requests per second.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from itertools import cycle


def answer_size(client: socket.socket, request: bytes) -> int:
    """Send one request and learn how long its answer is; it is the same for all."""
    client.sendall(request)
    data = b''
    while b'\r\n\r\n' not in data:
        data += client.recv(65536)
    head, _, body = data.partition(b'\r\n\r\n')
    length = int(head.lower().split(b'content-length:')[1].split(b'\r\n')[0])
    while len(body) < length:
        body += client.recv(65536)
    return len(head) + 4 + length


def main(port: int, connections: int, seconds: float) -> dict[str, float]:
    requests = cycle([text.encode() for text in json.load(sys.stdin)])
    epoll, clients, begun, took, errors = select.epoll(), {}, {}, [], 0
    for _ in range(connections):
        client = socket.create_connection(('127.0.0.1', port), timeout=10)
        size = answer_size(client, next(requests))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        clients[client.fileno()] = client
        epoll.register(client, select.EPOLLIN)
    start = time.perf_counter()
    for fd, client in clients.items():
        begun[fd] = time.perf_counter()
        client.send(next(requests))
    while clients and time.perf_counter() - start < seconds:
        for fd, _ in epoll.poll(1):
            data = clients[fd].recv(65536)
            # An answer this small arrives whole, or something is wrong with it.
            if len(data) != size or not data.startswith(b'HTTP/1.1 200'):
                errors += 1
                epoll.unregister(fd)
                clients.pop(fd).close()
                continue
            now = time.perf_counter()
            took.append(now - begun[fd])
            begun[fd] = now
            clients[fd].send(next(requests))
    elapsed = time.perf_counter() - start
    took.sort()
    if not took:
        raise SystemExit(f'load: no answers, {errors} errors')
    return {
        'requests': len(took), 'bytes': len(took) * size, 'seconds': elapsed, 'errors': errors,
        'p50': took[len(took) // 2] * 1000, 'p99': took[len(took) * 99 // 100] * 1000}


if __name__ == '__main__':
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
