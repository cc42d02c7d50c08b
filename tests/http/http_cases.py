"""Wire cases as data: what arrives, and what a strict server makes of it.

A case is its name, the bytes, and what is expected: the requests as (method, target, body), then,
if the bytes are refused, the status. `limits` are the defaults unless the case is about one.
"""

from __future__ import annotations

from typing import NamedTuple

from tremolo.http import Limits


class Case(NamedTuple):
    name: str
    data: bytes
    expected: list
    limits: Limits = Limits()


GET = ('GET', b'/', b'')
HOST = b'Host: example.com\r\n'
BIG = b'x' * 300


def get(fields=b'', target=b'/', version=b'1.1'):
    return b'GET ' + target + b' HTTP/' + version + b'\r\n' + HOST + fields + b'\r\n'


def post(fields, body=b''):
    return b'POST / HTTP/1.1\r\n' + HOST + fields + b'\r\n' + body


def chunked(body):
    return post(b'Transfer-Encoding: chunked\r\n', body)


BROWSER = (
    b'GET /products/list?page=2&sort=price HTTP/1.1\r\n'
    b'Host: www.example.com\r\n'
    b'Connection: keep-alive\r\n'
    b'sec-ch-ua: "Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"\r\n'
    b'sec-ch-ua-mobile: ?0\r\n'
    b'sec-ch-ua-platform: "Linux"\r\n'
    b'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)'
    b' Chrome/124.0.0.0 Safari/537.36\r\n'
    b'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n'
    b'Sec-Fetch-Site: same-origin\r\n'
    b'Sec-Fetch-Mode: navigate\r\n'
    b'Accept-Encoding: gzip, deflate, br, zstd\r\n'
    b'Accept-Language: en-US,en;q=0.9\r\n'
    b'Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=1\r\n'
    b'\r\n')

