"""Addresses: options after `?`, sockets that are open already, and that each is written back."""

from __future__ import annotations

import os
import random
import stat

import pytest

from tremolo import SettingError, Tremolo
from tremolo.settings import Address, Settings, parse_bind
from tremolo.settings.settings import address_with

OPTIONS = (('idle_timeout', '5s'), ('server_name', 'a b'))


@pytest.mark.parametrize('text, address', [
    ('fd:3', Address(None, fd=3)),
    ('fd:web', Address(None, name='web')),
    ('fd:a.socket-2', Address(None, name='a.socket-2')),
    ('fd:3:web', Address(None, fd=3, name='web')),
    ('fd:3:80', Address(None, fd=3, name='80')),
    ('fd:3:a%3Fb%253F', Address(None, fd=3, name='a?b%3F')),
    ('unix:/run/a%3Fb', Address(None, 0, '/run/a?b')),
    ('unix:/run/a%b%2', Address(None, 0, '/run/a%b%2')),
    ('unix:/run/a%253F', Address(None, 0, '/run/a%3F')),
    ('unix:/run/100%', Address(None, 0, '/run/100%')),
    ('unix:/a?socket_mode=off', Address(None, 0, '/a', -1)),
    ('unix:/a?socket_mode=007', Address(None, 0, '/a', 7)),
    (':80?idle_timeout=5s', Address('', 80, options=(('idle_timeout', '5s'),))),
    ('[::1]:80?idle_timeout=5s', Address('::1', 80, options=(('idle_timeout', '5s'),))),
    ('unix:/a?socket_mode=600&idle_timeout=5s&server_name=a%20b',
     Address(None, 0, '/a', 0o600, options=OPTIONS)),
    ('fd:web?ssl_certfile=a.pem%2Cb.pem',
     Address(None, name='web', options=(('ssl_certfile', 'a.pem,b.pem'),))),
])
def test_an_address_is_read_and_written_back(text, address):
    assert parse_bind(text) == address
    assert str(address) == text


@pytest.mark.parametrize('text, same', [
    ('fd://3', 'fd:3'), ('fd://web', 'fd:web'), ('unix:/a%3fb', 'unix:/a%3Fb'),
    ('unix:/a?socket_mode=0660', 'unix:/a?socket_mode=660'),
    ('unix:/a?socket_mode=0o660', 'unix:/a?socket_mode=660'),
    (':80?server_name=a b&head_size=1%4b', ':80?server_name=a%20b&head_size=1K'),
    (':80?server_name=a=b?c', ':80?server_name=a%3Db%3Fc'),
])
def test_the_same_may_be_written_in_another_way(text, same):
    assert parse_bind(text) == parse_bind(same)
    assert str(parse_bind(text)) == same


def test_whatever_an_address_holds_it_is_read_back():
    chance = random.Random(23)
    for _ in range(2000):
        text = 'x' + ''.join(chance.choices('%235Ff?&=,/ aé\udc80', k=chance.randint(1, 8)))
        options = (('a', text), ('b', text[::-1]))
        for address in (Address(None, 0, text, chance.choice((None, -1, 0o600)), options=options),
                        Address('::1', 80, options=options),
                        Address(None, fd=3, name=text.replace('\udc80', ''),
                                options=options)):
            assert parse_bind(str(address)) == address
            assert ',' not in str(address).partition('?')[2]


@pytest.mark.parametrize('text, complaint', [
    ('fd:', "bind: 'fd:' is no open socket, write fd:3 or fd:NAME"),
    ('fd://', "bind: 'fd://' is no open socket, write fd:3 or fd:NAME"),
    ('fd:3:', "bind: 'fd:3:' is no open socket"),
    ('fd:a:b', "bind: 'fd:a:b' is no open socket"),
    ('fd:a\nb', "bind: 'fd:a\\nb' is no open socket"),
    ('fd:99999999999', "bind: 'fd:99999999999' is too large a number of a descriptor"),
    ('unix:?idle_timeout=5', "bind: 'unix:' has no path, write unix:/path/to/socket"),
    (':80?', "bind: ':80': after `?` options stand, written NAME=VALUE&NAME=VALUE"),
    (':80?debug', "bind: ':80': after `?` options stand, written NAME=VALUE&NAME=VALUE"),
    (':80?a=1&', "bind: ':80': after `?` options stand, written NAME=VALUE&NAME=VALUE"),
    (':80?a=%2', "bind: ':80': a: after % two hex digits stand; % itself is written %25"),
    (':80?idle_timeout=1&idle_timeout=1', "bind: ':80': idle_timeout: given twice"),
    (':80?socket_mode=660', "bind: ':80': socket_mode: is for UNIX sockets"),
    ('fd:3?socket_mode=660', "bind: 'fd:3': socket_mode: is for UNIX sockets"),
    ('unix:/a?socket_mode=66', "bind: 'unix:/a': socket_mode: '66' is not a file's mode in octal"),
    ('unix:/a?socket_mode=1660', "bind: 'unix:/a': socket_mode: '1660' is not a file's mode"),
])
def test_what_cannot_be_read_is_told_and_its_values_are_not(text, complaint):
    with pytest.raises(SettingError) as caught:
        parse_bind(text)
    assert str(caught.value).startswith(complaint)
    if '?' in text:
        with pytest.raises(SettingError) as caught:
            parse_bind(f'{text}&ssl_keyfile_password=secret')
        assert 'secret' not in str(caught.value)


