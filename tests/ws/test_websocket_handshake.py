"""The handshake of a WebSocket: what is one, what is refused, and every byte of its fields."""

from __future__ import annotations

import copy
import pickle

import pytest
from each_case import for_each
from linear import is_linear

from tremolo.http import Limits, ProtocolError, RequestParser
from tremolo.ws.handshake import (
    HandshakeError,
    accept_value,
    read_extensions,
    read_handshake,
)

KEY = b'dGhlIHNhbXBsZSBub25jZQ=='
UPGRADE = b'Upgrade: websocket\r\nConnection: Upgrade\r\n'
FIELDS = UPGRADE + b'Sec-WebSocket-Key: ' + KEY + b'\r\nSec-WebSocket-Version: 13\r\n'


def request(fields=FIELDS, method=b'GET', version=b'1.1', body=b''):
    return (method + b' /chat HTTP/' + version + b'\r\nHost: server.example.com\r\n' + fields
            + b'\r\n' + body)


def read(data):
    parser = RequestParser(Limits())
    parser.feed(data)
    return read_handshake(parser.next_event())


def status(fields, **others):
    """The status that refuses a handshake; 101 if it is one, and 200 if it is none."""
    try:
        return 200 if read(request(fields, **others)) is None else 101
    except ProtocolError as error:
        return error.status


def with_key(value):
    return FIELDS.replace(KEY, value)


def test_the_handshake_of_the_rfc():
    # Section 1.3 of RFC 6455.
    handshake = read(request(FIELDS + b'Origin: http://example.com\r\n'
                             b'Sec-WebSocket-Protocol: chat, superchat\r\n'))
    assert handshake.key == KEY
    assert handshake.subprotocols == ['chat', 'superchat']
    assert handshake.extensions == b''
    assert accept_value(handshake.key) == b's3pPLMBiTxaQ9kYGzzhZRbK+xOo='


@pytest.mark.parametrize('fields', [
    b'upgrade: WebSocket\r\nCONNECTION: UPGRADE\r\n',
    b'Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n',
    b'Upgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n',
    b'Upgrade: h2c,  WEBSOCKET\t\r\nConnection: Upgrade , x\r\n',
    b'Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: ,upgrade,\r\n',
])
def test_upgrade_and_connection_are_lists_without_case(fields):
    assert status(FIELDS.replace(UPGRADE, fields)) == 101


@pytest.mark.parametrize('fields', [
    b'', b'Upgrade: websocket\r\n', b'Connection: Upgrade\r\n',
    b'Upgrade: h2c\r\nConnection: Upgrade\r\n',
    b'Upgrade: websockets\r\nConnection: Upgrade\r\n',
    b'Upgrade: websocket/13\r\nConnection: Upgrade\r\n',
    b'Upgrade: web socket\r\nConnection: Upgrade\r\n',
    b'Upgrade: "websocket"\r\nConnection: Upgrade\r\n',
    b'Upgrade: websocket\r\nConnection: Upgraded\r\n',
    b'Upgrade: websocket\r\nConnection: close\r\n',
    b'Upgrade: websocket\r\nConnection: "Upgrade"\r\n',
    b'Upgrade: \xa0websocket\r\nConnection: Upgrade\r\n',
    b'Upgrade: websocket\xa0\r\nConnection: Upgrade\r\n',
    b'Upgrade: websocket\r\nConnection: Upgrade\xa0\r\n',
])
def test_what_is_no_handshake_is_an_ordinary_request(fields):
    assert status(FIELDS.replace(UPGRADE, fields)) == 200
    # Then the other fields are nobody's business.
    assert status(fields + b'Sec-WebSocket-Key: x\r\nSec-WebSocket-Protocol: ,\r\n') == 200


def test_another_method_or_version_of_http_is_no_handshake():
    for method in (b'POST', b'HEAD', b'get', b'OPTIONS', b'PUT'):
        assert status(FIELDS, method=method) == 200
    assert status(FIELDS, version=b'1.0') == 200


def test_a_handshake_has_no_body():
    assert status(FIELDS + b'Content-Length: 0\r\n') == 101
    assert status(FIELDS + b'Content-Length: 3\r\n', body=b'abc') == 400
    assert status(FIELDS + b'Transfer-Encoding: chunked\r\n', body=b'0\r\n\r\n') == 400