REQUEST_LINES = [
    Case('a short request', get(), [GET]),
    Case('a browser request', BROWSER, [('GET', b'/products/list?page=2&sort=price', b'')]),
    Case('any method that is a token', b"!#$%&'*+-.^_`|~9z / HTTP/1.1\r\n" + HOST + b'\r\n',
         [("!#$%&'*+-.^_`|~9z", b'/', b'')]),
    Case('lower-case method', b'get / HTTP/1.1\r\n' + HOST + b'\r\n', [('get', b'/', b'')]),
    Case('all visible characters in the target', get(target=b'/!"$%&\'()*+,-./:;<=>?@[\\]^_`{|}~'),
         [('GET', b'/!"$%&\'()*+,-./:;<=>?@[\\]^_`{|}~', b'')]),
    Case('a path of slashes', get(target=b'//evil/..//%2f'), [('GET', b'//evil/..//%2f', b'')]),
    Case('one empty line before', b'\r\n' + get(), [GET]),
    Case('one empty line before each', b'\r\n' + get() + b'\r\n' + get(), [GET, GET]),
    Case('only an empty line', b'\r\n', []),
    Case('two empty lines before', b'\r\n\r\n' + get(), [GET]),
    Case('as many empty lines before each as may be', (b'\r\n' * 8 + get()) * 2, [GET, GET]),
    Case('more empty lines before than may be', b'\r\n' * 9 + get(), [400]),
    Case('more empty lines before the second', get() + b'\r\n' * 9 + get(), [GET, 400]),
    Case('more empty lines than may be and nothing else', b'\r\n' * 9, [400]),
    Case('an empty line of LF after one', b'\r\n\n' + get(), [400]),
    Case('an empty line of CR after one', b'\r\n\r' + get(), [400]),
    Case('a space after an empty line', b'\r\n ' + get(), [400]),
    Case('an empty line of LF before', b'\n' + get(), [400]),
    Case('an empty line of CR before', b'\r' + get(), [400]),
    Case('a space before the method', b' ' + get(), [400]),
    Case('no method', b' / HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('a method that is no token', b'G@T / HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('a method beyond ASCII', b'G\xc9T / HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('two spaces after the method', b'GET  / HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('a tab after the method', b'GET\t/ HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('two spaces after the target', b'GET /  HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('a space after the version', b'GET / HTTP/1.1 \r\n' + HOST + b'\r\n', [400]),
    Case('a space in the target', b'GET /a b HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('no target', b'GET HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('no version', b'GET /\r\n' + HOST + b'\r\n', [400]),
    Case('no version and no fields, HTTP/0.9', b'GET /\r\n\r\n', [400]),
    Case('version in lower case', b'GET / http/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('version without a minor', b'GET / HTTP/1\r\n' + HOST + b'\r\n', [400]),
    Case('version with two digits', b'GET / HTTP/1.10\r\n' + HOST + b'\r\n', [400]),
    Case('version with a comma', b'GET / HTTP/1,1\r\n' + HOST + b'\r\n', [400]),
    Case('version with a Unicode digit', b'GET / HTTP/1.\xd9\xa1\r\n' + HOST + b'\r\n', [400]),
    Case('version with a plus', b'GET / HTTP/+1.1\r\n' + HOST + b'\r\n', [400]),
    Case('another protocol', b'GET / RTSP/1.0\r\n' + HOST + b'\r\n', [400]),
    Case('version 0.9', get(version=b'0.9'), [505]),
    Case('version 1.2', get(version=b'1.2'), [505]),
    Case('version 2.0', get(version=b'2.0'), [505]),
    Case('version 9.9', get(version=b'9.9'), [505]),
    Case('the preface of HTTP/2', b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [505]),
    Case('a TLS hello', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', [400]),
    Case('a NUL in the target', get(target=b'/\x00'), [400]),
    Case('a DEL in the target', get(target=b'/\x7f'), [400]),
    Case('a byte beyond ASCII in the target', get(target=b'/\xe9'), [400]),
    Case('a fragment', get(target=b'/#top'), [400]),
    Case('a bare LF after the request line', b'GET / HTTP/1.1\n' + HOST + b'\r\n', [400]),
    Case('a bare CR after the request line', b'GET / HTTP/1.1\r' + HOST + b'\r\n', [400]),
    Case('two CR after the request line', b'GET / HTTP/1.1\r\r\n' + HOST + b'\r\n', [400]),
]

TARGETS = [
    Case('absolute form', get(target=b'http://example.com/a?b'),
         [('GET', b'http://example.com/a?b', b'')]),
    Case('absolute form of https', get(target=b'https://example.com:443/'),
         [('GET', b'https://example.com:443/', b'')]),
    Case('absolute form in upper case', get(target=b'HTTP://EXAMPLE.com/'),
         [('GET', b'HTTP://EXAMPLE.com/', b'')]),
    Case('absolute form without a path', get(target=b'http://example.com'),
         [('GET', b'http://example.com', b'')]),
    Case('absolute form with only a query', get(target=b'http://example.com?a'),
         [('GET', b'http://example.com?a', b'')]),
    Case('absolute form with IPv6', get(target=b'http://[::1]:80/'),
         [('GET', b'http://[::1]:80/', b'')]),
    Case('absolute form without a host', get(target=b'http:///a'), [400]),
    Case('absolute form with only a port', get(target=b'http://:80/a'), [400]),
    Case('absolute form with a user', get(target=b'http://me@example.com/'), [400]),
    Case('absolute form with a bad port', get(target=b'http://example.com:8x/'), [400]),
    Case('another scheme', get(target=b'ftp://example.com/'), [400]),
    Case('a scheme without authority', get(target=b'http:example.com'), [400]),
    Case('a target that is a word', get(target=b'index.html'), [400]),
    Case('a target that begins with ?', get(target=b'?a=1'), [400]),
    Case('asterisk with GET', get(target=b'*'), [400]),
    Case('asterisk with OPTIONS', b'OPTIONS * HTTP/1.1\r\n' + HOST + b'\r\n',
         [('OPTIONS', b'*', b'')]),
    Case('asterisk and more with OPTIONS', b'OPTIONS *a HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('a path with OPTIONS', b'OPTIONS /a HTTP/1.1\r\n' + HOST + b'\r\n',
         [('OPTIONS', b'/a', b'')]),
    Case('CONNECT', b'CONNECT example.com:443 HTTP/1.1\r\n' + HOST + b'\r\n', [501]),
    Case('CONNECT to IPv6', b'CONNECT [::1]:443 HTTP/1.1\r\n' + HOST + b'\r\n', [501]),
    Case('CONNECT without a port', b'CONNECT example.com HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('CONNECT without a host', b'CONNECT :443 HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('CONNECT with a path', b'CONNECT / HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('CONNECT with absolute form', b'CONNECT http://a/ HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('CONNECT with asterisk', b'CONNECT * HTTP/1.1\r\n' + HOST + b'\r\n', [400]),
    Case('authority form with GET', get(target=b'example.com:443'), [400]),
]

FIELDS = [
    Case('an empty value', get(b'A:\r\n'), [GET]),
    Case('a value of spaces', get(b'A: \t \r\n'), [GET]),
    Case('space and tab around a value', get(b'A: \t b c \t\r\n'), [GET]),
    Case('colons in a value', get(b'A: b:c\r\n'), [GET]),
    Case('Latin-1 in a value', get(b'A: \x80\xa0\xff\r\n'), [GET]),
    Case('an underscore in a name', get(b'a_b: c\r\n'), [GET]),
    Case('a name of odd token characters', get(b"!#$%&'*+-.^_`|~: c\r\n"), [GET]),
    Case('cookies in two lines', get(b'Cookie: a=1\r\nCookie: b=2\r\n'), [GET]),
    Case('a list in two lines', get(b'Accept: a\r\nAccept: b\r\n'), [GET]),
    Case('a space before the colon', get(b'A : b\r\n'), [400]),
    Case('a tab before the colon', get(b'A\t: b\r\n'), [400]),
    Case('a space before the name', get(b' A: b\r\n'), [400]),
    Case('a space before the first name', b'GET / HTTP/1.1\r\n ' + HOST + b'\r\n', [400]),
    Case('a folded line', get(b'A: b\r\n c\r\n'), [400]),
    Case('a line folded with a tab', get(b'A: b\r\n\tc\r\n'), [400]),
    Case('an empty name', get(b': b\r\n'), [400]),
    Case('no colon', get(b'A\r\n'), [400]),
    Case('a name that is no token', get(b'A(b): c\r\n'), [400]),
    Case('a name with a slash', get(b'a/b: c\r\n'), [400]),
    Case('a name beyond ASCII', get(b'\xc9: c\r\n'), [400]),
    Case('a name with a no-break space', get(b'Host\xa0: c\r\n'), [400]),
    Case('a NUL in a name', get(b'a\x00b: c\r\n'), [400]),
    Case('a bare LF in a value', get(b'A: b\nB: c\r\n'), [400]),
    Case('a bare CR in a value', get(b'A: b\rB: c\r\n'), [400]),
    Case('a bare CR at the end of a value', get(b'A: b\r\r\n'), [400]),
    Case('an empty line of LF', b'GET / HTTP/1.1\r\n' + HOST + b'\n', [400]),
    Case('a head of LF alone', b'GET / HTTP/1.1\nHost: a\n\n', [400]),
    Case('a bare LF, though the request line is malformed', b'GET\r\nA: b\nB\r\n\r\n', [400]),
    *(Case(f'the control 0x{octet:02x} in a value', get(b'A: b' + bytes([octet]) + b'c\r\n'), [400])
      for octet in [*range(9), 0x0b, 0x0c, *range(0x0e, 0x20), 0x7f]),
    *(Case(f'two of {name}', get(f'{name}: {value}\r\n{name.upper()}: {value}\r\n'.encode()), [400])
      for name, value in [
          ('authorization', 'Basic eA=='), ('content-location', '/'), ('content-range', 'bytes'),
          ('content-type', 'a/b'), ('if-range', 'x'), ('max-forwards', '1'), ('origin', 'null'),
          ('proxy-authorization', 'x'), ('range', 'x'), ('sec-websocket-key', 'x'),
          ('sec-websocket-version', '13')]),
    *(Case(f'two of {name}', get(f'{name}: x\r\nA: b\r\n{name.upper()}: y\r\n'.encode()), [GET])
      for name in ('date', 'from', 'if-modified-since', 'if-unmodified-since', 'referer')),
    Case('two of referer and two of origin',
         get(b'Referer: x\r\nReferer: y\r\n' + b'Origin: null\r\n' * 2), [400]),
]

HOSTS = [
    *(Case(f'the host {value!r}', b'GET / HTTP/1.1\r\nHost:' + value + b'\r\n\r\n', [GET])
      for value in [
          b' example.com', b'example.com', b'\texample.com \t', b' example.com:8080', b' a_b.c',
          b' 127.0.0.1:80', b' [::1]', b' [::1]:8080', b' [::ffff:1.2.3.4]', b'', b' ',
          b' example.com:', b' EXAMPLE.com', b' ex%41mple', b" a!$&'()*+,;=~.-"]),
    *(Case(f'the bad host {value!r}', b'GET / HTTP/1.1\r\nHost:' + value + b'\r\n\r\n', [400])
      for value in [
          b' a b', b' a,b c', b' a/b', b' a@b', b' a?b', b' a#b', b' a:b', b' a:1:2', b' a:123456',
          b' [::1', b' ::1', b' [::g]', b' []', b' a\\b', b' a"b', b' <a>', b' a|b', b' %4',
          b' %zz', b' \xe9', b' \xa0a', b' ' + b'a' * 262]),
    Case('no host in 1.1', b'GET / HTTP/1.1\r\nA: b\r\n\r\n', [400]),
    Case('no fields in 1.1', b'GET / HTTP/1.1\r\n\r\n', [400]),
    Case('no host with the absolute form', b'GET http://a/ HTTP/1.1\r\n\r\n', [400]),
    Case('two hosts', get(b'Host: other\r\n'), [400]),
    Case('two equal hosts', get(HOST), [400]),
    Case('two hosts far apart in other cases', get(b'A: b\r\nhOsT: other\r\n'), [400]),
    Case('no host in 1.0', b'GET / HTTP/1.0\r\n\r\n', [GET]),
    Case('a host in 1.0', get(version=b'1.0'), [GET]),
    Case('two hosts in 1.0', get(HOST, version=b'1.0'), [400]),
    Case('a bad host in 1.0', b'GET / HTTP/1.0\r\nHost: a b\r\n\r\n', [400]),
]

LENGTHS = [
    Case('a sized body', post(b'Content-Length: 5\r\n', b'hello'), [('POST', b'/', b'hello')]),
    Case('a sized body in 1.0', b'POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello',
         [('POST', b'/', b'hello')]),
    Case('a sized body that looks like a request',
         post(b'Content-Length: %d\r\n' % len(get()), get()), [('POST', b'/', get())]),
    Case('a sized body of CR', post(b'Content-Length: 2\r\n', b'\r\r'), [('POST', b'/', b'\r\r')]),
    Case('a body of size 0', post(b'Content-Length: 0\r\n'), [('POST', b'/', b'')]),
    Case('leading zeros', post(b'Content-Length: 0005\r\n', b'hello'), [('POST', b'/', b'hello')]),
    Case('spaces around the length', post(b'Content-Length: \t 5 \t\r\n', b'hello'),
         [('POST', b'/', b'hello')]),
    Case('a GET with a body', get(b'content-length: 1\r\n') + b'x', [('GET', b'/', b'x')]),
    *(Case(f'the length {value!r}', post(b'Content-Length:' + value + b'\r\n', b'hello'), [400])
      for value in [
          b'', b' ', b' +5', b' -5', b' -0', b' 5_0', b' 0x5', b' 5.0', b' 5e0', b' 5 5', b' 5,5',
          b' 5, 5', b' ,5', b' 5;', b' five', b' "5"', b' \xd9\xa5', b' \xb2', b' 5\xa0', b' \xa05',
          b' ' + b'1' * 20, b' ' + b'0' * 19 + b'5']),
    Case('two equal lengths', post(b'Content-Length: 5\r\nContent-Length: 5\r\n', b'hello'), [400]),
    Case('two lengths', post(b'Content-Length: 5\r\ncontent-length: 6\r\n', b'hello'), [400]),
    Case('two lengths of 0', post(b'Content-Length: 0\r\nContent-Length: 0\r\n'), [400]),
    Case('a length at the limit', post(b'Content-Length: 5\r\n', b'hello'),
         [('POST', b'/', b'hello')], Limits(body_size=5)),
    Case('a length over the limit', post(b'Content-Length: 6\r\n', b'hello!'), [413],
         Limits(body_size=5)),
    Case('19 digits over the limit', post(b'Content-Length: ' + b'9' * 19 + b'\r\n'), [413],
         Limits(body_size=5)),
    Case('length and encoding', post(
        b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', b'0\r\n\r\n'), [400]),
    Case('encoding and length', post(
        b'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', b'0\r\n\r\n'), [400]),
    Case('length and an unknown encoding', post(
        b'Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n', b'hello'), [400]),
]

ENCODINGS = [
    *(Case(f'the encoding {value!r}',
           post(b'Transfer-Encoding:' + value + b'\r\n', b'5\r\nhello\r\n0\r\n\r\n'),
           [('POST', b'/', b'hello')])
      for value in [b' chunked', b'chunked', b' CHUNKED', b'\t chunked \t', b' Chunked']),
    *(Case(f'the unknown encoding {value!r}',
           post(b'Transfer-Encoding: ' + value + b'\r\n', b'0\r\n\r\n'), [501])
      for value in [b'gzip, chunked', b'gzip,chunked', b'gzip ,\tChunked', b'a, b, chunked',
                    b'a;b=c, chunked', b'a ; b="c", chunked', b'identity, chunked']),
    *(Case(f'the bad encoding {value!r}',
           post(b'Transfer-Encoding: ' + value + b'\r\n', b'0\r\n\r\n'), [400])
      for value in [b'', b'gzip', b'identity', b'chunked, gzip', b'chunked, chunked', b',chunked',
                    b'chunked,', b'gzip,, chunked', b'xchunked', b'chunkedx', b'chunked;a=b',
                    b'gzip, chunked;a=b', b'chunked, gzip, chunked', b'"chunked"', b'chunked x',
                    b'chun\tked', b'gz ip, chunked', b'a;b, chunked', b'chunked;', b'\xa0chunked',
                    b'chunked\x85', b'gzip chunked', b'a;b="c, chunked']),
    Case('two lines of chunked', post(
        b'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', b'0\r\n\r\n'), [400]),
    Case('two lines of encodings', post(
        b'Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n', b'0\r\n\r\n'), [400]),
    Case('a folded encoding', post(b'Transfer-Encoding:\r\n chunked\r\n', b'0\r\n\r\n'), [400]),
    Case('a space before the colon of the encoding',
         post(b'Transfer-Encoding : chunked\r\n', b'0\r\n\r\n'), [400]),
    Case('an encoding behind a vertical tab', post(b'Transfer-Encoding: \x0bchunked\r\n'), [400]),
    Case('chunked in 1.0', b'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
         [400]),
    Case('an unknown encoding in 1.0', b'POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n',
         [400]),
]

HELLO = [('POST', b'/', b'hello')]
BAD_SIZE = [('POST', b'/', b''), 400]
BAD_END = [*HELLO, 400]

CHUNKS = [
    Case('one chunk', chunked(b'5\r\nhello\r\n0\r\n\r\n'), HELLO),
    Case('three chunks', chunked(b'1\r\nh\r\n3\r\nell\r\n1\r\no\r\n0\r\n\r\n'), HELLO),
    Case('no chunk', chunked(b'0\r\n\r\n'), [('POST', b'/', b'')]),
    Case('chunks of CRLF', chunked(b'4\r\n\r\n\r\n\r\n0\r\n\r\n'), [('POST', b'/', b'\r\n\r\n')]),
    Case('hexadecimal in both cases', chunked(b'a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n'),
         [('POST', b'/', b'0123456789' * 2)]),
    Case('16 digits', chunked(b'0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n'), HELLO),
    Case('an extension', chunked(b'5;a\r\nhello\r\n0\r\n\r\n'), HELLO),
    Case('extensions', chunked(b'5;a=b;c;d="e;\\"f\\\\"\r\nhello\r\n0;x\r\n\r\n'), HELLO),
    Case('extensions with spaces', chunked(b'5 ; a = b ;\tc="" \t;d\r\nhello\r\n0\r\n\r\n'), HELLO),
    Case('an extension of Latin-1', chunked(b'5;a="\xe9"\r\nhello\r\n0\r\n\r\n'), HELLO),
    *(Case(f'the size line {line!r}', chunked(line + b'\r\nhello\r\n0\r\n\r\n'), BAD_SIZE)
      for line in [
          b'', b' 5', b'5 ', b'+5', b'-5', b'0x5', b'5_', b'0_5', b'5h', b'g', b'5.', b'5,5',
          b'5\t', b'00000000000000005', b'\xd9\xa5', b'\xa05', b'5;', b'5; ', b'5;;a', b'5;=a',
          b'5;a=', b'5;a b', b'5;a="', b'5;a="\\"', b'5;a=b"c"', b'5;a="b"c', b'5;a=b c',
          b'5;a ', b'5 a', b'5;a=b=c', b'5;\xe9', b'5;a="b\\']),
    *(Case(f'the control {octet!r} in an extension', chunked(
        b'5;a="b' + octet + b'"\r\nhello\r\n0\r\n\r\n'), BAD_SIZE)
      for octet in [b'\n', b'\r', b'\x00', b'\x0b', b'\x7f', b'\r\r', b'\n\r']),
    Case('a size line that ends with LF', chunked(b'5\nhello\r\n0\r\n\r\n'), BAD_SIZE),
    Case('a size line that ends with CR', chunked(b'5\rhello\r\n0\r\n\r\n'), BAD_SIZE),
    Case('data that is too long', chunked(b'5\r\nhello!\r\n0\r\n\r\n'), BAD_END),
    Case('data that is too short', chunked(b'5\r\nhell\r\n0\r\n\r\n'),
         [('POST', b'/', b'hell\r'), 400]),
    Case('data that ends with LF', chunked(b'5\r\nhello\n0\r\n\r\n'), BAD_END),
    Case('data that ends with CR', chunked(b'5\r\nhello\r0\r\n\r\n'), BAD_END),
    Case('data that ends with any two bytes', chunked(b'5\r\nhelloxx0\r\n\r\n'), BAD_END),
    Case('data that ends with LF CR', chunked(b'5\r\nhello\n\r0\r\n\r\n'), BAD_END),
    Case('a body at the limit', chunked(b'2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n'), HELLO,
         Limits(body_size=5)),
    Case('a body over the limit', chunked(b'2\r\nhe\r\n4\r\nllo!\r\n0\r\n\r\n'),
         [('POST', b'/', b'he'), 413], Limits(body_size=5)),
    Case('a chunk of 64 bits over the limit', chunked(b'ffffffffffffffff\r\n'),
         [('POST', b'/', b''), 413], Limits(body_size=5)),
    Case('a size line at its limit', chunked(b'5;' + b'a' * 4094 + b'\r\nhello\r\n0\r\n\r\n'),
         HELLO),
    Case('a size line over its limit', chunked(b'5;' + b'a' * 4095 + b'\r\nhello\r\n0\r\n\r\n'),
         BAD_SIZE),
    Case('a size line without an end', chunked(b'5;' + b'a' * 5000), BAD_SIZE),
    Case('as many small chunks as may be', chunked(b'1\r\nh\r\n' * 25 + b'0\r\n\r\n'),
         [('POST', b'/', b'h' * 25)], Limits(chunk_overhead=103)),
    Case('too many small chunks', chunked(b'1\r\nh\r\n' * 26 + b'0\r\n\r\n'),
         [('POST', b'/', b'h' * 24), 400], Limits(chunk_overhead=99)),
    Case('long extensions', chunked((b'1;' + b'a' * 50 + b'\r\nh\r\n') * 3 + b'0\r\n\r\n'),
         [('POST', b'/', b'h'), 400], Limits(chunk_overhead=99)),
]

TRAILERS = [
    Case('a trailer', chunked(b'5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n'), HELLO),
    Case('trailers', chunked(b'5\r\nhello\r\n0\r\nA: \r\nB:\t c \r\nB: d\r\n\r\n'), HELLO),
    Case('the digest', chunked(b'5\r\nhello\r\n0\r\nContent-Digest: x=:y:\r\n\r\n'), HELLO),
    *(Case(f'the trailer {line!r}', chunked(b'5\r\nhello\r\n0\r\n' + line + b'\r\n\r\n'),
           [*HELLO, 400])
      for line in [
          b'A : b', b' A: b', b'A', b': b', b'A: b\r\n c', b'A: b\nB: c', b'A: b\rB: c', b'A: \x00',
          b'Content-Length: 5', b'transfer-encoding: chunked', b'Host: a', b'A: b\r\nHost: a',
          b'Trailer: a\r\nCONTENT-LENGTH: 0']),
    *(Case(f'the dropped trailer {line!r}',
           chunked(b'5\r\nhello\r\n0\r\n' + line + b'\r\nA: b\r\n\r\n') + get(), [*HELLO, GET])
      for line in [
          b'Trailer: a', b'TE: a', b'Authorization: a', b'Cookie: a', b'Content-Type: a',
          b'Content-MD5: a', b'Content-Encoding: a', b'Content-Foo: a', b'Expect: a',
          b'Connection: close', b'Upgrade: a', b'If-Match: a', b'Cache-Control: a',
          b'Forwarded: a', b'X-Forwarded-For: a', b'Range: a', b'Set-Cookie: a',
          # (What an application's own ProxyFix would read, in any spelling.)
          b'X-Forwarded-Port: 1', b'X-FORWARDED-PREFIX: /a', b'X-Forwarded: a',
          b'X_Forwarded_For: a']),
    Case('trailers at the size limit', chunked(b'5\r\nhello\r\n0\r\nA: 34567\r\n\r\n'), HELLO,
         Limits(trailer_size=10)),
    Case('trailers over the size limit', chunked(b'5\r\nhello\r\n0\r\nA: 345678\r\n\r\n'),
         [*HELLO, 431], Limits(trailer_size=10)),
    Case('no trailers where none are allowed', chunked(b'5\r\nhello\r\n0\r\n\r\n'), HELLO,
         Limits(trailer_size=0)),
    Case('trailers without an end', chunked(b'5\r\nhello\r\n0\r\n' + b'A: b\r\n' * 2000),
         [*HELLO, 431]),
    Case('a control in trailers over the limit', chunked(b'5\r\nhello\r\n0\r\nA\x00' + BIG),
         [*HELLO, 400], Limits(trailer_size=10)),
    Case('a malformed trailer before the limit',
         chunked(b'5\r\nhello\r\n0\r\nA : b\r\nC: d\r\n\r\n'), [*HELLO, 400],
         Limits(trailer_size=9)),
    Case('two trailers over the size limit',
         chunked(b'5\r\nhello\r\n0\r\nA:\r\nB: c\r\n\r\n'), [*HELLO, 431], Limits(trailer_size=9)),
    Case('one trailer more than fits',
         chunked(b'5\r\nhello\r\n0\r\nA:\r\nB:\r\n\r\n'), [*HELLO, 431], Limits(trailer_size=5)),
    Case('trailers at the count limit', chunked(b'5\r\nhello\r\n0\r\nA:\r\nB:\r\n\r\n'), HELLO,
         Limits(field_count=2)),
    Case('too many trailers', chunked(b'5\r\nhello\r\n0\r\nA:\r\nB:\r\nC:\r\n\r\n'),
         [*HELLO, 431], Limits(field_count=2)),
    Case('too many trailers, and all of them dropped',
         chunked(b'5\r\nhello\r\n0\r\n' + b'TE: a\r\n' * 3 + b'\r\n'),
         [*HELLO, 431], Limits(field_count=2)),
    Case('dropped trailers over the size limit',
         chunked(b'5\r\nhello\r\n0\r\n' + b'TE: a\r\n' * 2000), [*HELLO, 431]),
]

EXPECTATIONS = [
    Case('100-continue', post(b'Expect: 100-continue\r\nContent-Length: 5\r\n', b'hello'), HELLO),
    Case('100-continue in another case',
         post(b'expect:\t100-CONTINUE \r\nContent-Length: 5\r\n', b'hello'), HELLO),
    Case('100-continue twice',
         post(b'Expect: 100-continue\r\nContent-Length: 5\r\nexpect:100-Continue\r\n', b'hello'),
         HELLO),
    Case('100-continue twice in a list',
         post(b'Expect: 100-continue ,\t100-continue\r\nContent-Length: 5\r\n', b'hello'), HELLO),
    Case('100-continue and another expectation',
         post(b'Expect: 100-continue\r\nExpect: tea\r\n'), [417]),
    Case('100-continue and no expectation', post(b'Expect: 100-continue\r\nExpect:\r\n'), [417]),
    Case('two other expectations in 1.0', get(b'Expect: tea\r\n' * 2, version=b'1.0'), [GET]),
    Case('another expectation', post(b'Expect: tea\r\nContent-Length: 5\r\n', b'hello'), [417]),
    Case('no expectation', post(b'Expect:\r\n'), [417]),
    Case('two expectations', post(b'Expect: 100-continue, tea\r\n'), [417]),
    Case('another expectation in 1.0', get(b'Expect: tea\r\n', version=b'1.0'), [GET]),
    Case('another expectation and too large a body',
         post(b'Expect: tea\r\nContent-Length: 5\r\n', b'hello'), [417], Limits(body_size=1)),
]

HEAD_SIZE = len(get())

SIZES = [
    Case('a head at the limit', get(), [GET], Limits(head_size=HEAD_SIZE)),
    Case('two heads at the limit', get() + get(), [GET, GET], Limits(head_size=HEAD_SIZE)),
    Case('an empty line does not count', b'\r\n' + get(), [GET], Limits(head_size=HEAD_SIZE)),
    Case('a head over the limit', get(b'A: b\r\n'), [431], Limits(head_size=HEAD_SIZE + 5)),
    Case('a second head over the limit', get() + get(b'A: b\r\n'), [GET, 431],
         Limits(head_size=HEAD_SIZE + 5)),
    Case('a head without an end', get()[:-2] + b'A: b\r\n' * 6000, [431]),
    Case('a line without an end', get()[:-2] + b'A: ' + b'b' * 40000, [431]),
    Case('a request line at the limit', b'GET / HTTP/1.1\r\n' + HOST + b'\r\n', [431],
         Limits(head_size=16)),
    Case('a request line over the limit', b'GET / HTTP/1.1\r\n' + HOST + b'\r\n', [414],
         Limits(head_size=15)),
    Case('a request line without an end', b'GET /' + b'a' * 40000, [414]),
    Case('a control within the limit', b'GET / HTTP/1.1\r\n\x00' + BIG, [400],
         Limits(head_size=17)),
    Case('a control just after the limit', b'GET / HTTP/1.1\r\n\x00' + BIG, [431],
         Limits(head_size=16)),
    Case('a CR as the last byte of the limit', b'GET / HTTP/1.1\rx' + BIG, [414],
         Limits(head_size=15)),
    Case('a CR as the byte before the last', b'GET / HTTP/1.1\rx' + BIG, [400],
         Limits(head_size=16)),
    Case('a malformed line in too large a head', b'GET\r\n' + BIG, [431], Limits(head_size=64)),
    Case('fields at the limit', get(b'A:\r\n' * 2), [GET], Limits(field_count=3)),
    Case('too many fields', get(b'A:\r\n' * 3), [431], Limits(field_count=3)),
    Case('128 fields', get(b'A:\r\n' * 127), [GET]),
    Case('129 fields', get(b'A:\r\n' * 128), [431]),
    Case('a head of 30 KiB', get(b'Cookie: ' + b'c' * 30_000 + b'\r\n'), [GET]),
    Case('too many fields, one malformed', get(b'A:\r\n' * 3 + b'B\r\n'), [400],
         Limits(field_count=3)),
    Case('too many fields and a bad target', get(b'A:\r\n' * 3, target=b'*'), [431],
         Limits(field_count=3)),
]

PIPELINES = [
    Case('three requests', get() + chunked(b'5\r\nhello\r\n0\r\n\r\n') + get(), [GET, *HELLO, GET]),
    Case('a good one and a bad one', get() + b'GET /\r\n\r\n', [GET, 400]),
    Case('a bad one and a good one', b'GET /\r\n\r\n' + get(), [400]),
    Case('a short length and the rest of the body', post(b'Content-Length: 2\r\n', b'hello'),
         [('POST', b'/', b'he')]),
]

CASES = [*REQUEST_LINES, *TARGETS, *FIELDS, *HOSTS, *LENGTHS, *ENCODINGS, *CHUNKS, *TRAILERS,
         *EXPECTATIONS, *SIZES, *PIPELINES]
