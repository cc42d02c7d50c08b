"""What proxies say of their clients, as two tables: X-Forwarded-* and Forwarded.

Each case is a request by a proxy that is believed (`PEER`), unless it says otherwise, and what an
application is told of it. They are run in tests/proxies/ against each kind of application, and in
tests/interop/ against others.
"""

from __future__ import annotations

from socket import AF_INET6, inet_ntop
from typing import Any, NamedTuple

# Who is believed.
TRUSTED = ('10.0.0.0/8', '192.168.1.1', '::ffff:172.16.0.0/108', 'fd00::/8', '2001:db8::7', 'unix')
PEER = '10.0.0.9', 40000
STRANGER = '198.51.100.99', 40000
SERVER = '10.0.0.1', 80
UNIX = None    # A peer on a UNIX socket.
HOST = 'app.example'
# The client of our own world, as others write it.
C, D = '203.0.113.7', '198.51.100.3'


class Case(NamedTuple):
    """The fields of a request, and what an application is told."""

    lines: tuple[str, ...]
    client: Any = PEER    # (host, port)
    scheme: str = 'http'
    host: str = HOST
    left: tuple[str, ...] | None = None    # The fields that are left; None: as they came.
    peer: Any = PEER

    def __str__(self) -> str:
        return ' | '.join(self.lines)[:70]


def case(*lines: str, client: str | tuple[str, int] | None = '', left: str | tuple[str, ...] = '*',
         peer: Any = PEER, **said: str) -> Case:
    """A case. A client without a port has port 0; '' is the peer; a `left` of '' is nothing."""
    found: Any = (peer if client == '' else (client, 0) if isinstance(client, str) else client)
    kept = None if left == '*' else (left,) if isinstance(left, str) and left else tuple(left)
    return Case(lines, found, left=kept, peer=peer, **said)


# -- nodes ----------------------------------------------------------------------------------------

# A node as it is written, and the client that it is.
NODES = [
    (C, C, 0), ('203.0.113.7:80', C, 80), ('203.0.113.7:65535', C, 65535),
    ('203.0.113.7:0', C, 0), ('0.0.0.0', '0.0.0.0', 0), ('255.255.255.255', '255.255.255.255', 0),
    ('127.0.0.1', '127.0.0.1', 0), ('203.0.113.7:00080', C, 80),
    ('[2001:db8::1]', '2001:db8::1', 0), ('[2001:db8::1]:443', '2001:db8::1', 443),
    ('[2001:DB8:0:0:0:0:0:1]:1', '2001:db8::1', 1), ('[::1]', '::1', 0), ('[::]', '::', 0),
    ('[::ffff:203.0.113.7]', C, 0), ('[::ffff:203.0.113.7]:8080', C, 8080),
    ('[::FFFF:cb00:7107]', C, 0), ('[64:ff9b::203.0.113.7]', '64:ff9b::cb00:7107', 0),
]
# Without brackets: in X-Forwarded-For alone.
BARE_NODES = [
    ('2001:db8::1', '2001:db8::1', 0), ('2001:0db8:0000::0001', '2001:db8::1', 0),
    ('::1', '::1', 0), ('::ffff:203.0.113.7', C, 0), ('2001:DB8::A', '2001:db8::a', 0),
    ('1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8', 0),
]
# What is no node, wherever it stands.
NO_NODES = [
    '', 'unknown', 'localhost', 'evil.example', '203.0.113', '203.0.113.7.1', '203.0.113.256',
    '0203.0.113.7', '203.0.113.07', '0xcb.0.113.7', '3405803783', '203.0.113.7:', '203.0.113.7:x',
    '203.0.113.7:65536', '203.0.113.7:-1', '203.0.113.7:123456', '203.0.113.7:+1', ':80',
    '[203.0.113.7]', '[2001:db8::1', '2001:db8::1]', '[2001:db8::1]:', '[2001:db8::1]443',
    '[2001:db8::1]:65536', '[2001:db8::g]', '2001:db8:::1', '1:2:3:4:5:6:7:8:9', '[fe80::1%eth0]',
    '[]', '203.0.113.7/32', '203.0.113.7 203.0.113.8', '*', 'unix:', '-', "' or 1=1",
    '1' * 300,
]

# -- X-Forwarded ----------------------------------------------------------------------------------

