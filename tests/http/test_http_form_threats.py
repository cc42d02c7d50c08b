"""What others were bitten by in forms: each advisory, and each fault of tremolo 0.5, is a test.

They are named after the program that had the fault. What a form costs is counted in calls, not by a
clock (and `test_http_multipart.py` sees to it that every flood takes linear time).
"""

from __future__ import annotations

import random

import pytest
from each_case import for_each
from http_forms import Part, alike_however_split, body, events_of, form_data, parts_of
from test_http_multipart import FIELD, FILE, calls_while, drained, in_a_file

from tremolo.http.errors import FormError
from tremolo.http.form import read_fields
from tremolo.http.multipart import END_OF_FORM, MultipartParser, PartLimits
from tremolo.http.parameters import boundary_of, read_parameters


def calls_of(data, boundary=b'b'):
    """How many calls it takes to find out what is wrong."""
    parser = MultipartParser(boundary, PartLimits())

    def parse():
        with pytest.raises(FormError):
            drained(parser, data)

    return calls_while(parse)


# -- advisories -----------------------------------------------------------------------------------


@pytest.mark.parametrize('octets', [b'\r', b'\n', b'\r\n', b'\n\r'])
def test_werkzeug_a_part_that_begins_with_cr_or_lf_and_goes_on_for_megabytes(octets):
    """CVE-2023-46136, and python-multipart issue 67: each piece cost as much as all before it."""
    parser = in_a_file()
    drained(parser, octets + b'x' * 100)
    calls = [calls_while(lambda: drained(parser, octets * 8192)) for _ in range(20)]
    assert max(calls) <= 30


def test_werkzeug_starlette_django_more_parts_than_anybody_needs():
    """CVE-2023-25577, CVE-2023-30798, CVE-2023-24580, tornado GHSA-qjxf-f2mg-c6mc."""
    data = b'--b\r\n' + (FIELD + b'\r\n--b\r\n') * 100_000
    parser = MultipartParser(b'b', PartLimits())
    with pytest.raises(FormError) as caught:
        drained(parser, data)
    assert (caught.value.status, caught.value.sentence) == (
        413, 'the form has more than 1000 parts (part_count)')


@pytest.mark.parametrize('data', [
    b'A: b\r\n' * 100_000, b'A: ' + b'b' * 1_000_000, b'A' * 1_000_000, b'A:\r\n ' * 100_000])
def test_python_multipart_a_head_without_an_end(data):
    """CVE-2026-42561: no limit for the number of fields in a head, nor for their size."""
    assert calls_of(b'--b\r\n' + data) < 60


@pytest.mark.parametrize('octets', [b'\r\n', b'-', b'x', b'--b\r\n', b'\x00'])
def test_python_multipart_data_after_the_last_delimiter(octets):
    """CVE-2024-53981: each octet was logged."""
    parser = MultipartParser(b'b', PartLimits())
    assert drained(parser, b'--b--\r\n') == [END_OF_FORM]
    assert calls_while(lambda: drained(parser, octets * 100_000)) < 10
    # And dashes without a line end are no last delimiter at all.
    assert events_of([b'--b--' + b'-' * 60_000])[1][0] == 400


@pytest.mark.parametrize('octets', [b'x', b'\r\n', b'\r\n--', b'\r\n--bx'])
def test_python_multipart_megabytes_before_the_first_delimiter(octets):
    """GHSA-mj87-hwqh-73pj."""
    parser = MultipartParser(b'b', PartLimits())
    assert drained(parser, (octets * 50_000)[:50_000]) == []
    with pytest.raises(FormError) as caught:
        drained(parser, (octets * 50_000)[:50_000])
    assert caught.value.status == 413
    assert calls_while(lambda: drained(parser, octets * 1_000_000)) < 10


def test_fastapi_backslashes_in_a_content_type():
    """CVE-2024-24762: an expression took exponential time."""
    for value in (b'!="' + b'\\' * 4001, b'!="' + b'\\"' * 2000, b'a=' + b'"\\' * 2000):
        with pytest.raises(FormError):
            read_parameters(b'application/x-www-form-urlencoded; ' + value)
        with pytest.raises(FormError):
            boundary_of('multipart/form-data; ' + value.decode())


def test_aiohttp_shellinabox_no_body_makes_a_parser_run_forever():
    """CVE-2024-30251, CVE-2018-16789: whatever comes, each call of `next_event` gets on."""
    rng = random.Random(30251)
    bits = [b'--b', b'--b--', b'\r\n', b'\r', b'\n', b'-', FIELD, FILE, b'x', b' ', b'A: b']
    for _ in range(300):
        data = b''.join(rng.choices(bits, k=rng.randrange(12)))
        parser = MultipartParser(b'b', PartLimits())
        events = 0
        try:
            for piece in (data[:7], data[7:], b''):
                parser.feed(piece)
                while parser.next_event() is not None:
                    events += 1
                    assert events <= len(data) + 2
                assert parser.next_event() is None
            parser.feed_eof()
            while parser.next_event() is not None:
                events += 1
                assert events <= len(data) + 2
        except FormError:
            assert parser.next_event() is None


@pytest.mark.parametrize('data', [
    b'--b\r\n' + FILE + b'x', b'--b\r\n' + FILE, b'--b\r\n' + FILE + b'\r\n--', b'--b\r\n',
    b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n--', b'',
    b'--b\r\n' + FILE + b'\r\n-- b--\r\n'])
