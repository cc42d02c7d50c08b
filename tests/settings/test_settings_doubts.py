"""What does not do what was meant is told: addresses, numbers, options without effect."""

from __future__ import annotations

import pytest
from each_case import for_each

from tremolo import SettingError, Tremolo
from tremolo.settings import OPTIONS, Address, Settings, parse_bind
from tremolo.settings.doubts import doubts

# Addresses

@pytest.mark.parametrize('text, hint', [
    ('8000', 'has no port, write :8000 or HOST:8000'),
    ('localhost', 'has no port, write localhost:8000, :8000 or unix:/path'),
    ('http://127.0.0.1:8000/', 'is a URL, write 127.0.0.1:8000'),
    ('tcp://localhost:80', 'is a URL, write localhost:80'),
    ('/run/app.sock', 'is not an address, write HOST:PORT or unix:/run/app.sock'),
    ('./app.sock', 'is not an address, write HOST:PORT or unix:./app.sock'),
    ('/run/app.sock:1', 'is not an address, write HOST:PORT or unix:/path'),
    ('127.0.0.1:80,:81', 'is several addresses, give each of them to a bind of its own'),
    ('::1', 'is IPv6 without a port, write [::1]:8000'),
    ('::', 'is IPv6 without a port, write [::]:8000'),
    ('fe80::1%eth0', 'is IPv6 without a port, write [fe80::1%eth0]:8000'),
    ('::1:8000', 'is ambiguous, write IPv6 as [::1]:8000'),
])
def test_an_address_in_a_form_of_others_is_told_the_right_one(text, hint):
    with pytest.raises(SettingError) as caught:
        parse_bind(text)
    assert str(caught.value) == f'bind: {text!r}{"" if hint[0] == ":" else " "}{hint}'
    if ', write ' in hint:
        # What it says can be written.
        for each in hint.partition(', write ')[2].replace('IPv6 as ', '').split(' or '):
            for form in each.split(', '):
                if 'HOST' not in form:
                    assert parse_bind(form)


def test_a_host_may_be_a_star_or_have_brackets():
    assert Settings(host='*').host == ''
    assert Settings(host='[::1]').host == '::1'
    assert parse_bind('*:80') == Address('', 80)
    app = Tremolo()
    app.listen(81, host='*')
    app.listen(82, host='[::1]')
    assert [each for each, _ in app.addresses(Settings(port=80))] == [
        Address('127.0.0.1', 80), Address('', 81), Address('::1', 82)]


def test_a_unix_socket_may_say_its_mode():
    address = parse_bind('unix:/run/x.sock?socket_mode=660')
    assert address == Address(None, 0, '/run/x.sock', 0o660)
    assert str(address) == 'unix:/run/x.sock?socket_mode=660'
    assert Settings().socket_mode == 0o666
    for value in '640', '0640', '0o640', 0o640:
        assert Settings(socket_mode=value).socket_mode == 0o640
    assert Settings(socket_mode='off').socket_mode is None
    for wrong in 640, '9', '64', True:
        with pytest.raises(SettingError, match='socket_mode: '):
            Settings(socket_mode=wrong)


# Numbers without use

@for_each('option', [
    each for each in OPTIONS if each.kind in ('count', 'size', 'rate', 'time')],
    ids=lambda each: each.name)
def test_a_number_that_breaks_what_it_is_used_for_is_refused(option):
    for absurd in '9' * 400, 1 << 63:
        with pytest.raises(SettingError, match=f'{option.name}: .* at most '):
            Settings(**{option.name: absurd})


@pytest.mark.parametrize('options, words', [
    # The kernel takes a few thousand; larger numbers are an OverflowError of `listen`.
    ({'backlog': 1 << 31}, 'backlog: 2147483648 is too large, at most 65535'),
    # 0.5 counts it in KiB: a process of 200 KB would be renewed for ever.
    ({'limit_memory': 200_000}, 'limit_memory: 200000 is too small, at least 1048576 bytes'),
    ({'idle_timeout': '99999999h'}, "idle_timeout: '99999999h' is too large, at most 1000000000"),
    ({'head_size': '1GiB', 'field_count': 1 << 32}, 'field_count: 4294967296 is too large'),
])
def test_the_limit_is_told(options, words):
    with pytest.raises(SettingError) as caught:
        Settings(**options)
    assert str(caught.value).startswith(words)


def test_zero_is_off_where_it_was():
    assert Settings(limit_memory=0, handler_timeout=0, max_requests=0) == Settings()


# Without effect

def test_options_without_effect_are_told():
    assert doubts(Settings(preload=True, worker_timeout=5), {}) == [
        'worker_timeout: has no effect without workers', 'preload: has no effect without workers']
    assert doubts(Settings(workers=2, preload=True, worker_timeout=5, max_requests=1), {}) == []
    # These two renew a process without workers, too.
    assert doubts(Settings(max_requests=1, limit_memory='1GiB'), {}) == []


@pytest.mark.parametrize('options', [{'workers': 2}, {'max_requests': 5}, {'preload': True}])
def test_inside_another_program_they_are_refused(options):
    name, = options
    for begin in Tremolo().start, Tremolo().serve:
        with pytest.raises(SettingError, match=f'{name}: has no effect inside another program'):
            begin(**options)
    Tremolo().serve(workers=None, max_requests='off')


def test_a_mistyped_variable_is_told():
    environ = {'TREMOLO_IDEL_TIMEOUT': '3', 'TREMOLO_KEEP_ALIVE': '3', 'TREMOLO_ZZZZZZ': '1',
               'TREMOLO_': '', 'UVICORN_PORT': '1',
               # Kubernetes tells of a service with this name.
               'TREMOLO_SERVICE_HOST': '10.0.0.1', 'TREMOLO_SERVICE_PORT_HTTP': '80',
               'TREMOLO_PORT_80_TCP_ADDR': '10.0.0.1'}
    assert doubts(Settings(), environ) == [
        'TREMOLO_: no such option',
        'TREMOLO_IDEL_TIMEOUT: no such option, did you mean TREMOLO_IDLE_TIMEOUT?',
        'TREMOLO_ZZZZZZ: no such option']


def test_a_service_of_kubernetes_by_our_name_is_no_port_to_listen_on():
    assert Settings.load({}, {'TREMOLO_PORT': 'tcp://10.0.0.1:8000', 'PORT': '7'}).port == 7
    assert Settings.load({}, {'TREMOLO_PORT': '81', 'PORT': '7'}).port == 81
    with pytest.raises(SettingError, match=r'^TREMOLO_PORT: '):
        Settings.load({}, {'TREMOLO_PORT': '10.0.0.1:8000'})
