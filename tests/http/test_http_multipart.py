"""Forms in parts: what clients send, every cut, what is refused, and what it costs."""

from __future__ import annotations

import collections
import gc
import itertools
import random
import re
import sys

import pytest
from each_case import for_each
from http_forms import (
    Part,
    alike_however_split,
    body,
    events_of,
    form_data,
    in_bytes,
    parts_of,
)
from linear import is_linear
from multipart_clients import CLIENTS

from tremolo.http.errors import FormError
from tremolo.http.multipart import (
    END_OF_FORM,
    END_OF_PART,
    MultipartParser,
    PartHead,
    PartLimits,
)
from tremolo.http.parameters import boundary_of

FIELD = form_data(b'a')
FILE = form_data(b'f"; filename="a.bin', b'Content-Type: application/octet-stream')


def refused(data, boundary=b'b', limits=PartLimits()):
    """The status and the sentence, the same however the data is cut."""
    _, error = alike_however_split(data, boundary, limits)
    assert error, 'it is good'
    return error


def head(data):
    """The head of a part, the same however it is cut."""
    events, error = alike_however_split(body(data + b'\r\n\r\nx'))
    assert error is None and events[1:] == [b'x', END_OF_PART, END_OF_FORM]
    return events[0]


# -- what clients send ----------------------------------------------------------------------------


@pytest.mark.parametrize('client', CLIENTS)
def test_what_a_client_sends_is_read(client):
    content_type, data, parts = CLIENTS[client]
    boundary = boundary_of(content_type)
    assert parts_of(data, boundary) == parts
    alike_however_split(data, boundary)


def test_a_part_tells_what_its_head_said():
    assert head(b'Content-Disposition: form-data; name="a"; filename="C:\\x\\y.txt"\r\n'
                b'CONTENT-TYPE:\t Text/Plain;charset="ISO-8859-1" \r\nX: \xc3\xbc') == PartHead(
        'a', 'y.txt', 'C:\\x\\y.txt', 'Text/Plain;charset="ISO-8859-1"', 'iso-8859-1',
        [(b'content-disposition', b'form-data; name="a"; filename="C:\\x\\y.txt"'),
         (b'content-type', b'Text/Plain;charset="ISO-8859-1"'), (b'x', b'\xc3\xbc')])
    assert head(b'Content-Disposition: form-data; name="a"') == PartHead(
        'a', None, None, 'text/plain', 'utf-8',
        [(b'content-disposition', b'form-data; name="a"')])


@for_each(('parameters', 'name', 'filename'), [
    ('name=a', 'a', None),
    ('name=""', '', None),
    ('name=', '', None),
    ('name="a"; filename=""', 'a', ''),
    ('NAME="a"; FileName="b"', 'a', 'b'),
    (' name = "a" ;\tfilename = b ; ', 'a', 'b'),
    ('filename=b; name=a;', 'a', 'b'),
    ('name="a;filename=\\"b\\""', 'a;filename="b"', None),
    ('name=a b c; filename=my file (1).txt', 'a b c', 'my file (1).txt'),
    ('name="%22"; filename="%22%0D%0A%25.txt"', '"', '"%0D%0A%25.txt'),
    ('name="a\\\\"', 'a\\', None),
    ('name="a\\\\\\"b"', 'a\\"b', None),
    ('name="\\a\\b"', '\\a\\b', None),
    ('name="ü"; filename="日本.txt"', 'ü', '日本.txt'),
    ('name=ü; filename=日本.txt', 'ü', '日本.txt'),
    ("name*=utf-8''%C3%BC", 'ü', None),
    ("name=a; filename*=UTF-8'en'%e2%82%ac.txt; filename=euro.txt", 'a', '€.txt'),
    ("name=a; filename=euro.txt; filename*=iso-8859-1''%A3.txt", 'a', '£.txt'),
    ("name=a; filename*=windows-1252''%80.txt", 'a', '€.txt'),
    ("name=a; filename*=us-ascii''a%20b%2", 'a', 'a b%2'),
    ("name=a; filename*=\"utf-8''a%22b.txt\"", 'a', 'a"b.txt'),
    ("name=a; filename*=utf-8''it's.txt", 'a', "it's.txt"),
    ('name=a; size=12; creation-date="x"; filename=b', 'a', 'b'),
    # The last component, and what may not be in it.
    ('name=a; filename="../../etc/passwd"', 'a', 'passwd'),
    ('name=a; filename="..\\..\\boot.ini"', 'a', 'boot.ini'),
    ('name=a; filename="a/b\\c/d"', 'a', 'd'),
    ('name=a; filename="dir/"', 'a', ''),
    ('name=a; filename=".."', 'a', ''),
    ('name=a; filename="."', 'a', ''),
    ('name=a; filename="x/.."', 'a', ''),
    ('name=a; filename="..."', 'a', '...'),
    ('name=a; filename=".htaccess"', 'a', '.htaccess'),
    ('name=a; filename="a\tb"', 'a', 'ab'),
    ("name=a; filename*=utf-8''%00", 'a', ''),
    ("name=a; filename*=utf-8''a%00.php%0A%1b%7F", 'a', 'a.php'),
    ("name=a; filename*=utf-8''.%00.", 'a', ''),
    ("name=a; filename*=utf-8''%2e%2e%2fa", 'a', 'a'),
    ("name=a; filename*=utf-8''..%5C..%5Ca", 'a', 'a'),
    ("name=a; filename*=iso-8859-1''a%85b%9f", 'a', 'ab'),
])
def test_names_and_file_names(parameters, name, filename):
    part = head(b'Content-Disposition: form-data;' + parameters.encode())
    assert (part.name, part.filename) == (name, filename)


