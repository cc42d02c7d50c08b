"""Certificates for tests of TLS: the paths of what tests/certificates/ has, and a client's context.

    from certificates import A, CA, client_context

    context = server_context(Settings(ssl_certfile=A.cert, ssl_keyfile=A.key))
    sock = client_context().wrap_socket(plain, server_hostname='a.example')
"""

from __future__ import annotations

import ssl
from pathlib import Path

from tremolo.typed import NamedTuple

FOLDER = Path(__file__).parent / 'certificates'


class Pair(NamedTuple):
    """The paths of a certificate and of its key, as `ssl_certfile` and `ssl_keyfile` take them."""

    cert: str
    key: str


def pair(name: str) -> Pair:
    """Return the paths of a certificate and its key by their name in tests/certificates/."""
    return Pair(str(FOLDER / f'{name}.pem'), str(FOLDER / f'{name}.key'))


CA = str(FOLDER / 'ca.pem')
OTHER_CA = str(FOLDER / 'other_ca.pem')
INTERMEDIATE = str(FOLDER / 'intermediate.pem')
LOCALHOST = pair('localhost')    # localhost, 127.0.0.1 and ::1
A = pair('a')                    # a.example
B = pair('b')                    # b.example, www.b.example
WILDCARD = pair('wildcard')      # *.w.example
PUNYCODE = pair('punycode')      # bücher.example, as xn--bcher-kva.example
COMMON_NAME = pair('common_name')    # cn.example, by its common name alone
CHAIN = pair('chain')            # chain.example, by the intermediate, which is in the file
RSA = pair('rsa')                # rsa.example, a key of RSA 2048
EXPIRED = pair('expired')        # a.example, until 2021
FUTURE = pair('future')          # a.example, from 2119
CLIENT = pair('client')          # CN=alice, with more in its name
CLIENT_CHAIN = pair('client_chain')    # CN=bob, by the intermediate, which is in the file
CLIENT_EXPIRED = pair('client_expired')
STRANGER = pair('stranger')      # A client of another CA.
ENCRYPTED_KEY = str(FOLDER / 'encrypted.key')    # The key of `A`.
PASSWORD = 'secret'
OTHER_KEY = str(FOLDER / 'other.key')    # It belongs to no certificate.
COMBINED = str(FOLDER / 'combined.pem')    # The certificate of `A`, and then its key.


def client_context(client: Pair | None = None, ca: str = CA) -> ssl.SSLContext:
    """Return the context of a client that trusts the CA, and shows a certificate if one is given.

    It takes any name: what a server shows is for the test to see.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(ca)
    if client:
        context.load_cert_chain(client.cert, client.key)
    return context
