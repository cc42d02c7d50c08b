"""The floor: what any server in Python must do for a request, and nothing more.

It waits, receives once, and sends a constant; nothing is parsed. The bytes are those of hello.py's
answer, so both races move the same traffic.
"""

from __future__ import annotations

import select
import socket
import sys

ANSWER = (
    b'HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 12\r\n'
    b'Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: tremolo\r\n\r\nHello world!')


def main(port: int) -> None:
    listener = socket.create_server(('127.0.0.1', port), backlog=1024)
    listener.setblocking(False)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    while True:
        for fd, _ in epoll.poll():
            client = clients.get(fd)
            if client is None:
                client, _ = listener.accept()
                client.setblocking(False)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients[client.fileno()] = client
                epoll.register(client, select.EPOLLIN)
                continue
            try:
                data = client.recv(65536)
            except ConnectionResetError:
                data = b''
            if data:
                client.send(ANSWER)
            else:
                clients.pop(fd).close()


main(int(sys.argv[1]))