@pytest.mark.parametrize('filename', [
    'a.txt', '../a', 'C:\\a', '..', 'a\tb', 'x/', '\\\\server\\share\\a'])
def test_the_file_name_as_it_was_sent_is_kept(filename):
    sent = filename.replace('\\', '\\\\').encode()
    assert head(b'Content-Disposition: form-data; name=a; filename="%s"' % sent).raw_filename \
        == filename


@pytest.mark.parametrize(('line', 'content_type', 'charset'), [
    ('Content-Type: text/html', 'text/html', 'utf-8'),
    ('Content-Type: text/html; charset=US-ASCII', 'text/html; charset=US-ASCII', 'us-ascii'),
    ('Content-Type: text/html; charset=""', 'text/html; charset=""', 'utf-8'),
    ('Content-Type: a/b; Charset = "idna" ; c=d', 'a/b; Charset = "idna" ; c=d', 'idna'),
    ('Content-Type: a/b; charset="\xc3\xbc"', 'a/b; charset="\xc3\xbc"', '\xc3\xbc'),
    ('Content-Type:', 'text/plain', 'utf-8'),
    ('Content-Type: nonsense', 'nonsense', 'utf-8'),
])
def test_the_type_and_the_charset_of_a_part(line, content_type, charset):
    part = head(b'Content-Disposition: form-data; name=a\r\n' + line.encode('latin-1'))
    assert (part.content_type, part.charset) == (content_type, charset)


@pytest.mark.parametrize('line', [
    b'Content-Length: 3', b'Content-Length: 99999', b'Content-Length: -1', b'Content-Length: x',
    b'Content-Transfer-Encoding: base64', b'Content-Transfer-Encoding: quoted-printable',
    b'Content-Transfer-Encoding: x-unknown', b'Content-Encoding: gzip',
    b'Content-Length: 1\r\nContent-Length: 2', b'Transfer-Encoding: chunked'])
def test_a_part_is_as_long_as_it_is_and_is_not_decoded(line):
    assert parts_of(body(form_data(b'a', line) + b'YQ==')) == [Part('a', content=b'YQ==')]


# -- where parts begin and end --------------------------------------------------------------------


@for_each('content', [
    b'', b'x', b'\r', b'\n', b'\r\n', b'\r\r', b'\r\n\r\n', b'\n\n', b'x\r', b'x\r\n', b'x\n',
    b'\r\nx', b'\r\n-', b'\r\n--', b'-', b'--', b'--bx', b'x--b\r\n', b'\n--bx\r\n',
    b'\r--b\r\n', b'\n--b -', b'x\n--b--x', b'\n--b-', b'\n--', b'\r\r\n--',
    b'\r\n--a\r\n', b'\r\n--B\r\n', b'\r\n-b\r\n',
    b'\r\n--bb\r\n', b'\r\n--bb--\r\n', b'\r\n--b-\r\n', b'\r\n--b-', b'\r\n--b- -\r\n',
    b'\r\n--b---\r\n', b'\r\n--b--b\r\n', b'\r\n--b x\r\n', b'\r\n--b \t-- \r\n',
    b'\r\n--b:\r\n\r\n', b'\r\n--b\x00\r\n', b'\r\n--b\x0b\r\n', b'\r\n--b\xa0\r\n',
    b'\r\n--b-- x\r\n', b'\r\n--' * 9, b'\r\n--bb' * 9 + b'\r', bytes(range(256)) * 2])
