"""`--show-config`: each option, its value, and where that came from; no password."""

from __future__ import annotations

import pytest

from tremolo import SettingError
from tremolo.settings import OPTIONS, Settings, parse_bind
from tremolo.settings.settings import variables_of
from tremolo.settings.shown import shown_lines


def shown(options=None, **environ) -> dict[str, list[str]]:
    """Give the value and the origin of each option."""
    lines = [line.split(None, 2) for line in shown_lines(options or {}, environ)]
    return {name: rest for name, *rest in lines}


def test_each_option_is_a_line_in_the_order_of_the_table():
    found = shown()
    assert list(found) == [option.name for option in OPTIONS]
    assert {origin for _, origin in found.values()} == {'default'}
    assert found['idle_timeout'][0] == '75s' and found['connections'][0] == 'off'


@pytest.mark.parametrize('option', [each for each in OPTIONS if each.variables],
                         ids=lambda each: each.name)
def test_each_name_of_each_option_is_said(option):
    value = 'on' if option.kind == 'flag' else option.show(option.default) or 'x'
    if option.kind in ('target', 'path', 'place', 'binds', 'paths', 'file', 'networks'):
        value = {'target': '/x', 'place': ':1', 'binds': ':1', 'networks': 'unix'}.get(
            option.kind, '/x')
    for variable in option.variables:
        if option.group in ('TLS', 'proxies') or option.name == 'reload':
            continue    # (Those that need others.)
        assert variables_of({}, {variable: value}) == {option.name: variable}
        assert shown(**{variable: value})[option.name][1] == variable
    for name in option.names:
        origin = 'command line' + ('' if name == option.name else
                                   f', --{name.replace("_", "-")}')
        if option.group not in ('TLS', 'proxies'):
            assert shown({name: value}, **{option.variables[0]: value})[
                option.name][1] == origin


def test_what_wins_is_what_a_start_takes():
    environ = {'PORT': '81', 'TREMOLO_PORT': '82', 'TREMOLO_KEEP_ALIVE': '5',
               'TREMOLO_BIND': ':83', 'TREMOLO_IDLE_TIMEOUT': ''}
    found = shown(**environ)
    assert found['port'] == ['82', 'TREMOLO_PORT']
    assert found['idle_timeout'] == ['5s', 'TREMOLO_KEEP_ALIVE']
    assert found['bind'] == [':83', 'TREMOLO_BIND']
    # A port that is given wins over a variable with addresses.
    found = shown({'port': 84}, **environ)
    assert (found['port'], found['bind']) == (['84', 'command line'], ['-', 'default'])
    settings = Settings.load({'port': 84}, environ)
    assert (settings.port, settings.bind) == (84, ())


def test_no_password_is_shown():
    bind = ':80?ssl_certfile=a.pem&ssl_keyfile_password=geheim'
    for options, environ in (
            ({'bind': (parse_bind(bind),)}, {}), ({}, {'TREMOLO_BIND': bind}),
            ({'ssl_certfile': 'a.pem', 'ssl_keyfile_password': 'geheim'}, {}),
            ({'ssl_certfile': 'a.pem'}, {'TREMOLO_KEYFILE_PASSWORD': 'geheim'})):
        lines = '\n'.join(shown_lines(options, environ))
        assert '***' in lines
        assert 'geheim' not in lines


def test_a_value_stays_on_its_line_and_a_mistake_is_that_of_a_start():
    found = shown_lines({'log_config': '/a\nb'}, {})
    assert len(found) == len(OPTIONS)
    with pytest.raises(SettingError, match="TREMOLO_PORT: 'x' is not"):
        shown_lines({}, {'TREMOLO_PORT': 'x'})