F, P, H = 'X-Forwarded-For: ', 'X-Forwarded-Proto: ', 'X-Forwarded-Host: '
TEN = ', '.join(f'10.0.1.{number}' for number in range(10))

X_FORWARDED = [
    *(case(F + node, client=(host, port)) for node, host, port in NODES + BARE_NODES),
    *(case(F + node, left='') for node in NO_NODES),
    *(case(f'{F}{C}, {node}, 10.0.0.2:5', client=('10.0.0.2', 5), left=f'{F}10.0.0.2:5')
      for node in ('', 'unknown', 'localhost', '203.0.113.7:', 'fe80::1%eth0', '_hidden',
                   'x' * 99)),
    case(),
    # The search: the first from the right that is not believed.
    case(f'{F}{C}, {D}', client=D, left=F + D),
    case(f'{F}{D}, {C}', client=C, left=F + C),
    case(f'{F}{C}, 10.0.0.2', client=C),
    case(f'{F}{D}, {C}, 10.0.0.2', client=C, left=f'{F}{C}, 10.0.0.2'),
    case(f'{F}{C}, 10.0.0.2, 192.168.1.1, fd00::1, 2001:db8::7', client=C),
    case(f'{F}{C}, 192.168.1.2, 10.0.0.2', client='192.168.1.2',
         left=f'{F}192.168.1.2, 10.0.0.2'),
    case(f'{F}{C},10.0.0.2,10.0.0.3', client=C),
    case(f'{F}{D} ,  {C}\t ,\t10.0.0.2', client=C, left=f'{F}{C}\t ,\t10.0.0.2'),
    case(f'{F}{C}:80, 10.0.0.2:81', client=(C, 80)),
    case(f'{F}{C}, ::ffff:10.0.0.2', client=C), case(f'{F}{C}, 172.16.3.4', client=C),
    case(f'{F}{C}, [::ffff:172.16.3.4]:5', client=C),
    # (How such an address is written, the system decides.)
    case(f'{F}{C}, ::10.0.0.2', client=str(inet_ntop(AF_INET6, bytes(12) + b'\n\0\0\2')),
         left=f'{F}::10.0.0.2'),
    case(f'{F}{C}, [fd00::1]:90', client=C),
    case(f'{F}10.0.0.3, 10.0.0.2', client='10.0.0.3'),
    case(F + TEN, client='10.0.1.0'),
    case(f'{F}{C}, {TEN}', client=C),
    case(f'{F}{D}, {C}, {TEN}', client=C, left=f'{F}{C}, {TEN}'),
    case(f'{F}rubbish, {TEN}', client='10.0.1.0', left=F + TEN),
    case(f'{F}{C}, 10.0.0.2, <script>, {TEN}', client='10.0.1.0', left=F + TEN),
    case(f'{F}{C}, 10.0.0.2, ', left=''), case(f'{F}{C},', left=''),
    case(f'{F}, {C}', client=C, left=F + C), case(F + ',' * 500, left=''),
    case(F + '10.0.0.2,' * 300 + '10.0.0.3', client='10.0.0.2',
         left=F + '10.0.0.2,' * 99 + '10.0.0.3'),
    # Several fields are one list.
    case(F + D, F + C, client=C, left=F + C),
    case(F + C, F + '10.0.0.2', client=C),
    case(f'{F}{D}, {C}', F + '10.0.0.2', client=C, left=(F + C, F + '10.0.0.2')),
    case(F + C, F + 'unknown', left=''), case(F + C, F, left=''),
    case(F + C, F + 'bad, 10.0.0.2', client='10.0.0.2', left=F + '10.0.0.2'),
    case(F + C, 'Accept: */*', 'x-forwarded-FOR: 10.0.0.2', client=C),
    case('X-FORWARDED-FOR: ' + C, client=C),
    # The scheme: the last value.
    *(case(P + value, scheme=scheme) for value, scheme in (
        ('https', 'https'), ('http', 'http'), ('HTTPS', 'https'), ('Http', 'http'))),
    case(P + 'http, https', scheme='https', left=P + 'https'),
    case(P + 'https,http', left=P + 'http'),
    case(P + 'https', P + 'http', left=P + 'http'),
    case(P + 'http', P + 'http, https', scheme='https', left=P + 'https'),
    *(case(P + value, left='') for value in (
        '', 'ftp', 'httpss', 'https:', 'https://', 'on', '1', 'ws', 'wss', '"https"', 'https;',
        'https,', 'https, javascript', 'ht tps')),
    case(P + 'https', F + C, client=C, scheme='https'),
    case(P + 'https', F + 'unknown', scheme='https', left=P + 'https'),
    case(P + 'nonsense', F + C, client=C, left=F + C),
    # The host: the last value.
    *(case(H + value, host=host or value) for value, host in (
        ('example.org', ''), ('example.org:8443', ''), ('[2001:db8::1]:8443', ''),
        ('203.0.113.7', ''), ('EXAMPLE.org', ''), ('xn--bcher-kva.example', ''),
        ('a_b.example', ''), ('localhost', ''))),
    case(H + 'evil.example, example.org', host='example.org', left=H + 'example.org'),
    case(H + 'evil.example', H + 'example.org', host='example.org', left=H + 'example.org'),
    *(case(H + value, left='') for value in (
        '', 'a b', 'example.org/path', 'user@example.org', 'example.org:port', 'example.org:123456',
        '"example.org"', '[::1', 'http://example.org', 'example.org,', 'b\xfccher.example', 'a<b',
        'a.example, b c', '?')),
    case(H + 'example.org', P + 'https', F + C, client=C, scheme='https', host='example.org'),
    # Others: they are not read.
    case('X-Forwarded-Port: 8443'),
    case('X-Forwarded-Port: 1, 8443', left='X-Forwarded-Port: 8443'),
    case('X-Forwarded-Prefix: /evil, /app', left='X-Forwarded-Prefix: /app'),
    case('X-Forwarded-Server: a, b', left='X-Forwarded-Server: b'),
    case('X-Forwarded-Email: a@b.example, c@d.example'), case('X-Forwarded-Ssl: on'),
    case('X-Forwarded-Client-Cert: a="b,c"', 'X-Forwarded-Client-Cert: d'),
    case('X-Real-IP: ' + D, 'X-Client-IP: ' + D, 'True-Client-IP: ' + D), case('Via: 1.1 a'),
    case('Front-End-Https: on', 'X-Url-Scheme: https'),
    case(F + C, 'Forwarded: for=' + D, client=C, left=F + C),
    case('Forwarded: for=1.2.3.4;proto=https;host=evil.example', left=''),
    *(case(f'{name}: {value}', left='') for name, value in (
        ('X_Forwarded_For', C), ('X_Forwarded-For', C), ('X-Forwarded_For', C),
        ('X_Forwarded_Proto', 'https'), ('X-Forwarded_Host', 'evil.example'))),
    case('X_Forwarded_For: ' + D, F + C, client=C, left=F + C),
    # Strangers, and other peers.
    *(case(line, left='', peer=STRANGER) for line in (
        F + C, F + '10.0.0.2', P + 'https', H + 'evil.example', 'X-Forwarded-Port: 1',
        'X-Forwarded-Prefix: /a', 'X-Forwarded-Server: a', 'X-Forwarded-Email: a@b.example',
        'X-Forwarded: x', 'Forwarded: for=1.2.3.4', 'X_Forwarded_For: ' + C)),
    case('X-Real-IP: ' + D, peer=STRANGER),
    case(F + C, peer=('::ffff:10.0.0.9', 5), client=C),
    case(F + C, peer=('::ffff:198.51.100.99', 5), left=''),
    case(F + C, peer=('fd00::5', 5), client=C), case(F + C, peer=('fe80::5%eth0', 5), left=''),
    case(F + C, P + 'https', peer=UNIX, client=C, scheme='https'),
    case(P + 'https', peer=UNIX, scheme='https', client=''), case(peer=UNIX, client=''),
]