def test_what_is_no_delimiter_is_contents(content):
    data = body(FIELD + content, FILE + content)
    events, error = alike_however_split(data)
    assert error is None
    pieces = [event for event in events if type(event) is bytes]
    assert pieces == ([content, content] if content else [])
    assert events.count(END_OF_PART) == 2


@pytest.mark.parametrize('padding', [b'', b' ', b'\t', b' \t ' * 40, b' ' * 128])
@pytest.mark.parametrize('end', [b'', b'\r\n', b'\r\nepilogue', b'\r\n\r\n--b\r\nno: part\r\n'])
def test_blanks_may_follow_a_delimiter_and_anything_the_last_line(padding, end):
    data = b'--b%b\r\n%bx\r\n--b%b\r\n%by\r\n--b--%b%b' % (
        padding, FIELD, padding, FIELD, padding, end)
    assert parts_of(data) == [Part('a', content=b'x'), Part('a', content=b'y')]
    alike_however_split(data)


@pytest.mark.parametrize('preamble', [
    b'\r\n', b'\r\n\r\n', b'This is a form.\r\n', b'x\n\r\n', b'-\r\n', b'--\r\n', b'--a\r\n',
    b'--bx\r\n', b'x--b\r\n', b'\n--bx\r\n', b'\x00\xff\r\r\n', b'\r\n-\r\n--\r\n--bb\r\n'])
def test_what_stands_before_the_first_part_is_dropped(preamble):
    data = preamble + body(FIELD + b'x')
    assert parts_of(data) == [Part('a', content=b'x')]
    alike_however_split(data)


def test_a_head_may_be_followed_by_a_delimiter_at_once():
    """RFC 2046 section 5.1.1: the CRLF of the empty line is that of the delimiter."""
    data = b'--b\r\n' + FIELD + b'--b\r\n' + FIELD + b'--b--'
    assert parts_of(data) == [Part('a'), Part('a')]
    alike_however_split(data)
    # But this is no delimiter.
    data = b'--b\r\n' + FIELD + b'--bx\r\n--b--'
    assert parts_of(data) == [Part('a', content=b'--bx')]
    alike_however_split(data)


@pytest.mark.parametrize('boundary', [
    b'-', b'--', b'---', b'b', b'=', b"'()+_,-./:=?", b'a b', b'*' * 5, b'x' * 70, b'-' * 70])
def test_boundaries(boundary):
    content = b'x\r\n--' + boundary[:-1]
    data = body(FIELD + content, FIELD + content, boundary=boundary)
    assert parts_of(data, boundary) == [Part('a', content=content)] * 2
    alike_however_split(data, boundary)


def test_a_form_of_no_parts():
    for data in (b'--b--', b'--b--\r\n', b'x\r\n--b--\r\n', b'--b-- \t\r\nx'):
        assert alike_however_split(data) == ([END_OF_FORM], None)


def test_nothing_comes_after_the_end():
    parser = MultipartParser(b'b', PartLimits())
    parser.feed(b'--b--\r\n')
    assert parser.next_event() is END_OF_FORM
    for _ in range(3):
        parser.feed(body(FIELD))
        assert parser.next_event() is None
    parser.feed_eof()
    assert parser.next_event() is None


def hundred_bodies():
    """Small forms of many kinds, the good ones and the broken ones by a seed."""
    rng = random.Random(21)
    bits = [b'x', b'\r', b'\n', b'\r\n', b'--', b'--b', b'\r\n--b', b'-', b' ', b'bb', b'\xff', b'']
    heads = [FIELD, FILE, form_data(b'a', b'Content-Type: text/plain;\r\n charset=us-ascii'),
             form_data(b'\xc3\xbc'), form_data(b'x"; filename*="utf-8\'\'%41')]
    for number in range(100):
        parts = [rng.choice(heads) + b''.join(rng.choices(bits, k=rng.randrange(6)))
                 for _ in range(rng.randrange(3))]
        data = rng.choice([b'', b'', b'pre\r\n', b'\r\n']) + body(*parts)
        data += rng.choice([b'', b'epilogue'])
        if number % 4 == 3:
            at = rng.randrange(len(data))
            data = data[:at] + rng.choice(bits) + data[at + rng.randrange(3):]
        yield data


