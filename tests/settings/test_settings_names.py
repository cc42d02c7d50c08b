"""Every name of every option, also old names and synonyms, in each way to give an option."""

from __future__ import annotations

import copy
import os
import pickle

import pytest
from each_case import for_each
from server_support import request, virtual

from tremolo import Tremolo, cli
from tremolo.errors import SettingError
from tremolo.settings import OPTIONS, Address, Options, Settings, under_all_names

# For each kind a text that is the default of no option, and what it means.
OTHER = {
    'text': ('other', 'other'), 'flag': ('true', True), 'count': ('7', 7), 'port': ('7', 7),
    'size': ('7m', 7 << 20), 'rate': ('7k', 7168), 'time': ('7s', 7.0), 'lifespan': ('on', 'on'),
    'level': ('error', 'error'), 'loop': ('asyncio', 'asyncio'),
    'host': ('other', 'other'), 'mode': ('600', 0o600),
    'switch': ('off', False), 'websocket': ('none', False),
    'binds': (':81', (Address('', 81),)),
    'path': ('a.pem', os.path.abspath('a.pem')), 'paths': ('a.pem', (os.path.abspath('a.pem'),)),
    'secret': ('off', 'off'),
    'cert_reqs': ('CERT_OPTIONAL', 'optional'), 'ciphers': ('ECDHE+AESGCM', 'ECDHE+AESGCM'),
    'networks': ('10.0.0.0/8', ('10.0.0.0/8',)), 'forwarded': ('off', 'off'),
    'proxy_protocol': ('v2', 'v2'), 'place': (':81', Address('', 81)), 'file': ('-', '-'),
    'target': ('/healthz', '/healthz'), 'access_format': ('json', 'json'),
    'log_format': ('json', 'json')}
# For each kind a text that is none of its values.
WRONG = {
    'text': '\n', 'flag': 'perhaps', 'count': 'x', 'port': '65536', 'size': '7 stones', 'rate': '-',
    'host': '\n', 'mode': '9', 'time': 'noon', 'lifespan': 'x', 'level': 'x', 'loop': 'x',
    'switch': 'perhaps', 'websocket': 'perhaps', 'binds': 'x', 'path': '\0', 'paths': '\0',
    'secret': 1025 * 'x', 'cert_reqs': '3', 'ciphers': 'rot13', 'networks': 'x', 'forwarded': 'x',
    'proxy_protocol': 'x', 'place': 'x', 'file': '\0', 'target': 'x', 'access_format': '\n',
    'log_format': 'x'}
# What makes no sense without another option has that beside it.
BESIDE = {
    'ssl_keyfile': {'ssl_certfile': 'b.pem'}, 'ssl_keyfile_password': {'ssl_certfile': 'b.pem'},
    'ssl_ca_certs': {'ssl_certfile': 'b.pem', 'ssl_cert_reqs': 'required'},
    'ssl_cert_reqs': {'ssl_certfile': 'b.pem', 'ssl_ca_certs': 'b.pem'},
    'ssl_ciphers': {'ssl_certfile': 'b.pem'}, 'proxy_protocol': {'trusted_proxies': '10.0.0.0/9'}}

# (No text names an object of Python: `ssl_context`.)
WRITTEN = [option for option in OPTIONS if option.kind != 'context']
NAMES = [pytest.param(option, name, id=name) for option in WRITTEN for name in option.names]
PAIRS = [pytest.param(option, one, two, id=f'{one}-{two}')
         for option in WRITTEN for one in option.names for two in option.names if one != two]


def flag_of(name):
    return '--' + name.replace('_', '-')


def beside_of(option):
    return BESIDE.get(option.name, {})


def variable_of(name):
    return 'TREMOLO_' + name.upper()


@pytest.fixture
def command_line(monkeypatch, capsys):
    """Read a command line; return the Settings that it makes, or the line with which it ends."""
    def read(*arguments, environ=(), beside=None):
        seen = {}
        monkeypatch.setattr('tremolo.cli.arguments.serve', lambda **given: seen.update(given) or 0)
        if cli.main(list(arguments)):
            return capsys.readouterr().err
        del seen['app']
        return Settings.load({**(beside or {}), **seen}, dict(environ))
    return read


def check(settings, option):
    """Only this option differs, and it does under all of its names."""
    _, value = OTHER[option.kind]
    assert value != option.default
    under_names = settings.by_all_names()
    beside = beside_of(option)
    for each in OPTIONS:
        for name in each.names:
            if each.name not in beside:
                expected = value if each is option else each.default
                assert getattr(settings, name) == expected
                shown = '***' if each.kind == 'secret' and expected else expected
                assert under_names[name] == shown
    changed = settings.replace(**{name: Options.__dict__[name].default for name in beside})
    assert changed == Settings(**{option.name: value})


@for_each(('option', 'name'), NAMES)
def test_an_option_is_set_by_each_of_its_names(option, name, command_line):
    text, _ = OTHER[option.kind]
    check(Settings(**{name: text}), option)
    check(Settings().replace(**{name: text}), option)
    check(Settings.load({**beside_of(option), name: text}, {}), option)
    check(Settings.load(beside_of(option), {variable_of(name): text}), option)
    check(command_line(flag_of(name), *([] if option.kind == 'flag' else [text]),
                       beside=beside_of(option)), option)


@for_each(('option', 'name'), NAMES)
def test_an_error_starts_with_the_name_that_was_written(option, name, command_line):
    wrong = WRONG[option.kind]
    for make in (lambda: Settings(**{name: wrong}), lambda: Settings().replace(**{name: wrong}),
                 lambda: Settings.load({name: wrong}, {})):
        with pytest.raises(SettingError, match=f'^{name}: '):
            make()
    with pytest.raises(SettingError, match=f'^{variable_of(name)}: '):
        Settings.load({}, {variable_of(name): wrong})
    line = command_line(f'{flag_of(name)}={wrong}')
    assert flag_of(name) in line and line.count('\n') == 1
    # (Of a flag argparse says in its own words that it takes no value.)
    if option.kind != 'flag':
        assert line.startswith(f'tremolo: error: {flag_of(name)}: ')


