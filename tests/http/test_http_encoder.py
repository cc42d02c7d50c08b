"""The encoder of fields: pairs of bytes and of str, what they say of framing, and what is kept."""

from __future__ import annotations

import pytest

from tremolo.http import HeaderError, Headers, encode_fields, encoder
from tremolo.http.encoder import encode
from tremolo.http.text_fields import encode_links, encode_pair, encode_trailers

# What may not be sent, as bytes; none of it may be accepted as str either.
BAD = [
    (b'', b'a'), (b'a b', b'c'), (b'a:', b'b'), (b'a\r\nb', b'c'), (b'\xe9', b'a'), (b'a\0', b'b'),
    (b'a', b'b\r\nc: d'), (b'a', b'b\n'), (b'a', b'\r'), (b'a', b'b\0c'), (b'a', b'\x0b'),
    (b'a', b'\x7f')]


def as_text(pair):
    return tuple(each.decode('latin-1') for each in pair)


@pytest.fixture(autouse=True)
def no_names_are_known():
    encoder.known_names.clear()
    yield
    encoder.known_names.clear()


@pytest.mark.parametrize('pair', BAD)
def test_what_may_not_be_sent_is_refused_by_every_way_in(pair):
    # As often as it is tried: what was refused is not kept among the names.
    for _ in range(2):
        with pytest.raises(HeaderError):
            encode([(b'a', b'good'), pair])
        with pytest.raises(HeaderError):
            encode_trailers([pair])
        with pytest.raises(HeaderError):
            encode_fields([('a', 'good'), as_text(pair)])
        with pytest.raises(HeaderError):
            encode_pair(*as_text(pair))
        with pytest.raises(HeaderError):
            Headers([as_text(pair)])


def test_bytes_and_str_are_encoded_alike():
    pairs = [(b'X-A', b'1'), (b'x-b', b'\xe9\t2'), (b'X-A', b''), (b'Date', b'now')]
    for _ in range(2):
        block = encode(pairs)[0]
        assert block == b'X-A: 1\r\nx-b: \xe9\t2\r\nX-A: \r\nDate: now\r\n'
        assert encode_fields(map(as_text, pairs)) == block
        assert encode(Headers(map(as_text, pairs)).raw_items())[0] == block


def test_a_pair_of_str_is_not_trimmed_but_refused():
    assert encode_pair('A', 'b \t c') == (b'A', b'b \t c')
    for value in ' b', 'b\t', ' \t b \t', ' ':
        with pytest.raises(HeaderError, match='begins or ends with a blank'):
            encode_pair('A', value)


def test_what_the_fields_say_of_framing_is_returned_and_not_written():
    assert encode([]) == (b'', None, False, True, True)
    for name in (b'content-length', b'Content-Length'):
        assert encode([(name, b'12')]) == (b'', 12, False, True, True)
        assert encode([(name, b'12'), (name, b'012')]) == (b'', 12, False, True, True)
    assert encode([(b'Connection', b'Close')]) == (b'', None, True, True, True)
    assert encode([(b'connection', b'close'), (b'connection', b'x')])[2] is True
    assert encode([(b'connection', b'keep-alive')]) == (b'', None, False, True, True)


@pytest.mark.parametrize(('value', 'close', 'others'), [
    (b'close', True, b''), (b'x-foo, close', True, b'x-foo'), (b'CLOSE ,x-foo', True, b'x-foo'),
    (b'x-foo,\tClose,, Upgrade', True, b'x-foo, Upgrade'), (b'x-close', False, b'x-close'),
    (b'keep-alive, x-foo', False, b'x-foo'), (b'Keep-Alive, close', True, b''),
    (b'close-x', False, b'close-x'), (b'', False, b''), (b' , ', False, b''),
    (b'upgrade', False, b'upgrade'),
    # To name what frames the message would tell a proxy to remove it.
    (b'Content-Length, transfer-encoding, x', False, b'x'),
])
def test_connection_is_a_list(value, close, others):
    block = b'Connection: %s\r\n' % others if others else b''
    for _ in range(2):
        assert encode([(b'a', b'b'), (b'Connection', value)]) == (
            b'a: b\r\n' + block, None, close, True, True)
    assert encode([(b'connection', value), (b'connection', b'close')])[2] is True


@pytest.mark.parametrize('value', [b'a b', b'close;', b'x\r\ny: z', b'\x00', b'"close"', b'a,b/c'])
def test_a_connection_option_that_is_no_token_is_refused(value):
    with pytest.raises(HeaderError, match='Connection'):
        encode([(b'Connection', value)])
    with pytest.raises(HeaderError, match='Connection'):
        encode([(b'Connection', b'close, ' + value)])


def test_a_date_and_a_server_of_the_application_take_the_place_of_ours():
    for _ in range(2):
        assert encode([(b'DATE', b'x')]) == (b'DATE: x\r\n', None, False, False, True)
        assert encode([(b'server', b'x')]) == (b'server: x\r\n', None, False, True, False)