@pytest.mark.parametrize('query, complaint', [
    ('idel_timeout=5', 'idel_timeout: no such option, did you mean idle_timeout'),
    ('workers=2', 'workers: is an option of the whole server, not of one address'),
    ('idle_timeout=soon', "idle_timeout: 'soon' is not a time"),
    ('keep_alive=5&idle_timeout=5', 'keep_alive: given twice, also as idle_timeout'),
    ('ssl_context=x', 'ssl_context: '),
])
def test_an_option_that_there_is_not_is_told_with_its_address(query, complaint):
    text = f'unix:/a?{query}'
    with pytest.raises(SettingError) as caught:
        Settings(bind=text)
    assert str(caught.value).startswith(f"bind: 'unix:/a': {complaint}")
    with pytest.raises(SettingError) as caught:
        Settings.load({}, {'TREMOLO_BIND': text})
    assert str(caught.value).startswith(f"TREMOLO_BIND: 'unix:/a': {complaint}")
    with pytest.raises(SettingError) as caught:
        Tremolo().listen(text)
    assert str(caught.value).startswith(complaint)


def test_the_options_of_an_address_are_those_of_listen():
    app = Tremolo()
    app.listen(':81?keep_alive=5s', head_size='1KiB')
    app.listen('unix:/a', socket_mode='600')
    settings = Settings(bind=[':80?body_size=5', 'unix:/b?socket_mode=660&ws_max_size=7'])
    assert app.addresses(settings) == [
        (Address('', 80), {'body_size': 5}),
        (Address(None, 0, '/b', 0o660), {'ws_message_size': 7}),
        (Address('', 81), {'idle_timeout': 5.0, 'head_size': 1024}),
        (Address(None, 0, '/a', 0o600), {})]
    for options in ({'keep_alive': 5}, {'idle_timeout': 5}):
        with pytest.raises(SettingError, match='given twice'):
            app.listen(':82?keep_alive=5', **options)
    with pytest.raises(SettingError, match='socket_mode: given twice'):
        app.listen('unix:/a?socket_mode=600', socket_mode='600')
    with pytest.raises(SettingError, match='socket_mode: is for UNIX sockets'):
        app.listen(82, socket_mode='600')


def test_a_comma_divides_addresses_in_a_text_and_in_a_value_it_is_written_otherwise():
    one, two = Settings.load({}, {'TREMOLO_BIND': ':80?ssl_certfile=a%2Cb, :81'}).bind
    assert address_with(one, {})[1]['ssl_certfile'] == (
        os.path.abspath('a'), os.path.abspath('b'))
    assert two == Address('', 81)
    assert Settings(bind=[':80?ssl_certfile=a,b']).bind == (one,)


def test_a_password_in_an_address_is_not_shown():
    settings = Settings(bind=':80?ssl_certfile=a&ssl_keyfile_password=secret')
    assert 'secret' not in repr(settings)
    assert "ssl_keyfile_password=***" in repr(settings)


def test_a_name_means_each_socket_that_has_it():
    three, four = parse_bind('fd:3:web'), parse_bind('fd:4:web')
    assert parse_bind('fd:web').means(three) and parse_bind('fd:web').means(four)
    assert parse_bind('fd:3').means(three) and not parse_bind('fd:3').means(four)
    assert not parse_bind('fd:admin').means(three)
    assert parse_bind('unix:/a?socket_mode=600').means(parse_bind('unix:/a'))
    assert not parse_bind(':80').means(three) and not three.means(parse_bind(':80'))


def test_a_unix_socket_has_the_mode_and_the_path_that_its_address_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o027)
    try:
        with Tremolo().start(bind=['unix:a%3Fb?socket_mode=606&idle_timeout=5',
                                   'unix:c?socket_mode=off']) as running:
            assert stat.S_IMODE(os.stat('a?b').st_mode) == 0o606
            assert stat.S_IMODE(os.stat('c').st_mode) == 0o750
            times = [part.settings.idle_timeout for part in running.server.parts.values()]
            assert times == [5, 75]
        assert os.listdir() == []
    finally:
        os.umask(before)