# -- Forwarded ------------------------------------------------------------------------------------

W = 'Forwarded: '


def quoted(node: str) -> str:
    """A node as a parameter of Forwarded."""
    token = node.replace('.', '').isalnum()
    escaped = node.replace('\\', r'\\').replace('"', r'\"')
    return 'for=' + (node if token else f'"{escaped}"')


FORWARDED = [
    *(case(W + quoted(node), client=(host, port)) for node, host, port in NODES),
    # (Without brackets IPv6 is none: RFC 7239 section 6.)
    *(case(W + quoted(node)) for node in [*NO_NODES, *(node for node, _, _ in BARE_NODES)]),
    *(case(f'{W}for={C}, {bad}, for="10.0.0.2:5"', client=('10.0.0.2', 5),
           left=W + 'for="10.0.0.2:5"')
      for bad in ('', 'for', 'for=', '=x', 'for =1.2.3.4', 'for= 1.2.3.4', 'for=a b', 'for="a',
                  'for=a"', 'for=[::1]', 'for=1.2.3.4:80', 'for=1.2.3.4;for=1.2.3.4', '1.2.3.4',
                  'for=1.2.3.4 proto=http', 'for=1.2.3.4;proto', 'f(r=1.2.3.4', 'for="1"2',
                  'for=1.2.3.4;FOR=1.2.3.4', 'for="\\"', '"', '""', ';')),
    # Nodes that are no address.
    case(W + 'for=_hidden', client='_hidden'), case(W + 'for=_a.b-c_1', client='_a.b-c_1'),
    case(W + 'for="_hidden:80"', client=('_hidden', 80)),
    case(W + 'for="_SEVKISEK:_port"', client='_SEVKISEK'),
    case(W + f'for={C}, for=_hidden', client='_hidden', left=W + 'for=_hidden'),
    case(W + f'for={D}, for=_hidden, for=10.0.0.2', client='_hidden',
         left=W + 'for=_hidden, for=10.0.0.2'),
    case(W + 'for=_'), case(W + 'for="_hid den"'), case(W + 'for="_hidden:65536"'),
    case(W + 'for="_hidden:"'), case(W + 'for=' + '_' * 99),
    case(W + f'for="{C}:_port"', client=C),
    case(W + 'for="[2001:db8::1]:_p"', client='2001:db8::1'),
    case(W + f'for="{C}:_"'), case(W + 'for=Unknown'), case(W + 'for="unknown:80"'),
    case(W + f'for={C}, for=unknown', left=W + 'for=unknown'),
    case(W + f'for={C}, for=unknown, for=10.0.0.2', client='10.0.0.2',
         left=W + 'for=unknown, for=10.0.0.2'),
    case(W + 'for=unknown;proto=https;host=example.org', scheme='https', host='example.org'),
    # How it is written.
    case(f'{W}For={C}', client=C), case(f'{W}FOR="{C}"', client=C),
    case(f'{W}for="{C}";', client=C),
    case(f'{W};for={C}', client=C), case(f'{W};;for={C};;', client=C),
    case(f'{W}for={C};by=10.0.0.1;proto=https;host=example.org', client=C, scheme='https',
         host='example.org'),
    case(f'{W}for={C}; proto=https; host=example.org', client=C, scheme='https',
         host='example.org'),
    case(f'{W}proto=https ;\thost="example.org:8443"; for="{C}"', client=C, scheme='https',
         host='example.org:8443'),
    case(f'{W}for={C};secret="a,b;c=d";x=y', client=C),
    case(f'{W}for={C};ext="say \\"hi, for=1.2.3.4\\""', client=C),
    case(f'{W}for="203.0.113\\.7"', client=C), case(f'{W}for="\\2\\0\\3.0.113.7"', client=C),
    case(f'{W}by="[2001:db8::5]";for={C}', client=C), case(f'{W}by=_us', left='*'),
    case('forwarded: for=' + C, client=C), case(W, left=''), case(W + ',', left=''),
    case(), case(W + ',' * 500, left=''), case(W + '"' * 501, left=''),
    # The search.
    case(f'{W}for={C}, for={D}', client=D, left=f'{W}for={D}'),
    case(f'{W}for={C}, for=10.0.0.2', client=C), case(f'{W}for={C},for=10.0.0.2', client=C),
    case(f'{W}for={D}, for={C}, for=10.0.0.2;proto=http', client=C,
         left=f'{W}for={C}, for=10.0.0.2;proto=http'),
    case(f'{W}for={C}, for="[fd00::1]:7", for="[::ffff:10.1.2.3]"', client=C),
    case(f'{W}for=10.0.0.3, for=10.0.0.2', client='10.0.0.3'),
    case(W + ', '.join(f'for=10.0.1.{each}' for each in range(10)), client='10.0.1.0'),
    case(W + ', '.join(['for=10.0.0.2'] * 300), client='10.0.0.2',
         left=W + ', '.join(['for=10.0.0.2'] * 100)),
    case(f'{W}for={C},', left=''), case(f'{W}, for={C}', client=C, left=f'{W}for={C}'),
    # A stranger's quote swallows nothing of a proxy's.
    case(f'{W}for="x, for={C}', client=C, left=f'{W}for={C}'),
    case(f'{W}for="x, for="{C}"', client=C, left=f'{W}for="{C}"'),
    case(f'{W}for="x, for="[2001:db8::1]:443";proto=https', client=('2001:db8::1', 443),
         scheme='https', left=f'{W}for="[2001:db8::1]:443";proto=https'),
    case(f'{W}for="\\, for="{C}"', client=C, left=f'{W}for="{C}"'),
    case(f'{W}for=1.2.3.4;x="\\\\", for={C};y="\\\\"', client=C, left=f'{W}for={C};y="\\\\"'),
    # Several fields are one list.
    case(f'{W}for={D}', f'{W}for={C}', client=C, left=f'{W}for={C}'),
    case(f'{W}for={C}', f'{W}for=10.0.0.2', client=C),
    case(f'{W}for={D}, for={C}', f'{W}for=10.0.0.2', client=C,
         left=(f'{W}for={C}', f'{W}for=10.0.0.2')),
    case(f'{W}for="x', f'{W}for={C}', client=C, left=f'{W}for={C}'),
    case(f'{W}for={C}', W, left=''), case(f'{W}for={C}', W + 'bad', left=''),
    # Scheme and host are those of the client's element, or of the next one that has them.
    case(W + 'proto=https', scheme='https'), case(W + 'proto=HTTPS', scheme='https'),
    case(W + 'proto="https"', scheme='https'), case(W + 'proto=ftp'), case(W + 'proto=wss'),
    case(W + 'proto=""'), case(W + 'proto=on'), case(W + 'proto="http,s"'),
    case(f'{W}for={C};proto=https, for=10.0.0.2;proto=http', client=C, scheme='https'),
    case(f'{W}for={C}, for=10.0.0.2;proto=https', client=C, scheme='https'),
    case(f'{W}for={C};proto=bad, for=10.0.0.2;proto=https', client=C, scheme='https'),
    case(f'{W}for={D};proto=https;host=evil.example, for={C};proto=http', client=C,
         left=f'{W}for={C};proto=http'),
    case(f'{W}for={D};proto=https;host=evil.example, for={C}', client=C, left=f'{W}for={C}'),
    case(f'{W}proto=https;host=evil.example, proto=http', left=f'{W}proto=http'),
    *(case(f'{W}host={value}', host=value.strip('"')) for value in (
        'example.org', '"example.org"', '"example.org:8443"', '"[2001:db8::1]:8443"',
        'EXAMPLE.org')),
    *(case(f'{W}host={value}') for value in (
        '""', '"a b"', '"example.org/path"', '"user@example.org"', '"example.org:port"', '"[::1"',
        '"http://example.org"', '"a<b"')),
    case(f'{W}for={C};host=one.example, for=10.0.0.2;host=two.example', client=C,
         host='one.example'),
    case(f'{W}for={C};host="a b", for=10.0.0.2;host=two.example', client=C, host='two.example'),
    # The other kind, strangers, and other peers.
    case(f'{W}for={C}', F + D, P + 'https', H + 'evil.example', client=C, left=f'{W}for={C}'),
    *(case(line, left='') for line in (
        F + C, P + 'https', H + 'evil.example', 'X-Forwarded-Port: 1', 'X-Forwarded-Email: a@b.c',
        'X_Forwarded_For: ' + C)),
    *(case(line, left='', peer=STRANGER) for line in (
        f'{W}for={C}', f'{W}for=10.0.0.2', W + 'proto=https', W + 'host=evil.example', F + C)),
    case(f'{W}for={C}', peer=('::ffff:10.0.0.9', 5), client=C),
    case(f'{W}for={C}', peer=('fe80::5%eth0', 5), left=''),
    case(f'{W}for={C};proto=https', peer=UNIX, client=C, scheme='https'),
    case(f'{W}for=_hidden', peer=UNIX, client='_hidden'),
    case(f'{W}for=unknown', peer=UNIX, client=''),
]
