"""Fields made by chance, against a second reading of the rules: slow, plain, and of its own words.

    # So many, from this seed:
    PYTHONPATH=tests:. python tests/proxies/test_forwarded_random.py 100000 7
"""

from __future__ import annotations

import ipaddress
import random
import re
import sys

from forwarded_cases import BARE_NODES, NO_NODES, NODES, TRUSTED

from tremolo.proxies.forwarded import read_forwarded
from tremolo.proxies.trusted import TrustedProxies
from tremolo.proxies.x_forwarded import read_x_forwarded

NETWORKS = [ipaddress.ip_network(name) for name in TRUSTED if name != 'unix'
            and not name.startswith('::ffff')] + [ipaddress.ip_network('172.16.0.0/12')]
OURS = TrustedProxies(TRUSTED)
BELIEVED = ['10.0.0.2', '192.168.1.1', 'fd00::1', '172.16.9.9', '2001:db8::7']


def believed(host):
    address = ipaddress.ip_address(host)
    return any(address in network for network in NETWORKS)


def reads_x_forwarded(lines):
    """The client and what is left of each line, by the rules."""
    client, left, over = None, [[] for _ in lines], False
    known = {text.strip(' \t'): (host, port) for text, host, port in [
        *NODES, *BARE_NODES, *((each, each, 0) for each in BELIEVED)]}
    for kept, line in reversed(list(zip(left, lines))):
        for element in reversed(line.split(',')):
            if over or element.strip(' \t') not in known:
                over = True
                break
            client = known[element.strip(' \t')]
            kept.insert(0, element)
            over = not believed(client[0])
    return client, [','.join(each).strip(' \t') or None for each in left]


def x_line(chance):
    nodes = [text for text, _, _ in NODES + BARE_NODES] + BELIEVED * 9 + NO_NODES[:20]
    elements = [chance.choice(['', ' ', '\t ']) + chance.choice(nodes) + chance.choice(['', ' '])
                for _ in range(chance.randint(1, 6))]
    return ','.join(elements).strip(' \t')


def try_x_forwarded(count, seed):
    chance = random.Random(seed)
    for _ in range(count):
        lines = [x_line(chance) for _ in range(chance.randint(1, 3))]
        said = read_x_forwarded(
            [(b'x-forwarded-for', line.encode('latin-1')) for line in lines], OURS, False)
        left = [each if each is None else each.decode('latin-1') for each in said.lines]
        assert (said.client, left) == reads_x_forwarded(lines), lines


# What a proxy that is believed adds is found, whatever stands on its left.
ADDED = [('for=203.0.113.7', ('203.0.113.7', 0)), ('for="[2001:db8::1]:80"', ('2001:db8::1', 80)),
         ('proto=https;for="203.0.113.7:1";x="a,\\"b;"', ('203.0.113.7', 1)),
         ('for=_who', ('_who', 0)), ('for="203.0.113.7";by=_x', ('203.0.113.7', 0))]


def try_forwarded(count, seed):
    chance = random.Random(seed)
    for _ in range(count):
        rubbish = ''.join(chance.choices('for="\\,; 1.2_:[]\t', k=chance.randint(0, 30)))
        text, client = chance.choice(ADDED)
        hops = ''.join(f', for="{each}"' if ':' not in each else f', for="[{each}]"'
                       for each in chance.choices(BELIEVED, k=chance.randint(0, 3)))
        said = read_forwarded([(b'forwarded', f'{rubbish},{text}{hops}'.encode())], OURS, False)
        assert (said.client, said.lines) == (client, [f'{text}{hops}'.encode()]), (rubbish, text)
        # And no rubbish alone is more than a node.
        said = read_forwarded([(b'forwarded', rubbish.encode())], OURS, False)
        if said.client is not None:
            assert re.fullmatch(r'[0-9a-f.:]+|_[\w.-]+', said.client[0]), rubbish


def test_fields_made_by_chance_are_read_by_the_rules():
    try_x_forwarded(500, 23)
    try_forwarded(500, 23)


if __name__ == '__main__':
    try_x_forwarded(int(sys.argv[1]), int(sys.argv[2]))
    try_forwarded(int(sys.argv[1]), int(sys.argv[2]))
