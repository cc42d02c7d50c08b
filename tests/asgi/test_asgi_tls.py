"""TLS for applications: the extension `tls` of ASGI, `request.tls`, and the environ of WSGI.

    https://asgi.readthedocs.io/en/latest/specs/tls.html
"""

from __future__ import annotations

import gc
import json
import ssl

import pytest
from certificates import CA, CLIENT, CLIENT_CHAIN, A, B, client_context
from server_support import answers, request, serving
from tls_support import TlsClient

from tremolo import Tremolo
from tremolo.asgi_app import AsgiApplication
from tremolo.tls import facts
from tremolo.wsgi_app import WsgiApplication

VERIFYING = {'ssl_certfile': [A.cert, B.cert], 'ssl_keyfile': [A.key, B.key],
             'ssl_ca_certs': CA, 'ssl_cert_reqs': 'optional'}
CLOSE = request('/', 'GET', 'Connection: close')
CHAIN_IS_KNOWN = hasattr(ssl.SSLObject, 'get_unverified_chain')


def pem(path):
    """Return the first certificate of a file as `ssl` writes it."""
    with open(path) as file:
        text = file.read()
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(
        text[:text.index('-----END CERTIFICATE-----')] + '-----END CERTIFICATE-----\n'))


class Scopes:
    """An ASGI application that keeps its scopes."""

    def __init__(self):
        self.seen = []

    async def app(self, scope, receive, send):
        if scope['type'] == 'websocket':
            self.seen.append(scope)
            await receive()
            await send({'type': 'websocket.close'})
        elif scope['type'] == 'http':
            self.seen.append(scope)
            await send({'type': 'http.response.start', 'status': 200, 'headers': []})
            await send({'type': 'http.response.body', 'body': b'x'})


@pytest.fixture
def scopes():
    return Scopes()


def ask(host, context=None, name='a.example', data=CLOSE, session=None):
    """Ask on a connection of its own; return the answer and the socket, which was closed."""
    client = TlsClient(host, context, name) if session is None else resumed(
        host, context, name, session)
    client.send(data)
    return answers(client.read_all())[0], client.sock


def resumed(host, context, name, session):
    client = host.connect()
    client.sock = context.wrap_socket(client.sock, server_hostname=name, session=session)
    return client


def test_the_scope_tells_the_certificates_the_version_and_the_cipher(scopes):
    context = client_context(CLIENT)
    with serving(AsgiApplication(scopes.app), **VERIFYING) as host:
        ask(host, context, 'b.example')
    scope, = scopes.seen
    assert scope['scheme'] == 'https'
    tls = scope['extensions']['tls']
    # (A client that knows its CA sends that, too; what is told of it is told below.)
    del tls['client_cert_chain'][1:]
    assert tls == {
        'server_cert': pem(B.cert), 'client_cert_chain': [pem(CLIENT.cert)],
        'client_cert_name': 'CN=alice,OU=bücher,OU=more,O=Strings\\, Bows & Co.,C=NL',
        'client_cert_error': None, 'tls_version': 0x0304, 'cipher_suite': tls['cipher_suite']}
    assert tls['cipher_suite'] in (0x1301, 0x1302, 0x1303)


def test_a_proxy_that_says_http_takes_nothing_from_what_is_known_of_its_own_connection(scopes):
    options = {**VERIFYING, 'trusted_proxies': '*'}
    with serving(AsgiApplication(scopes.app), **options) as host:
        ask(host, client_context(CLIENT), data=request(
            '/', 'GET', 'Connection: close', 'X-Forwarded-Proto: http'))
    scope, = scopes.seen
    assert scope['scheme'] == 'http'
    assert scope['extensions']['tls']['client_cert_chain'][0] == pem(CLIENT.cert)


@pytest.mark.parametrize('cipher, number', [
    ('ECDHE-ECDSA-AES128-GCM-SHA256', 0xC02B), ('ECDHE-ECDSA-AES256-GCM-SHA384', 0xC02C),
    ('ECDHE-ECDSA-CHACHA20-POLY1305', 0xCCA9)])
def test_the_cipher_is_the_number_of_iana(scopes, cipher, number):
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(cipher)
    with serving(AsgiApplication(scopes.app), **VERIFYING) as host:
        ask(host, context)
    tls = scopes.seen[0]['extensions']['tls']
    assert (tls['tls_version'], tls['cipher_suite']) == (0x0303, number)
    assert (tls['client_cert_chain'], tls['client_cert_name']) == ([], None)