def test_a_hundred_small_bodies_cut_at_every_place():
    seen = [alike_however_split(data)[1] for data in hundred_bodies()]
    assert len(seen) == 100
    assert 60 <= seen.count(None) <= 90


def by_the_letter(content):
    """What the contents of a part are, given all that follows its head; and how they end.

    Slow and plain: the lines of what has come, each looked at as a whole.
    """
    data = b'\r\n' + content
    for match in re.finditer(rb'\n--b', data):
        line = re.match(rb'(--)?[ \t]*(\r\n|\r|\n|\Z)?', data[match.end():])
        if line[2] is None:
            continue
        good = data[:match.start()].endswith(b'\r')
        content = data[2:match.start() - good] if match.start() > 1 else b''
        if not line[2] and not line[1]:
            return content, 'cut'
        if not good or line[2] not in (b'\r\n', b''):
            return content, 'alone'
        return content, 'last' if line[1] else 'next'
    return None, 'cut'


def test_all_short_contents_end_where_a_slow_parser_says():
    begin = b'--b\r\n' + FIELD
    seen = collections.Counter()
    for size in range(6):
        for tokens in itertools.product([b'\r', b'\n', b'--', b'b', b' '], repeat=size):
            rest = b''.join(tokens)
            content, end = by_the_letter(rest)
            events, error = events_of([begin + rest])
            assert events_of([begin, *in_bytes(rest)]) == (events, error)
            pieces = [event for event in events if type(event) is bytes]
            if end != 'cut':
                assert pieces[:1] == [content] * bool(content), rest
            assert (error is None) == (end == 'last'), rest
            assert (END_OF_PART in events) == (end in ('next', 'last')), rest
            assert (error is not None and 'alone' in error[1]) == (end == 'alone'), rest
            seen[end] += 1
    assert sorted(seen) == ['alone', 'cut', 'last', 'next']


# -- what is refused ------------------------------------------------------------------------------