@for_each(('option', 'one', 'two'), PAIRS)
def test_an_option_under_two_names_is_refused_when_both_are_given(option, one, two, command_line):
    text, _ = OTHER[option.kind]
    for make in (Settings, Settings().replace, lambda **given: Settings.load(given, {})):
        with pytest.raises(SettingError, match=f'^{one}: given twice, also as {two}$'):
            make(**{one: text, two: text})
    value = () if option.kind == 'flag' else (text,)
    line = command_line(flag_of(one), *value, flag_of(two), *value)
    first, second = sorted((one, two), key=option.names.index)
    assert line == f'tremolo: error: {flag_of(first)}: given twice, also as {flag_of(second)}\n'


@for_each(('option', 'one', 'two'), PAIRS)
def test_of_two_variables_the_first_name_wins_and_an_empty_one_is_not_set(option, one, two):
    text, _ = OTHER[option.kind]
    first, second = sorted((one, two), key=option.names.index)
    environ = {variable_of(first): text, variable_of(second): WRONG[option.kind]}
    check(Settings.load(beside_of(option), environ), option)
    environ = {variable_of(first): '', variable_of(second): text}
    check(Settings.load(beside_of(option), environ), option)


@for_each(('option', 'name'), NAMES)
def test_what_was_given_wins_over_each_variable(option, name, command_line):
    text, _ = OTHER[option.kind]
    environ = {variable: option.show(option.default) for variable in option.variables}
    check(Settings.load({**beside_of(option), name: text}, environ), option)
    check(command_line(flag_of(name), *([] if option.kind == 'flag' else [text]),
                       environ=environ, beside=beside_of(option)), option)


def test_variables_come_in_this_order():
    assert next(each for each in OPTIONS if each.name == 'workers').variables == (
        'TREMOLO_WORKERS', 'TREMOLO_WORKER_NUM', 'WEB_CONCURRENCY')
    environ = {'TREMOLO_WORKERS': '2', 'TREMOLO_WORKER_NUM': '3', 'WEB_CONCURRENCY': '4'}
    for count in (2, 3, 4):
        assert Settings.load({}, environ).workers == count
        environ.pop(next(iter(environ)))


def test_the_running_server_knows_its_options_by_all_names():
    app = Tremolo()

    @app.route('/')
    def index(**server):
        options = server['request'].context.options
        assert options == app.context.options
        return ','.join(str(options[name]) for name in ('body_rate', 'min_upload_rate'))

    with virtual(app, body_rate='7k') as host:
        assert host.ask(request())[0].body == b'7168,7168'
        options = host.server.options
        assert dict(options) == host.server.settings.by_all_names()
        assert set(options) == {name for option in OPTIONS for name in option.names}
        assert app.context.options is options
        with pytest.raises(TypeError):
            options['body_rate'] = 1


def test_the_default_of_a_handler_counts_under_all_names_of_an_option():
    app = Tremolo()
    names = ('keep_alive', 'keepalive_timeout', 'timeout_keep_alive', 'idle_timeout')

    def told(request):
        options = request.context.options
        return ','.join(str(options[name]) for name in (*names, 'buffer_size', 'own'))

    @app.route('/synonym')
    def synonym(request, keep_alive=5, own='x', buffer_size=3):
        return told(request)

    @app.route('/both')
    def both(request, keep_alive=5, idle_timeout=6, own='y'):
        return told(request)

    with virtual(app) as host:
        bodies = [each.body for each in host.ask(request('/synonym') + request('/both'))]
        assert bodies[0] == b'5,5,5,5,3,x'
        assert bodies[1] == b'5,6,6,6,16384,y'
        assert host.server.options['keep_alive'] == 75


def test_a_value_is_spread_over_the_names_of_its_option_alone():
    assert under_all_names({'answer_rate': 1, 'x': 2}) == {
        'answer_rate': 1, 'min_download_rate': 1, 'x': 2}
    assert under_all_names({}) == {}


def test_settings_can_be_copied_and_pickled():
    settings = Settings(body_rate=7, bind=':81')
    copies = [copy.copy(settings), copy.deepcopy(settings)]
    copies += [pickle.loads(pickle.dumps(settings, protocol))
               for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for each in copies:
        assert each == settings and each is not settings
        assert each.body_rate == 7


def test_what_is_no_option_is_no_attribute():
    with pytest.raises(AttributeError, match='there is no option idel_timeout'):
        _ = Settings().idel_timeout
    assert not hasattr(Settings(), '__getstate_for_tests__')
    # `copy` makes an object without `__init__`, whose slots are empty: that must not recurse.
    empty = Settings.__new__(Settings)
    for name in ('port', 'keep_alive', '__setstate__'):
        assert not hasattr(empty, name)
    with pytest.raises(AttributeError):
        Settings().keep_alive = 5


def test_an_option_of_the_whole_server_is_refused_by_the_name_that_was_written():
    with pytest.raises(SettingError, match=r'^worker_num: is an option of the whole server'):
        Tremolo().listen(80, worker_num=2)
    with pytest.raises(SettingError, match=r'^graceful_timeout: is an option of the whole server'):
        Tremolo().listen(80, graceful_timeout=2)
    with pytest.raises(SettingError, match=r'^keep_alive: given twice, also as idle_timeout'):
        Tremolo().listen(80, keep_alive=2, idle_timeout=2)