@pytest.mark.parametrize('values', [[b''], [b'+1'], [b'-1'], [b'1 '], [b'x'], [b'1', b'2'],
                                    [b'1', b'x'], [b'\xb2']])
def test_a_content_length_that_is_no_number_or_two_is_refused(values):
    for name in (b'content-length', b'Content-Length'):
        with pytest.raises(HeaderError, match='Content-Length'):
            encode([(name, value) for value in values])


def test_transfer_encoding_is_refused_or_left_out():
    for name in (b'transfer-encoding', b'Transfer-Encoding'):
        assert encode([(name, b'chunked'), (b'a', b'b')])[0] == b'a: b\r\n'
        with pytest.raises(HeaderError, match='Transfer-Encoding'):
            encode([(name, b'chunked')], refuse_coding=True)
        assert encode_trailers([(name, b'chunked')]) == b''


def test_fields_of_str_leave_nothing_out():
    # For a head that a caller writes himself; `Response` takes the other way.
    items = [('Connection', 'upgrade'), ('Content-Length', '5'), ('Date', 'now')]
    assert encode_fields(items) == b'Connection: upgrade\r\nContent-Length: 5\r\nDate: now\r\n'


def test_trailers_frame_nothing():
    assert encode_trailers([(b'a', b'1'), (b'a', b'2')]) == b'a: 1\r\na: 2\r\n'
    for pair in [(b'content-length', b'1'), (b'connection', b'close'), (b'Connection', b'x')]:
        with pytest.raises(HeaderError, match='trailers'):
            encode_trailers([pair])


def test_links_are_fields():
    assert encode_links([b'</a>', b'</b>']) == b'link: </a>\r\nlink: </b>\r\n'
    with pytest.raises(HeaderError):
        encode_links([b'</a>\r\na: b'])


@pytest.mark.parametrize('fields', [
    [('a', 'b')], [(b'a', 1)], [(b'a', None)], [(b'a', 'b')], [b'ab'], [(b'a',)], 5, None,
    [(b'content-length', 1)], [(bytearray(b'a'), b'x')], [(None, b'x')]])
def test_what_is_no_pair_of_bytes_is_a_type_error(fields):
    with pytest.raises(TypeError, match='a header is a pair of bytes'):
        encode(fields)


@pytest.mark.parametrize(('pair', 'part'), [
    (('a', b'b'), 'value'), ((b'a', 'b'), 'name'), (('a', 1.5), 'value'), ((1, 'a'), 'name'),
    (('a', None), 'value'), ((b'a', b'b'), 'name')])
def test_what_is_no_pair_of_str_is_a_type_error(pair, part):
    for refuse in (encode_pair, lambda *pair: encode_fields([pair]), Headers().add):
        with pytest.raises(TypeError, match=f'the {part} of (a )?header .*is str, not '):
            refuse(*pair)


def test_the_error_names_the_field_and_shows_little_of_its_value():
    for refuse in (lambda: encode([(b'X-A', b'\n' * 1000)]),
                   lambda: encode_pair('X-A', '\n' * 1000),
                   lambda: encode_pair('X-A', '\u20ac' * 1000)):
        with pytest.raises(HeaderError, match=r'the value of header X-A ') as caught:
            refuse()
        assert len(str(caught.value)) < 200


def test_a_generator_with_a_fault_is_refused_though_it_cannot_be_read_again():
    with pytest.raises(HeaderError, match='read once only'):
        encode(pair for pair in [(b'a', b'\n')])


def test_few_names_are_kept_and_no_long_ones():
    for number in range(3000):
        encode([(b'x-%d' % number, b'')])
        encode_pair(f'y-{number}', '')
        assert 0 < len(encoder.known_names) <= 1024
    encoder.known_names.update(b'%d' % number for number in range(3000))
    encode([(b'a', b'')])
    assert encoder.known_names == {b'a'}
    assert encode([(b'a' * 65, b'b')])[0] == b'a' * 65 + b': b\r\n'
    assert encoder.known_names == {b'a'}


def test_names_are_kept_but_never_values_nor_the_fields_that_mean_something():
    secret = b'secret'
    encode([(b'Set-Cookie', secret), (b'Authorization', secret), (b'Content-Length', b'1'),
            (b'Connection', b'x'), (b'Transfer-Encoding', b'x'), (b'Date', b'x'), (b'Server', b'')])
    assert encoder.known_names == {b'Set-Cookie', b'Authorization'}


def test_few_lengths_are_remembered_and_each_is_read_as_it_was():
    for number in range(3000):
        for _ in range(2):
            assert encode([(b'content-length', b'%d' % number)])[1] == number
        assert len(encoder._lengths) <= 1024
    for value, number in ((b'007', 7), (b'9' * 9, 999_999_999), (b'1' + b'0' * 18, 10 ** 18)):
        for _ in range(3):
            assert encode([(b'content-length', value)])[1] == number
    assert all(len(value) <= 9 for value in encoder._lengths)
    with pytest.raises(HeaderError):
        encode([(b'content-length', b'7'), (b'content-length', b'8')])
    assert encode([(b'content-length', b'7'), (b'content-length', b'7')])[1] == 7