@for_each(('data', 'words'), [
    # No last delimiter.
    (b'', 'without its last'),
    (b'x', 'without its last'),
    (b'\r\n', 'without its last'),
    (b'--', 'without its last'),
    (b'--b', 'without its last'),
    (b'--b-', 'without its last'),
    (b'--b \t', 'without its last'),
    (b'--b\r\n', 'without its last'),
    (b'--b\r\n' + FIELD, 'without its last'),
    (b'--b\r\n' + FIELD[:-3], 'without its last'),
    (b'--b\r\n' + FIELD + b'x', 'without its last'),
    (b'--b\r\n' + FIELD + b'x\r\n--b', 'without its last'),
    (b'--b\r\n' + FIELD + b'x\r\n--b-', 'without its last'),
    (b'--b\r\n' + FIELD + b'x\r\n--b\r\n', 'without its last'),
    (b'--b\r\n' + FIELD + b'x--b--', 'without its last'),
    (b'--b\r\n' + FIELD + b'x\r\n--b---', 'without its last'),
    (b'--B--\r\n', 'without its last'),
    (b' --b--\r\n', 'without its last'),
    (b'b--\r\n', 'without its last'),
    # Line ends of LF, or of CR, alone.
    (body(FIELD + b'x').replace(b'\r\n', b'\n'), 'CR or LF alone'),
    (body(FIELD + b'x').replace(b'\r\n', b'\r'), 'CR or LF alone'),
    (b'--b\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--b--', 'CR or LF alone'),
    (b'--b--\n', 'CR or LF alone'),
    (b'--b--\r', 'CR or LF alone'),
    (b'\n--b--', 'CR or LF alone'),
    (b'\n' + body(FIELD + b'x'), 'CR or LF alone'),
    (b'x\n' + body(FIELD + b'x'), 'CR or LF alone'),
    (b'--b\r\n' + FIELD + b'x\n--b--', 'CR or LF alone'),
    (b'--b\r\n' + FIELD + b'x\n--b-- \r\n', 'CR or LF alone'),
    (b'--b\r\n' + FIELD + b'\n--b\r\n' + FIELD + b'x\r\n--b--', 'CR or LF alone'),
    (b'--b\r\n' + FIELD + b'\r\n\n--b \n' + FIELD + b'x\r\n--b--', 'CR or LF alone'),
    (b'--b\r\n' + FIELD + b'\n--b \r', 'CR or LF alone'),
    (b'--b \r \n', 'CR or LF alone'),
    (b'--b\r\n' + FIELD + b'x\r\n--b\n--b--', 'CR or LF alone'),
    (b'--b\r\n' + FIELD + b'x\r\n--b--\rx', 'CR or LF alone'),
    (b'--b\r\n' + FIELD[:-4] + b'\nA: b\r\n\r\nx\r\n--b--', 'malformed'),
    (b'--b\r\n' + FIELD[:-4] + b'\rA: b\r\n\r\nx\r\n--b--', 'malformed'),
    (b'--b\r\n' + FIELD[:-4] + b'\n\nx\r\n\r\n--b--', 'malformed'),
    # Heads.
    (body(b'\r\nx'), 'no Content-Disposition'),
    (body(b'\r\n'), 'no Content-Disposition'),
    (body(b'A: b\r\n\r\nx'), 'no Content-Disposition'),
    (body(FIELD[:-4] + b'\r\nno colon\r\n\r\nx'), 'malformed'),
    (body(b'no colon\r\n' + FIELD + b'x'), 'malformed'),
    (body(FIELD[:-4] + b'\r\n: b\r\n\r\nx'), 'malformed'),
    (body(FIELD[:-4] + b'\r\nA : b\r\n\r\nx'), 'malformed'),
    (body(FIELD[:-4] + b'\r\nA\xc3\xbc: b\r\n\r\nx'), 'malformed'),
    (body(b' ' + FIELD + b'x'), 'malformed'),
    (body(b'\tA: b\r\n' + FIELD + b'x'), 'malformed'),
    (body(FIELD[:-4] + b'\r\nA: \x00\r\n\r\nx'), 'malformed'),
    (body(FIELD[:-4] + b'\r\nA: \x0b\r\n\r\nx'), 'malformed'),
    (body(FIELD[:-4] + b'\r\nA: \x7f\r\n\r\nx'), 'malformed'),
    (body(form_data(b'a\x00')), 'malformed'),
    (body(form_data(b'a"; filename="b\x1b[m')), 'malformed'),
    (body(FIELD[:-4] + b'\r\n--b--\r\n\r\nx'), 'malformed'),
    (b'--b\r\n--b\r\n--b--\r\n\r\n', 'malformed'),
    (body(FIELD[:-4] + b'\r\n' + FIELD), 'two content-disposition'),
    (body(FIELD[:-4] + b'\r\nContent-Type: a/b\r\nCONTENT-TYPE: a/b\r\n\r\n'), 'two content-type'),
    # Names.
    (body(b'Content-Disposition:\r\n\r\nx'), 'no Content-Disposition'),
    (body(b'Content-Disposition: form-data\r\n\r\nx'), 'no Content-Disposition'),
    (body(b'Content-Disposition: form-data; filename=a\r\n\r\nx'), 'no Content-Disposition'),
    (body(b'Content-Disposition: attachment; name=a\r\n\r\nx'), 'no Content-Disposition'),
    (body(b'Content-Disposition: ; name=a\r\n\r\nx'), 'no Content-Disposition'),
    (body(b'Content-Disposition: form-data name=a\r\n\r\nx'), 'no Content-Disposition'),
    (body(form_data(b'a"; name="b')), 'twice'),
    (body(form_data(b'a"; NAME="a')), 'twice'),
    (body(form_data(b'a"; filename="b"; filename="b')), 'twice'),
    (body(form_data(b"a\"; filename*=utf-8''b; filename*=utf-8''b; x=\"")), 'twice'),
    (body(form_data(b"a\"; name*=utf-8''b; x=\"")), 'two names'),
    (body(form_data(b'a"; x; y="')), 'malformed'),
    (body(form_data(b'a" b="c')), 'malformed'),
    (body(form_data(b'a"b')), 'malformed'),
    (body(form_data(b'a\\')), 'malformed'),
    (body(form_data(b'a"; fi le=b; c="')), 'malformed'),
    (body(form_data(b'a"; =b; c="')), 'malformed'),
    (body(b'Content-Disposition: form-data; name="a\r\n\r\nx'), 'malformed'),
    (body(b'Content-Disposition: form-data; name=a"b"\r\n\r\nx'), 'malformed'),
    (body(form_data(b'a', b'Content-Type: text/plain; charset')), 'malformed'),
    (body(form_data(b'a', b'Content-Type: a/b; charset=utf-8; charset=utf-8')), 'twice'),
    (body(form_data(b'a"; filename*0="b')), 'in pieces'),
    (body(form_data(b"a\"; filename*1*=utf-8''b; x=\"")), 'in pieces'),
    (body(form_data(b'a"; name*0="b')), 'in pieces'),
    # Text that is not in its charset.
    (body(form_data(b'\xff')), 'not in its charset'),
    (body(form_data(b'\xed\xa0\x80')), 'not in its charset'),
    (body(form_data(b'\xc0\xaf')), 'not in its charset'),
    (body(form_data(b'a"; filename="\xfc.txt')), 'not in its charset'),
    (body(form_data(b"a\"; filename*=utf-8''%FF; x=\"")), 'not in its charset'),
    (body(form_data(b"a\"; filename*=us-ascii''%C3%BC; x=\"")), 'not in its charset'),
    (body(form_data(b"a\"; filename*=windows-1252''%81; x=\"")), 'not in its charset'),
    (body(form_data(b"a\"; filename*=utf-16''%00a; x=\"")), 'charset is not'),
    (body(form_data(b"a\"; filename*=idna''a; x=\"")), 'charset is not'),
    (body(form_data(b"a\"; filename*=''a; x=\"")), 'charset is not'),
    (body(form_data(b"a\"; filename*=utf-8'a; x=\"")), 'extended'),
    (body(form_data(b'a"; filename*=a; x="')), 'extended'),
    # Blanks.
    (b'--b' + b' ' * 129 + b'\r\n', 'blanks'),
    (b'--b--' + b' ' * 200, 'blanks'),
    (b'--b\r\n' + FIELD + b'x\r\n--b' + b'\t' * 129 + b'y', 'blanks'),
])
def test_a_malformed_form_is_refused(data, words):
    status, sentence = refused(data)
    assert status == 400
    assert words in sentence


