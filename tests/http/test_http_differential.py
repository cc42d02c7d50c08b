"""The parser against the reference parser of http_reference.py, on seeded random bytes.

By hand, so many more (a hundred thousand, say), of a seed: `test_http_differential.py COUNT SEED`.
"""

from __future__ import annotations

import random
import sys

from http_cases import BROWSER, CASES, chunked, get, post
from http_reference import reference
from http_runner import requests, run

from tremolo.http import Limits

# What is put into good heads to make bad ones.
OCTETS = [bytes([octet]) for octet in
          b'\x00\t\n\x0b\x0c\r\x1c\x1e !"#%()*+,-./0159:;<=?@ABCGHTZ[\\]_abcdefhklnopqrstuxz|~\x7f'
          b'\x80\x85\xa0\xff'] + [
              b'\r\n', b'\r\n ', b'\n\n', b'\r\n\r\n', b'  ', b', ', b'1.0', b'2']
LINES = [line + b'\r\n' for line in (
    b'Host: a', b'host:b:80', b'HOST: [::1]', b'Content-Length: 5', b'content-length: 0',
    b'Content-Length: 5, 5', b'Transfer-Encoding: chunked', b'transfer-encoding: gzip, chunked',
    b'Transfer-Encoding: Chunked ', b'TE: trailers', b'Connection: close',
    b'Connection: Keep-Alive', b'Connection: upgrade, close', b'connection:Upgrade',
    b'Upgrade: WebSocket', b'upgrade: h2c', b'Expect: 100-continue',
    b'Expect: 100-Continue ', b'Expect: x', b'Expect: 100-continue, 100-continue',
    b'Referer: /other', b'Date: x', b'DATE: y', b'If-Modified-Since: x', b'Origin: null',
    b'Content-Type: a/b',
    b'Referer: /', b'Cookie: a=b', b'Cookie: c=d', b'Accept: */*', b'X_Y: z', b'A:', b'A: \t b \t',
    b' folded', b'no colon', b'a : b', b': c', b'')]
FIRST = [b'GET / HTTP/1.1\r\n', b'POST /a?b HTTP/1.1\r\n', b'GET / HTTP/1.0\r\n',
         b'OPTIONS * HTTP/1.1\r\n', b'GET http://Host.example:80/p?q HTTP/1.1\r\n',
         b'CONNECT a:443 HTTP/1.1\r\n', b'HEAD * HTTP/1.1\r\n', b'get /b HTTP/1.1\r\n',
         b'GET / HTTP/1.2\r\n', b'GET / HTTP/2.0\r\n', b'PUT /%41 HTTP/1.1\r\n',
         b'GET https://h HTTP/1.0\r\n', b'GET /' + b'long' * 15 + b' HTTP/1.1\r\n']
LIMITS = [Limits(), Limits(), Limits(head_size=60, field_count=3, body_size=4, trailer_size=8)]
CHUNKED = [
    b'5\r\nhello\r\n0\r\n\r\n', b'1;a=b\r\nx\r\n0\r\nA: b\r\n\r\n', b'0\r\nA: b\r\nC: d\r\n\r\n',
    b'a ; b = "c\\"d" ;e\r\n0123456789\r\n00;f\r\n\r\n', b'1\r\na\r\n' * 9 + b'0\r\n\r\n',
    b'0\r\nTE: b\r\nA: b\r\n\r\n', b'0\r\nA: b\r\nContent-MD5: c\r\nHost: d\r\n\r\n']


def a_head(rng):
    lines = [rng.choice(FIRST)]
    if rng.random() < 0.8:
        lines.append(LINES[0])
    lines += rng.choices(LINES[1:], k=rng.randrange(5))
    return b''.join(lines) + b'\r\n'


def mutated(rng, data):
    for _ in range(rng.randrange(3)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data = data[:at] + rng.choice(OCTETS) + data[at:]
        elif kind == 1:
            data = data[:at] + rng.choice(OCTETS) + data[at + 1:]
        elif kind == 2:
            data = data[:at] + data[at + rng.randrange(1, 4):]
        else:
            data = data[:at]
    return data


def same(rng, data, limits):
    """Both parsers agree on the data, and ours on the data in two pieces."""
    events, error = run([data], limits)
    expected = reference(data, limits)
    assert (events, error and error[0]) == expected, (data, error)
    at = rng.randrange(len(data) + 1)
    assert run([data[:at], data[at:]], limits) == (events, error), (data, at)
    return error and error[0]


def test_the_reference_agrees_with_every_case():
    for case in CASES:
        events, status = reference(case.data, case.limits)
        assert requests(events, status and (status,)) == case.expected, case.name


def heads(count, seed):
    rng = random.Random(seed)
    statuses = {same(rng, mutated(rng, a_head(rng)), rng.choice(LIMITS)) for _ in range(count)}
    # The test means something only if it went everywhere.
    assert statuses == {None, 400, 413, 414, 417, 431, 501, 505}


def bodies(count, seed):
    rng = random.Random(seed)
    statuses = set()
    for _ in range(count):
        body = mutated(rng, rng.choice(CHUNKED))
        limits = Limits(body_size=rng.choice([None, 4]), chunk_overhead=rng.choice([20, 65536]),
                        trailer_size=rng.choice([8, 8192]), field_count=rng.choice([2, 100]))
        statuses.add(same(rng, chunked(body) + get(), limits))
    assert statuses == {None, 400, 413, 431}


def pipelines(count, seed):
    rng = random.Random(seed)
    whole = [get(), BROWSER, post(b'Content-Length: 5\r\n', b'hello'), *map(chunked, CHUNKED),
             b'\r\n' + get(), b'\r\n' * 6]
    for _ in range(count):
        same(rng, mutated(rng, b''.join(rng.choices(whole, k=3))), Limits())


def test_random_heads_are_read_alike():
    heads(10_000, 9112)


def test_random_bodies_are_read_alike():
    bodies(4_000, 9110)


def test_random_pipelines_are_read_alike():
    pipelines(2_000, 7230)


if __name__ == '__main__':
    for attack in heads, bodies, pipelines:
        attack(int(sys.argv[1]), int(sys.argv[2]))