def test_the_version_is_13_and_another_is_told_so():
    for value in (b'', b'12', b'8', b'14', b'013', b'13.0', b'1 3', b'+13', b'13, 8', b'8, 13',
                  b'13,', b'\xb13', b'13\xa0', b'x', b'-13', b'13;', b'0xd'):
        fields = FIELDS.replace(b'Version: 13', b'Version: ' + value)
        with pytest.raises(HandshakeError, match='Sec-WebSocket-Version is not 13') as caught:
            read(request(fields))
        error = caught.value
        assert error.status == 426
        assert dict(error.fields) == {'Sec-WebSocket-Version': '13', 'Upgrade': 'websocket'}
        for each in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert (each.status, each.sentence, each.arrived, each.fields) == (
                error.status, error.sentence, error.arrived, error.fields)
    assert status(FIELDS.replace(b'Version: 13', b'Version: \t13 ')) == 101
    # Without one it is a client of an older draft. Its other faults do not count.
    assert status(UPGRADE) == 426
    assert status(FIELDS.replace(b'Version: 13', b'Version: 8').replace(KEY, b'')) == 426
    # Twice: the parser refuses that of any request.
    assert status(FIELDS + b'Sec-WebSocket-Version: 13\r\n') == 400


def test_the_key_is_16_bytes_in_base64_and_there_is_one():
    for value in (b'', b'x', KEY[:-1], KEY + b'=', KEY[1:], b'A' + KEY, KEY[:-2], KEY[:-2] + b'AA',
                  b'=' * 24, KEY[:11] + b'-' + KEY[12:], KEY[:11] + b'_' + KEY[12:],
                  KEY[:11] + b' ' + KEY[12:], KEY + b',' + KEY, KEY[:-3] + b'R==',
                  b'"' + KEY + b'"', KEY[:10], KEY * 2, KEY[:-1] + b'\xa0', b'\xe9' * 24):
        assert status(with_key(value)) == 400, value
    for value in (b'A' * 21 + b'A==', b'/+' * 10 + b'9g==', b'z' * 21 + b'w=='):
        assert read(request(with_key(value))).key == value
    assert status(FIELDS.replace(b'Sec-WebSocket-Key: ' + KEY + b'\r\n', b'')) == 400
    for second in (KEY, b'A' * 22 + b'==', b''):
        assert status(FIELDS + b'sec-websocket-key: ' + second + b'\r\n') == 400


@pytest.mark.parametrize(('lines', 'expected'), [
    ([], []), ([b'a'], ['a']), ([b'b, a,  A\t,c'], ['b', 'a', 'A', 'c']),
    ([b'chat.v2', b'x!#$%&\'*+-.^_`|~9Z'], ['chat.v2', 'x!#$%&\'*+-.^_`|~9Z']),
    ([b'a, b', b'c'], ['a', 'b', 'c']), ([b',a,, b ,'], ['a', 'b']), ([b'', b'a'], ['a']),
    ([b'a', b'a'], ['a', 'a']),
    ([b''], 400), ([b','], 400), ([b' , ,'], 400), ([b'', b''], 400), ([b'a b'], 400),
    ([b'a/b'], 400), ([b'a;b'], 400), ([b'a=b'], 400), ([b'"a"'], 400), ([b'(a)'], 400),
    ([b'\xc3\xa9'], 400), ([b'\xe9'], 400), ([b'a\xa0'], 400), ([b'\x85'], 400), ([b'a,b c'], 400),
])
def test_subprotocols_are_tokens_in_their_order_and_case(lines, expected):
    fields = FIELDS + b''.join(b'Sec-WebSocket-Protocol: ' + line + b'\r\n' for line in lines)
    if expected == 400:
        assert status(fields) == 400
    else:
        assert read(request(fields)).subprotocols == expected


@for_each(('value', 'expected'), [
    (b'', []), (b' ', []), (b',', []), (b'x', [(b'x', [])]),
    (b'permessage-deflate; client_max_window_bits',
     [(b'permessage-deflate', [(b'client_max_window_bits', None)])]),
    (b'a;b=c;d="e" , ,f ; g = h;g= "\\i\\j"',
     [(b'a', [(b'b', b'c'), (b'd', b'e')]), (b'f', [(b'g', b'h'), (b'g', b'ij')])]),
    (b'a;', None), (b';a', None), (b'a;;b', None), (b'a;=b', None), (b'a;b=', None), (b'a b', None),
    (b'a;b=""', None), (b'a;b="c', None), (b'a;b=c"', None), (b'a;b="c d"', None),
    (b'a;b="c,d"', None), (b'a;b="c;d"', None), (b'a;b="c\\"', None), (b'a;b="\\""', None),
    (b'a;b=c=d', None), (b'a=b', None), (b'a;b="c"d', None), (b'"a"', None), (b'a;"b"', None),
    (b'\xe9', None), (b'a;b=\xe9', None), (b'a;b="\xe9"', None), (b'a\xa0', None), (b'a;b c', None),
    (b'a, b;', None),
])
def test_extensions_have_the_grammar_of_the_rfc(value, expected):
    assert read_extensions(value) == expected
    fields = FIELDS + b'Sec-WebSocket-Extensions: ' + value + b'\r\n'
    assert status(fields) == (400 if expected is None else 101)
    if expected is not None:
        assert read(request(fields)).extensions == value.strip()
        # Several fields are one list (section 9.1).
        more = read(request(fields + b'Sec-WebSocket-Extensions: z\r\n')).extensions
        assert read_extensions(more) == [*expected, (b'z', [])]


TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@for_each('octet', range(256))
def test_every_byte_in_every_field_has_an_answer(octet):
    byte = bytes([octet])
    is_text = (octet >= 32 and octet != 127) or octet == 9
    for name, value, good, bad in [
            (b'Sec-WebSocket-Protocol', b'a%bb', TOKEN + b',', 400),
            (b'Sec-WebSocket-Protocol', b'%b', TOKEN, 400),
            (b'Sec-WebSocket-Extensions', b'a%bb', TOKEN + b',;', 400),
            (b'Sec-WebSocket-Extensions', b'a;b%bc', TOKEN + b',;=', 400),
            (b'Sec-WebSocket-Extensions', b'a;b=%b', TOKEN, 400),
            (b'Sec-WebSocket-Extensions', b'a;b="c%bd"', TOKEN + b'\\', 400),
            (b'Origin', b'http://a%bb', bytes(range(256)), 400),
            (b'Cookie', b'a=%b', bytes(range(256)), 400)]:
        expected = 101 if octet in good and is_text else bad
        line = name + b': ' + value.replace(b'%b', byte) + b'\r\n'
        assert status(FIELDS + line) == expected, line
    for place in (0, 7, 20, 21, 22, 23):
        key = KEY[:place] + byte + KEY[place + 1:]
        assert status(with_key(key)) == (101 if key == KEY or ((place < 21 and byte.isalnum())
                                         or (place < 21 and octet in b'+/')
                                         or (place == 21 and octet in b'AQgw')) else 400), key
    for place in (b'%b13', b'1%b3', b'13%b'):
        value = place.replace(b'%b', byte)
        expected = (400 if not is_text else 101 if value.strip(b' \t') == b'13' else 426)
        assert status(FIELDS.replace(b': 13', b': ' + value)) == expected, value
    for line, good in ((b'Upgrade: %bwebsocket\r\nConnection: Upgrade\r\n', b' \t,'),
                       (b'Upgrade: websocket\r\nConnection: Upgrade%b\r\n', b' \t,'),
                       (b'Upgrade: web%bsocket\r\nConnection: Upgrade\r\n', b'')):
        fields = FIELDS.replace(UPGRADE, line.replace(b'%b', byte))
        assert status(fields) == (400 if not is_text else 101 if octet in good else 200), fields


def test_a_sentence_says_nothing_of_what_was_sent():
    for fields in (with_key(b'SECRET'), FIELDS + b'Sec-WebSocket-Protocol: SEC/RET\r\n',
                   FIELDS + b'Sec-WebSocket-Extensions: SECRET=1\r\n',
                   FIELDS.replace(b': 13', b': SECRET')):
        with pytest.raises(HandshakeError) as caught:
            read(request(fields))
        assert 'SEC' not in caught.value.sentence
    # The key is nobody's business, and not for the log.
    with pytest.raises(HandshakeError) as caught:
        read(request(with_key(b'SECRET')))
    assert 'SECRET' not in str(caught.value)


@pytest.mark.parametrize('make', [
    lambda n: b'a,' * n, lambda n: b',' * n, lambda n: b'a' + b';b' * n, lambda n: b'a;' * n,
    lambda n: b'a;b="' + b'c' * n, lambda n: b'a;b="' + b'\\c' * n + b'"',
    lambda n: b'a;b' + b' ' * n + b'c', lambda n: b'a;b=' + b' ' * n + b'"',
    lambda n: b'a;b="' + b'\\' * n + b'"', lambda n: b'a;' + b'b' * n + b'/'])
def test_extensions_take_time_as_they_are_long(make):
    assert is_linear(read_extensions, make, 2000)
