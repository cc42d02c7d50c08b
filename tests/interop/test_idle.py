"""Ten thousand browsers that keep their connection and say nothing."""

from __future__ import annotations

import resource
import socket
import time

CONNECTIONS = 10_000

# What Chrome sends, about.
REQUEST = (
    b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\n'
    b'sec-ch-ua: "Chromium";v="124", "Not-A.Brand";v="99"\r\nsec-ch-ua-mobile: ?0\r\n'
    b'sec-ch-ua-platform: "Linux"\r\nUpgrade-Insecure-Requests: 1\r\n'
    b'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/124.0.0.0\r\n'
    b'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n'
    b'Sec-Fetch-Site: none\r\nAccept-Encoding: gzip, deflate, br\r\n'
    b'Accept-Language: en-US,en;q=0.9\r\nCookie: session=%032d\r\n\r\n')


def ask(client: socket.socket, number: int) -> None:
    client.sendall(REQUEST % number)
    answer = b''
    while b'world!' not in answer:
        piece = client.recv(4096)
        assert piece
        answer += piece


def test_ten_thousand_idle_connections_are_small_and_hold_nobody_up(descriptors, site):
    address = ('127.0.0.1', site.port)
    with socket.create_connection(address) as client:
        for number in range(200):
            ask(client, number)
    before = site.resident()
    clients = []
    try:
        for number in range(CONNECTIONS):
            client = socket.create_connection(address)
            clients.append(client)
            ask(client, number)
        grown = (site.resident() - before) / CONNECTIONS
        times = []
        for number in range(21):
            began = time.perf_counter()
            with socket.create_connection(address) as client:
                ask(client, number)
            times.append(time.perf_counter() - began)
    finally:
        for client in clients:
            client.close()
    print(f'{grown:.0f} bytes for each idle connection, {sorted(times)[10] * 1000:.2f} ms')
    assert grown <= 2500
    assert sorted(times)[10] < 0.05
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > CONNECTIONS