def test_busboy_multer_a_form_that_breaks_off_is_an_error_and_not_a_wait(data):
    """CVE-2022-24434, CVE-2025-47944, CVE-2025-7338, multer issues 224, 1176 and 1338."""
    assert alike_however_split(data)[1] == (400, 'the form ends without its last delimiter')


@pytest.mark.parametrize('name', [b'__proto__', b'', b'a[b]', b'a.b', b'constructor', b'=', b'a;b'])
def test_busboy_multer_names_are_only_names(name):
    assert parts_of(body(form_data(name) + b'x')) == [Part(name.decode(), content=b'x')]


def test_dicer_a_field_without_a_value_or_a_name():
    """CVE-2022-24434: `content-disposition` without a colon, and a colon alone."""
    for line in (b'Content-Disposition', b':', b': form-data; name=a', b' ', b'\t: a'):
        assert alike_however_split(body(line + b'\r\n\r\nx'))[1][0] == 400


@pytest.mark.parametrize('parameters', [
    b"name=a; name*=utf-8''b", b"name*=utf-8''b; name=a", b'name=a; name=b', b'name=a; Name=b',
    b'name*0=a; name*1=b', b'name=a; filename*0=b', b"name=a; filename*0*=utf-8''b",
    b'name=a; filename*' + b'1' * 4301 + b'=b'])
def test_python_multipart_no_parameter_is_smuggled_past_another_parser(parameters):
    """GHSA "parameter smuggling via RFC 2231": two parsers must not see different names."""
    assert alike_however_split(
        body(b'Content-Disposition: form-data; ' + parameters + b'\r\n\r\nx'))[1][0] == 400


def test_bottle_python_multipart_a_semicolon_separates_nothing():
    """CVE-2020-28473, CVE-2021-23336, GHSA-6jv3-5f52-599m; GHSA-5rvq-cxj2-64vf: and is cheap."""
    assert read_fields(b'role=user&x=;role=admin') == {'role': ['user'], 'x': [';role=admin']}
    assert calls_while(lambda: read_fields(b';' * 1_000_000)) < 30


def test_php_waf_line_ends_that_two_parsers_read_differently():
    for line_end in (b'\n', b'\r', b'\n\r', b'\r\r\n'):
        for data in (b'--b' + line_end + FIELD + b'x\r\n--b--\r\n',
                     b'--b\r\n' + FIELD[:-4] + line_end + b'\r\nx\r\n--b--\r\n',
                     b'--b\r\n' + FIELD[:-4] + line_end + b'A: b\r\n\r\nx\r\n--b--\r\n',
                     b'--b\r\n' + FIELD + b'x\r\n--b--' + line_end):
            assert alike_however_split(data)[1][0] == 400, data


@for_each('filename', [
    '../../../etc/passwd', '..\\..\\windows\\system.ini', '/etc/passwd', 'C:\\boot.ini',
    '\\\\server\\share\\a', '....//a', 'a/../../b', './a', '..', '.', '../', '..\\', '/', '\\',
    '\x00', 'a\x00/../b', '.\x00.', '..\x00', '\x00..', '%2e%2e/a', 'a\r\nb', '..\x7f',
    '.\x9b.', 'a/\x1f..', '\u202egpj.exe/..', '..;/a', 'nul\x00.txt', 'x/..\x00'])
def test_no_file_name_is_a_path(filename):
    """CVE-2017-16762 and its kin: of what is sent, at most a name in one folder is left."""
    escaped = ''.join(f'%{octet:02x}' for octet in filename.encode()).encode()
    part = events_of([body(form_data(b"a\"; filename*=utf-8''" + escaped + b'; x="'))])[0][0]
    assert part.raw_filename == filename
    assert part.filename not in ('.', '..')
    assert not any(each in '/\\' or ord(each) < 32 or 127 <= ord(each) < 160
                   for each in part.filename)


# -- what tremolo 0.5 did -------------------------------------------------------------------------


def test_tremolo_0_5_failed_on_a_small_form_that_came_whole():
    for content in (b'', b'x', b'hi'):
        parser = MultipartParser(b'b', PartLimits())
        events = drained(parser, body(FIELD + content))
        assert events[-1] is END_OF_FORM
        parser.feed_eof()
        assert parser.next_event() is None


def test_tremolo_0_5_split_a_quoted_name_at_a_semicolon():
    assert parts_of(body(form_data(b'a;b; filename=\\"c\\"'))) == [Part('a;b; filename="c"')]


def test_tremolo_0_5_did_not_decode_the_extended_file_name():
    data = body(form_data(b"f\"; filename*=UTF-8''%e2%82%ac; x=\""))
    assert parts_of(data)[0].filename == '€'


def test_tremolo_0_5_unescaped_percents_everywhere():
    assert parts_of(body(form_data(b'100%41"; filename="a%20b%2fc')))[0][:2] == (
        '100%41', 'a%20b%2fc')


def test_tremolo_0_5_read_forms_as_latin_1():
    assert read_fields('ü=ü'.encode()) == {'ü': ['ü']}


def test_tremolo_0_5_dropped_blank_values():
    assert read_fields(b'a=&b') == {'a': [''], 'b': ['']}


@pytest.mark.parametrize(('data', 'fields'), [
    (b'a', {'a': ['']}), (b'a=', {'a': ['']}), (b'=', {'': ['']}), (b'&', {}), (b'', {})])
def test_tremolo_0_5_ignored_forms_of_two_bytes(data, fields):
    assert read_fields(data) == fields
