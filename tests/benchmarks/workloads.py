"""Workloads: what is asked, and the header fields that a request carries.

Both are data. A workload is one of the pages asked for, with one of the sets of fields.
"""

from __future__ import annotations

from typing import NamedTuple

Fields = tuple[tuple[str, str], ...]


class Asked(NamedTuple):
    """A request without its fields, and what a right answer to it looks like."""

    path: str
    size: int                       # of the answer's body, in bytes
    text: bytes | None = None       # the answer's body, where it is short enough to be written here
    method: str = 'GET'
    body: bytes = b''
    native: bool = True             # there is a native handler for it, too
    fastapi: bool = False           # answered by fastapi_app.py
    # Or 'download', which measures bytes, 'echo': WebSocket, and 'full' or 'resumed' for TLS.
    load: str = 'wrk'
    connections: int = 64
    deflate: bool = False           # of an echo: the client offers compression


class Workload(NamedTuple):
    asked: Asked
    fields: Fields
    about: str

    @property
    def unit(self) -> str:
        return {'download': 'MiB', 'echo': 'messages', 'full': 'handshakes',
                'resumed': 'handshakes'}.get(self.asked.load, 'requests')

    @property
    def modules(self) -> tuple[str, str]:
        """The modules of the native application and of the one for ASGI."""
        if self.asked.load == 'echo':
            return 'echo_native', 'echo_asgi'
        return 'native', 'fastapi_app' if self.asked.fastapi else 'asgi_app'

    def requests(self, count: int = 1000) -> list[str]:
        """So many requests when something in them changes, else one."""
        fields = self.fields
        if self.asked.body:
            fields += (('Content-Length', str(len(self.asked.body))),)
        head = (f'{self.asked.method} {self.asked.path} HTTP/1.1\r\n'
                + ''.join(f'{name}: {value}\r\n' for name, value in fields) + '\r\n')
        return [head.replace('{n:064x}', f'{n * 0x9E3779B97F4A7C15 % 2 ** 64:064x}')
                .replace('{n:ipv4}', f'198.51.{n // 256 % 256}.{n % 256}')
                + self.asked.body.decode() for n in range(count if '{n' in head else 1)]


HELLO = Asked('/', 12, b'Hello world!')
JSON = Asked('/json', 10 << 10, native=False, fastapi=True)
UPLOAD = Asked('/upload', 5, b'65536', method='POST', body=b'x' * (64 << 10))
# Few at a time: those that are under way at the end of a round are not counted.
STREAM = Asked('/stream', 1000 << 10, connections=8)
DOWNLOAD = Asked('/download', 1 << 30, load='download', connections=1)
ECHO = Asked('/', 32, load='echo')

HEADERS3: Fields = (('Host', '127.0.0.1'), ('User-Agent', 'race'), ('Accept', '*/*'))

# {n} changes with each request.
BROWSER12: Fields = (
    ('Host', '127.0.0.1:8000'),
    ('Connection', 'keep-alive'),
    ('sec-ch-ua', '"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"'),
    ('sec-ch-ua-mobile', '?0'),
    ('sec-ch-ua-platform', '"Linux"'),
    ('User-Agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) '
                   'Chrome/130.0.0.0 Safari/537.36'),
    ('Accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,'
               'image/apng,*/*;q=0.8'),
    ('Sec-Fetch-Site', 'none'),
    ('Sec-Fetch-Mode', 'navigate'),
    ('Accept-Encoding', 'gzip, deflate, br, zstd'),
    ('Accept-Language', 'en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7'),
    ('Cookie', 'theme=dark; _ga=GA1.1.840210217.1730000000; session={n:064x}'),
)

WORKLOADS = {
    'headers3': Workload(HELLO, HEADERS3, 'hello, with 3 header fields'),
    'browser12': Workload(HELLO, BROWSER12, 'hello, with 12 fields and a cookie that changes'),
    'json': Workload(JSON, HEADERS3, '10 KiB of JSON from FastAPI'),
    'upload': Workload(UPLOAD, HEADERS3, 'POST of 64 KiB, read to its end'),
    'stream': Workload(STREAM, HEADERS3, '1,000 chunks of 1 KiB'),
    'download': Workload(DOWNLOAD, HEADERS3, '1 GiB in pieces of 64 KiB'),
    **{f'echo-{name}{"-deflate" * deflate}': Workload(
        ECHO._replace(size=size, deflate=deflate), HEADERS3,
        f'echo of {about} by WebSocket{", compressed" * deflate}')
       for name, size, about in (('32', 32, '32 bytes'), ('1k', 1 << 10, '1 KiB'),
                                 ('64k', 64 << 10, '64 KiB'))
       for deflate in (False, True)},
}
