"""Which peers are believed, and which lists of proxies are refused."""

from __future__ import annotations

import pytest
from each_case import for_each

from tremolo import SettingError
from tremolo.proxies.trusted import TrustedProxies
from tremolo.settings import Settings

LIST = ('10.0.0.0/8', '192.0.2.7', '::ffff:198.51.100.0/120', 'fd00::/8', '2001:db8::7',
        'fe80::1%eth0')
# A peer's host, and whether it is believed with that list.
PEERS = [
    ('10.0.0.0', True), ('10.255.255.255', True), ('9.255.255.255', False), ('11.0.0.0', False),
    ('192.0.2.7', True), ('192.0.2.8', False),
    ('::ffff:10.1.2.3', True), ('::FFFF:a01:203', True), ('::ffff:11.1.2.3', False),
    ('198.51.100.200', True), ('::ffff:198.51.100.200', True), ('198.51.101.0', False),
    # The same number, or the same text at the end, and no mapped address.
    ('::10.1.2.3', False), ('::a01:203', False), ('64:ff9b::10.1.2.3', False),
    ('fd12::1', True), ('fd12::1%eth3', True), ('fe00::1', False),
    ('2001:db8::7', True), ('2001:0DB8:0:0:0:0:0:7', True), ('2001:db8::8', False),
    ('fe80::1%eth0', True), ('fe80::1%eth1', False), ('fe80::1', False), ('fe80::2%eth0', False),
    ('', False), ('localhost', False), ('10.1.2', False), ('010.1.2.3', False),
    ('10.1.2.3 ', False), ('10.1.2.3\n', False), ('*', False), ('unix', False),
]


@for_each(('host', 'believed'), PEERS)
def test_a_peer_is_compared_as_a_number(host, believed):
    trusted = TrustedProxies(LIST)
    for _ in 'first', 'known':
        assert trusted.trusts((host, 1), False) is believed


def test_a_peer_without_an_address_is_believed_by_unix_or_by_all():
    for names, on_unix, elsewhere in (
            (('unix',), True, False), (('*',), True, True), (('0.0.0.0/0', '::/0'), False, False)):
        trusted = TrustedProxies(names)
        assert (trusted.trusts(None, True), trusted.trusts(None, False)) == (on_unix, elsewhere)


def test_nobody_is_believed_by_default_and_all_by_a_star():
    assert not TrustedProxies(()).trusts(('127.0.0.1', 1), False)
    assert TrustedProxies(('*',)).trusts(('203.0.113.7', 1), False)


def test_what_is_kept_of_strangers_is_bounded():
    trusted = TrustedProxies(('10.0.0.0/8',))
    for number in range(3000):
        assert not trusted.trusts((f'192.0.{number >> 8}.{number & 255}', 1), False)
    assert not trusted._known
    assert trusted.trusts(('10.0.0.1', 1), False)


@pytest.mark.parametrize('given', [
    '10.0.0.0/8', '*', 'unix', '127.0.0.1, ::1', ['10.0.0.1', 'unix'], 'fe80::1%eth0', '0.0.0.0/0',
    '::ffff:10.0.0.0/104', 'UNIX'])
def test_a_list_is_addresses_networks_unix_or_a_star(given):
    names = Settings(trusted_proxies=given).trusted_proxies
    assert names
    TrustedProxies(names)


@pytest.mark.parametrize(('given', 'why'), [
    ('10.0.0.1/8', "'10.0.0.1/8' has bits of a host behind its network: write 10.0.0.0/8, or 10.0"),
    ('fd00::1/8', 'write fd00::/8, or fd00::1'), ('::ffff:0:0/90', 'bits of a host'),
    ('localhost', "'localhost' is no address"), ('nginx.internal', 'no address'), ('', 'no addr'),
    ('10.0.0.1,', "'' is no address"), ('10.0.0.0/255.0.0.0', 'no network'), ('10', 'no address'),
    ('10.0.0.0/33', 'no address'), ('10.0.0.1:80', 'no address'), ('[::1]', 'no address'),
    ('010.0.0.1', 'no address'), ('10.0.0.0/', 'no address'), ('fe80::%e/64', 'no address'),
    ([3], '3'), ('10.0.0.0/²', 'not addresses')])
def test_a_list_with_anything_else_is_refused_in_one_line(given, why):
    with pytest.raises(SettingError) as refused:
        Settings(trusted_proxies=given)
    message = str(refused.value)
    assert message.startswith('trusted_proxies: ') and why in message and '\n' not in message


def test_the_variable_of_others_is_read_and_an_empty_one_is_none():
    for value, names in ('10.0.0.0/8', ('10.0.0.0/8',)), ('', ()):
        assert Settings.load({}, {'FORWARDED_ALLOW_IPS': value}).trusted_proxies == names
