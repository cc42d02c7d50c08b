"""Every option once: conversion, units, precedence, and errors that say what is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tremolo.errors import SettingError
from tremolo.settings import OPTIONS, Address, Options, Settings, option_table, parse_bind


def refusal(**options):
    """The one line with which these options are refused."""
    with pytest.raises(SettingError) as caught:
        Settings(**options)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_every_option_is_an_attribute_with_its_default():
    settings = Settings()
    for option in OPTIONS:
        assert getattr(settings, option.name) == option.default
    assert [name for name, _ in settings.items()] == [option.name for option in OPTIONS]


def test_every_default_is_accepted_as_a_value_and_as_it_is_shown():
    for option in OPTIONS:
        assert option.convert(option.default) == option.default
        if option.default != ():
            assert option.convert(option.show(option.default)) == option.default


def test_every_option_has_a_type_a_line_of_help_and_a_name_of_its_own():
    names = [name for option in OPTIONS for name in (option.name, *option.synonyms)]
    assert len(names) == len(set(names))
    for option in OPTIONS:
        assert option.name in Options.__annotations__
        assert option.help and '\n' not in option.help


def test_reading_an_option_is_a_plain_slot():
    settings = Settings()
    assert not hasattr(settings, '__dict__')
    assert type(Settings.head_size).__name__ in ('member_descriptor', 'getset_descriptor')


@pytest.mark.parametrize('text, size', [
    ('0', 0), ('16384', 16384), ('64k', 65536), ('64K', 65536), ('16KiB', 16384),
    ('2MiB', 2097152), ('2 MiB', 2097152), ('1GiB', 1 << 30), ('3m', 3 << 20), ('1g', 1 << 30),
])
def test_a_size_is_bytes_or_has_a_unit(text, size):
    assert Settings(discard_size=text).discard_size == size


@pytest.mark.parametrize('text, seconds', [
    ('0', 0), ('5', 5), ('0.5', 0.5), ('.5', 0.5), ('500ms', 0.5), ('30s', 30), ('1.5 s', 1.5),
    ('5m', 300), ('1h', 3600), ('1H', 3600),
])
def test_a_time_is_seconds_or_has_a_unit(text, seconds):
    assert Settings(idle_timeout=text).idle_timeout == pytest.approx(seconds)


@pytest.mark.parametrize('value', [
    '', 'x', '-1', '1.5', '1 000', '1_000', '0x10', '16KB', '٣', '1KiB1', 1.5, True, None, b'1', [],
])
def test_what_is_not_a_size_is_refused(value):
    assert refusal(discard_size=value).startswith('discard_size: ')


@pytest.mark.parametrize('value', [
    '', 'x', '-1', '1e3', 'nan', 'inf', '1d', '1m30s', '1.', float('nan'), float('inf'), True,
    None, b'1',
])
def test_what_is_not_a_time_is_refused(value):
    message = refusal(idle_timeout=value)
    assert message.startswith('idle_timeout: ')
    assert '500ms, 30s, 5m, 1h' in message


def test_a_negative_number_is_refused():
    assert refusal(discard_size=-1) == 'discard_size: -1 is too small, at least 0 bytes'
    assert refusal(idle_timeout=-0.5) == 'idle_timeout: -0.5 is too small, at least 0 seconds'
    assert refusal(connections=-1) == 'connections: -1 is too small, at least 0'


def test_a_limit_that_would_refuse_every_request_is_refused_itself():
    assert refusal(head_size=0) == 'head_size: 0 is too small, at least 64 bytes'
    assert refusal(head_timeout=0) == 'head_timeout: 0 is too small, at least 0.001 seconds'
    assert refusal(field_count=0) == 'field_count: 0 is too small, at least 1'


@pytest.mark.parametrize('value', ['off', 'OFF', 'none', None])
def test_off_turns_off_what_can_be_off(value):
    settings = Settings(
        body_size=value, connections=value, handler_timeout=value, min_upload_rate=value,
        min_download_rate=value, server_name=value)
    assert settings.body_size is None
    assert settings.connections == settings.handler_timeout == 0
    assert settings.min_upload_rate == settings.min_download_rate == 0
    assert settings.server_name == ''


def test_zero_bytes_of_body_is_a_limit_and_not_off():
    assert Settings(body_size=0).body_size == 0
    assert Settings(body_size='0').body_size == 0


def test_what_cannot_be_off_says_so_by_what_it_accepts():
    assert 'off' not in refusal(idle_timeout='off').replace("'off'", '')
    assert refusal(body_size='x').endswith(', or off')


def test_a_flag_takes_the_usual_words():
    for word in (True, 'true', 'Yes', 'ON', '1', 1):
        assert Settings(debug=word).debug is True
    for word in (False, 'false', 'No', 'OFF', '0', 0):
        assert Settings(debug=word).debug is False
    assert refusal(debug='perhaps') == "debug: 'perhaps' is not true or false"


def test_a_log_level_is_one_of_five_words():
    assert Settings(log_level='WARNING').log_level == 'warning'
    assert 'debug, info, warning, error, critical' in refusal(log_level='loud')


def test_a_server_name_cannot_split_a_response_head():
    for name in ('a\r\nb', 'a\nb', 'a\0b', 'a\x7fb', 'tremoló'):
        assert refusal(server_name=name).startswith('server_name: ')


def test_a_port_ends_at_65535():
    assert Settings(port='0').port == 0
    assert Settings(port=65535).port == 65535
    assert refusal(port=65536) == 'port: 65536 is not a number from 0 (any free port) to 65535'
    assert refusal(port='http').startswith("port: 'http' is not a number")


def test_an_unknown_option_gets_the_near_names():
    assert refusal(idel_timeout=1).startswith(
        'idel_timeout: no such option, did you mean idle_timeout')
    assert refusal(zzzzzzzz=1) == 'zzzzzzzz: no such option'


def test_a_synonym_sets_the_option():
    assert Settings(keepalive_timeout=7).idle_timeout == 7
    assert Settings(client_max_body_size='1MiB').body_size == 1 << 20
    assert Settings(app_handler_timeout=3).handler_timeout == 3


def test_an_option_and_its_synonym_together_are_refused():
    assert refusal(idle_timeout=1, keep_alive=2) == 'idle_timeout: given twice, also as keep_alive'


def test_a_long_value_is_cut_in_the_error():
    assert len(refusal(idle_timeout='x' * 1000)) < 200


def test_replace_leaves_the_original_alone():
    first = Settings(port=1)
    second = first.replace(port=2, head_timeout='1s')
    assert (first.port, first.head_timeout) == (1, 10)
    assert (second.port, second.head_timeout) == (2, 1)
    with pytest.raises(SettingError, match='no such option'):
        first.replace(prot=3)


def test_equal_settings_are_equal_and_the_repr_shows_what_differs():
    assert Settings(port=1) == Settings(port='1') != Settings()
    assert Settings() != 'Settings()'
    assert repr(Settings()) == 'Settings()'
    assert repr(Settings(idle_timeout='1m', port=8000)) == 'Settings(idle_timeout=60.0)'


def test_the_environment_is_read_and_what_was_given_wins():
    environ = {'TREMOLO_IDLE_TIMEOUT': '7s', 'TREMOLO_HEAD_SIZE': '1KiB', 'HOME': '/'}
    settings = Settings.load({'head_size': 2048}, environ)
    assert settings.idle_timeout == 7
    assert settings.head_size == 2048
    assert Settings.load({}, {}) == Settings()


def test_a_synonym_that_was_given_wins_over_the_environment():
    settings = Settings.load({'keep_alive': 3}, {'TREMOLO_IDLE_TIMEOUT': '7'})
    assert settings.idle_timeout == 3


def test_an_empty_variable_counts_as_not_set():
    assert Settings.load({}, {'TREMOLO_PORT': '', 'PORT': ''}) == Settings()


def test_the_shared_port_variable_comes_after_our_own():
    assert Settings.load({}, {'PORT': '81'}).port == 81
    assert Settings.load({}, {'PORT': '81', 'TREMOLO_PORT': '82'}).port == 82
    assert Settings.load({'port': 83}, {'PORT': '81', 'TREMOLO_PORT': '82'}).port == 83


def test_a_bad_variable_is_named():
    for variable in ('PORT', 'TREMOLO_PORT', 'TREMOLO_IDLE_TIMEOUT', 'TREMOLO_BIND'):
        with pytest.raises(SettingError, match=f"^{variable}: 'x' "):
            Settings.load({}, {variable: 'x'})


@pytest.mark.parametrize('text, address', [
    ('127.0.0.1:8000', Address('127.0.0.1', 8000)),
    ('localhost:0', Address('localhost', 0)),
    (':8000', Address('', 8000)),
    ('[::1]:8000', Address('::1', 8000)),
    ('[::]:80', Address('::', 80)),
    ('[fe80::1%eth0]:80', Address('fe80::1%eth0', 80)),
    ('[::ffff:127.0.0.1]:80', Address('::ffff:127.0.0.1', 80)),
    ('unix:/run/app.sock', Address(None, 0, '/run/app.sock')),
    ('unix:app.sock', Address(None, 0, 'app.sock')),
])
def test_an_address_is_read_and_written_back(text, address):
    assert parse_bind(text) == address
    assert str(address) == text


@pytest.mark.parametrize('text, complaint', [
    ('', 'no port'), ('localhost', 'no port'), ('8000', 'no port'),
    ('host:', 'bad port'), ('host:65536', 'bad port'), ('host:-1', 'bad port'),
    ('host:http', 'bad port'), ('host:٣', 'bad port'), ('host: 80', 'bad port'),
    ('::1:8000', r'write IPv6 as \[::1\]:8000'), ('::1', r'write \[::1\]:8000'),
    ('[::1]', r'not \[IPV6\]:PORT'), ('[::1]8000', 'not'), ('[localhost]:80', 'not'),
    ('[]:80', 'not'), ('[::1]:', 'bad port'), ('[::1', 'not'),
    ('unix:', 'no path'), ('unix:/a\0b', 'no path'), ('/run/app.sock:1', 'unix:/path'),
])
def test_a_bad_address_is_refused_with_the_form_to_write(text, complaint):
    with pytest.raises(SettingError, match=complaint):
        parse_bind(text)


def test_bind_takes_one_address_or_several():
    one, two = Address('', 80), Address('::1', 81)
    assert Settings(bind=':80').bind == (one,)
    assert Settings(bind=one).bind == (one,)
    assert Settings(bind=[':80', two]).bind == (one, two)
    assert Settings.load({}, {'TREMOLO_BIND': ':80, [::1]:81'}).bind == (one, two)
    assert refusal(bind=[3]).startswith('bind: [3] is not HOST:PORT')
    assert refusal(bind=3).startswith('bind: 3 is not HOST:PORT')


def test_the_addresses_are_bind_or_else_host_and_port():
    assert Settings().addresses == (Address('127.0.0.1', 8000),)
    assert Settings(bind=['unix:/a', ':1']).addresses == (Address(None, 0, '/a'), Address('', 1))


def test_bind_beside_host_or_port_is_refused_when_both_were_given():
    assert 'give either' in refusal(bind=':80', port=81)
    assert 'give either' in refusal(bind=':80', host='::')
    # A host sets PORT for everybody, which is nobody's contradiction.
    assert Settings.load({'bind': ':80'}, {'PORT': '81'}).addresses == (Address('', 80),)
    assert Settings.load({}, {'TREMOLO_BIND': ':80', 'PORT': '81'}).addresses == (Address('', 80),)


def test_a_port_that_was_given_wins_over_the_environments_bind():
    settings = Settings.load({'port': 0}, {'TREMOLO_BIND': ':80'})
    assert settings.addresses == (Address('127.0.0.1', 0),)


def test_the_markdown_table_has_a_line_for_every_option():
    table = option_table()
    for option in OPTIONS:
        assert f'| `{option.name}` |' in table
        for name in option.synonyms:
            assert f'`{name}`' in table
    assert '`16KiB` | bytes' in table
    assert {line.count('|') for line in table.splitlines()} == {5}


def test_the_readme_holds_the_table_as_it_is():
    readme = Path(__file__).resolve().parents[2] / 'README.md'
    assert option_table() in readme.read_text(encoding='utf-8')