@for_each('octet', [*range(9), *range(10, 32), 127])
def test_no_head_holds_a_control_character(octet):
    for line in (b'Content-Disposition: form-data; name="a%c"', b'Content-Type: a/b; c="%c"\r\n'
                 b'Content-Disposition: form-data; name=a', b'X%c: b\r\n' + FIELD[:-4]):
        line = line.replace(b'%c', bytes([octet]))
        assert refused(body(line + b'\r\n\r\nx'))[0] == 400


def test_contents_that_came_before_a_fault_were_given():
    data = b'--b\r\n' + FIELD + b'x\r\n--b\r\n' + FIELD + b'yyy\r\n--b\n'
    events, error = alike_however_split(data)
    assert [event for event in events if type(event) is bytes] == [b'x', b'yyy']
    assert error == (400, 'the line of a delimiter begins or ends with CR or LF alone')


# -- limits ---------------------------------------------------------------------------------------


def test_too_many_parts_are_413():
    data = body(*[FIELD] * 3)
    assert len(parts_of(data, limits=PartLimits(part_count=3))) == 3
    events, error = alike_however_split(data, limits=PartLimits(part_count=2))
    assert events.count(END_OF_PART) == 2
    assert error == (413, 'the form has more than 2 parts (part_count)')
    assert refused(b'--b\r\n', limits=PartLimits(part_count=0))[0] == 413
    assert alike_however_split(b'--b--', limits=PartLimits(part_count=0))[1] is None


def test_a_head_that_is_too_long_is_400_as_soon_as_it_is():
    for size in (len(FIELD), len(FIELD) + 1, 8192):
        limits = PartLimits(part_head_size=size)
        longest = form_data(b'a'.ljust(size - len(FIELD) + 1, b'b'))
        assert len(longest) == size
        assert events_of([body(longest + b'x')], limits=limits)[1] is None
        longer = form_data(b'a'.ljust(size - len(FIELD) + 2, b'b'))
        error = 400, f'the head of a part exceeds {size} bytes (part_head_size)'
        for pieces in ([body(longer)], in_bytes(body(longer))):
            assert events_of(pieces, limits=limits) == ([], error)
        # It is not waited for.
        parser = MultipartParser(b'b', limits)
        parser.feed(b'--b\r\n' + longer[:size - 1])
        assert parser.next_event() is None
        parser.feed(longer[size - 1:size])
        with pytest.raises(FormError, match='exceeds'):
            parser.next_event()


