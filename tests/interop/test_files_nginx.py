"""The same file by nginx and by us: conditions and ranges, and why answers differ where they do.

`DIFFERENCES` has a row for each way in which nginx answers otherwise, with the sentence of RFC 9110
by which ours is right. A difference that no row explains fails, and so does a row that explains
none. `-s` prints the table with its numbers.
"""

from __future__ import annotations

import email
import http.client
import itertools
import os
import random
import re
import socket
from typing import Any, Callable

import pytest
from fronts import running_nginx

DATA = bytes(range(256)) * 40
SIZE = len(DATA)
MODIFIED = 784111777
DATE = 'Sun, 06 Nov 1994 08:49:37 GMT'
EARLIER = 'Sun, 06 Nov 1994 08:49:36 GMT'
LATER = 'Tue, 08 Nov 1994 08:49:37 GMT'
# Each server has an ETag of its own for the file; this is written where it goes.
SAME = '"SAME"'
# 600 requests at most: each condition alone and with each range, and many together.
REQUESTS = 600

ETAGS = [SAME, f'W/{SAME}', '"other"', f'"other", {SAME}', '*', 'other', f'{SAME},,"a"', '']
DATES = [DATE, EARLIER, LATER, 'Sunday, 06-Nov-94 08:49:37 GMT', 'Sun Nov  6 08:49:37 1994',
         'yesterday', '0', 'Sun, 06 Nov 1994 08:49:37 CET']
RANGES = [
    'bytes=0-0', 'bytes=0-99', 'bytes=100-', 'bytes=-100', f'bytes={SIZE - 1}-', f'bytes={SIZE}-',
    f'bytes=0-{SIZE + 5}', f'bytes=-{SIZE + 5}', 'bytes=-0', 'bytes=5-2', 'bytes=', 'bytes=x-1',
    'bytes=1', 'bytes=0-0,-1', 'bytes=10-19, 30-39', 'bytes=30-39,10-19', f'bytes=0-9,{SIZE}-',
    'bytes=0-9,5-14', 'bytes=0-9,5-14,8-20', 'bytes=0-,0-,0-', 'bytes=,0-4,,', 'bytes=0-4,5-2',
    'lines=0-4', 'BYTES=0-4', 'bytes=0-' + '9' * 30, 'bytes=' + '9' * 30 + '-',
    'bytes=' + ','.join(f'{n}-{n}' for n in range(0, 40, 2))]

Lines = dict[str, str]
Answer = tuple[Any, ...]

BAD_DATES = {'yesterday', '0', 'Sun, 06 Nov 1994 08:49:37 CET'}


TOO_MUCH = {'bytes=0-9,5-14,8-20', RANGES[-1]}


def is_malformed(value: str) -> bool:
    """Tell whether a range is none by the grammar."""
    return value in ('bytes=5-2', 'bytes=', 'bytes=x-1', 'bytes=1', 'bytes=0-4,5-2')


# For each row: what it is, the sentence, and which requests it is about (method, lines, and the
# status of nginx and of ours).
DIFFERENCES: list[tuple[str, str, Callable[[str, Lines, Answer, Answer], bool]]] = [
    ('HEAD is answered with a part',
     '14.2: "A server MUST ignore a Range header field received with a request method that is '
     'unrecognized or for which range handling is not defined. For this specification, GET is the '
     'only method for which range handling is defined."',
     lambda method, lines, theirs, ours:
         method == 'HEAD' and 'Range' in lines and theirs[0] in (206, 416) and ours[0] == 200),
    ('a date that is earlier than If-Modified-Since is not 304 (or only if exactly the same)',
     '13.1.3: "If the selected representation\'s last modification date is earlier or equal to the '
     'date provided in the field value, the condition is false."',
     lambda method, lines, theirs, ours:
         lines.get('If-Modified-Since') == LATER and ours[0] == 304 and theirs[0] != 304),
    ('If-Modified-Since counts beside If-None-Match',
     '13.1.3: "A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match '
     'header field."',
     lambda method, lines, theirs, ours:
         'If-Modified-Since' in lines and 'If-None-Match' in lines and theirs[0] != ours[0]),
    ('If-Unmodified-Since counts beside If-Match',
     '13.1.4: "A recipient MUST ignore If-Unmodified-Since if the request contains an If-Match '
     'header field."',
     lambda method, lines, theirs, ours:
         'If-Unmodified-Since' in lines and 'If-Match' in lines and theirs[0] == 412),
    ('If-Unmodified-Since with what is no date is 412',
     '13.1.4: "A recipient MUST ignore the If-Unmodified-Since header field if the received field '
     'value is not a valid HTTP-date."',
     lambda method, lines, theirs, ours:
         lines.get('If-Unmodified-Since') in BAD_DATES and theirs[0] == 412 and ours[0] != 412),
    ('a date of another zone than GMT is read',
     '5.6.7: "HTTP-date = IMF-fixdate / obs-date", each with "GMT" or without a zone; and what is '
     'not a valid HTTP-date is ignored (13.1.3, 13.1.4), or is no match (13.1.5)',
     lambda method, lines, theirs, ours: 'CET' in ''.join(lines.values())),
    ('a Range that breaks the grammar is 416, or a part of it is answered',
     '14.1.1: "An int-range is invalid if the last-pos value is present and less than first-pos"; '
     '14.2: "A server that supports range requests MAY ignore or reject a Range header field that '
     'contains an invalid ranges-specifier" (as a whole: we ignore it)',
     lambda method, lines, theirs, ours:
         is_malformed(lines.get('Range', '')) and theirs[0] in (206, 416) and ours[0] == 200),
    ('three ranges that overlap, and 20 small ones, are answered part by part',
     '14.2: a server MAY ignore a Range with "more than two overlapping ranges, or a set of many '
     'small ranges" (section 17.15: they are what an attack looks like)',
     lambda method, lines, theirs, ours:
         lines.get('Range') in TOO_MUCH and theirs[0] == 206 and ours[0] == 200),
    ('empty elements of a list of ranges are 416',
     '5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements"',
     lambda method, lines, theirs, ours:
         ',,' in lines.get('Range', '') and theirs[0] == 416 and ours[0] in (200, 206)),
    ('a last position of 30 digits is 416',
     '14.1.2: "if the value is greater than or equal to the current length of the representation '
     'data, the byte range is interpreted as the remainder of the representation"',
     lambda method, lines, theirs, ours:
         lines.get('Range', '').startswith('bytes=0-9999') and theirs[0] == 416
         and ours[0] in (200, 206)),
]

