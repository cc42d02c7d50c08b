"""Forms as real clients write them: the Content-Type, the body, and the parts that are meant.

Written by hand after what each of these programs sends.
"""

from __future__ import annotations

from http_forms import Part

PNG = b'\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR'


def lines(*each):
    return b'\r\n'.join(line.encode() if isinstance(line, str) else line for line in each)


CLIENTS = {
    'Chromium': (
        'multipart/form-data; boundary=----WebKitFormBoundaryePkpFF7tjBAqx29L',
        lines('------WebKitFormBoundaryePkpFF7tjBAqx29L',
              'Content-Disposition: form-data; name="größe"', '', '日本',
              '------WebKitFormBoundaryePkpFF7tjBAqx29L',
              'Content-Disposition: form-data; name="f"; filename="a%22b\\c;d=é.png"',
              'Content-Type: image/png', '', PNG,
              '------WebKitFormBoundaryePkpFF7tjBAqx29L',
              'Content-Disposition: form-data; name="f"; filename="🙂.txt"',
              'Content-Type: text/plain', '', 'x\r\n',
              '------WebKitFormBoundaryePkpFF7tjBAqx29L',
              'Content-Disposition: form-data; name="none"; filename=""',
              'Content-Type: application/octet-stream', '', '',
              '------WebKitFormBoundaryePkpFF7tjBAqx29L',
              'Content-Disposition: form-data; name="a%0D%0Ab"', '', 'two\r\nlines\r\n',
              '------WebKitFormBoundaryePkpFF7tjBAqx29L--', ''),
        [Part('größe', content='日本'.encode()), Part('f', 'c;d=é.png', 'image/png', PNG),
         Part('f', '🙂.txt', 'text/plain', b'x\r\n'),
         Part('none', '', 'application/octet-stream'),
         Part('a%0D%0Ab', content=b'two\r\nlines\r\n')]),
    'Chromium, a FormData without entries': (
        'multipart/form-data; boundary=----WebKitFormBoundaryAAAAAAAAAAAAAAAA',
        b'------WebKitFormBoundaryAAAAAAAAAAAAAAAA--\r\n', []),
    'Firefox': (
        'multipart/form-data; boundary=---------------------------9051914041544843365972754266',
        lines('-----------------------------9051914041544843365972754266',
              'Content-Disposition: form-data; name="text"', '', 'text default',
              '-----------------------------9051914041544843365972754266',
              'Content-Disposition: form-data; name="file1"; filename="a.html"',
              'Content-Type: text/html', '', '<!DOCTYPE html><title>a</title>\n',
              '-----------------------------9051914041544843365972754266--', ''),
        [Part('text', content=b'text default'),
         Part('file1', 'a.html', 'text/html', b'<!DOCTYPE html><title>a</title>\n')]),
    'Firefox before 2021, which escaped a quote': (
        'multipart/form-data; boundary=---------------------------1',
        lines('-----------------------------1',
              'Content-Disposition: form-data; name="f"; filename="a\\"b.txt"',
              'Content-Type: text/plain', '', 'x', '-----------------------------1--', ''),
        [Part('f', 'a"b.txt', 'text/plain', b'x')]),
    'Internet Explorer 6': (
        'multipart/form-data; boundary=---------------------------7d01ecf406a6',
        lines('-----------------------------7d01ecf406a6',
              'Content-Disposition: form-data; name="pic"; filename="C:\\Documents and Settings\\'
              'anna\\My Pictures\\new text.jpg"',
              'Content-Type: image/pjpeg', '', b'\xff\xd8\xff',
              '-----------------------------7d01ecf406a6',
              'Content-Disposition: form-data; name="share"; filename="\\\\server\\share\\b.doc"',
              'Content-Type: application/msword', '', '',
              '-----------------------------7d01ecf406a6--', ''),
        [Part('pic', 'new text.jpg', 'image/pjpeg', b'\xff\xd8\xff'),
         Part('share', 'b.doc', 'application/msword')]),
    'curl': (
        'multipart/form-data; boundary=------------------------d74496d66958873e',
        lines('--------------------------d74496d66958873e',
              'Content-Disposition: form-data; name="person"', '', 'anonymous',
              '--------------------------d74496d66958873e',
              'Content-Disposition: form-data; name="secret"; filename="file.txt"',
              'Content-Type: text/plain', '', 'contents\n',
              '--------------------------d74496d66958873e--', ''),
        [Part('person', content=b'anonymous'),
         Part('secret', 'file.txt', 'text/plain', b'contents\n')]),
    'curl --form-escape, and all before 7.81': (
        'multipart/form-data; boundary=------------------------0123456789abcdef',
        lines('--------------------------0123456789abcdef',
              'Content-Disposition: form-data; name="a\\"b\\\\c"; filename="x\\"\\\\y.txt"',
              'Content-Type: application/octet-stream', '', '',
              '--------------------------0123456789abcdef--', ''),
        [Part('a"b\\c', 'y.txt', 'application/octet-stream')]),
    'curl, a file with a type and headers of its own': (
        'multipart/form-data; boundary=------------------------0123456789abcdef',
        lines('--------------------------0123456789abcdef',
              'Content-Disposition: form-data; name="j"', 'Content-Type: application/json',
              'X-Header: 1', '', '{"a": 1}',
              '--------------------------0123456789abcdef--', ''),
        [Part('j', None, 'application/json', b'{"a": 1}')]),
    'requests, httpx': (
        'multipart/form-data; boundary=1d2f0e4c9a6b4f4f8a3e5a0c5b7d9e11',
        lines('--1d2f0e4c9a6b4f4f8a3e5a0c5b7d9e11',
              'Content-Disposition: form-data; name="a"', '', '1',
              '--1d2f0e4c9a6b4f4f8a3e5a0c5b7d9e11',
              'Content-Disposition: form-data; name="f"; filename="ü%22.csv"',
              'Content-Type: text/csv', '', 'a,b\r\n1,2\r\n',
              '--1d2f0e4c9a6b4f4f8a3e5a0c5b7d9e11--', ''),
        [Part('a', content=b'1'), Part('f', 'ü".csv', 'text/csv', b'a,b\r\n1,2\r\n')]),
    'urllib3 before 1.25': (
        'multipart/form-data; boundary=1d2f0e4c9a6b4f4f8a3e5a0c5b7d9e11',
        lines('--1d2f0e4c9a6b4f4f8a3e5a0c5b7d9e11',
              "Content-Disposition: form-data; name*=utf-8''n%C3%A4me; "
              "filename*=utf-8''%E2%82%AC%20rates.txt",
              'Content-Type: text/plain', '', 'x',
              '--1d2f0e4c9a6b4f4f8a3e5a0c5b7d9e11--', ''),
        [Part('näme', '€ rates.txt', 'text/plain', b'x')]),
    'aiohttp': (
        'multipart/form-data; boundary=a6bc1c1e0e5b4d7d9d3f4d1d7d5c5d40',
        lines('--a6bc1c1e0e5b4d7d9d3f4d1d7d5c5d40', 'Content-Type: text/plain; charset=utf-8',
              'Content-Disposition: form-data; name="field"', '', 'ü',
              '--a6bc1c1e0e5b4d7d9d3f4d1d7d5c5d40', 'Content-Type: application/octet-stream',
              "Content-Disposition: form-data; name*=utf-8''%C3%BC; filename=\"a%20b.bin\"", '',
              b'\x00\r\n\x00',
              '--a6bc1c1e0e5b4d7d9d3f4d1d7d5c5d40--', ''),
        [Part('field', None, 'text/plain; charset=utf-8', 'ü'.encode()),
         Part('ü', 'a%20b.bin', 'application/octet-stream', b'\x00\r\n\x00')]),
    'Go': (
        'multipart/form-data; boundary=' + '0a' * 30,
        lines('--' + '0a' * 30, 'Content-Disposition: form-data; name="a\\\\b\\"c"', '', 'x',
              '--' + '0a' * 30,
              'Content-Disposition: form-data; name="f"; filename="dir/\\"a\\".txt"',
              'Content-Type: application/octet-stream', '', '',
              '--' + '0a' * 30 + '--', ''),
        [Part('a\\b"c', content=b'x'), Part('f', '"a".txt', 'application/octet-stream')]),
    'Node, undici': (
        'multipart/form-data; boundary=----formdata-undici-012345678901',
        lines('------formdata-undici-012345678901',
              'Content-Disposition: form-data; name="a"', '', '1\r\n2',
              '------formdata-undici-012345678901',
              'Content-Disposition: form-data; name="f"; filename="blob"',
              'Content-Type: application/octet-stream', '', 'x',
              '------formdata-undici-012345678901--', ''),
        [Part('a', content=b'1\r\n2'), Part('f', 'blob', 'application/octet-stream', b'x')]),
    'Node, form-data (no CRLF at the end)': (
        'multipart/form-data; boundary=--------------------------515890814546601021194782',
        lines('----------------------------515890814546601021194782',
              'Content-Disposition: form-data; name="f"; filename="a.js"',
              'Content-Type: application/javascript', '', 'x',
              '----------------------------515890814546601021194782--'),
        [Part('f', 'a.js', 'application/javascript', b'x')]),
    'Java, Apache HttpClient': (
        'multipart/form-data; boundary=vmGEZBsGjmTHiSvVVg5J1TwVYWnP6CLkj_; charset=ISO-8859-1',
        lines('--vmGEZBsGjmTHiSvVVg5J1TwVYWnP6CLkj_',
              'Content-Disposition: form-data; name="a"',
              'Content-Type: text/plain; charset=ISO-8859-1', 'Content-Transfer-Encoding: 8bit',
              '', b'\xfc',
              '--vmGEZBsGjmTHiSvVVg5J1TwVYWnP6CLkj_',
              'Content-Disposition: form-data; name="f"; filename="b.bin"',
              'Content-Type: application/octet-stream', 'Content-Transfer-Encoding: binary', '',
              '=3D',
              '--vmGEZBsGjmTHiSvVVg5J1TwVYWnP6CLkj_--', ''),
        [Part('a', None, 'text/plain; charset=ISO-8859-1', b'\xfc'),
         Part('f', 'b.bin', 'application/octet-stream', b'=3D')]),
    'Java, OkHttp': (
        'multipart/form-data; boundary=3f5c6b60-7a2f-4f31-9b43-4a0d0d2f6f0e',
        lines('--3f5c6b60-7a2f-4f31-9b43-4a0d0d2f6f0e',
              'Content-Disposition: form-data; name="a"', 'Content-Length: 5', '', 'three',
              '--3f5c6b60-7a2f-4f31-9b43-4a0d0d2f6f0e--', ''),
        [Part('a', content=b'three')]),
    'Java, JavaMail': (
        'multipart/form-data; \tboundary="----=_Part_0_1330608281.1426186110316"',
        lines('', '------=_Part_0_1330608281.1426186110316',
              'Content-Disposition: form-data; name=a', 'Content-Type: text/plain', '', 'x',
              '------=_Part_0_1330608281.1426186110316--'),
        [Part('a', None, 'text/plain', b'x')]),
    '.NET': (
        'multipart/form-data; boundary="9c3c5e2c-5b1f-4a4f-8f1c-0d1e4f7c0f3a"',
        lines('--9c3c5e2c-5b1f-4a4f-8f1c-0d1e4f7c0f3a', 'Content-Type: text/plain; charset=utf-8',
              'Content-Disposition: form-data; name=a', '', 'x',
              '--9c3c5e2c-5b1f-4a4f-8f1c-0d1e4f7c0f3a', 'Content-Type: text/plain',
              'Content-Disposition: form-data; name=f; '
              'filename="=?utf-8?B?w7wudHh0?="; filename*=utf-8\'\'%C3%BC.txt', '', 'y',
              '--9c3c5e2c-5b1f-4a4f-8f1c-0d1e4f7c0f3a--', ''),
        [Part('a', None, 'text/plain; charset=utf-8', b'x'),
         Part('f', 'ü.txt', 'text/plain', b'y')]),
    'Android, as a much copied example has it': (
        'multipart/form-data;boundary=*****',
        lines('--*****', 'Content-Disposition: form-data; name="f";filename="a.jpg"', '', 'x',
              '--*****--', ''),
        [Part('f', 'a.jpg', 'text/plain', b'x')]),
    'Dart (a boundary of 70 characters)': (
        'multipart/form-data; boundary=dart-http-boundary-'
        + 'a.b_c+d-e0123456789' + 'Z' * 32,
        lines('--dart-http-boundary-a.b_c+d-e0123456789' + 'Z' * 32,
              'content-disposition: form-data; name="a"', 'content-type: text/plain; charset=utf-8',
              'content-transfer-encoding: binary', '', 'ü',
              '--dart-http-boundary-a.b_c+d-e0123456789' + 'Z' * 32 + '--', ''),
        [Part('a', None, 'text/plain; charset=utf-8', 'ü'.encode())]),
    'Perl, LWP': (
        'multipart/form-data; boundary=xYzZY',
        lines('--xYzZY', 'Content-Disposition: form-data; name="a"', '', 'x', '--xYzZY--', ''),
        [Part('a', content=b'x')]),
    'Python, email.mime': (
        'multipart/form-data; boundary="===============7330845974216740156=="',
        lines('--===============7330845974216740156==', 'MIME-Version: 1.0',
              "Content-Disposition: form-data; name=\"f\"; filename*=utf-8''%C3%BC.txt",
              'Content-Type: text/plain; charset="us-ascii"', 'Content-Transfer-Encoding: 7bit',
              '', 'x',
              '--===============7330845974216740156==--', ''),
        [Part('f', 'ü.txt', 'text/plain; charset="us-ascii"', b'x')]),
    'a mail program': (
        'Multipart/Form-Data; charset=utf-8; BOUNDARY="=_next part, 1" ',
        lines('This is a multi-part message in MIME format.', '--=_next part', '',
              '--=_next part, 1  \t', 'content-DISPOSITION: Form-Data;', '\tNAME="long',
              '  name";', ' FileName="a', '\tb.txt"', 'Content-Type: text/plain;', ' charset=UTF-8',
              'Content-Description: ', '', 'x', '', '--=_next part, 1-- ',
              'This is the epilogue.', '--=_next part, 1', 'no: more', '', ''),
        [Part('long name', 'a b.txt', 'text/plain; charset=UTF-8', b'x\r\n')]),
}