def test_too_many_fields_in_a_head_are_400():
    limits = PartLimits(part_fields=3)
    good = form_data(b'a', b'B: c', b'D: e\r\n f\r\n g')
    assert parts_of(body(good + b'x'), limits=limits) == [Part('a', content=b'x')]
    bad = form_data(b'a', b'B: c', b'D: e', b'F:')
    assert refused(body(bad), limits=limits) == (
        400, 'the head of a part has more than 3 fields (part_fields)')


@pytest.mark.parametrize('octets', [b'x', b'\r', b'\n', b'\r\n', b'\r\n--', b'\r\n--bx', b'--b'])
def test_what_stands_before_the_first_part_has_a_bound(octets):
    data = (octets * 65536)[:65536] + b'\r\n' + body(FIELD)
    data = b'\n' + data[1:] if data.startswith(b'--b') else data
    for pieces in ([data], [data[at:at + 1000] for at in range(0, len(data), 1000)]):
        assert events_of(pieces)[1] is None
    error = 413, 'more than 65536 bytes before the first part'
    data = b'y' + data
    for pieces in ([data], [data[at:at + 7] for at in range(0, len(data), 7)]):
        assert events_of(pieces) == ([], error)


def test_an_epilogue_has_no_bound_and_costs_nothing():
    parser = MultipartParser(b'b', PartLimits())
    parser.feed(b'--b--\r\n')
    assert parser.next_event() is END_OF_FORM
    calls = calls_while(lambda: [parser.feed(b'\r\n--b\r\n' * 10_000) for _ in range(100)])
    assert calls < 110


# -- what it costs --------------------------------------------------------------------------------


def calls_while(function):
    """How many functions of Python and of C are called."""
    count = 0

    def note(frame, event, _):
        nonlocal count
        count += event in ('call', 'c_call')

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def drained(parser, piece):
    parser.feed(piece)
    events = []
    while (event := parser.next_event()) is not None:
        events.append(event)
    return events


def in_a_file(boundary=b'b'):
    parser = MultipartParser(boundary, PartLimits())
    assert len(drained(parser, b'--%b\r\n' % boundary + FILE)) == 1
    return parser


@pytest.mark.parametrize('content', [
    bytes(65536), b'\r' * 65536, b'\n' * 65536, b'\r\n' * 32768, b'\r\n--' * 16384, b'-' * 65536,
    b'text\r\n' * 10000, b'\r\n--bounda' * 6553, b'\r\n--boundaries' * 100])
def test_a_read_of_contents_is_one_piece_and_few_steps(content):
    parser = in_a_file(b'boundary')
    drained(parser, b'x')
    for _ in range(3):
        assert len(drained(parser, content)) == 1
    steps = calls_while(lambda: drained(parser, content)) - 4 * content.count(b'\r\n--boundary')
    assert steps < 30
    # All of it comes.
    assert sum(map(len, drained(parser, b'y'))) <= len(b'\r\n--bounda') + 1


def test_contents_without_a_line_end_are_not_copied():
    parser = in_a_file()
    piece = bytes(65536)
    assert drained(parser, piece)[0] is not piece    # (A CRLF of the head stood before it.)
    # (PyPy makes another object for the same octets.)
    assert drained(parser, piece)[0] is piece or 'PyPy' in sys.version


@pytest.mark.parametrize('make', [
    lambda n: b'\r' * n, lambda n: b'\n' * n, lambda n: b'\r\n' * n, lambda n: b'-' * n,
    lambda n: b'\r\n--' * n, lambda n: b'\n--' * n, lambda n: b'\n--boundar' * n,
    lambda n: b'\n--boundary' * n, lambda n: b'\r\n--b' * n, lambda n: b'\r\n--boundar' * n,
    lambda n: b'\r\n--boundary ' * n, lambda n: b'\r\n--boundary-' * n,
    lambda n: b'\r\n--boundaryx' * n, lambda n: b'\r\n--boundary' + b' ' * n,
    lambda n: b'\r\n--boundary-- x' * n])
@pytest.mark.parametrize('begin', [
    b'', b'--boundary\r\n', b'--boundary\r\n' + FILE, b'--boundary--\r\n'],
    ids=['before', 'head', 'contents', 'after'])
def test_a_flood_takes_time_as_it_is_long(begin, make):
    limits = PartLimits(part_head_size=10 ** 9, part_fields=10 ** 9)
    assert is_linear(lambda data: pushed([begin + data], limits), make, 1_500)