CONFIG = '''
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port};
        location /files/ {{ alias {folder}/; }}
    }}
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / 'file.bin'
    path.write_bytes(DATA)
    os.utime(path, (MODIFIED, MODIFIED))
    monkeypatch.setenv('FILES', str(tmp_path))
    return tmp_path


@pytest.fixture
def nginx(tool, folder):
    """The port of an nginx that serves the folder."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]
        with running_nginx(tool('nginx'), folder, CONFIG.format(folder=folder, port=port),
                           listener):
            yield port


def requests() -> list[tuple[str, Lines]]:
    """Return what is asked: each line alone, each condition with a range, and many together."""
    lines = [('If-Match', ETAGS), ('If-None-Match', ETAGS), ('If-Modified-Since', DATES),
             ('If-Unmodified-Since', DATES), ('If-Range', [*ETAGS[:5], *DATES]), ('Range', RANGES)]
    singles: list[Lines] = [{name: value} for name, values in lines for value in values]
    with_range = [{**one, 'Range': value} for one in singles
                  for value in ('bytes=0-99', 'bytes=99999-', 'bytes=0-0,-1')
                  if 'Range' not in one]
    pairs = [{one: value, other: second} for (one, values), (other, seconds)
             in itertools.combinations(lines[:4], 2) for value in values[:4]
             for second in (seconds[0], seconds[2], seconds[5])]
    asked = [(method, each) for each in [{}, *singles, *with_range, *pairs]
             for method in ('GET', 'HEAD')]
    dice = random.Random(1)
    while len(asked) < REQUESTS:
        chosen = dice.sample(lines, dice.randrange(2, 6))
        asked.append((dice.choice(('GET', 'GET', 'HEAD')),
                      {name: dice.choice(values) for name, values in chosen}))
    return asked


class Server:
    """A connection to one of the two. (nginx ends it without a word after some 412.)"""

    def __init__(self, port: int, keeps: bool = True) -> None:
        """Unless it `keeps` it, the connection is another for each answer."""
        self.keeps = keeps
        self.connection = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
        self.etag = SAME
        self.etag = self.ask('GET', {})[-1]['etag']

    def ask(self, method: str, lines: Lines) -> Answer:
        """Ask; return the status, the parts that came, and the fields."""
        headers = {name: value.replace(SAME, self.etag) for name, value in lines.items()}
        self.connection.request(method, '/files/file.bin', headers=headers)
        answer = self.connection.getresponse()
        body = answer.read()
        if not self.keeps:
            self.connection.close()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        parts: Any = None
        kind = fields.get('content-type', '')
        if method == 'GET' and answer.status == 206 and kind.startswith('multipart/'):
            boundary = re.fullmatch('multipart/byteranges; boundary=(.*)', kind)[1].encode()
            texts = body.split(b'\r\n--' + boundary)
            assert texts[-1] == b'--\r\n', body
            parts = []
            for text in texts[1:-1]:
                head, _, data = text[2:].partition(b'\r\n\r\n')
                parts.append((email.message_from_bytes(head)['Content-Range'], data))
        elif method == 'GET' and answer.status in (200, 206):
            parts = [(fields.get('content-range'), body)]
        elif answer.status == 416:
            parts = fields.get('content-range')
        length = fields.get('content-length') if answer.status == 200 else None
        return answer.status, parts, length, fields


def test_conditions_and_ranges_are_those_of_nginx_but_where_the_rfc_says_otherwise(
        serve, folder, nginx, tool):
    counts = [0] * len(DIFFERENCES)
    unexplained = []
    with serve(os.path.join(os.path.dirname(__file__), 'files_app.py')) as server:
        theirs, ours = Server(nginx, keeps=False), Server(server.port)
        asked = requests()
        assert len(asked) >= 300
        for method, lines in asked:
            first, second = theirs.ask(method, lines), ours.ask(method, lines)
            if first[:3] == second[:3]:
                continue
            rows = [number for number, (_, _, explains) in enumerate(DIFFERENCES)
                    if explains(method, lines, first, second)]
            for number in rows:
                counts[number] += 1
            if not rows:
                unexplained.append((method, lines, first[0], second[0]))
        theirs.connection.close()
        ours.connection.close()
    print(f'\n{len(asked)} requests')
    for (what, sentence, _), count in zip(DIFFERENCES, counts):
        print(f'{count:4}  {what}\n      {sentence}')
    assert not unexplained, '\n'.join(map(str, unexplained))
    assert all(counts), counts