def test_the_chain_is_the_leaf_alone_before_python_3_13_and_where_a_session_was_resumed(scopes):
    context = client_context(CLIENT_CHAIN)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(AsgiApplication(scopes.app), **VERIFYING) as host:
        _, sock = ask(host, context)
        _, again = ask(host, context, session=sock.session)
        assert again.session_reused
    chains = [each['extensions']['tls']['client_cert_chain'] for each in scopes.seen]
    assert [len(chain) for chain in chains] == [2 if CHAIN_IS_KNOWN else 1, 1]
    assert {chain[0] for chain in chains} == {pem(CLIENT_CHAIN.cert)}
    assert {each['extensions']['tls']['client_cert_name'] for each in scopes.seen} == {'CN=bob'}


def test_what_an_application_changes_is_gone_in_the_next_scope(scopes):
    async def app(scope, receive, send):
        if scope['type'] == 'http':
            scope['extensions']['tls']['client_cert_chain'].append('x')
            scope['extensions']['tls'].pop('server_cert', None)
            scopes.seen.append(scope['extensions']['tls'])
            await scopes.app(scope, receive, send)

    with serving(AsgiApplication(app), **VERIFYING) as host:
        client = TlsClient(host, client_context(CLIENT))
        client.send(request('/') + CLOSE)
        assert len(answers(client.read_all())) == 2
    first, second = (each['client_cert_chain'] for each in scopes.seen[::2])
    assert first == second and first.count('x') == 1


def test_a_plain_connection_has_no_such_extension(scopes):
    with serving(AsgiApplication(scopes.app)) as host:
        host.ask(CLOSE)
    assert 'tls' not in scopes.seen[0]['extensions']


def test_a_websocket_has_it_too(scopes):
    with serving(AsgiApplication(scopes.app), **VERIFYING) as host:
        answer, _ = ask(host, client_context(CLIENT), data=request(
            '/', 'GET', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
            'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='))
        assert answer.status == 403
    scope, = scopes.seen
    assert (scope['type'], scope['scheme']) == ('websocket', 'wss')
    assert scope['extensions']['tls']['client_cert_name'].startswith('CN=alice')
    assert 'websocket.http.response' in scope['extensions']


def told(request):
    facts = request.tls
    return json.dumps([request.scheme, request.is_secure, facts and facts.client_name,
                       facts and facts.version, facts and facts.cipher_number])


@pytest.mark.parametrize('style', ['plain', 'generator', 'thread', 'coroutine'])
def test_each_kind_of_handler_knows_the_client(style):
    app = Tremolo()

    def plain(request):
        return told(request)

    def generator(request):
        yield told(request)

    async def coroutine(request):
        return told(request)

    def in_thread(request, thread=True):
        return told(request)

    app.route('/')({'generator': generator, 'coroutine': coroutine, 'thread': in_thread}.get(
        style, plain))
    with serving(app, **VERIFYING) as host:
        answer, _ = ask(host, client_context(CLIENT))
        scheme, is_secure, name, version, cipher = json.loads(answer.body)
        assert (scheme, is_secure, version) == ('https', True, 'TLSv1.3')
        assert name.startswith('CN=alice,') and cipher in (0x1301, 0x1302, 0x1303)
        answer, _ = ask(host, client_context())
        assert json.loads(answer.body)[2] is None
    with serving(app) as host:
        assert json.loads(host.ask(CLOSE)[0].body) == ['http', False, None, None, None]


def test_a_context_of_ones_own_tells_what_it_knows():
    app = Tremolo()

    @app.route('/')
    def index(request):
        return json.dumps(request.tls)

    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(*A)
    with serving(app, ssl_context=own) as host:
        facts = json.loads(ask(host)[0].body)
    assert facts[0] == 'TLSv1.3' and facts[2:6] == [None, None, [], None]


def test_wsgi_is_told_https():
    found = []

    def app(environ, start):
        found.append((environ['wsgi.url_scheme'], environ.get('HTTPS')))
        start('200 OK', [])
        return [b'']

    with serving(WsgiApplication(app), **VERIFYING) as host:
        ask(host)
    with serving(WsgiApplication(app)) as host:
        host.ask(request('/', 'GET', 'HTTPS: on', 'Connection: close'))
    assert found == [('https', 'on'), ('http', None)]


def test_facts_are_freed_with_their_connection():
    app = Tremolo()

    @app.route('/')
    def index(request):
        return str(len(facts._known) if request.tls else -1)

    with serving(app, **VERIFYING) as host:
        for _ in range(3):
            assert int(ask(host)[0].body) >= 0
        host.wait_for(lambda: not host.server.connections)
        host.wait_for(lambda: (gc.collect(), not facts._known)[1])