@pytest.mark.parametrize('make', [
    lambda n: b'--boundary\r\n' + FILE + b'\r' * n,
    lambda n: b'--boundary\r\n' + FILE + b'\r\n--boundar' * (n // 11),
    lambda n: b'--boundary\r\n' + FILE + b'\r\n--boundary ' * (n // 13),
    lambda n: b'--boundary\r\nA: ' + b'b' * n,
    lambda n: b'\r\n--boundary' * (n // 12),
    lambda n: (b'--boundary\r\n' + FILE + b'\r\n') * (n // len(FILE)),
])
def test_tiny_pieces_take_time_as_they_are_many(make):
    # (Heads stay within their default size: what waits is copied with each piece.)
    size = 800
    limits = PartLimits(part_count=10 ** 9)
    assert is_linear(lambda data: pushed([data[at:at + 1] for at in range(len(data))], limits),
                     make, size)


@pytest.mark.parametrize('make', [
    lambda n: b'A:\r\n' * n, lambda n: b'A: b\r\n c\r\n' * n, lambda n: b'A:' + b'\r\n b' * n,
    lambda n: b'A:' + b' \t' * n, lambda n: b'A' * n, lambda n: b'A:' + b'\r\n' + b' ' * n,
    lambda n: b'A:' + b'\r\n ' * n,
    lambda n: b'Content-Disposition: form-data' + b';' * n + b'\r\n',
    lambda n: b'Content-Disposition: form-data' + b'; ' * n + b'\r\n',
    lambda n: b'Content-Disposition: form-data;' + b' ' * n + b'\r\n',
    lambda n: b'Content-Disposition: form-data; name="' + b'\\"' * n + b'\r\n',
    lambda n: b'Content-Disposition: form-data; name="' + b'\\\\' * n + b'"\r\n',
    lambda n: b'Content-Disposition: form-data; name=' + b'"' * n + b'\r\n',
    lambda n: b'Content-Disposition: form-data; name' + b' ' * n + b'\r\n',
    lambda n: b'Content-Disposition: form-data; name=' + b'%22' * n + b'\r\n',
    lambda n: b"Content-Disposition: form-data; name*=utf-8''" + b'%' * n + b'\r\n',
    lambda n: b"Content-Disposition: form-data; name*=utf-8''" + b'%41' * n + b'\r\n',
    lambda n: b"Content-Disposition: form-data; name*=" + b"'" * n + b'\r\n',
    lambda n: b'Content-Disposition: form-data; name=a; filename="' + b'/' * n + b'"\r\n',
    lambda n: b'Content-Disposition: form-data; name=a; filename="' + b'..\\' * n + b'"\r\n',
    lambda n: b'Content-Disposition: form-data'
    + b''.join(b';a%d=b' % each for each in range(n)) + b'\r\n',
    lambda n: b'Content-Disposition: form-data; name*'
    + b''.join(b';name*%d=b' % each for each in range(n)) + b'\r\n',
])
def test_a_head_of_a_part_takes_time_as_it_is_long(make):
    limits = PartLimits(part_head_size=10 ** 9, part_fields=10 ** 9)
    assert is_linear(lambda data: pushed([b'--boundary\r\n' + data + b'\r\n'], limits), make, 1_000)


def test_a_flood_of_almost_delimiters_is_no_single_piece():
    # (Between two pieces others have their turn.)
    flood = b'\r\n--bx' * 5_000
    pieces = drained(in_a_file(), flood)
    assert b''.join(pieces) == flood
    assert max(map(len, pieces)) < 501 * 7 < 5_000


def pushed(pieces, limits):
    """Parse all, and do not mind what comes of it."""
    parser = MultipartParser(b'boundary', limits)
    try:
        for piece in pieces:
            drained(parser, piece)
    except FormError:
        return


@pytest.mark.skipif('PyPy' in sys.version, reason='frees nothing at once')
@pytest.mark.parametrize('begin', [b'', b'--boundary\r\n', b'--boundary\r\n' + FILE])
@pytest.mark.parametrize('octets', [b'x', b'\r', b'\r\n--boundary', b'\r\n--boundary '])
def test_what_a_parser_keeps_is_bounded(begin, octets):
    import tracemalloc
    size = 16384
    pieces = [(octets * size)[at:at + size] for at in range(0, len(octets) * size, size)] * 8
    gc.collect()
    tracemalloc.start()
    try:
        parser = MultipartParser(b'boundary', PartLimits())
        parser.feed(begin)
        try:
            for piece in pieces:
                while parser.next_event() is not None:
                    pass
                parser.feed(piece)
        except FormError:
            pass
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * size
    assert peak < 4 * size
